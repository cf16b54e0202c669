"""Taking a share's files away: its journal first gets a name that no share can have, then its files go.

The rename is the one step that decides: before it the share is there, behind it the share is gone and what is left is removed
at once, at the next start, or before another share takes the name. Packs are not touched: collect frees what nothing names.
Catalogues of the share that a rebuild moved aside go with it: they hold the same names.
"""

from contextlib import suppress

from appliance.root import SET_ASIDE, Root
from core.durable import FileLayer, move_file, remove_file, remove_folder
from core.errors import StagekeeperError

_ID_CHARACTERS = 32  # the share's id in hexadecimal: a later share of the same name gets another one
_PER_SHARE = ("shares", "find")  # folders below db/ with one database for each share
_SUFFIXES = ("", "-wal", "-shm", ".rebuilt", ".rebuilt-wal", ".rebuilt-shm")


def take_away(root: Root, share: str, share_id: bytes, files: FileLayer) -> None:
    """Remove a share, of which nothing is open any more; durable on return."""
    branch, name = share.split("/")
    folder = root.journal / branch / name
    move_file(folder, folder.with_name(f".{name}.{share_id.hex()}"), files)
    finish_removal(root, share, files)


def finish_removal(root: Root, share: str, files: FileLayer) -> None:
    """Remove what is left of shares of this name that were taken away."""
    branch, name = share.split("/")
    for folder in sorted((root.journal / branch).glob(f".{name}.{'?' * _ID_CHARACTERS}")):
        for kind in _PER_SHARE:
            for suffix in _SUFFIXES:
                path = root.db / kind / branch / f"{name}.db{suffix}"
                if path.exists():
                    remove_file(path, files)
        remove_set_aside(root, share, files)
        remove_folder(folder, files)


def remove_set_aside(root: Root, share: str, files: FileLayer) -> None:
    """Remove a share's catalogues from what rebuilds moved aside."""
    branch, name = share.split("/")
    for suffix in _SUFFIXES:
        for path in sorted(root.db.glob(f"{SET_ASIDE}-*/shares/{branch}/{name}.db{suffix}")):
            remove_file(path, files)


def finish_removals(root: Root, files: FileLayer) -> None:
    """Remove what earlier removals left; a disk that refuses keeps it until the next start."""
    for folder in sorted(root.journal.glob("*/.*")):
        name = folder.name[1 : -_ID_CHARACTERS - 1]
        with suppress(StagekeeperError, OSError):
            finish_removal(root, f"{folder.parent.name}/{name}", files)
