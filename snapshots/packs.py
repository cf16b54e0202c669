"""The directory of packs, written: one open pack that grows, sealed ones that never change, and the trash.

Promises: what `sync` returned for survives a power cut; a torn tail of the open pack is cut at open and reported; a pack
goes only through the trash, where it stays whole for a time.
"""

from collections.abc import Iterator
from pathlib import Path

from core.durable import OS_FILES, AppendFile, FileLayer, make_directories, move_file, remove_file
from core.framing import record_parts
from snapshots import pack_format as fmt
from snapshots.pack_format import Location, StoredChunk, TrailerEntry
from snapshots.pack_reader import TRASH, PackReader, entry_of

PACK_BYTES = 64 * 1024 * 1024  # a pack is the unit of repacking and of copying to other storage
MAX_ENTRIES = 500_000  # of tiny chunks: the trailer (92 bytes each) must stay below a record's limit


class PackDirectory(PackReader):
    """All packs of a store, also written. Appends come under the store's lock, reads from any thread."""

    def __init__(self, directory: Path, store_id: bytes, files: FileLayer = OS_FILES) -> None:
        """Open the directory; the newest unsealed pack is continued after `recover`."""
        super().__init__(directory, store_id)
        self._files = files
        self._open: AppendFile | None = None
        self._entries: list[TrailerEntry] = []
        self.dropped_bytes = 0
        make_directories(directory, files)
        self.number = max(self.numbers(), default=0)

    def recover(self, indexed_bytes: int) -> None:
        """Take up the newest pack: cut a torn tail, continue it unless it is sealed, damaged or of an older format.

        Nothing is cut below `indexed_bytes`, nor before a record that checks: that was durable, so it is damage, and
        the pack is left as it is (its other records stay readable); the next chunk begins a new one. What is there afterwards is
        durable in any case: a crash may have come before its sync, and it is about to be indexed.
        """
        if self.number == 0:
            return
        file = AppendFile(self.path(self.number), self._files)
        if self.is_sealed(self.number):
            file.sync()
            file.close()
            return
        entries, end, whole, version = self._scan(self.number)
        if whole < end or end < indexed_bytes or version != fmt.VERSION:
            file.sync()
            file.close()
            return
        if end < file.size:
            self.dropped_bytes = file.size - end
            file.truncate(end)
        if end == 0:
            file.append(self._head(self.number))
        file.sync()
        self._entries = entries
        self._open = file

    def pass_number(self, number: int) -> None:
        """Begin no pack with a number up to this one, which the index knows: its file may be lost, and rows name it still."""
        if self._open is None:
            self.number = max(self.number, number)

    def append(self, chunks: list[StoredChunk], domain: bytes) -> list[TrailerEntry]:
        """Append chunk records and return where they stand; not durable before `sync`."""
        placed: list[TrailerEntry] = []
        for batch in _batches(chunks):
            file = self._room()
            offset = file.size
            buffers: list[bytes | memoryview] = []
            for chunk in batch:
                parts = fmt.chunk_record(chunk, domain)
                location = Location(self.number, offset, len(chunk.packed), chunk.size, chunk.base)
                placed.append(TrailerEntry(location, chunk.kind, domain, chunk.digest))
                offset += sum(len(part) for part in parts)
                buffers += parts
            file.append(buffers)
            self._entries += placed[-len(batch) :]
        return placed

    def sync(self) -> None:
        """Return when all appended records are durable."""
        if self._open is not None:
            self._open.sync()

    def seal(self) -> None:
        """Seal the open pack, synced; the next append begins a new one. Nothing happens when none is open."""
        if self._open is not None and self._entries:
            self._seal(self._open)
            self._open = None

    def is_growing(self, number: int) -> bool:
        """Tell whether the next record may go into this pack: it is never repacked or removed."""
        return self._open is not None and number == self.number

    def written_bytes(self, number: int) -> int | None:
        """Return how much of the growing pack is written whole; None for any other, of which all is."""
        return self._open.size if self._open is not None and number == self.number else None

    def discard(self, number: int, now_ns: int) -> None:
        """Move a pack that no index row names any more into the trash; durable on return.

        The newest pack stays: the next one takes its number from it, and no number is ever used twice.
        """
        if number >= self.number:
            return
        trash = self.directory / TRASH
        make_directories(trash, self._files)
        move_file(self.path(number), trash / f"{number:012x}.{now_ns}", self._files)
        self.forget(number)

    def empty_trash(self, before_ns: int) -> int:
        """Remove what came into the trash before an instant, and return how many bytes that frees."""
        freed = 0
        for path in sorted((self.directory / TRASH).glob("*.*")):
            if int(path.suffix[1:]) <= before_ns:
                freed += path.stat().st_size
                remove_file(path, self._files)
        return freed

    def close(self) -> None:
        """Close all files; may be called twice."""
        if self._open is not None:
            self._open.close()
        super().close()

    def _scan(self, number: int) -> tuple[list[TrailerEntry], int, int, int]:
        """Return the chunks whose records check, where the last record ends, the bytes of all, and the pack's version."""
        found: list[TrailerEntry] = []
        end = whole = 0
        for record in self.records(number):
            end = record.end
            whole += record.end - record.offset
            if record.type == fmt.CHUNK:
                found.append(entry_of(number, record))
        return found, end, whole, self._version_or_present(number)

    def _head(self, number: int) -> list[bytes | memoryview]:
        return record_parts(fmt.HEAD, fmt.encode_head(self.store_id, number))

    def _room(self) -> AppendFile:
        """Return the open pack; a full one is sealed first. A failure on the way leaves nothing half begun behind."""
        if self._open is not None and self._open.size < PACK_BYTES and len(self._entries) < MAX_ENTRIES:
            return self._open
        if self._open is not None:
            self._seal(self._open)
            self._open = None
        path = self.path(self.number + 1)
        make_directories(path.parent, self._files)
        file = AppendFile(path, self._files)
        try:
            file.append(self._head(self.number + 1))
        except BaseException:
            file.close()
            raise
        self._open, self._entries = file, []
        self.number += 1
        return file

    def _seal(self, file: AppendFile) -> None:
        """Write trailer and footer behind synced chunks; the pack never changes again."""
        trailer = fmt.encode_trailer(self._entries)
        offset = file.append(record_parts(fmt.TRAILER, trailer))
        file.append(record_parts(fmt.FOOTER, fmt.encode_footer(offset, len(self._entries))))
        file.sync()
        file.close()


def _batches(chunks: list[StoredChunk]) -> Iterator[list[StoredChunk]]:
    batch: list[StoredChunk] = []
    size = 0
    for chunk in chunks:
        batch.append(chunk)
        size += len(chunk.packed)
        if size >= PACK_BYTES // 4:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
