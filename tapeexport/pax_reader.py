"""Parses the pax tar archives of this package from front to back: members, attributes, content. Never writes.

Strict: what our writer does not write is `ArchiveDamaged`, so that harm is noticed and not interpreted. After an error
`read_on` finds the next header. Layout: docs/formats/cartridge.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.clock import NANOSECONDS
from staging.changes import Attributes
from tapeexport.acl_text import ACCESS_XATTR, DEFAULT_XATTR, acl_from_text
from tapeexport.block_source import ArchiveDamaged, BlockSource
from tapeexport.pax_format import (
    BLOCK_BYTES,
    EXTENDED,
    GLOBAL,
    HARD_LINK,
    MAGIC,
    REPEATED,
    SYMLINK,
    TYPE_FLAGS,
    USTAR,
    byte_sum,
)
from tapeexport.sparse_map import parse_runs
from tapeexport.zeros import zeros

MAX_EXTENDED_BYTES = 320 * 1024 * 1024  # 4096 xattrs of 64 KiB, the most that a change carries, and room for names

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_TYPE_NAMES = {flag: kind.name.lower() for kind, flag in TYPE_FLAGS.items()} | {HARD_LINK: "link"}
_DEVICE_FLAGS = (b"3", b"4")


Records = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Member:
    """One member as its headers tell it. `runs` are the stored parts of a file with holes."""

    offset: int
    envelope: bytes
    name: bytes
    type_name: str
    size_bytes: int
    stored_bytes: int
    target: bytes
    runs: tuple[tuple[int, int], ...] | None
    header: bytes
    records: Records

    def attributes(self) -> Attributes:
        """Return the attributes; raise `ArchiveDamaged` when they cannot be read."""
        try:
            return _attributes(self.header, self.records)
        except (ValueError, ArithmeticError) as error:
            raise ArchiveDamaged(f"attributes cannot be read: {error}", self.offset) from error

    def device(self) -> tuple[int, int]:
        """Return the major and minor number of a device."""
        return _octal(self.header[329:337]), _octal(self.header[337:345])


@dataclass(frozen=True, slots=True)
class GlobalHeader:
    """The first header of an archive: its name (empty when it is another kind of header), its bytes, its records."""

    name: bytes
    envelope: bytes
    records: Records


class PaxReader:
    """Reads one archive: `read_global`, then `next_member` and `content` in turns until None."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._pushed_back: bytes | None = None

    def read_global(self) -> GlobalHeader:
        """Return the header that stands here; raise `ArchiveDamaged` when it does not match its check sum."""
        start = self._source.offset
        block = self._header_block(start)
        if block[156:157] != GLOBAL:
            return GlobalHeader(b"", block, [])
        body, raw = self._extended_body(block, start)
        return GlobalHeader(_text(block[:100]), raw, _parse_records(body, start))

    def next_member(self) -> Member | None:
        """Return the next member, or None at the first of the two zero blocks that end the archive."""
        start = self._source.offset - (BLOCK_BYTES if self._pushed_back else 0)
        block = self._header_block(start)
        if block == _ZERO_BLOCK:
            return None
        envelope: bytes = b""
        records: Records = []
        if block[156:157] == EXTENDED:
            body, envelope = self._extended_body(block, start)
            records = _parse_records(body, start)
            block = self._header_block(self._source.offset)
        try:
            return self._member(start, envelope + block, block, records)
        except (ValueError, ArithmeticError, LookupError) as error:
            raise ArchiveDamaged(f"a header cannot be read: {error}", start) from error

    def content(self, member: Member) -> Iterator[memoryview]:
        """Yield a member's content, holes as zeros; to be read to its end before the next member."""
        if member.runs is None:
            yield from self._source.pieces(member.stored_bytes)
            return
        position = 0
        for offset, length in member.runs:
            yield from zeros(offset - position)
            yield from self._source.pieces(length)
            position = offset + length
        yield from zeros(member.size_bytes - position)

    def padding(self, member: Member) -> bytes:
        """Read and return what fills a member's content up to whole blocks."""
        return self._source.take(-member.stored_bytes % BLOCK_BYTES)

    def read_on(self) -> bool:
        """Go to the next block that is a sound header; tell whether there is one."""
        self._pushed_back = None
        try:
            self._source.take(-self._source.offset % BLOCK_BYTES)
            while not self._source.at_end():
                block = self._source.take(BLOCK_BYTES)
                if _is_sound(block):
                    self._pushed_back = block
                    return True
        except ArchiveDamaged:  # the file ends within a block: the first error stands
            pass
        return False

    def _header_block(self, start: int) -> bytes:
        if self._pushed_back is not None:
            block, self._pushed_back = self._pushed_back, None
        else:
            block = self._source.take(BLOCK_BYTES)
        if block != _ZERO_BLOCK and not _is_sound(block):
            raise ArchiveDamaged("a header does not match its check sum", start)
        return block

    def _extended_body(self, block: bytes, start: int) -> tuple[bytes, bytes]:
        try:
            length = _octal(block[124:136])
        except ValueError as error:
            raise ArchiveDamaged(f"an extended header cannot be read: {error}", start) from error
        if length > MAX_EXTENDED_BYTES:
            raise ArchiveDamaged(f"an extended header claims {length} bytes", start)
        padded = self._source.take(length + -length % BLOCK_BYTES)
        return padded[:length], block + padded

    def _member(self, start: int, envelope: bytes, block: bytes, records: Records) -> Member:
        plain = dict(records)
        flag = block[156:157]
        stored = int(plain[b"size"]) if b"size" in plain else _octal(block[124:136])
        runs, real_size = None, stored
        if b"GNU.sparse.name" in plain:
            real_size = int(plain[b"GNU.sparse.realsize"])
            encoded, runs = self._sparse_map(real_size, stored)
            envelope += encoded
            stored -= len(encoded)
            if sum(length for _, length in runs) != stored:
                raise ValueError(f"the sparse map does not add up to {stored} bytes")
        target = b""
        if flag in (HARD_LINK, SYMLINK):
            target = plain.get(b"linkpath") or _text(block[157:257])
        type_name = "repeat" if plain.get(b"comment") == REPEATED else _TYPE_NAMES[flag]
        return Member(start, envelope, _name(plain, block), type_name, real_size, stored, target, runs, block, records)

    def _sparse_map(self, size_bytes: int, stored_bytes: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        # The map is decimal lines; their count comes first. It cannot be longer than what is stored.
        encoded = bytearray()
        numbers: list[int] = []
        rest = b""
        while not numbers or len(numbers) < 1 + 2 * numbers[0]:
            if len(encoded) >= stored_bytes:
                raise ValueError("the sparse map is longer than the member")
            block = self._source.take(BLOCK_BYTES)
            encoded += block
            *lines, rest = (rest + block.rstrip(b"\0")).split(b"\n")
            numbers += map(int, lines)
        if rest or len(numbers) != 1 + 2 * numbers[0]:
            raise ValueError("the sparse map has more numbers than it says")
        return bytes(encoded), parse_runs(numbers[1:], size_bytes)


def _is_sound(block: bytes) -> bool:
    if block[257:265] != MAGIC:
        return False
    written = block[148:156]
    return written == b"%06o\0 " % (byte_sum(block) - sum(written) + 8 * 0x20)


def _parse_records(body: bytes, start: int) -> Records:
    records = []
    position = 0
    try:
        while position < len(body):
            space = body.index(b" ", position, position + 20)
            end = position + int(body[position:space])
            if end <= space or body[end - 1 : end] != b"\n":
                raise ValueError(f"record of {end - position} bytes")
            keyword, equals, value = body[space + 1 : end - 1].partition(b"=")
            if not equals:
                raise ValueError("record without '='")
            records.append((keyword, value))
            position = end
    except ValueError as error:
        raise ArchiveDamaged(f"an extended header cannot be read: {error}", start) from error
    return records


def _attributes(block: bytes, records: Records) -> Attributes:
    (_, mode, uid, gid, _, seconds, _, _, _, _, user, group, _, _, _) = USTAR.unpack(block)
    plain = dict(records)
    return Attributes(
        mode=_octal(mode),
        uid=int(plain[b"uid"]) if b"uid" in plain else _octal(uid),
        gid=int(plain[b"gid"]) if b"gid" in plain else _octal(gid),
        mtime_ns=_nanoseconds(plain[b"mtime"]) if b"mtime" in plain else _octal(seconds) * NANOSECONDS,
        user=plain.get(b"uname", _text(user)),
        group=plain.get(b"gname", _text(group)),
        xattrs=tuple(xattr for record in records for xattr in _xattr(*record)),
    )


def _xattr(keyword: bytes, value: bytes) -> Iterator[tuple[bytes, bytes]]:
    if keyword.startswith(b"SCHILY.xattr."):
        yield keyword[13:].replace(b"%3D", b"=").replace(b"%25", b"%"), value
    elif keyword == b"SCHILY.acl.access":
        yield ACCESS_XATTR, acl_from_text(value)
    elif keyword == b"SCHILY.acl.default":
        yield DEFAULT_XATTR, acl_from_text(value)


def _octal(digits: bytes) -> int:
    if digits[-1:] != b"\0":
        raise ValueError(f"not an octal number: {digits!r}")
    return int(digits[:-1], 8)


def _text(content: bytes) -> bytes:
    return content.partition(b"\0")[0]


def _name(plain: dict[bytes, bytes], block: bytes) -> bytes:
    path = plain.get(b"GNU.sparse.name") or plain.get(b"path")
    if path is None:
        path = _text(block[:100])
        if block[345]:
            path = _text(block[345:500]) + b"/" + path
    return path.rstrip(b"/")


def _nanoseconds(text: bytes) -> int:
    return int(Decimal(text.decode()) * NANOSECONDS)
