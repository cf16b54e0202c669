"""Contents that were written into since a fence: writes kept as they came, laid over the old bytes when somebody reads them.

A stand-in takes the place of such a content until then. What reading makes goes into a file without a name beside the
catalogue (a little of it stays in memory), never into the store: it is gone with the last reader.
"""

import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.digest import Digest
from core.errors import Damaged, TryLater
from snapshots.chunk_store import ChunkStore
from snapshots.content_edit import edit_content
from snapshots.edits import Edits
from staging.changes import ContentRef, Recipe
from staging.chunk_format import Form, PackedChunk, unpack_chunk

_IN_MEMORY_BYTES = 4 * 1024 * 1024  # the small edits of one hour; what is larger goes to the file
_STAND_IN = b"\xff" * 24  # with the number behind it as long as a digest; never a BLAKE3 value in practice


@dataclass(frozen=True, slots=True)
class _Written:
    """A content under writes; `below` may be a stand-in itself."""

    below: ContentRef
    edits: Edits


@dataclass(frozen=True, slots=True)
class _Kept:
    """A made chunk: how it is packed, and where in the file."""

    form: Form
    size: int
    offset: int
    length: int


class WrittenContents:
    """What was written since a fence, and the store below it. Any thread may read once all is written."""

    def __init__(self, store: ChunkStore, folder: Path) -> None:
        """Begin with nothing written; the file is made in `folder`."""
        self._store = store
        self._lock = threading.RLock()
        self._written: list[_Written] = []
        self._real: dict[Digest, ContentRef] = {}
        self._kept: dict[Digest, _Kept] = {}
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115  closed with the last reader
        self._end = 0

    def stand_in(self, content: ContentRef, edits: Edits) -> Recipe:
        """Return what names `content` under `edits` from now on."""
        self._written.append(_Written(content, edits))
        return Recipe(_STAND_IN + (len(self._written) - 1).to_bytes(8, "big"), edits.size)

    def shown(self, content: ContentRef) -> ContentRef:
        """Return the content that a stand-in stands for; one that cannot be made stays, and says why when it is read."""
        try:
            return self._made(content)
        except Damaged:
            return content

    @property
    def made(self) -> int:
        """Return how many contents were made."""
        return len(self._real)

    def is_unmade(self, content: ContentRef) -> bool:
        """Tell whether a content that was shown is still a stand-in, because it cannot be made."""
        return content is not None and _is_stand_in(content.digest)

    def own_chunk(self, digest: Digest) -> bytes | memoryview | None:
        """Return a chunk or recipe node that was made here, None for what the store has."""
        return self._own(digest)

    def node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node's checked bytes; raise `Damaged` kinds."""
        if _is_stand_in(digest):  # it was shown as it is because making it failed
            self._made(Recipe(digest, 0))
        return self._own(digest) or self._store.node(digest)

    def data(self, digest: Digest) -> bytes | memoryview:
        """Return a data chunk's checked bytes; raise `Damaged` kinds."""
        return self._own(digest) or self._store.data(digest)

    def readable_data(self, digests: Iterable[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return the checked bytes of those data chunks that can be read."""
        asked = set(digests)
        own = {digest: data for digest in asked if (data := self._own(digest)) is not None}
        return own | self._store.readable_data(asked - own.keys())

    def _made(self, content: ContentRef) -> ContentRef:
        if content is None or not _is_stand_in(content.digest):
            return content
        with self._lock:
            digest = Digest(content.digest)
            if digest not in self._real:
                below, edits = self._flattened(digest)
                self._real[digest] = edit_content(below, edits, self.data, self.node, self._keep)
            return self._real[digest]

    def _flattened(self, digest: Digest) -> tuple[ContentRef, Edits]:
        """Return the newest real content below and everything that was written into it, oldest first, as one."""
        layers: list[Edits] = []
        content: ContentRef = Recipe(digest, 0)
        while content is not None and _is_stand_in(content.digest):
            if content.digest in self._real:
                content = self._real[Digest(content.digest)]
                continue
            written = self._written[int.from_bytes(content.digest[len(_STAND_IN) :], "big")]
            content = written.below
            layers.append(written.edits)
        whole = Edits(content.size if content is not None else 0)
        for edits in reversed(layers):
            whole.truncate(min(edits.kept, whole.size))
            for start, _, data in edits.extents():
                whole.write(start, bytes(data))
            whole.truncate(edits.size)
        return content, whole

    def _keep(self, chunk: PackedChunk) -> None:
        if chunk.digest in self._kept:
            return
        try:
            self._file.seek(self._end)
            self._file.write(chunk.data)
        except OSError as error:
            raise TryLater(f"no room to look into the past: {error.strerror}", remedy="free disk space") from error
        self._kept[chunk.digest] = _Kept(chunk.form, chunk.size, self._end, len(chunk.data))
        self._end += len(chunk.data)

    def _own(self, digest: Digest) -> bytes | memoryview | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        with self._lock:
            self._file.seek(kept.offset)
            packed = self._file.read(kept.length)
        return unpack_chunk(kept.form, kept.size, packed)


def _is_stand_in(digest: bytes) -> bool:
    return digest.startswith(_STAND_IN)
