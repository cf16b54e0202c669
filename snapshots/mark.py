"""The mark: which chunks anything names, found in a process of its own that changes nothing.

Roots are the contents named by frames of the kept journals, by every row of every catalogue, and what the caller adds (seals).
From recipe nodes the mark goes down to their children, from deltas to their bases. Journals come first: a frame that is
trimmed while the mark runs was folded before, so what it names is found in a catalogue.

What is marked is kept in a `BitFilter`, whose false members only make garbage wait. A recipe node's visit is remembered
exactly, since taking a new node for a visited one would leave its children unmarked; when too many are remembered they are
forgotten and visited again. A root that is not in the index, or a node that cannot be read, ends the mark with an error.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.digest import DIGEST_BYTES, Digest
from core.errors import Damaged
from core.framing import read_records
from snapshots import garbage_db
from snapshots.bit_filter import BitFilter
from snapshots.chunk_reader import ChunkReader
from snapshots.control_format import Sealed, decode_control
from snapshots.index_db import ChunkLookup
from snapshots.named_db import contents_of_states
from snapshots.seal_format import MAGIC, decode_head
from staging.chunk_format import ChunkKind
from staging.frame_format import unpack_frame
from staging.journal_scan import Continuity
from staging.receiver import Key
from staging.recipe_format import decode_node
from staging.references import checked_references

BITS_A_CHUNK = 64
MAX_BITS = 2**32  # 512 MiB
MAX_VISITED = 2_000_000  # nodes: 130 bytes each with their place in the set
_PIECES_A_LOOK = 500


class MarkAborted(Damaged):
    """Something that is named cannot be found or read: nothing may be removed."""


@dataclass(frozen=True, slots=True)
class JournalPart:
    """A segment and how many bytes of it are written whole."""

    path: str
    whole_bytes: int


@dataclass(frozen=True, slots=True)
class Roots:
    """Where to begin: each share's segments, each share's catalogue, and (kind, digest) of what else is to stay."""

    journals: list[list[JournalPart]]
    catalogues: list[str]
    extra: list[tuple[int, bytes]] = field(default_factory=list)


Report = Callable[[int], None]
"""Hears how many chunks and nodes were looked at."""


class Marker:
    """Walks from roots to all that they name."""

    def __init__(
        self, index: ChunkLookup, reader: ChunkReader, marked: BitFilter, report: Report, max_visited: int = MAX_VISITED
    ) -> None:
        """Bind the store, read-only."""
        self._index, self._reader, self._marked, self._report = index, reader, marked, report
        self._visited: set[Digest] = set()
        self._max_visited = max_visited
        self._seen = 0

    def walk(self, roots: Roots) -> None:
        """Mark everything that is named; raise `MarkAborted`."""
        for journal in roots.journals:
            newest_seal: Digest | None = None
            continuity = Continuity()  # of segments that are missing nobody knows what they name
            for part in journal:
                try:
                    for named, seal in _named_in(part, continuity):
                        self.visit(named)
                        newest_seal = seal or newest_seal
                except FileNotFoundError:
                    if not _was_trimmed(part):
                        raise
                    continuity, newest_seal = Continuity(), None  # what it named was folded before, and sealed anew
            if newest_seal is not None:
                self.visit([(ChunkKind.SEAL, newest_seal)])
        for catalogue in roots.catalogues:
            for page in contents_of_states(Path(catalogue)):
                self.visit(_digests(page, catalogue))
        self.visit(_digests([(ChunkKind(kind), Digest(digest)) for kind, digest in roots.extra], "a seal or backup"))

    def visit(self, keys: Iterable[Key]) -> None:
        """Mark chunks and everything below them; raise `MarkAborted`."""
        by_kind: dict[ChunkKind, set[Digest]] = {kind: set() for kind in ChunkKind}
        for kind, digest in keys:
            by_kind[kind].add(digest)
        for seal in by_kind[ChunkKind.SEAL]:
            self._visit_seal(seal)
        self._leaves(by_kind[ChunkKind.DATA])
        self._nodes(by_kind[ChunkKind.NODE])

    def spread_to_bases(self, old_packs: set[int]) -> None:
        """Mark the base of every delta that stays: one that is marked, or is too young to be condemned."""
        for page in garbage_db.deltas(self._index):
            marked = self._marked.among([digest for _, digest, _ in page])
            self._marked.add({base for base, digest, pack in page if digest in marked or pack not in old_packs})
            self._count(len(page))

    def _visit_seal(self, digest: Digest | None) -> None:
        """Mark a seal, what it holds, and those before it back to a full one."""
        while digest is not None and digest not in self._visited:
            self._remember(digest)
            self._leaves({digest})
            data = self._read(ChunkKind.SEAL, digest)
            if bytes(data[:4]) != MAGIC:
                return  # another head of the appliance's own: what it names comes as roots too
            head = decode_head(data)
            if head.body_key is not None:
                self.visit([head.body_key])
            digest = None if head.full or head.previous is None else Digest(head.previous)

    def _nodes(self, nodes: set[Digest]) -> None:
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node in self._visited:
                continue
            try:
                level, pieces = decode_node(self._read(ChunkKind.NODE, node))
            except Damaged as error:
                raise MarkAborted(f"recipe node {node.hex()} cannot be read: {error.message}", remedy=error.remedy) from error
            self._remember(node)
            self._marked.add((node,))
            children = {piece.digest for piece in pieces if level or not piece.is_hole}
            if level:
                pending += children
            else:
                self._leaves(children)

    def _leaves(self, digests: set[Digest]) -> None:
        new = sorted(digests - self._marked.among(list(digests)))
        for start in range(0, len(new), _PIECES_A_LOOK):
            part = new[start : start + _PIECES_A_LOOK]
            there = self._index.locations(part)
            if len(there) < len(part):
                absent = next(digest for digest in part if digest not in there)
                raise MarkAborted(
                    f"chunk {absent.hex()} is named and is not in the index",
                    remedy="run `stagekeeper scrub`; nothing was removed",
                )
            self._marked.add(part)
            self._count(len(part))

    def _read(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview:
        self._count(1)
        return self._reader.read(kind, digest)

    def _remember(self, digest: Digest) -> None:
        if len(self._visited) >= self._max_visited:
            self._visited.clear()
        self._visited.add(digest)

    def _count(self, more: int) -> None:
        self._seen += more
        self._report(self._seen)


def _digests(keys: Collection[Key], where: str) -> Collection[Key]:
    """Return keys that are digests; raise `MarkAborted` for anything else, which SQLite gives out of exchanged pages."""
    if not all(isinstance(digest, bytes) and len(digest) == DIGEST_BYTES for _, digest in keys):
        raise MarkAborted(f"{where} names a content by what is no digest", remedy="see docs/damage.md: a catalogue")
    return keys


def _was_trimmed(part: JournalPart) -> bool:
    """Tell whether a segment that is gone went as trimming lets them go: the oldest first, and never the newest."""
    path = Path(part.path)
    return any(later.name > path.name for later in path.parent.glob(f"*{path.suffix}"))


def _named_in(part: JournalPart, continuity: Continuity) -> Iterator[tuple[list[Key], Digest | None]]:
    """Yield what each record of a segment names; raise `MarkAborted` when it cannot be read up to where it is whole."""
    end = 0
    with Path(part.path).open("rb") as file:
        for record in read_records(file, 0, part.whole_bytes):
            end = record.end
            logged = continuity.check(Path(part.path), record)
            if logged is None:
                continue
            if logged.header is not None:
                yield (
                    [(kind, digest) for kind, digest, _ in checked_references(unpack_frame(logged.payload, logged.header))],
                    None,
                )
            else:
                control = decode_control(logged.payload)
                yield [], Digest(control.digest) if isinstance(control, Sealed) else None
    if end < part.whole_bytes:
        raise MarkAborted(f"{part.path} cannot be read behind byte {end}", remedy="see the runbook: damaged journal")
