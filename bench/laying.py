"""A share laid in this process, through chunks, frames, journal and fold, as an agent's changes are; nobody serves its root."""

import os
import sys
from pathlib import Path

from appliance.root import Root, open_root
from appliance.vault import Vault
from bench.measure import timed
from core.clock import NANOSECONDS, SystemClock
from core.digest import ZERO_DIGEST, Digest
from snapshots.ledger_db import SnapshotRow
from staging.changes import Attributes, Change, Chunk, Create, Kind, Mirror
from staging.chunk_format import ChunkKind, address_of, item_parts, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open

BIN = Path(sys.executable).parent
PLAIN = Attributes(0o644, 1000, 1000, 0)
FILES_A_FOLDER = 100
_FOLDERS_A_FRAME = 50


class EarlierClock(SystemClock):
    """The machine's clock, some days ago: what is written by it is that old."""

    def __init__(self, days: float) -> None:
        """Show the time of `days` days ago."""
        self._back_ns = int(days * 86_400 * NANOSECONDS)

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 in UTC, then."""
        return super().now_ns() - self._back_ns


def make_root(folder: Path) -> Root:
    """Make an appliance's folder by the installed command."""
    password = folder / "password"
    password.write_text("a long bench password\n")
    timed([str(BIN / "stagekeeper"), "init", str(folder / "root"), "--admin-password-file", str(password)])
    return open_root(folder / "root")


class LaidShare:
    """One share of a root, open in this process."""

    def __init__(self, root: Root, name: str, days_ago: float = 0.0) -> None:
        """Open the share, or make it; nobody else may have the root open."""
        self.vault = Vault(root, EarlierClock(days_ago), os.urandom)
        self._id = share_id_of(name)
        self.share = self.vault.register(name, self._id)
        self._session = self.share.receiver.open(Open(self._id, 1)).session

    def put(self, data: bytes, replaces: Digest = ZERO_DIGEST) -> Chunk:
        """Put one chunk and return what names it."""
        return self.put_all([data], replaces)[0]

    def put_all(self, contents: list[bytes], replaces: Digest = ZERO_DIGEST) -> list[Chunk]:
        """Put chunks of data and return what names each."""
        chunks = [pack_chunk(ChunkKind.DATA, data, address_of(ChunkKind.DATA, data), replaces) for data in contents]
        self.share.receiver.chunks(b"".join(part for chunk in chunks for part in item_parts(chunk)))
        return [Chunk(chunk.digest, chunk.size) for chunk in chunks]

    def send(self, paths: list[bytes], changes: list[Change]) -> None:
        """Send one frame; it is durable on return."""
        position = self.share.journal.position
        frame = seal_frame(self._id, 1, position.sequence + 1, Digest(position.hash), paths, changes)
        self.share.receiver.frames(self._session, frame)

    def lay_tree(self, files: int, contents_every: int = 0) -> None:
        """Lay a baseline of folders of 100 files and fold it; each `contents_every`th file has a content of its own."""
        self.send([b""], [Mirror(True)])
        folders = files // FILES_A_FOLDER
        for first in range(0, folders, _FOLDERS_A_FRAME):
            paths: list[bytes] = []
            changes: list[Change] = []
            for folder in range(first, min(first + _FOLDERS_A_FRAME, folders)):
                paths.append(b"d%05d" % folder)
                changes.append(Create(len(paths) - 1, Kind.FOLDER, PLAIN))
                for file in range(FILES_A_FOLDER):
                    paths.append(file_path(folder, file))
                    changes.append(Create(len(paths) - 1, Kind.FILE, PLAIN))
            if contents_every:
                self._fill(paths, changes, contents_every)
            self.send(paths, changes)
        self.send([b""], [Mirror(False)])
        self.share.fold.fold_all()

    def snapshot(self, label: str) -> SnapshotRow:
        """Fold everything and take a snapshot."""
        self.share.fold.fold_all()
        taken = self.share.fold.take_snapshot(label, "command", self.vault.clock.now_ns())
        self.share.fold.fold_all()
        return taken

    def close(self) -> None:
        """Close everything."""
        self.vault.close()

    def _fill(self, paths: list[bytes], changes: list[Change], every: int) -> None:
        filled = [at for at, change in enumerate(changes) if isinstance(change, Create) and change.kind is Kind.FILE][::every]
        for at, chunk in zip(filled, self.put_all([b"the content of %s\n" % paths[at] for at in filled]), strict=True):
            changes[at] = Create(at, Kind.FILE, PLAIN, chunk)


def share_id_of(name: str) -> bytes:
    """Return the id that a laid share has."""
    return name.encode().ljust(16, b".")[:16]


def file_path(folder: int, file: int) -> bytes:
    """Return the path of a file that `lay_tree` lays."""
    return b"d%05d/file %03d.txt" % (folder, file)
