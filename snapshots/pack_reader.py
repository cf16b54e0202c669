"""The packs of a store, read: where they stand, what their records and trailers say. Nothing here changes a file.

A scan never holds more than one record's payload. Whoever reads a record compares its bytes with their address.
"""

import os
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.framing import HEADER_BYTES, Record, next_record, read_record, read_records
from snapshots import pack_format as fmt
from snapshots.pack_format import Location, PackDamaged, PackedRecord, TrailerEntry

TRASH = "trash"
_OPEN_READERS = 64


class PackReader:
    """All packs of a store, for any thread."""

    def __init__(self, directory: Path, store_id: bytes) -> None:
        """Name the directory; files are opened when they are needed."""
        self.directory, self.store_id = directory, store_id
        self._readers: OrderedDict[int, int] = OrderedDict()
        self._readers_lock = threading.Lock()

    def path(self, number: int) -> Path:
        """Return the file of a pack."""
        return self.directory / f"{number % 256:02x}" / f"{number:012x}.skp"

    def numbers(self) -> list[int]:
        """Return the numbers of all packs."""
        return sorted(int(path.stem, 16) for path in self.directory.glob("??/*.skp"))

    def sizes(self) -> dict[int, int]:
        """Return how long the file of each pack is."""
        return {number: self.path(number).stat().st_size for number in self.numbers()}

    def is_sealed(self, number: int) -> bool:
        """Tell whether a pack ends with a footer."""
        path = self.path(number)
        size = path.stat().st_size
        with path.open("rb") as file:
            record = read_record(file, max(size - fmt.FOOTER_RECORD_BYTES, 0))
        return record is not None and record.type == fmt.FOOTER and record.end == size

    def read(self, location: Location) -> PackedRecord:
        """Return the record at a location; raise `PackDamaged` when it is not what the index says."""
        return fmt.decode_chunk(memoryview(self._record_bytes(location))[HEADER_BYTES:])

    def version(self, number: int) -> int:
        """Return a pack's format; raise `PackDamaged` when its head is not this pack's."""
        with self.path(number).open("rb") as file:
            head = read_record(file, 0)
        if head is None or head.type != fmt.HEAD:
            raise PackDamaged(f"the head of pack {number} does not check")
        return fmt.check_head(head.payload, self.store_id, number)

    def records(self, number: int, offset: int = 0, limit: int | None = None) -> Iterator[Record]:
        """Yield the records from an offset on that check, up to a limit; bad ones are stepped over."""
        with self.path(number).open("rb") as file:
            size = os.fstat(file.fileno()).st_size if limit is None else limit
            end = offset
            while end < size:
                for record in read_records(file, end, size):
                    yield record
                    end = record.end
                following = next_record(file, end, size)
                if following is None:
                    return
                yield following
                end = following.end

    def entries_from(self, number: int, offset: int) -> list[TrailerEntry]:
        """Return the chunks of a pack whose records begin at `offset` or behind.

        Damaged records are left out unless the trailer knows them. Raises `PackDamaged` for another pack's or store's file.
        Held is one value a chunk, no table beside it: a pack of tiny chunks has half a million.
        """
        version = self._version_or_present(number)
        found: list[TrailerEntry] = []
        places = array("Q")  # of the records that were read, in their order
        for record in self.records(number, offset):
            if record.type == fmt.CHUNK:
                found.append(entry_of(number, record))
                places.append(record.offset)
            elif record.type == fmt.TRAILER:
                told = fmt.trailer_entries(record.payload, number, version)
                found += [e for e in told if e.location.offset >= offset and not _is_among(places, e.location.offset)]
        return sorted(found, key=_place_of)

    def forget(self, number: int) -> None:
        """Close the descriptor of a pack that goes away."""
        with self._readers_lock:
            descriptor = self._readers.pop(number, None)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Close all files; may be called twice."""
        with self._readers_lock:
            for descriptor in self._readers.values():
                os.close(descriptor)
            self._readers.clear()

    def _version_or_present(self, number: int) -> int:
        """Return a pack's version; one whose head was not written whole is of the present version."""
        with self.path(number).open("rb") as file:
            head = read_record(file, 0)
        return fmt.VERSION if head is None else fmt.check_head(head.payload, self.store_id, number)

    def _record_bytes(self, location: Location) -> bytes:
        if not all(isinstance(number, int) for number in (location.pack, location.offset, location.stored_bytes)):
            raise PackDamaged("the index tells no place for it")  # SQLite reads what damage left in a row
        length = location.record_bytes
        try:
            data = self._pread(location, length)
        except OSError as error:
            raise PackDamaged(f"pack {location.pack} cannot be read at {location.offset}: {error.strerror}") from error
        if len(data) < length:
            raise PackDamaged(f"pack {location.pack} ends before byte {location.offset + length}")
        return data

    def _pread(self, location: Location, length: int) -> bytes:
        with self._readers_lock:
            descriptor = self._readers.pop(location.pack, None)
            if descriptor is None:
                descriptor = os.open(self.path(location.pack), os.O_RDONLY | os.O_CLOEXEC)
            self._readers[location.pack] = descriptor
            if len(self._readers) > _OPEN_READERS:
                os.close(self._readers.popitem(last=False)[1])
            return os.pread(descriptor, length, location.offset)


def _is_among(places: Sequence[int], place: int) -> bool:
    """Tell whether a place is among sorted ones."""
    index = bisect_left(places, place)
    return index < len(places) and places[index] == place


def _place_of(entry: TrailerEntry) -> int:
    return entry.location.offset


def entry_of(number: int, record: Record) -> TrailerEntry:
    """Return what a trailer says of a chunk record."""
    packed = fmt.decode_chunk(record.payload)
    location = Location(number, record.offset, len(packed.chunk.packed), packed.chunk.size, packed.chunk.base)
    return TrailerEntry(location, packed.chunk.kind, packed.domain, packed.chunk.digest)
