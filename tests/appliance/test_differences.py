"""What changed between two moments, as the desk and the command line tell it: pages, sums, and who may see what."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.difference_desk import DifferenceDesk, PageUnknown
from appliance.rights import Grant, Rights
from appliance.root import Root
from appliance.vault import Vault
from core.clock import SystemClock
from core.relpath import RelPath
from snapshots.moments import NoSuchMoment
from staging.changes import Attributes, Change, Create, Kind, Rename, Unlink, Write
from staging.frame_format import seal_frame
from staging.protocol import Open
from tests.appliance.conftest import Terminal
from tests.appliance.memory_parts import SHARE
from web.differences import ChangedPath, DifferenceSummary
from web.errors import AccessDenied
from web.operations import Actor

ADMIN = Actor("admin", "admin")
ANNA = Actor("anna", "user")
PLAIN = Attributes(0o644, 0, 0, 7)
PATHS = [b"mine", b"ours", b"mine/a", b"ours/b", b"mine/c", b"ours/d", b"mine/\xff", b"ours/a"]


def send(vault: Vault, *changes: Change) -> int:
    """Send changes and return the id of the snapshot behind them."""
    opened = vault.share(SHARE)
    session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
    position = opened.journal.position
    frame = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, PATHS, list(changes))
    opened.receiver.frames(session, frame)
    opened.fold.fold_all()
    return opened.fold.take_snapshot("", "command", 1).id


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    for part in ("journal", "packs", "db"):
        (tmp_path / part).mkdir()
    counter = itertools.count()
    made = Vault(Root(tmp_path, bytes(16)), SystemClock(), lambda size: next(counter).to_bytes(size, "big"))
    made.register(SHARE, b"leeds/finance---")
    files: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in (2, 3, 4, 5)]
    send(made, Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FOLDER, PLAIN), *files)
    send(made, Write(2, 0, b"hello"), Rename(3, 6), Rename(4, 7), Unlink(5))
    yield made
    made.close()


@pytest.fixture
def desk(vault: Vault) -> DifferenceDesk:
    return DifferenceDesk(vault, Rights(lambda account: [Grant(SHARE, RelPath(b"mine"))] if account == "anna" else []))


def test_differences_are_sorted_by_path_and_added_up(desk: DifferenceDesk) -> None:
    page = desk.differences(ADMIN, SHARE, "1", "latest", b"", 100)
    assert page.following is None
    assert page.differences == [
        ChangedPath("mine/a", "changed", "file", 5, 0, 5),
        ChangedPath("mine/\\xff", "renamed", "file", 0, 0, 0, "bWluZS//", "ours/b"),
        ChangedPath("ours/a", "renamed", "file", 0, 0, 0, None, "mine/c"),
        ChangedPath("ours/d", "removed", "file", 0, 0, 0),
    ]
    assert page.summary == DifferenceSummary(removed=1, renamed=2, changed=1, different_bytes=5)


def test_a_user_sees_what_left_and_what_entered_his_part_and_no_more(desk: DifferenceDesk) -> None:
    page = desk.differences(ANNA, SHARE, "1", "2", b"", 100)
    assert [(row.what, row.path, row.path_before) for row in page.differences] == [
        ("changed", "mine/a", None),
        ("removed", "mine/c", None),
        ("added", "mine/\\xff", None),
    ]
    assert page.summary == DifferenceSummary(added=1, removed=1, changed=1, different_bytes=5)
    with pytest.raises(AccessDenied):
        desk.differences(Actor("berta", "user"), SHARE, "1", "2", b"", 100)


def test_pages_of_one_add_up_to_the_whole(desk: DifferenceDesk) -> None:
    whole = desk.differences(ADMIN, SHARE, "1", "2", b"", 100)
    rows: list[ChangedPath] = []
    page = desk.differences(ADMIN, SHARE, "1", "2", b"", 1)
    while True:
        rows += page.differences
        if page.following is None:
            break
        page = desk.differences(ADMIN, SHARE, "1", "2", page.following, 1)
    assert sorted(rows, key=repr) == sorted(whole.differences, key=repr)
    assert page.summary == whole.summary


def test_no_moment_and_no_page_of_ours_are_refused(desk: DifferenceDesk) -> None:
    with pytest.raises(NoSuchMoment):
        desk.differences(ADMIN, SHARE, "1", "77", b"", 100)
    for place in (
        b"x",
        msgspec.msgpack.encode([[1, [2**64 - 1, 0, b""]], []]),
        msgspec.msgpack.encode([[1, [0, 0, b""]], [1] * 9]),
    ):
        with pytest.raises(PageUnknown):
            desk.differences(ADMIN, SHARE, "1", "2", place, 100)


def test_the_command_shows_all_pages_and_says_by_its_code_that_there_are_differences(terminal: Terminal) -> None:
    code, out, _ = terminal.run("snapshot", "diff", SHARE, "@1", "latest", "--json")
    answer = msgspec.json.decode(out)
    assert (code, answer["next"], len(answer["differences"])) == (5, None, 3)
    assert answer["summary"]["changed"] == 1
    code, out, _ = terminal.run("snapshot", "diff", SHARE, "1", "2")
    assert code == 5 and b"b -> c" in out and b"1 added" in out
    assert terminal.fail("snapshot", "diff", SHARE, "@")[0] == 2
