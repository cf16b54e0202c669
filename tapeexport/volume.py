"""Where an archive goes: a cartridge file or a stream, written in large pieces beside the caller.

A volume counts its bytes, so that members know where they stand. Nothing is durable before `finish` returned. A
failure is final for the volume and raised by a later `append` or by `finish`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from core.durable import AppendFile, Buffer, FileLayer
from tapeexport.background import InOrder
from tapeexport.medium_errors import medium_errors

_BATCH_BYTES = 1024 * 1024  # larger writes are no faster
_WRITE_BACK_BYTES = 16 * 1024 * 1024
_FEW_BUFFERS = 64  # what the largest chunks and their headers need
_BATCHES_AHEAD = 4  # keeps the disk busy while the next batch is hashed


class Sink(Protocol):
    """Takes the bytes of a volume; called by one thread at a time."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append all bytes of all buffers."""

    def finish(self) -> None:
        """Return when all that was written is where it should be."""

    def close(self) -> None:
        """Let go of what is open; may be called twice."""


class FileSink:
    """A cartridge file; after `finish` its content is on the disk."""

    def __init__(self, path: Path, files: FileLayer) -> None:
        with medium_errors(str(path)):
            self._file = AppendFile(path, files)
            self._advised = open(path, "rb", buffering=0)  # noqa: SIM115 - closed in close()
        self._advised_bytes = 0

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append all bytes of all buffers."""
        with medium_errors(str(self._file.path)):
            self._file.append(buffers)
            fresh = self._file.size - self._advised_bytes
            if fresh >= _WRITE_BACK_BYTES:  # Linux begins to write such pages, so that `finish` has little left to wait for
                os.posix_fadvise(self._advised.fileno(), self._advised_bytes, fresh, os.POSIX_FADV_DONTNEED)
                self._advised_bytes += fresh

    def finish(self) -> None:
        """Return when the file's content is on the disk."""
        with medium_errors(str(self._file.path)):
            self._file.sync()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()
        self._advised.close()


class StreamSink:
    """Somebody else's stream; it is flushed, never closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Write all bytes of all buffers."""
        with medium_errors("the stream"):
            for buffer in buffers:
                rest = memoryview(buffer)
                while rest:  # an unbuffered stream may take less than it is given
                    rest = rest[self._stream.write(rest) :]

    def finish(self) -> None:
        """Hand over what the stream still holds back."""
        with medium_errors("the stream"):
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: the stream belongs to the caller."""


class Volume:
    """One cartridge while it is written: its number in the set and how many bytes it has."""

    def __init__(self, sequence: int, sink: Sink) -> None:
        self.sequence = sequence
        self.offset = 0
        self._sink = sink
        self._background = InOrder(_BATCHES_AHEAD)
        self._batch: list[Buffer] = []
        self._batch_bytes = 0

    def append(self, *buffers: Buffer) -> bool:
        """Take the buffers, which must not change any more; tell whether a batch was handed on."""
        length = sum(map(len, buffers))
        self.offset += length
        self._batch += buffers
        self._batch_bytes += length
        if self._batch_bytes < _BATCH_BYTES:
            return False
        self._hand_on()
        return True

    def finish(self) -> None:
        """Return when everything is where it should be (for a file: on the disk)."""
        self._hand_on()
        self._background.drain()
        self._sink.finish()

    def close(self) -> None:
        """Stop writing and let go of the sink; may be called twice, and after a failure."""
        self._background.close()
        self._sink.close()

    def _hand_on(self) -> None:
        if self._batch:
            # Many small buffers are joined: a copy costs less than handling each in a thread that competes for Python.
            batch = [b"".join(self._batch)] if len(self._batch) > _FEW_BUFFERS else self._batch
            self._background.submit(self._sink.write, batch)
            self._batch, self._batch_bytes = [], 0
