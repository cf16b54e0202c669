"""The changes that a branch can report about a share, as typed values.

A change names paths by their index in the path table of its frame (`Frame.paths`), so that a thousand writes to one
file carry its name once. Contents are named by digest; the chunks and recipe nodes are put before. The layout on the
wire is in docs/formats/frame.md; every length and number is bounded here.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

MAX_SIZE = 2**62  # bytes in a file; leaves room for sums in signed 64-bit integers
MAX_WRITE_BYTES = 1024 * 1024  # one write change; larger writes are split, so that a frame stays small
MAX_XATTR_BYTES = 64 * 1024  # XATTR_SIZE_MAX of Linux
MAX_XATTRS = 4096
MAX_TARGET_BYTES = 4096  # PATH_MAX: longest symlink target Linux stores
MAX_LABEL_CHARACTERS = 200
MAX_GROUP = 65_536

PathIndex = Annotated[int, Meta(ge=0, le=2**24)]
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
OwnerId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Mode = Annotated[int, Meta(ge=0, le=0o7777)]
OwnerName = Annotated[bytes, Meta(max_length=255)]
Nanoseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
DigestBytes = Annotated[bytes, Meta(min_length=32, max_length=32)]
XattrName = Annotated[bytes, Meta(min_length=1, max_length=255)]
XattrValue = Annotated[bytes, Meta(max_length=MAX_XATTR_BYTES)]


class Kind(IntEnum):
    """What stands at a path."""

    FILE = 1
    FOLDER = 2
    SYMLINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6
    SOCKET = 7


class Attributes(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Everything about a node but its content. POSIX ACLs are the xattrs `system.posix_acl_access` and `…_default`."""

    mode: Mode
    uid: OwnerId
    gid: OwnerId
    mtime_ns: Nanoseconds
    user: OwnerName = b""
    group: OwnerName = b""
    xattrs: Annotated[tuple[tuple[XattrName, XattrValue], ...], Meta(max_length=MAX_XATTRS)] = ()


class Chunk(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """A content that is one chunk of `size` bytes."""

    digest: DigestBytes
    size: Size


class Recipe(Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """A content of `size` bytes whose recipe's root node has the address `digest`."""

    digest: DigestBytes
    size: Size


ContentRef = Chunk | Recipe | None
"""A file's content; None is the empty one."""


class Create(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """A new node at a free path (or, while mirroring, the node that already stands there brought to this state)."""

    path: PathIndex
    kind: Kind
    attributes: Attributes
    content: ContentRef = None
    target: Annotated[bytes, Meta(max_length=MAX_TARGET_BYTES)] = b""
    device: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Link(Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """A further name (hard link) of the node at `existing`."""

    path: PathIndex
    existing: PathIndex


class Write(Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """Bytes written at an offset; a gap behind the old end reads as zeros."""

    path: PathIndex
    offset: Size
    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_WRITE_BYTES)]


class Content(Struct, frozen=True, array_like=True, tag=4, forbid_unknown_fields=True):
    """A file's whole content, and optionally its attributes at the same instant."""

    path: PathIndex
    content: ContentRef
    attributes: Attributes | None = None


class Truncate(Struct, frozen=True, array_like=True, tag=5, forbid_unknown_fields=True):
    """A file cut or extended (with zeros) to `size`."""

    path: PathIndex
    size: Size


class Rename(Struct, frozen=True, array_like=True, tag=6, forbid_unknown_fields=True):
    """As rename(2): what stood at `target` loses that name; with `exchange` the two names swap."""

    path: PathIndex
    target: PathIndex
    exchange: bool = False


class Unlink(Struct, frozen=True, array_like=True, tag=7, forbid_unknown_fields=True):
    """A name removed; a folder goes with everything in it."""

    path: PathIndex


class SetAttributes(Struct, frozen=True, array_like=True, tag=8, forbid_unknown_fields=True):
    """All attributes of a node (the root's too)."""

    path: PathIndex
    attributes: Attributes


class Consistency(IntEnum):
    """What a barrier promises about the state before it."""

    CRASH = 1
    APPLICATION = 2


class Barrier(Struct, frozen=True, array_like=True, tag=9, forbid_unknown_fields=True):
    """A mark in the order of changes; the fold takes a snapshot exactly here."""

    label: Annotated[str, Meta(max_length=MAX_LABEL_CHARACTERS)]
    consistency: Consistency = Consistency.CRASH


class Mirror(Struct, frozen=True, array_like=True, tag=10, forbid_unknown_fields=True):
    """The begin or end of a baseline: between them creates state what is there; at the end the rest is removed."""

    begin: bool


SimpleChange = Create | Link | Write | Content | Truncate | Rename | Unlink | SetAttributes


class Group(Struct, frozen=True, array_like=True, tag=11, forbid_unknown_fields=True):
    """Changes that take effect as one: no snapshot and no moment falls between them. Counts as one change."""

    changes: Annotated[tuple[SimpleChange, ...], Meta(min_length=1, max_length=MAX_GROUP)]


Change = SimpleChange | Barrier | Mirror | Group
