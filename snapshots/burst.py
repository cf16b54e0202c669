"""When losses are a burst: many files deleted or rewritten within a short time, as by an attack or a wrong command.

Pure: counts and server time in, a verdict out. The losses of the last quarter of an hour are kept in four parts. Before the
first loss of each part the caller keeps the state as it is (a *checkpoint*), so that the state before a burst is still there
when the burst is recognised, also when it came in many small steps. One burst is told once: the next is looked for when the
losses have fallen below half of what makes one.
"""

from typing import Literal

from msgspec import Struct, json
from msgspec.structs import replace

from core.clock import NANOSECONDS

WINDOW_NS = 15 * 60 * NANOSECONDS  # shorter than people take to notice, longer than a deletion of millions of files
PARTS = 4


class Losses(Struct, frozen=True):
    """Files that existed before and are not what they were: gone, of another content, of another name ending."""

    deleted: int = 0
    rewritten: int = 0
    renamed: int = 0

    def __add__(self, other: "Losses") -> "Losses":
        """Return both together."""
        return Losses(self.deleted + other.deleted, self.rewritten + other.rewritten, self.renamed + other.renamed)


class BurstLimits(Struct, frozen=True):
    """From how many files on losses are a burst: per cent of the files that there were (None: never), but so many at least."""

    deleted_percent: int | None
    rewritten_percent: int | None
    least_files: int

    def deleted(self, files: int) -> int | None:
        """Return how many deletions make a burst, None when none do."""
        return self._of(self.deleted_percent, files)

    def rewritten(self, files: int) -> int | None:
        """Return how many rewritten or renamed files make a burst, None when none do."""
        return self._of(self.rewritten_percent, files)

    def _of(self, percent: int | None, files: int) -> int | None:
        return None if percent is None else max(self.least_files, -(-files * percent // 100), 1)


class Part(Struct, frozen=True):
    """What was lost since a checkpoint; `files` and `next_node` are the share's counts there.

    `own` tells that the checkpoint is kept for this part alone and goes with it.
    """

    sequence: int
    begun_ns: int
    files: int
    next_node: int
    losses: Losses = Losses()
    own: bool = True


class Burst(Struct, frozen=True):
    """A burst: the checkpoint before it, when it began, what came (as the end of a sentence), and the counts behind that.

    `files` is how many there were; `losses` are those that were counted when it was recognised, not all that come.
    """

    sequence: int
    begun_ns: int
    what: str
    files: int
    losses: Losses

    @property
    def label(self) -> str:
        """Return the label of the snapshot before it."""
        return f"before {self.what}"


class Window(Struct, frozen=True):
    """The parts that are still counted, oldest first; `told` tells that the burst in them is known already."""

    parts: tuple[Part, ...] = ()
    told: bool = False

    @property
    def losses(self) -> Losses:
        """Return all that was lost within the window."""
        return sum((part.losses for part in self.parts), Losses())

    def moved_to(self, now_ns: int, limits: BurstLimits) -> "Window":
        """Return the window without the parts that are too old by now."""
        kept = tuple(part for part in self.parts if now_ns - part.begun_ns < WINDOW_NS)
        if len(kept) == len(self.parts):
            return self  # a burst that is told but not yet counted stays told
        moved = replace(self, parts=kept)
        return replace(moved, told=moved.told and bool(kept) and moved._over(Losses(), limits, half=True) is not None)

    def up_to(self, sequence: int) -> "Window":
        """Return the window without parts that begin behind a sequence, as a seal of an earlier fence can bring them."""
        return replace(self, parts=tuple(part for part in self.parts if part.sequence <= sequence))

    def wants_checkpoint(self, now_ns: int) -> bool:
        """Tell whether a loss that comes now begins a part of its own."""
        return not self.parts or now_ns - self.parts[-1].begun_ns >= WINDOW_NS // PARTS

    def begun(self, part: Part) -> "Window":
        """Return the window with a new part behind a checkpoint."""
        return replace(self, parts=(*self.parts, part))

    def without(self, sequences: set[int]) -> "Window":
        """Return the window without the parts whose checkpoints are kept no more."""
        return replace(self, parts=tuple(part for part in self.parts if part.sequence not in sequences))

    def with_losses(self, losses: Losses) -> "Window":
        """Return the window with losses counted in its newest part."""
        newest = self.parts[-1]
        return replace(self, parts=(*self.parts[:-1], replace(newest, losses=newest.losses + losses)))

    def judge(self, losses: Losses, limits: BurstLimits) -> Burst | None:
        """Return the burst that these losses would make of what was lost already, unless it was told."""
        over = None if self.told or not self.parts else self._over(losses, limits, half=False)
        if over is None:
            return None
        kind, count = over
        first = self.parts[0]
        return Burst(first.sequence, first.begun_ns, _sentence(kind, count, first.files), first.files, self.losses + losses)

    def _over(self, losses: Losses, limits: BurstLimits, half: bool) -> tuple[str, int] | None:
        files = self.parts[0].files
        total = self.losses + losses
        judged: tuple[tuple[Literal["deleted", "rewritten", "renamed"], int | None], ...] = (
            ("deleted", limits.deleted(files)),
            ("rewritten", limits.rewritten(files)),
            ("renamed", limits.rewritten(files)),
        )
        for kind, limit in judged:
            count = getattr(total, kind)
            if limit is not None and count * (2 if half else 1) >= limit:
                return kind, count
        return None


def read_window(text: str) -> Window:
    """Return a window from its text; an empty one from none."""
    return json.decode(text, type=Window) if text else Window()


def write_window(window: Window) -> str:
    """Return a window as text."""
    return json.encode(window).decode()


def _sentence(kind: str, count: int, files: int) -> str:
    did = {"deleted": "deleted", "rewritten": "rewritten", "renamed": "given another name ending"}[kind]
    if count >= files:
        return f"all {_number(files)} files were {did}"
    return f"at least {_number(count)} of {_number(files)} files were {did}"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")
