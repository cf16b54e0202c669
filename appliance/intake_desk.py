"""The agents' side of the appliance: enrolment, sessions, frames, chunks. Implements `web.machine_operations.Intake`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from appliance.ballast import Ballast, no_room
from appliance.branches import Branches
from appliance.comparing import compare
from appliance.enrolment import EnrolmentDesk
from appliance.mending import Mending
from appliance.names import check_name
from appliance.removals import check_not_deleted
from appliance.rows import snapshot_of
from appliance.share_worker import ShareWorker
from appliance.vault import OpenShare, ShareNotFound, Vault
from core.database import DatabaseRefused, DatabaseUnavailable
from core.durable import NoSpace, WriteFailed
from core.errors import Refused, Stopped
from staging.protocol import CONTENTS_TASK, Open, Task, Tasks
from staging.receiver import POLL_SECONDS
from web.share_values import Snapshot

_LOG = logging.getLogger("stagekeeper.intake")
_Form = TypeVar("_Form")
_encode = msgspec.json.Encoder().encode


class MessageUnreadable(Refused):
    """A message of an agent does not have the form that the protocol gives it."""


class ShareUnknown(Refused):
    """An agent talks about a share that was never opened here."""


class ShareStopped(Stopped):
    """The appliance takes no changes of a share until it was started again."""


class EnrollRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent sends to enrol."""

    token: str
    host: str = ""


class BarrierAnswer(msgspec.Struct, frozen=True):
    """What became of a barrier: without a snapshot it is not folded yet, or none stands there."""

    folded_sequence: int
    snapshot: Snapshot | None


class IntakeDesk:
    """The operations of agents."""

    def __init__(
        self, vault: Vault, worker: ShareWorker, branches: Branches, enrolment: EnrolmentDesk, ballast: Ballast, mending: Mending
    ) -> None:
        """Bind the parts."""
        self._vault, self._worker, self._branches, self._enrolment = vault, worker, branches, enrolment
        self._ballast, self._mending = ballast, mending

    def enroll(self, body: bytes, address: str) -> bytes:
        """Trade a one-time code for the branch's credential."""
        request = _decode(body, EnrollRequest)
        with _for_branches():
            enrolled = self._enrolment.enroll(request.token, address)
        return _encode({"branch": enrolled.branch, "token": enrolled.token})

    def authenticate(self, token: str, address: str) -> str:
        """Return the branch's name; raise for an unknown or revoked one."""
        return self._branches.authenticate(token)

    def open(self, branch: str, share: str, body: bytes) -> bytes:
        """Begin a session; a share that is opened for the first time comes to exist."""
        message = _decode(body, Open)
        name = f"{branch}/{check_name('share', share)}"
        with _for_branches():
            try:
                opened = self._vault.share(name)
            except ShareNotFound:
                if message.epoch != 1:
                    raise _unknown(name) from None
                self._ballast.check_room(0)
                opened = self._vault.register(name, message.share_id)
            check_not_deleted(opened)
            return _encode(opened.receiver.open(message))

    def frames(self, branch: str, share: str, session: str, body: bytes) -> bytes:
        """Take frames; durable on return."""
        self._ballast.check_room(len(body))
        with _for_branches():
            opened = self._share(branch, share)
            try:
                return _encode(opened.receiver.frames(session, body))
            finally:
                self._worker.notify(opened.name)

    def missing(self, branch: str, share: str, body: bytes) -> bytes:
        """Answer which chunks should be put."""
        with _for_branches():
            return self._share(branch, share).receiver.missing(body)

    def chunks(self, branch: str, share: str, session: str, body: bytes) -> bytes:
        """Keep chunks; durable on return."""
        self._ballast.check_room(len(body))
        with _for_branches():
            self._share(branch, share).receiver.chunks(body)
        return b"{}"

    def barrier(self, branch: str, share: str, sequence: int) -> bytes:
        """Return how far the share is folded, and the snapshot that its agent asked for at a sequence, if it is there."""
        with _for_branches():
            opened = self._share(branch, share)
            folded = opened.fold.sequence  # asked first: what is folded by then is found
            row = opened.reader.ledger.barrier(sequence)
        return _encode(BarrierAnswer(folded, snapshot_of(row, max(folded, row.sequence)) if row is not None else None))

    def compare(self, branch: str, share: str, body: bytes) -> bytes:
        """Answer which folders of the branch's copy are different here."""
        with _for_branches():
            return compare(self._share(branch, share), body)

    def tasks(self, branch: str, share: str) -> bytes:
        """Return what the share's agent is to do, and when to ask again."""
        with _for_branches():
            wanted = self._mending.files(self._share(branch, share).reader)
        return _encode(Tasks([Task(CONTENTS_TASK, path) for path in wanted], POLL_SECONDS))

    def _share(self, branch: str, share: str) -> OpenShare:
        name = f"{branch}/{check_name('share', share)}"
        try:
            opened = self._vault.share(name)
        except ShareNotFound:
            raise _unknown(name) from None
        check_not_deleted(opened)
        return opened


@contextmanager
def _for_branches() -> Iterator[None]:
    """Tell a branch that nothing can be written without the appliance's own places; the log here has them."""
    try:
        yield
    except (NoSpace, DatabaseUnavailable, DatabaseRefused) as error:
        _LOG.warning("no space for what a branch sends: %s", error.message)
        raise no_room() from error
    except WriteFailed as error:
        _LOG.error("what a branch sends cannot be written: %s", error.message)
        raise ShareStopped(
            "the appliance cannot write this share's changes: its disk failed",
            remedy="changes are kept on the branch; the appliance's log names the file, its runbook what to do",
        ) from error


def _unknown(name: str) -> ShareUnknown:
    return ShareUnknown(f"share {name} is not known here", remedy="open a session first; protect the folder with the agent")


def _decode(body: bytes, form: type[_Form]) -> _Form:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageUnreadable(f"a message cannot be read: {error}", remedy="upgrade the agent or the appliance") from error
