"""Shares kept in memory: every change keeps the whole tree, so that what a page must show is easy to see.

A real implementation of `web.operations.Shares`, for the tests of the web side; rights are by role and granted share.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from core.clock import TimeUnreadable, format_time, parse_time
from core.errors import NotFound, Refused
from core.relpath import ROOT, RelPath, is_text, is_within, parse_path, show_path, split
from web.errors import AccessDenied
from web.figures import Stats
from web.operations import Actor
from web.share_values import Download, Entry, Moment, NotApplied, Place, Progress, RestoreReport, Share, Snapshot, Version

PIECE_BYTES = 1000


class ShareUnknown(NotFound):
    """There is no such share, or none that this actor may see."""


class PathUnknown(NotFound):
    """Nothing stands there at that moment."""


class MomentUnknown(NotFound):
    """That moment is not kept."""


class NotAFile(Refused):
    """Only files have bytes."""


class TargetNotEmpty(Refused):
    """The target holds something already."""


@dataclass(frozen=True)
class Thing:
    """A file, folder or link."""

    kind: str = "file"
    content: bytes = b""
    mtime_ns: int = 0
    target: str | None = None

    @property
    def digest(self) -> str | None:
        """Return the content's digest."""
        return f"blake3:{hashlib.sha256(self.content).hexdigest()}" if self.kind == "file" else None


Tree = dict[RelPath, Thing]


@dataclass
class MemoryShare:
    """One share: its trees by sequence, the time of each, and its snapshots."""

    name: str
    state: str = "good"
    reason: str = ""
    lag_seconds: float = 0.0
    trees: list[Tree] = field(default_factory=lambda: [{ROOT: Thing("folder")}])
    times: list[int] = field(default_factory=lambda: [0])
    snapshots: list[Snapshot] = field(default_factory=list)

    def change(self, time_ns: int, things: dict[bytes, Thing | None]) -> None:
        """Put things (None removes) and make the folders above them."""
        tree = dict(self.trees[-1])
        for raw, thing in things.items():
            path = parse_path(raw)
            if thing is None:
                tree = {there: kept for there, kept in tree.items() if not is_within(there, path)}
                continue
            tree[path] = replace(thing, mtime_ns=thing.mtime_ns or time_ns)
            folder = split(path)[0]
            while folder not in tree:
                tree[folder] = Thing("folder", mtime_ns=time_ns)
                folder = split(folder)[0]
        self.trees.append(tree)
        self.times.append(time_ns)

    def snapshot(self, time_ns: int, label: str = "", trigger: str = "schedule") -> Snapshot:
        """Name the present state."""
        files, logical_bytes = self.sizes()
        made = Snapshot(
            id=len(self.snapshots) + 1, sequence=len(self.trees) - 1, taken_at=format_time(time_ns), label=label,
            trigger=trigger, consistency="crash", state="ready", files=files, logical_bytes=logical_bytes,
        )  # fmt: skip
        self.snapshots.append(made)
        return made

    def sizes(self) -> tuple[int, int]:
        """Return the files of the present state, and their lengths added up."""
        files = [thing for thing in self.trees[-1].values() if thing.kind == "file"]
        return len(files), sum(len(one.content) for one in files)

    def moment(self, text: str) -> Moment:
        """Return what a moment means."""
        live = len(self.trees) - 1
        ids = [snapshot.id for snapshot in self.snapshots]
        if text == "":
            return Moment("live", live, format_time(self.times[live]) if live else None, None, max(ids, default=None), None)
        taken = self._snapshot_of(text)
        if taken is not None:
            lower, higher = [one for one in ids if one < taken.id], [one for one in ids if one > taken.id]
            at = max(lower, default=None), min(higher, default=None)
            return Moment("snapshot", taken.sequence, taken.taken_at, taken.id, *at)
        sequence, time_ns = self._instant_of(text)
        place = (sequence, time_ns)
        places = {one.id: (one.sequence, parse_time(one.taken_at)) for one in self.snapshots}
        before = max((one for one in ids if places[one] <= place), default=None)
        after = min((one for one in ids if places[one] > place), default=None)
        return Moment("instant", sequence, format_time(time_ns), None, before, after)

    def tree(self, moment: str) -> Tree:
        """Return the tree as of a moment."""
        return self.trees[self.moment(moment).sequence]

    def _snapshot_of(self, text: str) -> Snapshot | None:
        if text == "latest" and self.snapshots:
            return self.snapshots[-1]
        for snapshot in reversed(self.snapshots):
            second = parse_time(snapshot.taken_at) // 10**9
            if text in (str(snapshot.id), f"seq:{snapshot.sequence}") or second == _second_of(text):
                return snapshot
        return None

    def _instant_of(self, text: str) -> tuple[int, int]:
        if text.startswith("seq:") and text[4:].isdecimal() and int(text[4:]) < len(self.trees):
            return int(text[4:]), self.times[int(text[4:])]
        second = _second_of(text)
        fitting = [] if second is None else [n for n, time_ns in enumerate(self.times) if 0 < time_ns // 10**9 <= second]
        if not fitting:
            raise MomentUnknown(f"nothing is kept of @{text}", remedy="choose another moment")
        return fitting[-1], parse_time(text)


def _second_of(text: str) -> int | None:
    try:
        return parse_time(text) // 10**9
    except TimeUnreadable:
        return None


class MemoryShares:
    """All shares, with rights."""

    def __init__(self, now_ns: Callable[[], int], grants: dict[str, list[str]], record: Callable[..., None]) -> None:
        """Keep the clock, the rights by account, and where audit records go."""
        self.shares: dict[str, MemoryShare] = {}
        self.restored: list[tuple[str, RelPath, str]] = []
        self.open_pieces = 0
        self.damaged: set[RelPath] = set()
        self._now_ns = now_ns
        self._grants = grants
        self._record = record

    def find(self, actor: Actor, name: str) -> MemoryShare:
        """Return a share that the actor may see."""
        if name not in self.shares or (actor.role == "user" and name not in self._grants.get(actor.account, [])):
            raise ShareUnknown(f"there is no share {name}", remedy="see the list of shares")
        return self.shares[name]

    def list_shares(self, actor: Actor) -> list[Share]:
        """Return what the actor may see."""
        names = [name for name in self.shares if actor.role != "user" or name in self._grants.get(actor.account, [])]
        return [self.share_status(actor, name) for name in sorted(names)]

    def share_status(self, actor: Actor, share: str) -> Share:
        """Return one share's state."""
        found = self.find(actor, share)
        files, logical_bytes = found.sizes()
        sequence = len(found.trees) - 1
        return Share(
            share=share, state=found.state, reason=found.reason, durable_sequence=sequence, folded_sequence=sequence,
            lag_seconds=found.lag_seconds, files=files, logical_bytes=logical_bytes,
            last_snapshot_at=found.snapshots[-1].taken_at if found.snapshots else None,
        )  # fmt: skip

    def create_snapshot(self, actor: Actor, share: str, label: str) -> Snapshot:
        """Take a snapshot."""
        found = self.find(actor, share)
        if actor.role not in ("owner", "admin", "operator"):
            raise AccessDenied("this account may not take snapshots", remedy="ask an operator")
        self._record(actor, "create_snapshot", share, label=label)
        return found.snapshot(self._now_ns(), label, "command")

    def list_snapshots(self, actor: Actor, share: str) -> list[Snapshot]:
        """Return snapshots by sequence."""
        return list(self.find(actor, share).snapshots)

    def moment(self, actor: Actor, share: str, moment: str) -> Moment:
        """Return what a moment means."""
        return self.find(actor, share).moment(moment)

    def list_folder(
        self, actor: Actor, share: str, moment: str, path: RelPath, after: bytes, limit: int
    ) -> tuple[list[Entry], bytes | None]:
        """Return entries sorted by name bytes."""
        tree = self.find(actor, share).tree(moment)
        if path not in tree:
            raise PathUnknown(f"there is no {show_path(path)} at that moment", remedy="choose another moment")
        names = sorted(split(there)[1] for there in tree if there and split(there)[0] == path)
        rest = [name for name in names if name > after]
        entries = [_entry(name, tree[RelPath(path + b"/" + name if path else name)]) for name in rest[:limit]]
        return entries, rest[limit - 1] if len(rest) > limit else None

    def entry(self, actor: Actor, share: str, moment: str, path: RelPath) -> Entry:
        """Return one entry."""
        tree = self.find(actor, share).tree(moment)
        if path not in tree:
            raise PathUnknown(f"there is no {show_path(path)} at that moment", remedy="choose another moment")
        return _entry(path.rpartition(b"/")[2], tree[path])

    def open_file(self, actor: Actor, share: str, moment: str, path: RelPath, first: int, last: int | None) -> Download:
        """Open a range of a file."""
        tree = self.find(actor, share).tree(moment)
        if path not in tree:
            raise PathUnknown(f"there is no {show_path(path)} at that moment", remedy="choose another moment")
        thing = tree[path]
        if thing.kind != "file":
            raise NotAFile(f"{show_path(path)} is no file", remedy="choose a file")
        self._record(actor, "download", f"{share}/{show_path(path)}")
        wanted = thing.content[first : None if last is None else last + 1]
        pieces = self._pieces(wanted, broken=path in self.damaged)
        return Download(split(path)[1], len(thing.content), thing.mtime_ns, str(thing.digest), pieces)

    def versions(
        self, actor: Actor, share: str, moment: str, path: RelPath, before: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Return the states of what stood at `path`, newest first; of moments only `seq:N` is understood."""
        found = self.find(actor, share)
        states: list[tuple[int, Thing | None]] = []
        for sequence, tree in enumerate(found.trees):
            thing = tree.get(path)
            if (states[-1][1] if states else None) != thing:
                states.append((sequence, thing))
        if not states:
            raise PathUnknown(f"nothing ever stood at {show_path(path)}", remedy="look at the folder")
        ends = [sequence for sequence, _ in states[1:]] + [len(found.trees)]
        made = [self._version(found, path, begin, end, thing) for (begin, thing), end in zip(states, ends, strict=True)]
        until = int(moment.removeprefix("seq:")) if moment else len(found.trees)
        older = [version for version in made[::-1] if version.sequence <= until and (before is None or version.sequence < before)]
        return older[:limit], older[limit - 1].sequence if len(older) > limit else None

    def restore(
        self, actor: Actor, share: str, moment: str, path: RelPath, target: str, overwrite: bool, seen: Place | None = None
    ) -> Iterator[Progress | RestoreReport]:
        """Note what would be restored."""
        tree = self.find(actor, share).tree(moment)
        if target in [done[2] for done in self.restored] and not overwrite:
            raise TargetNotEmpty(f"{target} is not empty", remedy="choose another directory, or overwrite")
        files = [thing for there, thing in tree.items() if thing.kind == "file" and there.startswith(path)]
        done = 0
        for count, thing in enumerate(files, 1):
            done += len(thing.content)
            yield Progress(done_bytes=done, total_bytes=None, files=count, what="restoring")
        self.restored.append((share, path, target))
        self._record(actor, "restore", share, to=target)
        yield RestoreReport(files=len(files), bytes=done, not_applied=[NotApplied("x", "owner", "not root")])

    def stats(self, actor: Actor) -> Stats:
        """Return some figures."""
        if actor.role == "user":
            raise AccessDenied("this is for operators", remedy="ask an operator")
        size = sum(len(one.content) for share in self.shares.values() for one in share.trees[-1].values())
        return Stats(size, 310_000_000_000, 12_400_000_000, 322_400_000_000, 1_677_600_000_000, 4_812_093, 312)

    def _pieces(self, content: bytes, *, broken: bool) -> Iterator[bytes]:
        self.open_pieces += 1
        try:
            for start in range(0, len(content), PIECE_BYTES):
                if broken and start > 0:
                    return
                yield content[start : start + PIECE_BYTES]
        finally:
            self.open_pieces -= 1

    def _version(self, found: MemoryShare, path: RelPath, begin: int, end: int, thing: Thing | None) -> Version:
        kept = [snapshot.id for snapshot in found.snapshots if begin <= snapshot.sequence < end]
        shown = thing or Thing()
        return Version(
            sequence=begin, changed_at=format_time(found.times[begin]), snapshots=kept, kind=shown.kind,
            size_bytes=len(shown.content), mtime_ns=shown.mtime_ns, digest=shown.digest if thing else None,
            deleted=thing is None, path=show_path(path),
        )  # fmt: skip


def _entry(name: bytes, thing: Thing) -> Entry:
    return Entry(
        name=show_path(name), kind=thing.kind, size_bytes=len(thing.content), mode="0644", uid=0, gid=0,
        mtime_ns=thing.mtime_ns, target=thing.target, digest=thing.digest,
        name_base64=None if is_text(name) else base64.b64encode(name).decode(),
    )  # fmt: skip
