"""Lines of the file pages: entries and versions as a person reads them. Pure: values in, words and addresses out."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import Refused
from core.relpath import ROOT, RelPath, join, parse_path, read_path, show_path
from web.addresses import download_address, folder_address, versions_address
from web.share_values import Entry, Snapshot, Version
from web.words import Crowds, When, crowds_of, size_words, time_of, when

KEPT_SHOWN = 4  # moments named beside a version; the others are counted

_KIND_WORDS = {
    "folder": "folder",
    "symlink": "link",
    "fifo": "pipe",
    "socket": "socket",
    "character-device": "device",
    "block-device": "device",
}


@dataclass(frozen=True, slots=True)
class Crumb:
    """One step of the way down to a folder."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class FolderRow:
    """One line of a folder. Without an address there is nothing to open."""

    name: str
    folder: bool
    size: str
    changed: When
    address: str
    download: str
    target: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A moment at which a version was kept."""

    words: str
    exact: str
    label: str
    address: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a file. `note` says what is particular about it, in a few words.

    `beside` tells it from another version of the same second.
    """

    when: When
    beside: str
    size: str
    current: bool
    deleted: bool
    note: str
    then_called: str
    kept: tuple[Kept, ...]
    more_kept: int
    download: str
    between: str  # the folder as it was then, where only the journal knows the version


def breadcrumb(share: str, at: str, path: RelPath) -> list[Crumb]:
    """Return the way from the share's root to `path`."""
    crumbs = [Crumb(share.partition("/")[2], folder_address(share, at, ROOT))]
    below = ROOT
    for name in path.split(b"/") if path else []:
        below = join(below, name)
        crumbs.append(Crumb(show_path(name), folder_address(share, at, below)))
    return crumbs


def entry_name(entry: Entry) -> bytes:
    """Return the bytes of an entry's name."""
    if entry.name_base64 is not None:
        try:
            return base64.b64decode(entry.name_base64)
        except binascii.Error:  # not ours to judge here: the shown form can be turned back as well
            pass
    return read_path(entry.name)


def folder_rows(share: str, at: str, path: RelPath, entries: Sequence[Entry], now_ns: int) -> list[FolderRow]:
    """Return the lines of a folder."""
    return [_folder_row(share, at, path, entry, now_ns) for entry in entries]


def version_rows(
    share: str, path: RelPath, versions: Sequence[Version], snapshots: Sequence[Snapshot], now_ns: int,
    *, is_newest: bool = True, is_oldest: bool = True,
) -> list[VersionRow]:  # fmt: skip
    """Return the lines of a file's history, newest first: all of it, or a page that is perhaps not the newest or oldest."""
    by_id = {snapshot.id: snapshot for snapshot in snapshots}
    crowds = crowds_of(map(_changed_ns, versions)), crowds_of(time_of(snapshot.taken_at) for snapshot in snapshots)
    rows = []
    for index, version in enumerate(versions):
        older = versions[index + 1] if index + 1 < len(versions) else None
        kept = [by_id[number] for number in version.snapshots if number in by_id]
        rows.append(_version_row(share, path, version, older, kept, now_ns, crowds, current=is_newest and index == 0))
    if rows and not is_oldest:
        rows[-1] = replace(rows[-1], note="deleted" if rows[-1].deleted else "")  # what it is against the next is not known here
    return rows


def _folder_row(share: str, at: str, path: RelPath, entry: Entry, now_ns: int) -> FolderRow:
    below = join(path, entry_name(entry))
    is_folder, is_file = entry.kind == "folder", entry.kind == "file"
    openings = {"folder": folder_address(share, at, below), "file": versions_address(share, at, below)}
    return FolderRow(
        name=entry.name,
        folder=is_folder,
        size=size_words(entry.size_bytes) if is_file else _KIND_WORDS.get(entry.kind, entry.kind),
        changed=when(entry.mtime_ns, now_ns),
        address=openings.get(entry.kind, ""),
        download=download_address(share, at, below) if is_file else "",
        target=entry.target or "",
    )


def _version_row(
    share: str, path: RelPath, version: Version, older: Version | None, kept: Sequence[Snapshot], now_ns: int,
    crowds: tuple[Crowds, Crowds], *, current: bool,
) -> VersionRow:  # fmt: skip
    there = _path_of(version, path)
    at = "" if current else str(kept[0].id) if kept else f"seq:{version.sequence}"
    is_file = version.kind == "file" and not version.deleted
    of_versions, of_snapshots = crowds
    shown = [_kept(share, there, snapshot, now_ns, of_snapshots) for snapshot in kept[:KEPT_SHOWN]]
    return VersionRow(
        when=when(_changed_ns(version), now_ns, of_versions),
        beside=f"change {version.sequence:,}" if of_versions.share_a_second(_changed_ns(version)) else "",
        size="" if version.deleted or not is_file else size_words(version.size_bytes),
        current=current and not version.deleted,
        deleted=version.deleted,
        note=_note(version, older),
        then_called=show_path(there) if there != path else "",
        kept=tuple(shown),
        more_kept=len(kept) - len(shown),
        download=download_address(share, at, there) if is_file else "",
        between="" if kept or current else folder_address(share, at, RelPath(there.rpartition(b"/")[0])),
    )


def _changed_ns(version: Version) -> int:
    noted_ns = time_of(version.changed_at)
    return version.mtime_ns if noted_ns is None else noted_ns


def _path_of(version: Version, path: RelPath) -> RelPath:
    try:
        return parse_path(read_path(version.path)) if version.path else path
    except Refused:
        return path


def _note(version: Version, older: Version | None) -> str:
    if version.deleted:
        return "deleted"
    if older is None:
        return "first kept"
    if older.deleted:
        return "came back"
    if version.digest == older.digest and version.size_bytes == older.size_bytes:
        return "same content" if version.path == older.path else "moved or renamed, same content"
    difference = version.size_bytes - older.size_bytes
    if difference == 0:
        return "changed, same size"
    return f"{size_words(abs(difference))} {'larger' if difference > 0 else 'smaller'}"


def _kept(share: str, path: RelPath, snapshot: Snapshot, now_ns: int, crowds: Crowds) -> Kept:
    taken_ns = time_of(snapshot.taken_at)
    said = when(taken_ns, now_ns, crowds)
    beside = f" @{snapshot.id}" if crowds.share_a_second(taken_ns) else ""
    folder = RelPath(path.rpartition(b"/")[0])
    return Kept(said.words + beside, said.exact, snapshot.label, folder_address(share, str(snapshot.id), folder))
