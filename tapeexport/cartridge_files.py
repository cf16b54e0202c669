"""The files of one cartridge in a directory, from the first byte to their final names.

Under its own name, `SK0001L9.tar`, an archive is always whole and synced; until then it is `.SK0001L9.tar.part`. One
that does not read back as it was written becomes `SK0001L9.tar.failed`, so that nobody relies on it.
"""

from pathlib import Path

from core.durable import FileLayer, replace_file
from core.errors import Refused
from tapeexport.cartridge_format import decode_head, index_copy_of
from tapeexport.medium_errors import medium_errors


class CartridgeExists(Refused):
    """A file already has the name that the cartridge would get."""


class CartridgeFiles:
    """Names, publishes and removes the files of the cartridge `barcode` in `folder`."""

    def __init__(self, folder: Path, barcode: str, files: FileLayer) -> None:
        self.tar = folder / f"{barcode}.tar"
        self.tar_part = folder / f".{barcode}.tar.part"
        self.index_part = folder / f".{barcode}.index.part"
        self.sums_part = folder / f".{barcode}.sums.part"
        self._index = index_copy_of(self.tar)
        self._checksum = folder / f"{barcode}.tar.sha256"
        self._checksum_part = folder / f"{barcode}.tar.sha256.new"  # as `replace_file` names it
        self._parts = (self.tar_part, self.index_part, self.sums_part, self._checksum_part)
        self._published: list[Path] = []
        self._folder = folder
        self._files = files

    def check_absent(self) -> None:
        """Raise `CartridgeExists` when any of the names is taken."""
        for path in (self.tar, self._index, self._checksum, *self._parts):
            if path.exists() or path.is_symlink():
                raise CartridgeExists(
                    f"{path} exists already, nothing was written",
                    remedy="move it away or export to another directory; the next export takes the next barcode",
                )

    def publish(self) -> None:
        """Give the synced archive and its index their names; durable on return."""
        with medium_errors(str(self.tar)):
            for part, path in ((self.index_part, self._index), (self.tar_part, self.tar)):
                self._files.rename(part, path)
                self._published.append(path)
            self._files.sync_directory(self._folder)

    def write_checksum(self, sha256: str) -> None:
        """Write the file for `sha256sum -c` that covers the whole archive."""
        with medium_errors(str(self._checksum)):
            replace_file(self._checksum, f"{sha256}  {self.tar.name}\n".encode(), self._files)

    def discard_parts(self) -> None:
        """Remove what is unfinished."""
        self._remove(*self._parts)

    def withdraw(self) -> None:
        """Remove all that was written but a published archive, which loses its name instead."""
        self.discard_parts()
        if self.tar in self._published:
            with medium_errors(str(self.tar)):
                self._files.rename(self.tar, self.tar.with_name(self.tar.name + ".failed"))
            self._remove(self._checksum)
        if self._index in self._published:
            self._remove(self._index)

    def remove_orphaned_index(self, set_id: str) -> None:
        """Remove an index without archive, when it is that of the media set."""
        if not self.tar.exists() and self._index.exists():
            with self._index.open("rb") as file:
                head = decode_head(file.readline())
            if head is not None and head.set == set_id:
                self._remove(self._index)

    def _remove(self, *paths: Path) -> None:
        with medium_errors(str(self._folder)):
            for path in paths:
                if path.exists():
                    self._files.unlink(path)
            self._files.sync_directory(self._folder)
