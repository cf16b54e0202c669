"""Every content that any row of a catalogue names, live, kept by a snapshot, or closed and not yet swept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.database import ReaderPool
from core.digest import Digest
from staging.chunk_format import ChunkKind

_PAGE = 5000


def contents_of_states(catalogue: Path) -> Iterator[set[tuple[ChunkKind, Digest]]]:
    """Yield (kind, digest) in pages, by key: a content never moves to a key before the one that named it."""
    pool = ReaderPool(catalogue, read_only=True)
    node, born = -1, -1
    try:
        while True:
            rows = pool.query(
                "SELECT node, born, content_kind, content FROM state WHERE (node, born) > (?, ?) AND content_kind != 0"
                f" ORDER BY node, born LIMIT {_PAGE}",
                (node, born),
            )
            yield {(ChunkKind(kind), Digest(content)) for _, _, kind, content in rows}
            if len(rows) < _PAGE:
                return
            node, born = rows[-1][:2]
    finally:
        pool.close()


@dataclass(frozen=True, slots=True)
class NamedState:
    """A state that has a content: its node, lifetime, and what it names."""

    node: int
    born: int
    died: int
    kind: ChunkKind
    digest: Digest


def states_with_contents(query: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]) -> Iterator[list[NamedState]]:
    """Yield all states that have a content, in pages; `query` asks the catalogue."""
    node, born = -1, -1
    while True:
        rows = query(
            "SELECT node, born, died, content_kind, content FROM state WHERE (node, born) > (?, ?) AND content_kind != 0"
            f" ORDER BY node, born LIMIT {_PAGE}",
            (node, born),
        )
        yield [NamedState(row[0], row[1], row[2], ChunkKind(row[3]), Digest(row[4])) for row in rows]
        if len(rows) < _PAGE:
            return
        node, born = rows[-1][:2]
