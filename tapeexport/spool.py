"""Lines that are collected while an archive is written and copied into it at its end; kept on disk, not in memory."""

from collections.abc import Iterator
from pathlib import Path

from core.durable import AppendFile, FileLayer
from tapeexport.medium_errors import medium_errors

_BATCH_BYTES = 256 * 1024
_BLOCK_BYTES = 1024 * 1024


class LineSpool:
    """A growing file of lines. Not durable before `sync` returned."""

    def __init__(self, path: Path, files: FileLayer) -> None:
        self.size_bytes = 0
        with medium_errors(str(path)):
            self._file = AppendFile(path, files)
        self._lines: list[bytes] = []
        self._waiting_bytes = 0

    def add(self, line: bytes) -> None:
        """Append a line, its newline included."""
        self._lines.append(line)
        self._waiting_bytes += len(line)
        self.size_bytes += len(line)
        if self._waiting_bytes >= _BATCH_BYTES:
            self._flush()

    def blocks(self) -> Iterator[bytes]:
        """Yield all that was added, in large pieces."""
        self._flush()
        for offset in range(0, self.size_bytes, _BLOCK_BYTES):
            yield self._file.read_at(offset, _BLOCK_BYTES)

    def sync(self) -> None:
        """Return when all lines are on the disk."""
        self._flush()
        with medium_errors(str(self._file.path)):
            self._file.sync()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _flush(self) -> None:
        if self._lines:
            with medium_errors(str(self._file.path)):
                self._file.append([b"".join(self._lines)])
            self._lines, self._waiting_bytes = [], 0
