"""The appliance's end of a share: sessions, frames into the journal, chunks into the store.

A frame is acknowledged when it is durable in the journal and every content that it names is durable in the store. Bytes
are checked (length, hash, every bound, every path) before anything is kept.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from core.digest import Digest
from staging.chunk_format import ChunkKind, PackedChunk, decode_keys, encode_keys, read_items
from staging.frame_format import FrameHeader, check_frame, read_header, unpack_frame
from staging.journal import Journal
from staging.protocol import (
    Acknowledged,
    ChangedRepeat,
    Open,
    Opened,
    PeerRefused,
    Position,
    SequenceForked,
    TargetSession,
    Verdict,
)
from staging.references import adds_data, checked_references

POLL_SECONDS = 30.0
MAX_KEYS = 100_000  # one question of `missing`: 3.3 MB

Key = tuple[ChunkKind, Digest]


class ChunkMissing(PeerRefused):
    """A frame names contents that this branch has not put and does not hold."""


class SizeWrong(PeerRefused):
    """A frame claims another size for a content than it has."""


class ShareMismatch(PeerRefused):
    """The agent means another share of the same name."""


class TooManyKeys(PeerRefused):
    """A question is larger than the limit."""


class ChunkIntake(Protocol):
    """What the receiver asks of the store; `domain` is the branch's dedup domain."""

    def missing(self, domain: str, keys: Iterable[Key]) -> list[Key]:
        """Return those keys that the domain does not hold."""

    def put(self, domain: str, chunks: Iterable[PackedChunk]) -> None:
        """Check the chunks against their addresses and make them durable; raise `ChunkDamaged` or `ChunkMissing`."""

    def sizes(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Return the lengths of stored contents: of a data chunk, or of everything below a recipe node."""

    def gate(self) -> AbstractContextManager[None]:
        """Enter while a frame's references are checked and its journal record is written."""


class ShareReceiver:
    """One share's intake. Any number of threads may call; frames of one session come one request after the other."""

    def __init__(
        self,
        share_id: bytes,
        domain: str,
        journal: Journal,
        store: ChunkIntake,
        new_session: Callable[[], str],
        room: Callable[[], None] = lambda: None,
    ) -> None:
        """Wire the receiver; `new_session` gives unguessable session names, `room` raises when nothing more may be added."""
        self._room = room
        self.share_id, self._domain = share_id, domain
        self._journal, self._store, self._new_session = journal, store, new_session
        self._lock = threading.Lock()
        self._session = TargetSession()

    def open(self, message: Open) -> Opened:
        """Begin a session, ending any older one of this share."""
        if message.share_id != self.share_id:
            raise ShareMismatch(
                "this share belongs to another life of the agent",
                remedy="on the branch: unprotect it, then protect the folder under a name that was not used yet",
            )
        with self._lock:
            session = self._new_session()
            self._session.receive_open(message, self._journal.position, session)
            ticket = self._journal.ticket
        self._journal.sync(ticket)
        durable = self._journal.durable
        return Opened(session, message.epoch, durable.sequence, durable.hash, POLL_SECONDS)

    def frames(self, session: str, body: bytes) -> Acknowledged:
        """Take frames in order; return when they are durable. Whole frames before a refused one stay."""
        try:
            with self._lock:
                self._session.check_session(session)
                for frame in _split_frames(body):
                    self._take(session, frame)
        finally:
            self._journal.sync(self._journal.ticket)
        return Acknowledged(self._journal.durable.sequence)

    def missing(self, body: bytes) -> bytes:
        """Answer which of the asked chunks the branch should put."""
        keys = decode_keys(body)
        if len(keys) > MAX_KEYS:
            raise TooManyKeys(f"{len(keys)} addresses in one question", remedy=f"ask for at most {MAX_KEYS}", keys=MAX_KEYS)
        return encode_keys(self._store.missing(self._domain, keys))

    def chunks(self, body: bytes) -> None:
        """Keep the chunks of a put body; durable on return."""
        self._room()
        self._store.put(self._domain, read_items(body))

    def _take(self, session: str, frame: memoryview) -> None:
        header = read_header(frame)
        position = self._journal.position
        verdict = self._session.receive_frame(header, position, session)
        if verdict is Verdict.REPEAT:
            self._check_repeat(header)
            return
        check_frame(frame, self.share_id, position.hash)
        content = unpack_frame(frame, header)
        named = checked_references(content)
        if adds_data(content):
            self._room()
        with self._store.gate():
            keys = [(kind, digest) for kind, digest, _ in named]
            absent = self._store.missing(self._domain, keys)
            if absent:
                shown = ", ".join(digest.hex()[:16] for _, digest in absent[:3])
                raise ChunkMissing(
                    f"frame {header.first_sequence} names {len(absent)} contents that were not put ({shown} …)",
                    remedy="put them, then send the frame again",
                    sequence=header.first_sequence,
                    missing=[f"{kind.value}:{digest.hex()}" for kind, digest in absent[:1000]],
                )
            sizes = self._store.sizes(keys)
            for kind, digest, size in named:
                if sizes[kind, digest] != size:
                    raise SizeWrong(
                        f"frame {header.first_sequence} gives the content {digest.hex()[:16]} a wrong size, {size}",
                        remedy="stop; the agent is defective",
                        sequence=header.first_sequence,
                    )
            self._journal.append_frame(frame, header)

    def _check_repeat(self, header: FrameHeader) -> None:
        if Position(header.epoch, header.last_sequence, header.hash) == self._journal.position:
            return  # the last one, whose segment a purge may have taken
        known = self._journal.hash_of(header.first_sequence)
        if known is None:
            raise SequenceForked(
                f"no frame of this share begins at {header.first_sequence}",
                remedy="stop; this agent was restored from an old image or runs twice",
                sequence=self._journal.position.sequence + 1,
            )
        if known != header.hash:
            raise ChangedRepeat(
                f"frame {header.first_sequence} was acknowledged with other bytes",
                remedy="stop; this agent was restored from an old image or runs twice",
                sequence=self._journal.position.sequence + 1,
            )


def _split_frames(body: bytes) -> Iterable[memoryview]:
    view = memoryview(body)
    offset = 0
    while offset < len(view):
        header = read_header(view, offset)
        yield view[offset : offset + header.frame_bytes]
        offset += header.frame_bytes
