"""One share with real journal, store and catalogue below a folder, driven like an agent drives it."""

from pathlib import Path

from core.clock import Clock, SystemClock
from core.digest import ZERO_DIGEST, Digest
from core.durable import OS_FILES, FileLayer
from core.relpath import RelPath
from snapshots.anchors import AnchorLimits
from snapshots.chunk_store import ChunkStore
from snapshots.instants import Instants, Replays
from snapshots.ledger_db import SnapshotRow
from snapshots.rebuild import rebuild_catalogue
from snapshots.schema_db import LIVE
from snapshots.sealing import Sealer
from snapshots.share_fold import ANCHORED, ShareFold
from snapshots.tree import TreeView
from snapshots.turns import Turns
from snapshots.versions import PathVersion
from snapshots.view_db import CatalogueReader
from staging.changes import Change, ContentRef
from staging.chunk_format import ChunkKind, PackedChunk, address_of, item_parts, pack_chunk
from staging.chunking import BLOCK_BYTES, cut_blocks
from staging.frame_format import read_header, seal_frame
from staging.journal import Journal
from staging.protocol import Open
from staging.receiver import ShareReceiver
from staging.recipe_format import Piece, build_recipe

STORE_ID = bytes(range(16))
SHARE_ID = bytes(range(16, 32))


class ShareRig:
    """Everything that one share needs; `reopen` is a restart of the appliance."""

    def __init__(
        self,
        folder: Path,
        files: FileLayer = OS_FILES,
        limits: AnchorLimits = ANCHORED,
        clock: Clock | None = None,
        one_fold: Turns | None = None,
    ) -> None:
        self.folder, self.files, self.limits, self.one_fold = folder, files, limits, one_fold
        self.clock = clock or SystemClock()
        self.epoch = 1
        self._open()

    def _open(self) -> None:
        self.store = ChunkStore(self.folder / "packs", self.folder / "index.db", STORE_ID, self.files, self.clock)
        self.journal = Journal(self.folder / "journal", SHARE_ID, self.clock, self.files)
        if not (self.folder / "share.db").exists():
            rebuild_catalogue(self.folder / "share.db", self.journal, self.store, files=self.files)
        self.fold = ShareFold(self.folder / "share.db", "branch", self.journal, self.store, self.limits, self.one_fold)
        self.reader = CatalogueReader(self.folder / "share.db", "branch/share", self.store)
        self.instants = Instants(self.fold, self.reader, self.journal, self.clock, Replays())
        self.sealer = Sealer(self.journal, self.fold, self.reader, self.store, self.clock)
        self.receiver = ShareReceiver(SHARE_ID, "branch", self.journal, self.store, lambda: "session")
        self.receiver.open(Open(SHARE_ID, self.epoch))

    def close(self) -> None:
        self.reader.close()
        self.fold.close()
        self.journal.close()
        self.store.close()

    def reopen(self) -> None:
        self.close()
        self._open()

    def lose_catalogue(self) -> None:
        """End, lose the share's database, and start again."""
        self.close()
        for path in self.folder.glob("share.db*"):
            path.unlink()
        self._open()

    def put(self, data: bytes) -> ContentRef:
        """Cut a content, put its chunks, return what names it."""
        chunks: list[PackedChunk] = []
        pieces = []
        for run in cut_blocks([data[i : i + BLOCK_BYTES] for i in range(0, len(data), BLOCK_BYTES)]):
            if isinstance(run, int):
                pieces.append(Piece(run, ZERO_DIGEST))
                continue
            address = address_of(ChunkKind.DATA, run)
            chunks.append(pack_chunk(ChunkKind.DATA, bytes(run), address))
            pieces.append(Piece(len(run), address))
        content, nodes = build_recipe(pieces)
        body = b"".join(part for chunk in [*chunks, *nodes] for part in item_parts(chunk))
        self.receiver.chunks(body)
        return content

    def seal(self, paths: list[bytes], changes: list[Change]) -> bytes:
        """Return the frame that comes next."""
        position = self.journal.position
        return seal_frame(SHARE_ID, self.epoch, position.sequence + 1, position.hash, paths, changes)

    def send(self, paths: list[bytes], changes: list[Change]) -> int:
        """Send one frame and return the durable sequence."""
        return self.receiver.frames("session", self.seal(paths, changes)).durable_sequence

    def snapshot(self, label: str = "") -> SnapshotRow:
        """Take a snapshot."""
        return self.fold.take_snapshot(label, "command", self.clock.now_ns())

    def live(self) -> TreeView:
        """Return the live state, folded."""
        self.fold.fold_all()
        return self.reader.view(self.fold.sequence)

    def at(self, moment: str) -> TreeView:
        """Return the share as of a moment."""
        return self.instants.view(self.instants.resolve(moment))

    def versions(self, path: bytes, moment: str = "", limit: int = 10**6) -> list[PathVersion]:
        """Return all versions of a path up to a moment, asked for page by page; folded before."""
        self.fold.fold_all()
        found, below = self.versions_page(path, moment, LIVE, limit)
        while below is not None:
            page, following = self.versions_page(path, moment, below, limit)
            assert following is None or following < below
            found, below = found + page, following
        return found

    def versions_page(self, path: bytes, moment: str, below: int, limit: int) -> tuple[list[PathVersion], int | None]:
        """Return one page of the versions of a path, and below which change the next one begins."""
        with self.instants.versions(self.instants.resolve(moment)) as lister:
            return lister.page(RelPath(path), below, limit)


def kept_versions(rig: ShareRig, path: bytes) -> list[PathVersion]:
    """Return the versions of a path that snapshots or the live state show."""
    return [version for version in rig.versions(path) if version.snapshots or version.is_live]


def listing(view: TreeView) -> dict[bytes, tuple[object, ...]]:
    """Return what a view shows, in the model's form: kind, attributes, content, target, first name of the node."""
    found: dict[bytes, tuple[object, ...]] = {}
    identities: dict[int, bytes] = {}
    for path, node in view.walk(b""):  # type: ignore[arg-type]
        first = identities.setdefault(node.id, path)
        data = view.read(node.content, 0, node.size_bytes + 1)
        assert len(data) == node.size_bytes
        found[path] = (node.kind, node.attributes, data, node.target, first)
    return found


def frame_hash_of(frame: bytes) -> Digest:
    """Return a frame's own hash."""
    return read_header(frame).hash
