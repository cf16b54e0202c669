"""Paths inside a share: raw bytes, relative, without `.`, `..`, empty components or NUL.

The root itself is the empty path. Everything that comes from outside passes `parse_path` before it is used.
"""

import re
from typing import NewType

from core.errors import Refused

RelPath = NewType("RelPath", bytes)

ROOT = RelPath(b"")
MAX_NAME_BYTES = 255  # NAME_MAX of every Linux file system
MAX_PATH_BYTES = 65_536  # trees of 3000 levels with short names exist; PATH_MAX binds only whole-path system calls

_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


class PathRefused(Refused):
    """A path from outside is not a plain relative path."""


def parse_path(raw: bytes) -> RelPath:
    """Check bytes from outside and return them as a `RelPath`; raise `PathRefused` naming what is wrong."""
    if not raw:
        return ROOT
    if len(raw) > MAX_PATH_BYTES:
        raise PathRefused(f"path of {len(raw)} bytes is longer than {MAX_PATH_BYTES}", remedy="use a shorter path")
    if b"\0" in raw:
        raise PathRefused(f"path holds a NUL byte: {show_path(raw)}", remedy="remove the NUL byte")
    for name in raw.split(b"/"):
        if name in (b"", b".", b"..") or len(name) > MAX_NAME_BYTES:
            raise PathRefused(
                f"path is not a plain relative path: {show_path(raw[:300])}",
                remedy="give it relative to the share's root, without leading or double '/', '.' or '..', "
                f"names of at most {MAX_NAME_BYTES} bytes",
            )
    return RelPath(raw)


def check_name(name: bytes) -> bytes:
    """Check one path component from outside and return it; raise `PathRefused` when it is none."""
    if b"/" in name or not name:
        raise PathRefused(f"not a file name: {show_path(name)}", remedy="give one path component")
    return parse_path(name)


def join(folder: RelPath, name: bytes) -> RelPath:
    """Return the path of `name` in `folder`."""
    return RelPath(folder + b"/" + name) if folder else RelPath(name)


def split(path: RelPath) -> tuple[RelPath, bytes]:
    """Return (folder, name) of a path that is not the root."""
    folder, _, name = path.rpartition(b"/")
    return RelPath(folder), name


def is_within(path: RelPath, folder: RelPath) -> bool:
    """Tell whether `path` is `folder` or lies below it."""
    return not folder or path == folder or path.startswith(folder + b"/")


def show_path(path: bytes) -> str:
    r"""Return a path as text that `read_path` turns back: what is no printable UTF-8 becomes `\xNN`, `\` becomes `\x5c`."""
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:  # as nearly all are: listing a folder asks for every name in it
        return text
    return "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in text)


def read_path(text: str) -> bytes:
    """Return the bytes that `show_path` showed as `text`."""
    pieces = _ESCAPED.split(text)
    shown = (piece.encode("utf-8", "surrogateescape") for piece in pieces[::2])
    escaped = (bytes([int(piece, 16)]) for piece in pieces[1::2])
    return b"".join(part for pair in zip(shown, [*escaped, b""], strict=True) for part in pair)


def is_text(path: bytes) -> bool:
    """Tell whether the shown form of `path` is the path itself, so that no base64 form is needed beside it."""
    return show_path(path).encode("utf-8", "surrogateescape") == path


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
