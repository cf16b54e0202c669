"""One block of the index of names: the names of some thousand catalogue rows, packed, and found again by a part of them.

A block is written once and never changed. A filter of its trigrams stands beside it, so that most blocks without a hit are
not read; reading one costs half a millisecond: unpacking and one search in C. Layout in docs/formats/names.md.
"""

import struct
import sys
import threading
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub

import msgspec
import zstandard

from core.errors import Damaged
from snapshots.search_form import odd_lines, search_form

VERSION = 1
_HEAD = struct.Struct("<IB3xIII")
_SEPARATOR = b"/"
_FILTER_BITS = 1 << 16  # a block of 8192 names sets about a tenth of them
_FILTER_PIECE_BYTES = 16 * 1024  # a set of more at once would keep the interpreter's lock for too long
_MAX_SLOTS = 12
_CRC_BYTES = 4

Slot = tuple[int, int]
"""A place in a filter: the byte and the bit in it."""

NameKey = tuple[int, int, bytes]
"""(born, parent, name): what names a row of the catalogue's `entry`, in the order of its index by birth."""

_encode_odd = msgspec.msgpack.Encoder().encode
_decode_odd = msgspec.msgpack.Decoder(tuple[list[int], bytes]).decode


class NameBlockDamaged(Damaged):
    """A block of the index of names is not what was written."""


class _Packers(threading.local):
    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_packers = _Packers()


@dataclass(frozen=True, slots=True)
class NameBlock:
    """A block and its filter."""

    filter: bytes
    data: bytes


def encode_block(keys: Sequence[NameKey]) -> NameBlock:
    """Return the block of some rows, sorted."""
    names = [name for _, _, name in keys]
    joined = _SEPARATOR.join(names)
    odd = (
        [(line, form) for line, name in enumerate(names) if (form := search_form(name)) != name.lower()]
        if odd_lines(joined)
        else []
    )
    pack = _packers.compressor.compress
    packed = pack(joined)
    odd_forms = _SEPARATOR.join(form for _, form in odd)
    forms = pack(_encode_odd(([line for line, _ in odd], odd_forms)))
    numbers = _differences([born for born, _, _ in keys]) + _differences([parent for _, parent, _ in keys])
    head = _HEAD.pack(0, VERSION, len(keys), len(packed), len(forms))
    rest = b"".join((head[4:], packed, forms, pack(numbers)))
    return NameBlock(_checked(_filter_of(joined.lower() + _SEPARATOR + odd_forms)), _checked(rest))


def slots_of(wanted: bytes) -> list[Slot]:
    """Return places that are set in the filter of every block with a name that holds `wanted`."""
    trigrams = dict.fromkeys(zip(wanted, wanted[1:], wanted[2:], strict=False))
    numbers = [_slot(*trigram) for trigram in trigrams]
    return [(number >> 3, number & 7) for number in numbers[:: max(1, len(numbers) // _MAX_SLOTS)][:_MAX_SLOTS]]


def may_hold(block_filter: bytes, slots: Sequence[Slot]) -> bool:
    """Tell whether a block must be read for these places; raise `NameBlockDamaged` for a filter that does not check."""
    bits = _check(block_filter)
    return all(bits[at] >> bit & 1 for at, bit in slots)


def keys_with(block: bytes, wanted: bytes) -> list[NameKey]:
    """Return the rows of a block whose names hold `wanted` (a search form), in its order; raise `NameBlockDamaged`."""
    _check(block)
    _, version, count, names_length, odd_length = _HEAD.unpack_from(block)
    if version != VERSION:
        raise NameBlockDamaged(f"a block of names has version {version}", remedy="nothing: it is made anew by itself")
    unpack = _packers.decompressor.decompress
    odd_at = _HEAD.size + names_length
    names = unpack(memoryview(block)[_HEAD.size : odd_at])
    odd, forms = _decode_odd(unpack(memoryview(block)[odd_at : odd_at + odd_length]))
    lines = set(_lines_with(names.lower(), wanted)).difference(odd)
    lines.update(odd[line] for line in _lines_with(forms, wanted))
    if not lines:
        return []
    numbers = array("q", unpack(memoryview(block)[odd_at + odd_length :]))
    if sys.byteorder == "big":
        numbers.byteswap()
    split = names.split(_SEPARATOR)
    borns, parents = list(accumulate(numbers[:count])), list(accumulate(numbers[count:]))
    return [(borns[line], parents[line], split[line]) for line in sorted(lines)]


def keys_among(keys: Sequence[NameKey], wanted: bytes) -> list[NameKey]:
    """Return those of some rows whose names hold `wanted`: what `keys_with` says of their block."""
    joined = _SEPARATOR.join(name for _, _, name in keys)
    if odd_lines(joined):
        return [key for key in keys if wanted in search_form(key[2])]
    return [keys[line] for line in _lines_with(joined.lower(), wanted)]


def _filter_of(forms: bytes) -> bytes:
    trigrams: set[tuple[int, int, int]] = set()
    for start in range(0, len(forms), _FILTER_PIECE_BYTES):
        piece = forms[start : start + _FILTER_PIECE_BYTES + 2]
        trigrams.update(zip(piece, piece[1:], piece[2:], strict=False))
    bits = bytearray(_FILTER_BITS // 8)
    for trigram in trigrams:
        number = _slot(*trigram)
        bits[number >> 3] |= 1 << (number & 7)
    return bytes(bits)


def _slot(first: int, second: int, third: int) -> int:
    return (first * 0x9E37 + second * 0x85EB + third * 0xC2B3) % 0xFFF1  # the largest prime below 2**16 mixes them


def _checked(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CRC_BYTES, "little") + data


def _check(data: bytes) -> memoryview:
    rest = memoryview(data)[_CRC_BYTES:]
    if len(data) < _HEAD.size or zlib.crc32(rest) != int.from_bytes(data[:_CRC_BYTES], "little"):
        raise NameBlockDamaged("a block of the index of names does not check", remedy="nothing: it is made anew by itself")
    return rest


def _lines_with(joined: bytes, wanted: bytes) -> Iterator[int]:
    line = counted = 0
    at = joined.find(wanted)
    while at >= 0:
        line += joined.count(_SEPARATOR, counted, at)
        yield line
        counted = at
        end = joined.find(_SEPARATOR, at)
        at = joined.find(wanted, end) if end >= 0 else -1


def _differences(numbers: Sequence[int]) -> bytes:
    made = array("q", map(sub, numbers, [0, *numbers[:-1]]))
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()
