"""POSIX ACLs between the kernel's binary form (a raw xattr) and the text that tar archives carry.

Binary (little endian): u32 version = 2, then per entry u16 tag, u16 permissions, u32 id. Text: `user::rw-,user:1000:r--,…`
with numeric ids only, so that a restore does not depend on the names known to the machine.
"""

import re
import struct

ACCESS_XATTR = b"system.posix_acl_access"
DEFAULT_XATTR = b"system.posix_acl_default"

_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF
_NAMES = {0x01: b"user", 0x02: b"user", 0x04: b"group", 0x08: b"group", 0x10: b"mask", 0x20: b"other"}
_NAMED_TAGS = frozenset({0x02, 0x08})
_TAGS = {b"user": (0x01, 0x02), b"group": (0x04, 0x08), b"mask": (0x10, 0x10), b"other": (0x20, 0x20)}
_PERMISSIONS = tuple(
    (b"r" if bits & 4 else b"-") + (b"w" if bits & 2 else b"-") + (b"x" if bits & 1 else b"-") for bits in range(8)
)
_LINE = re.compile(rb"(user|group|mask|other):(\d{0,10}):([r-][w-][x-])")


def acl_to_text(raw: bytes) -> bytes | None:
    """Return the text form, or None when `raw` is not an ACL that the text could express without loss."""
    if raw[:4] != _VERSION or len(raw) == 4 or (len(raw) - 4) % _ENTRY.size:
        return None
    entries = []
    for tag, permissions, owner in _ENTRY.iter_unpack(raw[4:]):
        named = tag in _NAMED_TAGS
        if tag not in _NAMES or permissions > 7 or named == (owner == _NO_ID):
            return None
        entries.append(b"%b:%b:%b" % (_NAMES[tag], b"%d" % owner if named else b"", _PERMISSIONS[permissions]))
    return b",".join(entries)


def acl_from_text(text: bytes) -> bytes:
    """Return the binary form; raise `ValueError` for anything that `acl_to_text` does not write."""
    parts = [_VERSION]
    for line in text.split(b","):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not an ACL entry: {line[:80]!r}")
        name, owner, permissions = match.groups()
        tag = _TAGS[name][bool(owner)]
        parts.append(_ENTRY.pack(tag, _PERMISSIONS.index(permissions), _id_of(owner)))
    return b"".join(parts)


def _id_of(owner: bytes) -> int:
    number = int(owner) if owner else _NO_ID
    if number > _NO_ID:
        raise ValueError(f"not an id: {owner!r}")
    return number
