"""The byte-exact capture of one share, in the thread that alone writes memory and outbox.

What was written while nothing was mounted is compared first; then the file system is mounted, what happened between is compared,
and, while all programs wait for a moment, the log becomes live. From there each change goes from the log into the outbox, in
order. When that cannot go on (the outbox is full, the contents of a waiting frame are lost) the log is live no longer: places
are marked and compared, as by a watcher, until it can be again. A clean end leaves the memory as the folder is.
"""

import logging
import threading
from dataclasses import dataclass

from branch.attributes import AttributeReader, Owners
from branch.filter.change_log import ChangeLog
from branch.filter.clean_end import settle_rows
from branch.filter.dirty_db import DirtyDb
from branch.filter.mounting import FilterUnavailable, MountBusy, is_mounted, mount_over, release
from branch.filter.nodes import NodeTable
from branch.filter.serving import Serving
from branch.filter.share_root import ShareRoot
from branch.filter.system_calls import sync_file_system
from branch.known import MIRROR_DONE
from branch.known_db import KnownDb
from branch.looking import Looking
from branch.marks import Marks
from branch.outbox import Outbox
from branch.root import RootGone
from branch.sender import Sender
from branch.share_state import Gap, ShareState
from branch.state_db import ShareRecord
from branch.surroundings import Surroundings
from core.database import DatabaseError
from core.errors import TryLater

_log = logging.getLogger("stagekeeper.agent")
_GATHER_SECONDS = 0.005  # that a change may wait for others before it goes into the outbox
_IDLE_SECONDS = 0.5  # also how late the times of a file follow its writes
_COMMIT_SECONDS = 1.0  # bounds what the memory takes again after a crash
_NOTE_SECONDS = 10.0  # how exactly the beginning of a gap is known after a crash
_ROUNDS = 20  # of looking while programs go on, then of looking while they wait
_STILL_SECONDS = 0.03  # files are read again when they changed within the clock's coarseness
_USED_SECONDS = 10.0  # that programs which use the mount still are served when the agent ends
_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Mount:
    """What belongs to one mount."""

    table: NodeTable
    log: ChangeLog
    serving: Serving
    thread: threading.Thread


class FilterCapture:
    """Captures one share; `run` belongs to a thread of its own."""

    def __init__(
        self, record: ShareRecord, around: Surroundings, root: ShareRoot, outbox: Outbox, known: KnownDb, sender: Sender,
        looking: Looking, state: ShareState, marks: Marks,
    ) -> None:  # fmt: skip
        """Capture nothing yet; what an earlier capture left unclean was voided (`void_what_differs`)."""
        self._record, self._around, self._root = record, around, root
        self._outbox, self._known, self._sender = outbox, known, sender
        self._looking, self._state, self._marks = looking, state, marks
        self._stopping = threading.Event()
        self._path = around.state.dirty(record.share_id, record.life)
        self._dirty = DirtyDb(self._path)
        self._commit_at = self._note_at = 0.0

    def run(self) -> None:
        """Capture until `stop`."""
        try:
            self._looking.await_line()
            while not self._stopping.is_set():
                if self._reconcile():
                    self._capture()
        finally:
            self._dirty.close()
            self._root.close()

    def stop(self) -> None:
        """End capturing soon."""
        self._stopping.set()
        self._looking.stop()

    # -- before the mount -----------------------------------------------------------------------------------------

    def _reconcile(self) -> bool:
        """Compare everything while nothing is mounted; return False when that was ended."""
        last, before = self._dirty.last(), self._looking.changes
        self._marks.mark_all()
        while self._looking.try_look() is None:
            if self._stopping.is_set():
                return False
        if last.until_ns:
            found = self._looking.changes - before
            self._state.gap = Gap(last.until_ns, self._around.clock.now_ns(), found, "nothing was mounted")
        sync_file_system(self._root.descriptor())
        return True

    def _capture(self) -> None:
        """Mount, capture until the end of the mount, and take it away."""
        try:
            mount = self._mount()
        except (FilterUnavailable, RootGone) as error:
            self._state.root(error.message, error.remedy)
            self._stopping.wait(_RETRY_SECONDS)
            return
        is_whole = False
        try:
            while mount.thread.is_alive() and not self._stopping.is_set():
                if self._catch_up(mount):
                    self._live(mount)
            is_whole = self._unmount(mount)
        finally:
            mount.serving.stop()
            mount.thread.join()
            if is_mounted(self._record.path):
                release(self._record.path, detach=True)
            mount.table.close()
            self._state.is_filtered = False
            self._end(is_whole)

    def _mount(self) -> _Mount:
        record, clock = self._record, self._around.clock
        root = self._root.descriptor()
        self._dirty.note(self._dirty.last().until_ns, is_clean=False)
        table = NodeTable(root)
        marking = DirtyDb(self._path)
        log = ChangeLog(table, AttributeReader(Owners()), self._marks, marking.mark, clock)
        serving = Serving(mount_over(record.path, root, record.name), table, log, marking.close)
        thread = threading.Thread(target=serving.run, name=f"serve {record.name}", daemon=True)
        thread.start()
        return _Mount(table, log, serving, thread)

    # -- catching up ----------------------------------------------------------------------------------------------

    def _catch_up(self, mount: _Mount) -> bool:
        """Compare until nothing differs, at last while programs wait; return whether the log is live then."""
        began, before = self._around.clock.now_ns(), self._looking.changes
        self._marks.mark_all()
        for _ in range(_ROUNDS):
            while self._looking.try_look() is None:
                if self._stopping.is_set() or not mount.thread.is_alive():
                    return False
            self._looking.do_what_was_asked()
            if self._marks.oldest_ns() is None:
                break
        with mount.log.gate:
            self._looking.is_hurried = True
            try:
                if not self._nothing_differs():
                    return False
            finally:
                self._looking.is_hurried = False
            mount.log.begin()
        self._state.is_filtered = True
        if self._state.passing:
            gap = Gap(began, self._around.clock.now_ns(), self._looking.changes - before, self._state.passing)
            self._state.gap = gap
        self._state.passing = ""
        return True

    def _nothing_differs(self) -> bool:
        for _ in range(_ROUNDS):
            if self._sender.needs_epoch or self._known.mirror() != MIRROR_DONE:
                return False
            if self._marks.oldest_ns() is None:
                return True
            if self._looking.try_look() is None:
                return False
            self._stopping.wait(_STILL_SECONDS)
        return False

    # -- live -----------------------------------------------------------------------------------------------------

    def _live(self, mount: _Mount) -> None:
        """Bring what is written down into the outbox until that cannot go on, or is to end."""
        log, clock = mount.log, self._around.clock
        state_at = clock.monotonic()
        while mount.thread.is_alive() and not self._stopping.is_set():
            log.wait(_IDLE_SECONDS, _GATHER_SECONDS)
            if clock.monotonic() >= state_at:
                state_at = clock.monotonic() + _IDLE_SECONDS
                with log.gate:
                    log.state_touched()
            reason = self._why_not_live(log)
            if reason or not self._seal(log):
                self._stop_live(mount, reason or "the agent's state cannot be written")
                return

    def _why_not_live(self, log: ChangeLog) -> str:
        if self._outbox.pending_bytes >= self._around.settings.outbox_limit_bytes:
            return "the outbox is full"
        reason = log.lost or self._sender.needs_epoch
        return reason or ("a barrier or a comparison was asked for" if self._looking.is_asked() else "")

    def _stop_live(self, mount: _Mount, reason: str) -> None:
        """Mark places from here on; what was written down until now is kept if it can be."""
        _log.warning("share %s: %s: places are marked and compared", self._record.name, reason)
        with mount.log.gate:
            mount.log.state_touched()
            is_kept = self._seal(mount.log)
            mount.log.end()
        if not is_kept:
            self._looking.recover()
        self._known.void_links()
        self._commit()
        self._state.passing, self._state.is_filtered = reason, False

    def _seal(self, log: ChangeLog) -> bool:
        """Bring everything into the outbox and the memory; return False when that could not be done whole."""
        batches, size_bytes = log.take()
        try:
            for batch in batches:
                paths, changes, steps = batch.finish()
                self._outbox.seal(paths, changes, steps, log.noticed_ns)
                for step in steps:
                    self._known.take(step)
            if batches and self._around.clock.monotonic() >= self._commit_at:
                self._commit()
        except (TryLater, DatabaseError) as error:  # no space: what is in the outbox is right, the rest is compared
            _log.warning("share %s: %s", self._record.name, error)
            return False
        log.note_sealed(len(batches), size_bytes)
        return True

    def _commit(self) -> None:
        clock = self._around.clock
        self._known.commit(self._outbox.end)
        self._outbox.note_committed(self._outbox.end)
        self._commit_at = clock.monotonic() + _COMMIT_SECONDS
        if clock.monotonic() >= self._note_at:
            self._dirty.note(clock.now_ns(), is_clean=False)
            self._note_at = clock.monotonic() + _NOTE_SECONDS

    # -- the end --------------------------------------------------------------------------------------------------

    def _unmount(self, mount: _Mount) -> bool:
        """Take the mount away, serving it meanwhile; return whether every change was written down to the end."""
        taking = threading.Thread(target=_take_away, args=(self._record.path,), daemon=True)
        taking.start()
        clock, log = self._around.clock, mount.log
        until = clock.monotonic() + _USED_SECONDS
        is_whole = log.is_live
        while mount.thread.is_alive() and clock.monotonic() < until:
            is_whole = self._seal(log) and is_whole
            mount.thread.join(_GATHER_SECONDS)
        is_ended = not mount.thread.is_alive()
        if not is_ended:
            _log.warning("share %s: programs use files of it still, and are left without", self._record.name)
            mount.serving.stop()
            mount.thread.join()
        taking.join()
        with log.gate:
            log.state_touched()
        return self._seal(log) and is_whole and is_ended and not log.lost and log.is_live

    def _end(self, is_whole: bool) -> None:
        """Keep the memory; after a whole capture it is that of the folder as it stands."""
        try:
            if is_whole:
                folders = self._root.folders()
                try:
                    sync_file_system(folders.root)
                    settle_rows(self._known, folders, self._around.clock)
                finally:
                    folders.close()
            else:
                self._known.void_links()
            self._commit()
            self._dirty.note(self._around.clock.now_ns(), is_clean=is_whole)
        except (OSError, TryLater, DatabaseError) as error:  # it counts as not ended cleanly, then
            _log.warning("share %s: %s", self._record.name, error)


def _take_away(path: bytes) -> None:
    try:
        release(path, detach=False)
    except MountBusy:
        release(path, detach=True)
