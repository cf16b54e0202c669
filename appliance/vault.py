"""All shares of an appliance, open: each one's journal, receiver, fold and reader, over one chunk store.

Which shares exist is told by the folders below `journal/`; their ids stand in the journals' heads. A share is opened when it
is first asked for and stays open.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.credentials import Chance
from appliance.names import check_share, is_name
from appliance.removed_shares import finish_removal, finish_removals, take_away
from appliance.root import Root
from core.clock import Clock
from core.database import is_begun, translated
from core.durable import OS_FILES, FileLayer, make_directories
from core.errors import NotFound, Refused
from snapshots.burst import Burst
from snapshots.chunk_store import ChunkStore
from snapshots.control_format import SnapshotTaken
from snapshots.instants import Instants, Replays
from snapshots.rebuild import rebuild_catalogue
from snapshots.sealing import Sealer
from snapshots.share_fold import ShareFold
from snapshots.turns import Turns
from snapshots.view_db import CatalogueReader
from staging.journal import Journal
from staging.journal_format import JournalDamaged
from staging.journal_scan import read_share_id
from staging.receiver import ShareReceiver

MAX_SHARES = 256  # of one branch: each takes descriptors, memory and files of the appliance from its first session on


class ShareNotFound(NotFound):
    """No such share."""


class TooManyShares(Refused):
    """A branch has as many shares as one may have."""


@dataclass(frozen=True, slots=True)
class OpenShare:
    """The parts of one share."""

    name: str
    journal: Journal
    receiver: ShareReceiver
    fold: ShareFold
    reader: CatalogueReader
    sealer: Sealer
    instants: Instants

    def close(self) -> None:
        """Close all files of the share."""
        self.instants.close()
        self.reader.close()
        self.fold.close()
        self.journal.close()

    def retire(self, is_due: Callable[[], bool]) -> bool:
        """Close the share for good if `is_due` says so and no reader leases a state of it; return whether it is closed.

        Whoever still has it in hand gets `DatabaseClosed`, or cannot write.
        """
        if not self.fold.retire(is_due):
            return False
        self.instants.close()
        self.reader.close()
        self.journal.close()
        return True


class Vault:
    """The store and its shares. Any thread may call."""

    def __init__(self, root: Root, clock: Clock, chance: Chance, files: FileLayer = OS_FILES) -> None:
        """Open the store; shares are opened when they are asked for."""
        self.root, self.clock = root, clock
        self._chance, self._files = chance, files
        self._lock = threading.Lock()
        self._open: dict[str, OpenShare] = {}
        self.check_room: Callable[[OpenShare], None] = lambda share: None  # raises when a share may add nothing more
        self.note_burst: Callable[[str, Burst, SnapshotTaken], None] = lambda share, burst, taken: None
        self._replays = Replays()
        finish_removals(root, files)
        with translated(root.db / "index.db"):
            self.store = ChunkStore(root.packs, root.db / "index.db", root.store_id, files, clock)
        self._one_fold = Turns()  # what folds hold of contents is bounded for all shares together

    def names(self) -> list[str]:
        """Return all shares as `BRANCH/SHARE`, sorted; damaged ones too."""
        return sorted(
            f"{folder.parent.name}/{folder.name}"
            for folder in self.root.journal.glob("*/*")
            if is_name(folder.name) and folder.is_dir() and _holds_journal(folder)
        )

    def share(self, name: str) -> OpenShare:
        """Return a share; raise `ShareNotFound`."""
        with self._lock:
            found = self._open.get(name)
            if found is not None:
                return found
            folder = self._folder(name)
            share_id = read_share_id(folder) if folder.is_dir() else None
            if share_id is None:
                raise ShareNotFound(f"no share {name}", remedy="see `stagekeeper share list`")
            return self._open_share(name, share_id)

    def register(self, name: str, share_id: bytes) -> OpenShare:
        """Return a share, made with this id when it does not exist; raise `TooManyShares` when its branch has too many."""
        with self._lock:
            found = self._open.get(name)
            if found is not None:
                return found
            folder = self._folder(name)
            finish_removal(self.root, name, self._files)
            known = read_share_id(folder) if folder.is_dir() else None
            if known is None:
                _check_count(folder)
            return self._open_share(name, known or share_id)

    def remove(self, name: str, is_due: Callable[[], bool]) -> bool:
        """Remove a share with journal and catalogue if `is_due` says so and no reader has leased it; return whether it is gone.

        Its chunks stay in the packs until collect finds that nothing names them.
        """
        share = self.share(name)
        with self._lock:
            if not share.retire(is_due):
                return False
            del self._open[name]
            take_away(self.root, name, share.journal.share_id, self._files)
            return True

    def size_of_journals(self, branch: str) -> int:
        """Return the bytes that a branch's journals hold; those of a segment that is being trimmed count or do not."""
        total = 0
        for path in (self.root.journal / branch).glob("*/*.skj"):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def truncate_logs(self) -> None:
        """Write all WAL files back and cut them."""
        self.store.truncate_logs()
        for share in self.opened():
            share.fold.truncate_log()

    def opened(self) -> list[OpenShare]:
        """Return the shares that are open."""
        with self._lock:
            return list(self._open.values())

    def close(self) -> None:
        """Close everything; no other thread may be at work."""
        with self._lock:
            for share in self._open.values():
                share.close()
            self._open.clear()
            self.store.close()

    def _folder(self, name: str) -> Path:
        branch, share = check_share(name).split("/")
        return self.root.journal / branch / share

    def _open_share(self, name: str, share_id: bytes) -> OpenShare:
        branch, share = name.split("/")
        make_directories(self.root.db / "shares" / branch, self._files)
        catalogue = self.root.db / "shares" / branch / f"{share}.db"
        journal = Journal(self._folder(name), share_id, self.clock, self._files)
        try:
            with translated(catalogue):
                if not is_begun(catalogue):
                    rebuild_catalogue(catalogue, journal, self.store, files=self._files)
                fold = ShareFold(catalogue, branch, journal, self.store, one_fold=self._one_fold)
        except BaseException:
            journal.close()  # a share that cannot be opened is tried again and again
            raise
        fold.note_burst = lambda burst, taken: self.note_burst(name, burst, taken)
        reader = CatalogueReader(catalogue, name, self.store)
        sealer = Sealer(journal, fold, reader, self.store, self.clock)

        def room() -> None:
            opened = self._open.get(name)
            if opened is not None:
                self.check_room(opened)

        receiver = ShareReceiver(share_id, branch, journal, self.store, lambda: self._chance(16).hex(), room)
        instants = Instants(fold, reader, journal, self.clock, self._replays)
        self._open[name] = OpenShare(name, journal, receiver, fold, reader, sealer, instants)
        return self._open[name]


def _check_count(new: Path) -> None:
    branch = new.parent
    if branch.is_dir() and sum(is_name(folder.name) and folder != new for folder in branch.iterdir()) >= MAX_SHARES:
        raise TooManyShares(
            f"branch {branch.name} has {MAX_SHARES} shares already, and may have no more",
            remedy="protect a folder above several of them; deleted shares count until they are gone",
        )


def _holds_journal(folder: Path) -> bool:
    try:
        return read_share_id(folder) is not None
    except JournalDamaged:
        return True
