"""Names what is harmed on a cartridge that is known not to be sound. Never writes.

Reads on behind harm at the next sound header, and compares what it finds, place by place, with the index: the one on
the cartridge, or the copy beside it when that one cannot be found. Works when there is harm only: it reads twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.relpath import show_path
from tapeexport.block_source import ArchiveDamaged, BlockSource
from tapeexport.cartridge_format import INDEX_NAME, SUMS_NAME, IndexEntry, decode_entry, index_copy_of
from tapeexport.cartridge_scan import PathFinder, ScannedMember, scan_member
from tapeexport.pax_reader import PaxReader

MAX_PROBLEMS = 1000  # enough to show the extent; a cartridge with more is lost anyway

_COMPARED = (
    ("path", "another member stands in its place"),
    ("type", "it has another type"),
    ("envelope_sha256", "its headers or its padding are changed"),
    ("size_bytes", "it has another size"),
    ("sha256", "its content is changed"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong on a cartridge: the member concerned (empty: the archive as a whole), what, and where."""

    path: str
    what: str
    offset: int


@dataclass(frozen=True, slots=True)
class _IndexPlace:
    path: Path
    offset: int
    length: int


def name_damage(path: Path) -> list[Problem]:
    """Return what differs between the cartridge at `path` and its index, at most `MAX_PROBLEMS`."""
    index = _find_index(path)
    if index is None:
        return [Problem(show_path(INDEX_NAME), "the index is missing: what is harmed cannot be named", 0)]
    problems: list[Problem] = []
    for problem in _compare(_entries(index), _scan_on(path)):
        problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _compare(entries: Iterator[IndexEntry | Problem], scanned: Iterator[ScannedMember]) -> Iterator[Problem]:
    found = next(scanned, None)
    for entry in entries:
        if isinstance(entry, Problem):
            yield entry
            continue
        begin, end = entry.extents[0].offset, entry.extents[0].offset + entry.extents[0].length
        while found is not None and found.member.offset < begin:
            yield from _surplus(found)
            found = next(scanned, None)
        if found is None or found.member.offset >= end:
            yield Problem(entry.path, "it is missing or its headers cannot be read", begin)
        elif found.member.offset > begin:
            yield Problem(entry.path, "its headers cannot be read", begin)
        else:
            differing = [what for name, what in _COMPARED if getattr(entry, name) != getattr(found.entry, name)]
            if differing:
                yield Problem(entry.path, differing[0], begin)
            found = next(scanned, None)
        while found is not None and found.member.offset < end:  # what reading on met inside a harmed member
            found = next(scanned, None)
    while found is not None:
        yield from _surplus(found)
        found = next(scanned, None)


def _surplus(found: ScannedMember) -> Iterator[Problem]:
    if found.member.name not in (INDEX_NAME, SUMS_NAME):
        yield Problem(found.entry.path, "the index does not name it", found.member.offset)


def _find_index(path: Path) -> _IndexPlace | None:
    for found in _scan_on(path):
        member = found.member
        if member.name == INDEX_NAME:
            return _IndexPlace(path, member.offset + len(member.envelope), member.size_bytes)
    copy = index_copy_of(path)
    return _IndexPlace(copy, 0, copy.stat().st_size) if copy.exists() else None


def _scan_on(path: Path) -> Iterator[ScannedMember]:
    with path.open("rb", buffering=0) as file:
        source = BlockSource(file, hashed=False)
        reader = PaxReader(source)
        finder = PathFinder()
        reader.read_on()
        while True:
            try:
                member = reader.next_member()
                if member is not None:
                    yield scan_member(source, reader, finder, member, sequence=0)
                elif not reader.read_on():  # zero blocks may be harm too: the end is where no header follows
                    return
            except ArchiveDamaged:  # what it harms is missing when places are compared
                if not reader.read_on():
                    return


def _entries(index: _IndexPlace) -> Iterator[IndexEntry | Problem]:
    # The first line describes the label, the last one the whole: the first pass has judged both.
    with index.path.open("rb") as file:
        file.seek(index.offset)
        left = index.length
        number = 0
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            number += 1
            if number == 1 or left <= 0:
                continue
            try:
                yield decode_entry(line)
            except ValueError as error:
                yield Problem(show_path(INDEX_NAME), f"line {number} cannot be read: {error}", index.offset)
