"""The appliance's folder: what stands where, how it is made, and that it is really there before anything is written.

A marker with the store's id stands in the folder and in each part that may be a mount of its own. A marker that is
missing means a missing mount: nothing is opened, and an empty store never takes the place of the real one.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from appliance.settings import DEFAULT_FILE
from core.digest import digest_of
from core.durable import OS_FILES, FileLayer, make_directories, replace_file
from core.errors import NotFound, Refused, TryLater

STORE_ID_BYTES = 16
_MARKER_VERSION = 1
_ROOT_MARKER = "store-id"
_PART_MARKER = ".store-id"
_PARTS = ("journal", "packs", "db", "audit")  # what may stand on a disk of its own
_PLAIN = ("run", "tls")
SET_ASIDE = "before-rebuild"
"""Folders of this name, with a number, hold below db/ what a rebuild moved aside."""


class RootNotFound(NotFound):
    """The folder does not exist."""


class RootNotInitialised(NotFound):
    """The folder exists and holds no store (or the disk that holds it is not mounted)."""


class RootUnreadable(Refused):
    """The folder may not be read or written by this user."""


class RootOccupied(Refused):
    """A new appliance cannot be made where something stands already."""


class NotTheOwner(Refused):
    """Working directly on a folder is for its owner, not even for root: root's files would lock the service out."""


class PartMissing(TryLater):
    """A part of the store is not there: its mount is missing."""


class PartForeign(Refused):
    """A marker is of another store, or unreadable."""


@dataclass(frozen=True, slots=True)
class Root:
    """An appliance's folder that was checked, and the places in it."""

    path: Path
    store_id: bytes

    @property
    def settings_file(self) -> Path:
        """The settings (TOML)."""
        return self.path / "stagekeeper.toml"

    @property
    def run(self) -> Path:
        """Control socket and lock file."""
        return self.path / "run"

    @property
    def journal(self) -> Path:
        """Journals of all shares."""
        return self.path / "journal"

    @property
    def packs(self) -> Path:
        """The chunk store."""
        return self.path / "packs"

    @property
    def db(self) -> Path:
        """SQLite files."""
        return self.path / "db"

    @property
    def tls(self) -> Path:
        """The self-signed certificate and its key."""
        return self.path / "tls"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.path / "audit"

    @property
    def backup(self) -> Path:
        """The log of the appliance's own backups."""
        return self.path / "backup"

    @property
    def recovery_key_file(self) -> Path:
        """The public part of the recovery key."""
        return self.path / "recovery-key.pub"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that works on this folder."""
        return self.run / "lock"

    @property
    def control_socket(self) -> Path:
        """Where the serving process answers the command line."""
        return self.run / "control.sock"

    @property
    def parts(self) -> list[Path]:
        """What may stand on a disk of its own."""
        return [self.path / part for part in _PARTS]

    @property
    def owner(self) -> int:
        """The user id that owns the folder."""
        return self.path.stat().st_uid


def init_root(path: Path, store_id: bytes, files: FileLayer = OS_FILES) -> Root:
    """Make an appliance's folder; raise `RootOccupied` when anything stands there.

    The root's marker is not written yet (`finish_root` does), so that what a crash leaves behind is no store.
    """
    root = Root(path, store_id)
    try:
        if path.is_symlink() and not path.exists():
            raise RootOccupied(f"{path} is a link to nothing", remedy="make what it leads to, or name that")
        if path.exists() and not path.is_dir():
            raise RootOccupied(f"{path} is no folder", remedy="name a folder that is empty or does not exist")
        present = {entry.name for entry in path.iterdir()} if path.exists() else set()
        if present - {"lost+found"}:  # a fresh file system of its own
            raise RootOccupied(f"{path} is not empty", remedy="name a folder that is empty or does not exist")
        make_directories(path, files)
        path.chmod(0o700)
        for part in (*_PARTS, *_PLAIN):
            make_directories(path / part, files)
        for part in _PARTS:
            replace_file(path / part / _PART_MARKER, _encode_marker(store_id), files)
        replace_file(root.settings_file, DEFAULT_FILE.encode(), files)
    except PermissionError as error:
        raise _unreadable(path, error) from error
    return root


def finish_root(root: Root, files: FileLayer = OS_FILES) -> None:
    """Write the marker that makes the folder a store; durable on return."""
    replace_file(root.path / _ROOT_MARKER, _encode_marker(root.store_id), files)


def make_parts_again(path: Path, files: FileLayer = OS_FILES) -> None:
    """Make the parts that a rebuild fills when they were lost as a whole; packs and journals must be there.

    Only a rebuild, which somebody asked for, does this: an appliance that starts takes a missing part for a missing mount.
    """
    marker = path / _ROOT_MARKER
    if not marker.exists():
        return  # `open_root` tells what is wrong
    store_id = _decode_marker(marker, marker.read_bytes())
    for part in ("db", "audit"):
        if not (path / part / _PART_MARKER).exists():
            make_directories(path / part, files)
            replace_file(path / part / _PART_MARKER, _encode_marker(store_id), files)
    for part in _PLAIN:
        make_directories(path / part, files)


def open_root(path: Path) -> Root:
    """Check that the store is really there and return its places; raise what is missing, by name."""
    path = Path(os.path.abspath(path))
    try:
        path.stat()
        os.listdir(path)
        marker = (path / _ROOT_MARKER).read_bytes()
    except PermissionError as error:
        raise _unreadable(path, error) from error
    except NotADirectoryError as error:
        raise RootNotFound(f"{path} is no folder", remedy="name the appliance's folder with --root") from error
    except FileNotFoundError as error:
        if not path.exists():
            remedy = "name the folder with --root or STAGEKEEPER_ROOT, or make one with `stagekeeper init ROOT`"
            raise RootNotFound(f"{path} does not exist", remedy=remedy) from error
        raise RootNotInitialised(
            f"{path} holds no store: its marker {_ROOT_MARKER} is missing",
            remedy="mount the disk that holds the store; a new store is made with `stagekeeper init ROOT`",
        ) from error
    root = Root(path, _decode_marker(path / _ROOT_MARKER, marker))
    for part in _PARTS:
        _check_part(root, path / part)
    make_directories(root.run)  # it may be on a file system that is empty after a start
    if stat.S_IMODE(root.run.stat().st_mode) != 0o700:
        root.run.chmod(0o700)
    return root


def check_owner(root: Root, uid: int) -> None:
    """Raise `NotTheOwner` unless `uid` owns the folder: files that it made would not be the service's."""
    if uid != root.owner:
        raise NotTheOwner(
            f"{root.path} belongs to user {root.owner}, and this is user {uid}",
            remedy="run the command as that user, or start the service and let it do the work",
        )


def _check_part(root: Root, part: Path) -> None:
    try:
        marker = (part / _PART_MARKER).read_bytes()
    except PermissionError as error:
        raise _unreadable(part, error) from error
    except OSError as error:
        raise PartMissing(
            f"{part} is not the store's: its marker {_PART_MARKER} is missing",
            remedy="mount the disk that holds it, then try again; nothing was changed",
        ) from error
    if _decode_marker(part / _PART_MARKER, marker) != root.store_id:
        raise PartForeign(f"{part} belongs to another store", remedy="mount the disk that belongs to this store")


def _encode_marker(store_id: bytes) -> bytes:
    line = f"stagekeeper-store {_MARKER_VERSION} {store_id.hex()}"
    return f"{line} {digest_of(line.encode())[:8].hex()}\n".encode()


def _decode_marker(file: Path, marker: bytes) -> bytes:
    words = marker.decode("ascii", "replace").split()
    if len(words) == 4 and words[0] == "stagekeeper-store" and words[1].isdecimal():
        if int(words[1]) > _MARKER_VERSION:
            raise PartForeign(f"{file} was written by a newer release", remedy="upgrade the appliance")
        try:
            store_id = bytes.fromhex(words[2])
        except ValueError:
            store_id = b""
        if len(store_id) == STORE_ID_BYTES and marker == _encode_marker(store_id):
            return store_id
    raise PartForeign(f"{file} is no marker of a store", remedy="restore the file, or mount the right disk")


def _unreadable(path: Path, error: OSError) -> RootUnreadable:
    return RootUnreadable(
        f"{path} may not be used by this user: {error.strerror}",
        remedy="run the command as the user that owns the appliance's folder (or as root)",
    )
