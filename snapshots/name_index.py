"""A share's index of names: kept up block by block behind the fold, and asked for the rows whose names hold a text.

An answer is complete as of the folded state whatever the index holds: births that no good block covers are read from the
catalogue. An index that is damaged, or tells of another history than the catalogue (another time for its newest birth),
is not believed and made anew.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.database import DatabaseBusy, DatabaseDamaged, DatabaseError, DatabaseTooNew, OperationalError
from core.durable import OS_FILES, FileLayer, make_directories, remove_file
from snapshots.find_db import BlockRange, BlockReader, BlockWriter, keys_before, keys_behind
from snapshots.name_block_format import NameBlockDamaged, NameKey, encode_block, keys_among, keys_with, may_hold, slots_of
from snapshots.view_db import CatalogueReader

LINES_A_BLOCK = 8192  # a block is read in about a third of a millisecond, made in 20
LINES_AT_LEAST = 256  # fewer are read from the catalogue sooner than they are worth a block
_BLOCKS_A_READ = 16

_UNREADABLE = (DatabaseDamaged, DatabaseTooNew, NameBlockDamaged)


class NameIndex:
    """One share's index. `step` is for one thread; any thread may ask."""

    def __init__(
        self, path: Path, reader: CatalogueReader, files: FileLayer = OS_FILES,
        *, lines_a_block: int = LINES_A_BLOCK, lines_at_least: int = LINES_AT_LEAST,
    ) -> None:  # fmt: skip
        """Name the index's file and the catalogue's reader; nothing is opened yet."""
        self._path, self._reader, self._files = path, reader, files
        self._lines_a_block, self._lines_at_least = lines_a_block, lines_at_least
        self._lock = threading.Lock()  # of the step: a second one waits
        self._blocks = BlockReader(path)
        self._looked_at = 0
        self._is_bad = False

    def step(self, folded: int) -> bool:
        """Index one block's worth of names born up to the folded sequence; return whether there may be more to do."""
        with self._lock:
            try:
                if self._is_bad:
                    self._begin_anew()
                return self._step(folded)
            except (*_UNREADABLE, DatabaseError) as error:
                if isinstance(error, OperationalError):
                    raise DatabaseBusy(f"{self._path} could not be used: {error}", remedy="check the disk") from error
                self._begin_anew()
                return True

    def keys(self, wanted: bytes, below: int) -> Iterator[list[NameKey]]:
        """Yield the rows born before `below` whose names hold `wanted`, in runs, newest first; some may be gone by now."""
        cover = below - 1
        for last, after, block_filter, data in self._good_blocks(cover, wanted):
            if last < cover:
                yield from self._unindexed(wanted, last, cover)
                cover = last
            try:
                found = _found(block_filter, data, wanted)
            except NameBlockDamaged:
                self._is_bad = True
                yield from self._unindexed(wanted, after, cover)
            else:
                yield [key for key in reversed(found) if key[0] <= cover]
            cover = after
        yield from self._unindexed(wanted, 0, cover)

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Remove what is indexed, durably; no step makes it anew before the context ends."""
        with self._lock:
            self._begin_anew()
            yield

    def close(self) -> None:
        """Close the files; nobody may be asking."""
        with self._lock:
            self._blocks.close()

    def _step(self, folded: int) -> bool:
        newest = self._blocks.newest() if self._path.exists() else None
        believed = newest if newest is not None and self._is_of_this_history(newest, folded) else None
        position = believed.last if believed is not None else 0
        keys = keys_behind(self._reader, position, folded, self._lines_a_block)
        if len(keys) < self._lines_at_least and newest is believed:
            return False
        make_directories(self._path.parent, self._files)
        writer = BlockWriter(self._path)
        try:
            if newest is not believed:
                writer.forget_all()
            if len(keys) >= self._lines_at_least:
                self._write(writer, position, keys[-1][0], keys)
                self._merge(writer, self._blocks.newest_two(), trust_lines=True)
                self._look_again(writer)
            if len(keys) < self._lines_a_block // 2:
                writer.truncate_log()  # it came to the end; the next block may be long in coming
            return True
        finally:
            writer.close()

    def _write(self, writer: BlockWriter, after: int, last: int, keys: list[NameKey]) -> None:
        time_ns = self._reader.time_of(last) or 0
        writer.replace(BlockRange(last, after, len(keys), time_ns), encode_block(keys))

    def _look_again(self, writer: BlockWriter) -> None:
        """Look at one older pair for each new block: where rows were removed, two may fit into one."""
        pair = self._blocks.pair_behind(self._looked_at)
        if len(pair) == 2:
            self._looked_at = pair[0].last
            self._merge(writer, pair, trust_lines=False)
        else:
            self._looked_at = 0

    def _merge(self, writer: BlockWriter, pair: list[BlockRange], *, trust_lines: bool) -> None:
        lines = sum(one.lines for one in pair)
        if len(pair) < 2 or (trust_lines and lines > self._lines_a_block) or pair[0].last != pair[1].after:
            return
        after, last = pair[0].after, pair[1].last
        keys = keys_behind(self._reader, after, last, lines)  # all: since they were written, rows were only removed
        if len(keys) <= self._lines_a_block:
            self._write(writer, after, last, keys)

    def _begin_anew(self) -> None:
        """Remove the index's files; the next step makes them again."""
        self._blocks.close()
        self._blocks = BlockReader(self._path)  # who asks still has the old one, and the old files
        for part in (f"{self._path}-wal", f"{self._path}-shm", str(self._path)):
            with suppress(FileNotFoundError):
                remove_file(Path(part), self._files)
        self._is_bad, self._looked_at = False, 0

    def _is_of_this_history(self, newest: BlockRange, folded: int) -> bool:
        return newest.last <= folded and newest.time_ns == (self._reader.time_of(newest.last) or 0)

    def _good_blocks(self, following: int, wanted: bytes) -> Iterator[tuple[int, int, bytes, bytes | None]]:
        """Yield (last, after, filter, data) of blocks with births up to `following`, newest first; end where they cannot be read.

        The step may put one block in the place of two meanwhile: then the next one reaches above what was asked for.
        """
        blocks, slots = self._blocks, slots_of(wanted)
        try:
            newest = blocks.newest() if not self._is_bad and self._path.exists() else None
            if newest is None or newest.time_ns != (self._reader.time_of(newest.last) or 0):
                return
            while some := blocks.blocks_from(following, slots, _BLOCKS_A_READ):
                yield from some
                following = some[-1][1]
        except (DatabaseError, *_UNREADABLE) as error:
            self._is_bad = not isinstance(error, OperationalError)

    def _unindexed(self, wanted: bytes, after: int, last: int) -> Iterator[list[NameKey]]:
        while last > after:
            keys = keys_before(self._reader, after, last, self._lines_a_block)
            if not keys:
                return
            yield list(reversed(keys_among(keys, wanted)))
            last = keys[0][0] - 1


def _found(block_filter: bytes, data: bytes | None, wanted: bytes) -> list[NameKey]:
    """Return what a block holds; data that was not read is none that was to be read."""
    if data is not None:
        return keys_with(data, wanted)
    if may_hold(block_filter, slots_of(wanted)):
        raise NameBlockDamaged("a filter of the index of names contradicts itself", remedy="nothing: it is made anew by itself")
    return []
