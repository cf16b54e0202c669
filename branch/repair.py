"""Sending contents once more that the appliance has lost: those a waiting frame names, and those it asks for.

What was put is kept for a time only unless a frame names it; a frame that waited longer needs its contents again. Of what was
named long ago records may have gone bad. All are read from the files, if those still have them.
"""

import os
import stat

from branch.contents import read_content
from branch.folders import OpenFolders
from branch.shipment import GROUP_BYTES
from branch.signature import NOTHING_EARLIER
from branch.uploader import LooseChunk, Uploader
from core.digest import Digest
from core.relpath import RelPath, split
from staging.changes import Content, ContentRef, Create
from staging.chunk_format import PackedChunk
from staging.frame_format import Frame
from staging.references import simple_changes

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _DirectSink:
    """Puts what is read at once."""

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader
        self._group: list[LooseChunk] = []
        self._nodes: list[PackedChunk] = []
        self._bytes = 0

    def chunk(self, digest: Digest, data: bytes | memoryview, replaces: Digest) -> None:
        self._group.append((digest, data, replaces))
        self._bytes += len(data)
        if self._bytes >= GROUP_BYTES:
            self._put_group()

    def nodes(self, nodes: list[PackedChunk]) -> None:
        self._nodes += nodes

    def check(self) -> None:
        """Go on: a request that fails ends the work."""

    def finish(self) -> None:
        self._put_group()
        self._uploader.put_missing(self._nodes)

    def _put_group(self) -> None:
        self._uploader.upload(self._group)
        self._group, self._bytes = [], 0


def put_again(frame: Frame, root: bytes, uploader: Uploader) -> bool:
    """Put all contents that a frame names, as far as the appliance lacks them; return whether all files still had them."""
    wanted: dict[RelPath, ContentRef] = {}
    for change in simple_changes(frame.changes):
        if isinstance(change, Create | Content) and change.content is not None:
            wanted[frame.paths[change.path]] = change.content
    try:
        folders = OpenFolders(root)
    except OSError:
        return False
    try:
        results = [_put_file(folders, path, uploader) == (content,) for path, content in wanted.items()]
        return all(results)
    finally:
        folders.close()


def put_file(root: bytes, path: RelPath, uploader: Uploader) -> bool:
    """Put what the appliance lacks of one file; return whether it could be read."""
    try:
        folders = OpenFolders(root)
    except OSError:
        return False
    try:
        return bool(_put_file(folders, path, uploader))
    finally:
        folders.close()


def _put_file(folders: OpenFolders, path: RelPath, uploader: Uploader) -> tuple[()] | tuple[ContentRef]:
    """Return the content that was put; nothing when there is no such file, or it cannot be read."""
    folder, name = split(path)
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folders.open(folder))
    except OSError:
        return ()
    sink = _DirectSink(uploader)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_dev != os.fstat(folders.root).st_dev:
            return ()
        content = read_content(descriptor, found, sink, NOTHING_EARLIER).content
    except OSError:
        return ()
    finally:
        os.close(descriptor)
    sink.finish()
    return (content,)
