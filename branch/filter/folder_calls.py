"""Calls about folders: open, list, close. A listing is what stood there when it was begun; offsets are places in it."""

import os
from collections.abc import Iterator

from branch.filter.answers import DONE, Answer, Handler
from branch.filter.fuse_format import (
    HANDLE_IN,
    NO_ENTRY,
    OPEN_OUT,
    READ_IN,
    Call,
    Request,
    entry_answer,
    listing_entry,
)
from branch.filter.nodes import Node, NodeTable

_UNKNOWN, _FOLDER, _FILE, _LINK = 0, 4, 8, 10
_OWN_NAMES = (b".", b"..")
_SMALLEST_ENTRY_BYTES = 32
_Entry = tuple[bytes, int, int]  # name, inode, kind


class FolderCalls:
    """Handles calls for open folders."""

    def __init__(self, table: NodeTable) -> None:
        """Reach folders by `table`."""
        self._table = table
        self._listings: dict[int, list[_Entry]] = {}

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by call."""
        return {
            Call.OPENDIR: self._opendir, Call.READDIR: self._readdir, Call.READDIRPLUS: self._readdirplus,
            Call.RELEASEDIR: self._releasedir,
        }  # fmt: skip

    def _opendir(self, request: Request) -> Answer:
        node = self._table.node(request.node)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        descriptor = os.open(b".", flags, dir_fd=self._table.folder(node))
        node.files.append(descriptor)
        return (OPEN_OUT.pack(descriptor, 0, 0),)

    def _releasedir(self, request: Request) -> Answer:
        descriptor, _, _ = HANDLE_IN.unpack_from(request.body)
        self._listings.pop(descriptor, None)
        self._table.node(request.node).files.remove(descriptor)
        os.close(descriptor)
        return DONE

    def _readdir(self, request: Request) -> Answer:
        descriptor, offset, size, *_ = READ_IN.unpack_from(request.body)
        room = size
        parts: list[bytes] = []
        for place, (name, inode, kind) in self._from(descriptor, offset, size):
            entry = listing_entry(inode, place + 1, kind, name)
            room -= len(entry)
            if room < 0:
                break
            parts.append(entry)
        return parts

    def _readdirplus(self, request: Request) -> Answer:
        descriptor, offset, size, *_ = READ_IN.unpack_from(request.body)
        node = self._table.node(request.node)
        folder = self._table.folder(node)
        room = size
        parts: list[bytes] = []
        for place, (name, inode, kind) in self._from(descriptor, offset, size):
            entry = listing_entry(inode, place + 1, kind, name)
            room -= len(entry) + len(NO_ENTRY)
            if room < 0:
                break
            parts += (self._state(node, folder, name), entry)
        return parts

    def _state(self, node: Node, folder: int, name: bytes) -> bytes:
        """Return what is told of an entry beside its name; its node then counts as looked up."""
        if name in _OWN_NAMES:
            return NO_ENTRY
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:  # removed since, or not for us: the kernel asks again when somebody wants to know
            return NO_ENTRY
        return entry_answer(self._table.seen(node, name, found).id, found)

    def _from(self, descriptor: int, offset: int, room: int) -> Iterator[tuple[int, _Entry]]:
        """Yield (offset, entry) from an offset on, as many as may find room."""
        listing = self._listings.get(descriptor)
        if listing is None or offset == 0:
            listing = self._listings[descriptor] = _list(descriptor)
        return enumerate(listing[offset : offset + room // _SMALLEST_ENTRY_BYTES + 1], start=offset)


def _list(descriptor: int) -> list[_Entry]:
    own = os.fstat(descriptor)
    entries = [(name, own.st_ino, _FOLDER) for name in _OWN_NAMES]
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.scandir(descriptor) as found:
        entries += [(os.fsencode(entry.name), entry.inode(), _kind(entry)) for entry in found]
    return entries


def _kind(entry: "os.DirEntry[str]") -> int:
    if entry.is_symlink():
        return _LINK
    if entry.is_dir(follow_symlinks=False):
        return _FOLDER
    return _FILE if entry.is_file(follow_symlinks=False) else _UNKNOWN
