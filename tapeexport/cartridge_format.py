"""Encodes what a cartridge says about itself: label, lines of INDEX.jsonl and SHA256SUMS, RESTORE.txt.

Pure. Every line can be made again from the archive's own members, so that a reader proves a cartridge whole by making
them again and comparing. The layout is in docs/formats/cartridge.md.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.clock import NANOSECONDS, parse_time
from core.relpath import is_text, show_path
from snapshots.tree import Node
from staging.changes import Attributes, Kind
from tapeexport.pax_format import encode_global, encode_member, pad

VERSION = 1
LABEL_PREFIX = b".cartridge/LABEL."  # and the version: the name of the first header, inside its check sum
FOLDER = b".cartridge"
INDEX_NAME = b".cartridge/INDEX.jsonl"
SUMS_NAME = b".cartridge/SHA256SUMS"
RESTORE_NAME = b".cartridge/RESTORE.txt"

Sha256Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class SnapshotLabel(Struct, frozen=True, forbid_unknown_fields=True):
    """One snapshot on a media set, as shown in labels and reports."""

    share: str
    id: int
    sequence: int
    taken_at: str
    label: str


class Label(Struct, frozen=True):
    """The first thing on a cartridge: which one it is and what the media set holds."""

    set: str
    sequence: int
    barcode: str
    snapshots: tuple[SnapshotLabel, ...]
    created: str
    writer: str = "Stagekeeper"


class Span(Struct, frozen=True, array_like=True):
    """Where a member stands, headers and padding included: cartridge of the set, offset, length."""

    sequence: int
    offset: int
    length: int


class IndexHead(Struct, frozen=True):
    """The first line of an index; the envelope is the label's bytes."""

    version: int
    set: str
    barcode: str
    envelope_sha256: Sha256Hex


class IndexEntry(Struct, frozen=True, omit_defaults=True):
    """One member. `envelope_sha256` covers all of it but the content: headers, sparse map, padding."""

    path: str
    type: str
    envelope_sha256: Sha256Hex
    extents: tuple[Span, ...]
    size_bytes: int = 0
    sha256: str = ""
    target: str = ""
    path_base64: str = ""
    stored_as: str = ""


class IndexEnd(Struct, frozen=True):
    """The last line of an index."""

    end: bool
    members: int
    content_bytes: int


_NEEDS_ESCAPE = re.compile(rb"[\\\n\r]").search
_encoder = msgspec.json.Encoder()
_entry_decoder = msgspec.json.Decoder(IndexEntry)
_head_decoder = msgspec.json.Decoder(IndexHead)
_label_decoder = msgspec.json.Decoder(Label)


def encode_label(label: Label) -> bytes:
    """Return the global header that opens a cartridge."""
    records = [(b"GNU.volume.label", label.barcode.encode()), (b"comment", _encoder.encode(label))]
    return encode_global(LABEL_PREFIX + b"%d" % VERSION, records)


def label_version(name: bytes) -> int | None:
    """Return the format version that the name of the first header tells; None when it opens no cartridge."""
    version = name.removeprefix(LABEL_PREFIX)
    return int(version) if version != name and version.isdigit() else None


def decode_label(comment: bytes) -> Label:
    """Read the label from the global header's comment; raise `ValueError` (msgspec's errors are such) when it is none."""
    return _label_decoder.decode(comment)


def encode_line(line: IndexHead | IndexEntry | IndexEnd) -> bytes:
    """Return one line of the index."""
    return _encoder.encode(line) + b"\n"


def decode_entry(line: bytes) -> IndexEntry:
    """Read a member's line; raise `ValueError` (msgspec's errors are such) when it is none."""
    return _entry_decoder.decode(line)


def decode_head(line: bytes) -> IndexHead | None:
    """Read the first line of an index; None when it is none."""
    try:
        return _head_decoder.decode(line)
    except ValueError:
        return None


def head_of(label: Label, label_bytes: bytes) -> IndexHead:
    """Return the first line of the index of a cartridge that begins with `label_bytes`."""
    return IndexHead(VERSION, label.set, label.barcode, hashlib.sha256(label_bytes).hexdigest())


def entry_of(
    path: bytes,
    stored_as: bytes,
    type_name: str,
    envelope_sha256: str,
    span: Span,
    size_bytes: int,
    sha256: str,
    target: bytes,
) -> IndexEntry:
    """Return a member's entry; a path that is no plain text is given in base64 too."""
    shown, exact = _shown(path)
    return IndexEntry(
        shown,
        type_name,
        envelope_sha256,
        (span,),
        size_bytes,
        sha256,
        show_path(target) if target else "",
        exact,
        show_path(stored_as) if stored_as != path else "",
    )


def sums_line(sha256: str, name: bytes) -> bytes:
    """Return a line for `sha256sum -c`, which marks an escaped name by a backslash in front of the line."""
    if _NEEDS_ESCAPE(name):
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        return b"\\%b  %b\n" % (sha256.encode(), escaped)
    return b"%b  %b\n" % (sha256.encode(), name)


def own_member(label: Label, name: bytes, size_bytes: int) -> bytes:
    """Return the header of one of the cartridge's own files; it follows from label, name and size alone."""
    seconds = parse_time(label.created) // NANOSECONDS
    attributes = Attributes(mode=0o444, uid=0, gid=0, mtime_ns=seconds * NANOSECONDS)
    return encode_member(name, Node(id=0, kind=Kind.FILE, size_bytes=size_bytes, attributes=attributes))


def own_envelope_sha256(label: Label, name: bytes, size_bytes: int) -> str:
    """Return the hash of header and padding of one of the cartridge's own files."""
    return hashlib.sha256(own_member(label, name, size_bytes) + pad(size_bytes)).hexdigest()


def index_copy_of(cartridge: Path) -> Path:
    """Return where the copy of a cartridge file's index lies."""
    return cartridge.with_name(cartridge.name.removesuffix(".tar") + ".index.jsonl")


def restore_text(label: Label) -> bytes:
    """Return RESTORE.txt: how to get everything back without Stagekeeper."""
    archive = f"{label.barcode}.tar"
    held = "\n".join(
        f"  {snapshot.share}/  snapshot {snapshot.id} taken {snapshot.taken_at} {snapshot.label}".rstrip()
        for snapshot in label.snapshots
    )
    return _RESTORE_TEXT.format(label=label, archive=archive, held=held).encode()


def _shown(path: bytes) -> tuple[str, str]:
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and "\\" not in text and text:
        return text, ""
    return show_path(path), "" if is_text(path) else base64.b64encode(path).decode()


_RESTORE_TEXT = """\
Cartridge {label.barcode} (number {label.sequence} of media set {label.set}), written {label.created}

It holds:
{held}

It is a POSIX pax archive. To restore everything with GNU tar, as root, in an empty directory:

  tar --numeric-owner --acls --xattrs --xattrs-include='*' -xMpf {archive} </dev/null

Exit status 0 means that all came back; notes about implausible time stamps and the keyword 'hdrcharset' do no harm.
Any other status: something is missing, and tar names it. Then check the contents, in the same directory:

  sha256sum --quiet -c .cartridge/SHA256SUMS

and remove what belongs to the cartridge only:  rm -rf .cartridge .cartridge-deep-*

- Put LC_ALL=C in front of tar when the locale is neither C nor UTF-8; otherwise tar may rewrite names.
- .cartridge-deep-N are symbolic links by which tar reaches folders whose path is longer than Linux takes at once. Keep
  them until the sums are checked. bsdtar needs the option -P to follow them.
- .cartridge/INDEX.jsonl names every member with its place in the archive, so that one can be taken out of a large or
  damaged archive alone (offset and length are the last two numbers in "extents"):
  tail -c +$((offset + 1)) {archive} | head -c length | tar --numeric-owner -xpf -
"""
