"""Answering an agent that compares its files with what is here: folders by digest, and the names of those that differ."""

import msgspec

from appliance.vault import OpenShare
from core.digest import Digest
from core.errors import Refused, TryLater
from core.relpath import PathRefused, RelPath, parse_path
from snapshots.tree import NoSuchPath, TreeView
from staging.changes import Kind
from staging.comparison import (
    FOLDER_DIGEST,
    OWN,
    Answer,
    OtherFolder,
    Question,
    entry_digest,
    folder_digest,
    own_digest,
)

_PAGE = 1000
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Question)


class QuestionUnreadable(Refused):
    """A question does not have the form of docs/formats/comparison.md."""


class ShareMoved(Refused):
    """The share has changes behind the one that was asked about."""


class NotFolded(TryLater):
    """The change that was asked about is not in the catalogue yet."""


def compare(opened: OpenShare, body: bytes) -> bytes:
    """Return which of the folders are different as of the share's last change, with their names."""
    try:
        question = _decoder.decode(body)
        paths = [(parse_path(asked.path), asked.digest) for asked in question.folders]
    except (msgspec.DecodeError, PathRefused) as error:
        raise QuestionUnreadable(f"a comparison cannot be read: {error}", remedy="upgrade the agent or the appliance") from error
    if opened.journal.position.sequence > question.sequence:
        raise ShareMoved(f"change {question.sequence} is not the last one of this share", remedy="compare again")
    if opened.fold.sequence < question.sequence:
        raise NotFolded(f"change {question.sequence} is not folded yet", remedy="ask again in a moment")
    with opened.instants.leased(opened.instants.resolve("")) as view:
        if view.sequence != question.sequence:
            raise ShareMoved(f"change {question.sequence} is not the last one of this share", remedy="compare again")
        return _encode(_other_folders(view, paths))


def _other_folders(view: TreeView, asked: list[tuple[RelPath, bytes]]) -> Answer:
    found: Answer = []
    for path, digest in asked:
        names = _names(view, path)
        if names is None or folder_digest(names) != digest:
            found.append(OtherFolder(path, None if names is None else sorted(names.items())))
    return found


def _names(view: TreeView, path: RelPath) -> dict[bytes, Digest] | None:
    """Return the digests of a folder's names, None when no folder stands there."""
    try:
        folder = view.node_at(path)
        if folder.kind is not Kind.FOLDER:
            return None
        names = {OWN: own_digest(folder.attributes)}
        after = b""
        while True:
            page = view.list_folder(path, after, _PAGE)
            for name, node in page:
                is_folder = node.kind is Kind.FOLDER
                names[name] = FOLDER_DIGEST if is_folder else entry_digest(
                    node.kind, node.attributes, node.content, node.target, node.device
                )  # fmt: skip
            if len(page) < _PAGE:
                return names
            after = page[-1][0]
    except NoSuchPath:
        return None
