"""The directory of packs: one open pack that grows, sealed ones that never change.

Promises: what `sync` returned for survives a power cut; a torn tail of the open pack is cut at open and reported; a read
gives the record's bytes only when its checksum is right.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from core.durable import OS_FILES, AppendFile, FileLayer, make_directories
from core.framing import HEADER_BYTES, Record, next_record, read_record, read_records, record_parts
from snapshots import pack_format as fmt
from snapshots.pack_format import Location, PackDamaged, PackedRecord, StoredChunk, TrailerEntry

PACK_BYTES = 64 * 1024 * 1024  # a pack is the unit of repacking and of copying to other storage
MAX_ENTRIES = 500_000  # of tiny chunks: the trailer (92 bytes each) must stay below a record's limit
_OPEN_READERS = 64


class PackDirectory:
    """All packs of a store. Appends come under the store's lock, reads from any thread."""

    def __init__(self, directory: Path, store_id: bytes, files: FileLayer = OS_FILES) -> None:
        """Open the directory; the newest unsealed pack is continued after `recover`."""
        self._directory, self._store_id, self._files = directory, store_id, files
        self._open: AppendFile | None = None
        self._entries: list[TrailerEntry] = []
        self._readers: OrderedDict[int, int] = OrderedDict()
        self._readers_lock = threading.Lock()
        self.dropped_bytes = 0
        make_directories(directory, files)
        self.number = max(self.numbers(), default=0)

    def path(self, number: int) -> Path:
        """Return the file of a pack."""
        return self._directory / f"{number % 256:02x}" / f"{number:012x}.skp"

    def numbers(self) -> list[int]:
        """Return the numbers of all packs."""
        return sorted(int(path.stem, 16) for path in self._directory.glob("??/*.skp"))

    def recover(self, indexed_bytes: int) -> None:
        """Take up the newest pack: cut a torn tail, continue it unless it is sealed, damaged or of an older format.

        Nothing is cut below `indexed_bytes`, nor before a record that checks: that was durable, so it is damage, and
        the pack is left as it is (its other records stay readable); the next chunk begins a new one.
        """
        if self.number == 0 or self.is_sealed(self.number):
            return
        file = AppendFile(self.path(self.number), self._files)
        records, end, version = self._scan(self.number)
        whole = sum(record.end - record.offset for record in records)
        if whole < end or end < indexed_bytes or version != fmt.VERSION:
            file.close()
            return
        if end < file.size:
            self.dropped_bytes = file.size - end
            file.truncate(end)
        if end == 0:
            file.append(self._head(self.number))
        file.sync()
        self._entries = [_trailer_entry(self.number, record) for record in records if record.type == fmt.CHUNK]
        self._open = file

    def is_sealed(self, number: int) -> bool:
        """Tell whether a pack ends with a footer."""
        path = self.path(number)
        size = path.stat().st_size
        with path.open("rb") as file:
            record = read_record(file, max(size - fmt.FOOTER_RECORD_BYTES, 0))
        return record is not None and record.type == fmt.FOOTER and record.end == size

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

    def read(self, location: Location) -> PackedRecord:
        """Return the record at a location; raise `PackDamaged` when it is not what the index says."""
        length = location.record_bytes
        try:
            data = self._pread(location, length)
        except OSError as error:
            raise PackDamaged(f"pack {location.pack} cannot be read at {location.offset}: {error.strerror}") from error
        if len(data) < length:
            raise PackDamaged(f"pack {location.pack} ends before byte {location.offset + length}")
        return fmt.decode_chunk(memoryview(data)[HEADER_BYTES:])

    def entries_from(self, number: int, offset: int) -> list[TrailerEntry]:
        """Return the chunks of a pack whose records begin at `offset` or behind; damaged records are left out."""
        records, _, version = self._scan(number, offset)
        found = {record.offset: _trailer_entry(number, record) for record in records if record.type == fmt.CHUNK}
        for record in records:
            if record.type == fmt.TRAILER:  # knows also the chunks whose records do not check any more
                for entry in fmt.decode_trailer(record.payload, number, version):
                    if entry.location.offset >= offset:
                        found.setdefault(entry.location.offset, entry)
        return [found[place] for place in sorted(found)]

    def close(self) -> None:
        """Close all files; may be called twice."""
        if self._open is not None:
            self._open.close()
        with self._readers_lock:
            for descriptor in self._readers.values():
                os.close(descriptor)
            self._readers.clear()

    def _scan(self, number: int, offset: int = 0) -> tuple[list[Record], int, int]:
        """Return the records from an offset on that check, where the last of them ends, and the pack's version.

        Bad records are stepped over; a pack whose head was not written whole is of the present version.
        """
        found: list[Record] = []
        version = fmt.VERSION
        with self.path(number).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = read_record(file, 0)
            if head is not None:
                version = fmt.check_head(head.payload, self._store_id, number)
            end = offset
            while end < size:
                for record in read_records(file, end):
                    found.append(record)
                    end = record.end
                following = next_record(file, end, size)
                if following is None:
                    break
                found.append(following)
                end = following.end
        return found, (found[-1].end if found else offset), version

    def _head(self, number: int) -> list[bytes | memoryview]:
        return record_parts(fmt.HEAD, fmt.encode_head(self._store_id, number))

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
        file.append(self._head(self.number + 1))
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

    def _pread(self, location: Location, length: int) -> bytes:
        with self._readers_lock:
            descriptor = self._readers.pop(location.pack, None)
            if descriptor is None:
                descriptor = os.open(self.path(location.pack), os.O_RDONLY | os.O_CLOEXEC)
            self._readers[location.pack] = descriptor
            if len(self._readers) > _OPEN_READERS:
                os.close(self._readers.popitem(last=False)[1])
            return os.pread(descriptor, length, location.offset)


def _trailer_entry(number: int, record: Record) -> TrailerEntry:
    packed = fmt.decode_chunk(record.payload)
    location = Location(number, record.offset, len(packed.chunk.packed), packed.chunk.size, packed.chunk.base)
    return TrailerEntry(location, packed.chunk.kind, packed.domain, packed.chunk.digest)


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
