"""Encodes tar headers: ustar blocks, pax records, the header of a member, the global header of a cartridge.

Pure: bytes out, no input or output. Promises that GNU tar 1.34 reads back every attribute of a `Node`, and that equal
arguments give equal bytes, so that a reader can tell harmed headers. The layout is in docs/formats/cartridge.md.
"""

import os
import struct
import unicodedata
import zlib
from functools import lru_cache

from core.clock import NANOSECONDS
from snapshots.tree import Node
from staging.changes import Kind
from tapeexport.acl_text import ACCESS_XATTR, DEFAULT_XATTR, acl_to_text
from tapeexport.sparse_map import SparseMap

BLOCK_BYTES = 512
RECORD_BYTES = 10240  # GNU tar's default record (-b 20): archives end at a multiple of it
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
USTAR = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
MAGIC = b"ustar\x0000"
SPARSE_FOLDER = b"GNUSparseFile.0"  # readers without sparse support put the map and the data there
REPEATED = b"repeat"

REGULAR, HARD_LINK, SYMLINK, EXTENDED, GLOBAL = b"0", b"1", b"2", b"x", b"g"
TYPE_FLAGS = {
    Kind.FILE: REGULAR,
    Kind.FOLDER: b"5",
    Kind.SYMLINK: SYMLINK,
    Kind.FIFO: b"6",
    Kind.CHARACTER_DEVICE: b"3",
    Kind.BLOCK_DEVICE: b"4",
}

_ALWAYS_EXPORTABLE = frozenset({Kind.FILE, Kind.FOLDER, Kind.FIFO})
_EXTENDED_NAME = b".cartridge/PaxHeader"  # what readers without pax support make of an extended header
_NAME_BYTES = 100
_PREFIX_BYTES = 155
_SHORT_BYTES = _NAME_BYTES - len(SPARSE_FOLDER) - 1  # fits into the name field even as a sparse file
_NO_DEVICE = b"0000000\0" * 2
_OWNER_NAME_BYTES = 31
MAX_OCTAL_7 = 0o7777777  # 2 097 151: ids and device numbers in a ustar field
MAX_OCTAL_11 = 0o77777777777  # 8 GiB - 1: sizes and seconds in a ustar field


def pad(length: int) -> bytes:
    """Return the zeros that fill `length` bytes up to whole blocks."""
    return bytes(-length % BLOCK_BYTES)


def byte_sum(block: bytes) -> int:
    """Return the sum of the 512 bytes of a block, the checksum of tar headers."""
    # Adler-32 holds the plain sum + 1 modulo 65521, exact for 256 bytes: four times faster than sum()
    return (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2


def pax_record(keyword: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEYWORD=VALUE` and a newline; the decimal length counts itself."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, keyword, value)


def format_mtime(mtime_ns: int) -> bytes:
    """Return seconds as a signed decimal: -5 s + 123 ns is `-4.999999877`."""
    seconds, fraction = divmod(abs(mtime_ns), NANOSECONDS)
    sign = b"-" if mtime_ns < 0 else b""
    return b"%b%d.%09d" % (sign, seconds, fraction) if fraction else b"%b%d" % (sign, seconds)


def encode_global(name: bytes, records: list[tuple[bytes, bytes]]) -> bytes:
    """Return a global header with its blocks."""
    body = b"".join(pax_record(keyword, value) for keyword, value in records)
    return _extended_header(GLOBAL, name, len(body)) + body + pad(len(body))


def encode_member(
    name: bytes, node: Node, *, link_to: bytes | None = None, sparse: SparseMap | None = None, note: bytes = b""
) -> bytes:
    """Return all that stands in front of a member's data: extended header, ustar header, sparse map.

    With `link_to` the member is a further name of that member, whatever its kind. `note` goes into the comment where
    no digest does.
    """
    attributes = node.attributes
    ids, owner, owner_records = _owner_fields(attributes.mode, attributes.uid, attributes.gid, attributes.user, attributes.group)
    flag, target, size = TYPE_FLAGS[node.kind], node.target, node.size_bytes
    if link_to is not None:
        flag, target = HARD_LINK, link_to
    comment = pax_record(b"comment", note) if note else b""
    if flag != REGULAR:
        size = 0
    elif node.content is not None:
        comment = b"83 comment=blake3:%b\n" % node.content.digest.hex().encode()
    records = owner_records
    seconds, fraction = divmod(attributes.mtime_ns, NANOSECONDS)
    if fraction and 10**9 <= seconds < 10**10:  # 2001 to 2286: the records of most members have this one length
        records += b"30 mtime=%d.%09d\n" % (seconds, fraction)
    elif fraction or not 0 <= seconds <= MAX_OCTAL_11:
        records += pax_record(b"mtime", format_mtime(attributes.mtime_ns))
    seconds = min(max(seconds, 0), MAX_OCTAL_11)
    header_name = name
    if sparse is not None:
        size = len(sparse.encoded) + sparse.data_bytes
        header_name = _sparse_name(name)
        records += _sparse_records(name, node.size_bytes)
    if size > MAX_OCTAL_11:
        records += pax_record(b"size", b"%d" % size)
        size = 0
    prefix = b""
    if len(name) > _SHORT_BYTES or len(target) > _NAME_BYTES:
        header_name, prefix, name_records = _long_names(header_name, target)
        records = name_records + records
    if attributes.xattrs and link_to is None:
        records += _xattr_records(attributes.xattrs)
    records += comment
    device = _device_fields(node.device) if node.device else _NO_DEVICE
    header = _ustar_block(header_name, ids, size, seconds, flag, target, owner + device, prefix)
    if records:
        header = b"%b%b%b%b" % (_extended_header(EXTENDED, _EXTENDED_NAME, len(records)), records, pad(len(records)), header)
    return header + sparse.encoded if sparse is not None else header


def device_numbers(node: Node) -> tuple[int, int]:
    """Return the major and minor number of a device node."""
    return os.major(node.device), os.minor(node.device)


def why_not_exportable(node: Node) -> str | None:
    """Return why a tar archive cannot hold the node, or None when it can."""
    if node.kind in _ALWAYS_EXPORTABLE:
        return None
    if node.kind is Kind.SOCKET:
        return "a tar archive cannot hold sockets; the program that listens makes it anew"
    if node.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) and max(device_numbers(node)) > MAX_OCTAL_7:
        return "the device number does not fit into a tar header"
    if node.kind is Kind.SYMLINK and not node.target:
        return "the symbolic link has no target"
    return None


def _ustar_block(
    name: bytes, ids: bytes, size: int, seconds: int, flag: bytes, link: bytes, owner_and_device: bytes, prefix: bytes
) -> bytes:
    block = b"%b%b%011o\0%011o\0        %b%b%b%b%b" % (
        name.ljust(_NAME_BYTES, b"\0"),
        ids,
        size,
        seconds,
        flag,
        link[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        MAGIC,
        owner_and_device,
        prefix.ljust(_PREFIX_BYTES + 12, b"\0"),  # and the 12 bytes behind it that fill the block
    )
    return b"%b%06o\0 %b" % (block[:148], byte_sum(block), block[156:])


@lru_cache(maxsize=4096)  # nearly all members of an archive have extended headers of a few lengths
def _extended_header(flag: bytes, name: bytes, length: int) -> bytes:
    ids, owner, _ = _owner_fields(0o644, 0, 0, b"", b"")
    return _ustar_block(name, ids, length, 0, flag, b"", owner + _NO_DEVICE, b"")


@lru_cache(maxsize=4096)  # a share has few owners
def _owner_fields(mode: int, uid: int, gid: int, user: bytes, group: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the fields for mode and ids, those for the names, and records for what does not fit into them."""
    records = []
    for keyword, number in ((b"uid", uid), (b"gid", gid)):
        if number > MAX_OCTAL_7:
            records.append(pax_record(keyword, b"%d" % number))
    for keyword, name in ((b"uname", user), (b"gname", group)):
        if len(name) > _OWNER_NAME_BYTES:
            records.append(pax_record(keyword, name))
    ids = b"%07o\0%07o\0%07o\0" % (mode, uid if uid <= MAX_OCTAL_7 else 0, gid if gid <= MAX_OCTAL_7 else 0)
    names = user[:_OWNER_NAME_BYTES].ljust(32, b"\0") + group[:_OWNER_NAME_BYTES].ljust(32, b"\0")
    return ids, names, b"".join(records)


def _device_fields(device: int) -> bytes:
    return b"%07o\0%07o\0" % (os.major(device), os.minor(device))


def _long_names(name: bytes, target: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the fields for a name and its prefix, and records for what does not fit into them."""
    # The ustar fields are taken as they are by every reader in every locale, so a pax record is the last resort.
    short_name, prefix, records = name, b"", b""
    if len(name) > _NAME_BYTES:
        cut = name.find(b"/", max(1, len(name) - _NAME_BYTES - 1), min(_PREFIX_BYTES + 1, len(name) - 1))
        if cut > 0:
            prefix, short_name = name[:cut], name[cut + 1 :]
        else:
            short_name = name[:_NAME_BYTES].rstrip(b"/")
            records = _text_record(b"path", name)
    if len(target) > _NAME_BYTES:
        records += _text_record(b"linkpath", target)
    return short_name, prefix, records


def _text_record(keyword: bytes, name: bytes) -> bytes:
    # Without hdrcharset=BINARY bsdtar warns of names that are not UTF-8 and turns NFD into NFC; with it GNU tar prints
    # one harmless warning, so it is set only for such names.
    record = pax_record(keyword, name)
    try:
        is_plain = name.isascii() or unicodedata.is_normalized("NFC", name.decode())
    except UnicodeDecodeError:
        is_plain = False
    return record if is_plain else b"21 hdrcharset=BINARY\n" + record


def _sparse_name(name: bytes) -> bytes:
    folder, slash, base = name.rpartition(b"/")
    return b"%b%b%b/%b" % (folder, slash, SPARSE_FOLDER, base)


def _sparse_records(name: bytes, size_bytes: int) -> bytes:
    real_name = _text_record(b"GNU.sparse.name", name)
    real_size = pax_record(b"GNU.sparse.realsize", b"%d" % size_bytes)
    return b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n" + real_name + real_size


def _xattr_records(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    records = []
    for name, value in xattrs:
        text = acl_to_text(value) if name in (ACCESS_XATTR, DEFAULT_XATTR) else None
        if text is not None:
            records.append(pax_record(b"SCHILY.acl.access" if name == ACCESS_XATTR else b"SCHILY.acl.default", text))
        else:
            escaped = name.replace(b"%", b"%25").replace(b"=", b"%3D")
            records.append(pax_record(b"SCHILY.xattr." + escaped, value))
    return b"".join(records)
