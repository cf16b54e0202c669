"""What the appliance answers an agent that compares: which folders differ, with all names; nothing about another change."""

from pathlib import Path

import msgspec
import pytest

from appliance.comparing import NotFolded, QuestionUnreadable, ShareMoved, compare
from appliance.vault import Vault
from staging.changes import Attributes, Kind
from staging.comparison import (
    FOLDER_DIGEST,
    MAX_FOLDERS,
    OWN,
    Answer,
    AskedFolder,
    Question,
    entry_digest,
    folder_digest,
    own_digest,
)
from tests.appliance.test_vault_and_fold import PLAIN, open_vault, send

ROOT_ATTRIBUTES = Attributes(0o755, 0, 0, 0)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A share of two files, f1 and f2."""
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 2)
    return vault


def asked(vault: Vault, sequence: int, *folders: tuple[bytes, bytes]) -> Answer:
    question = Question(sequence, [AskedFolder(path, digest) for path, digest in folders])
    return msgspec.msgpack.decode(compare(vault.share("leeds/data"), msgspec.msgpack.encode(question)), type=Answer)


def names(vault: Vault) -> dict[bytes, bytes]:
    opened = vault.share("leeds/data")
    opened.fold.fold_all()
    root = opened.reader.view(opened.fold.sequence).node_at(b"")  # type: ignore[arg-type]
    file = entry_digest(Kind.FILE, PLAIN, None, b"", 0)
    return {OWN: own_digest(root.attributes), b"f1": file, b"f2": file}


def test_a_folder_that_is_alike_is_not_answered_and_one_that_is_not_comes_with_its_names(vault: Vault) -> None:
    ours = names(vault)
    assert asked(vault, 2, (b"", folder_digest(ours))) == []
    (other,) = asked(vault, 2, (b"", folder_digest(ours | {b"f2": FOLDER_DIGEST})))
    assert other.path == b"" and dict(other.names or []) == ours


def test_what_is_no_folder_here_is_told_apart_from_an_empty_one(vault: Vault) -> None:
    names(vault)
    answers = asked(vault, 2, (b"f1", bytes(32)), (b"none", bytes(32)))
    assert [(other.path, other.names) for other in answers] == [(b"f1", None), (b"none", None)]


def test_only_the_last_change_can_be_compared_with(vault: Vault) -> None:
    with pytest.raises(NotFolded):
        asked(vault, 2)
    names(vault)
    assert asked(vault, 2) == []
    with pytest.raises(ShareMoved):
        asked(vault, 1)
    with pytest.raises(NotFolded):
        asked(vault, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xc1", msgspec.msgpack.encode([2, [[b"..", bytes(32)]]]), msgspec.msgpack.encode([2, [[b"a", b"short"]]]),
        msgspec.msgpack.encode([-1, []]), msgspec.msgpack.encode([2, [[b"a", bytes(32)]] * (MAX_FOLDERS + 1)]),
    ],
)  # fmt: skip
def test_questions_of_another_form_are_refused(vault: Vault, body: bytes) -> None:
    with pytest.raises(QuestionUnreadable):
        compare(vault.share("leeds/data"), body)
