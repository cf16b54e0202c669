"""What a moment means, as the appliance tells the pages: kind, sequence, time, and the snapshots next to it."""

import os
import time
from collections.abc import Iterator

import pytest

from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.rights import Rights
from appliance.root import Root, open_root
from appliance.share_desk import ShareDesk
from appliance.share_worker import ShareWorker
from appliance.vault import Vault
from core.clock import NANOSECONDS, format_time
from core.relpath import ROOT, RelPath
from snapshots.control_format import SnapshotDropped
from snapshots.moments import NoSuchMoment
from snapshots.view_db import SnapshotView
from staging.changes import Attributes, Create, Kind, Write
from tests.appliance.program import SHARE, VaultRig
from tests.appliance.settable_clock import SettableClock
from web.errors import AccessDenied
from web.operations import Actor
from web.share_values import Moment

OSCAR = Actor("oscar", "operator")
PLAIN = Attributes(0o644, os.getuid(), os.getgid(), 1_795_000_000_000_000_000)
BEGIN = (time.time_ns() // NANOSECONDS - 3600) * NANOSECONDS
PATHS = [b"plan"]


def at(seconds: float) -> str:
    return format_time(BEGIN + int(seconds * NANOSECONDS))


@pytest.fixture
def desk(root: Root, audit: AuditLog) -> Iterator[ShareDesk]:
    """Changes 1 (second 0), 2 (10) and 3 (20); snapshots at second 12 and, without a change between them, 30 and 40."""
    clock = SettableClock(BEGIN)
    rig = VaultRig(root.path, clock=clock)
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN, rig.put(b"first plan\n"))])
    for seconds, act in ((10, "write"), (2, "snapshot"), (8, "write"), (10, "snapshot"), (10, "snapshot")):
        clock.move(seconds)
        if act == "write":
            rig.send(PATHS, [Write(0, 0, b"%d" % seconds)])
        else:
            rig.snapshot()
    rig.close()
    vault = Vault(open_root(root.path), clock, os.urandom)
    yield ShareDesk(vault, ShareWorker("fold", list, lambda name: False), Rights(lambda account: []), audit, Ballast([], 0, 0))
    vault.close()


def test_every_kind_of_moment_is_told_with_its_time_and_the_snapshots_next_to_it(desk: ShareDesk) -> None:
    first, second, third = (snapshot.id for snapshot in desk.list_snapshots(OSCAR, SHARE))
    told = {
        "latest": Moment("snapshot", 3, at(40), third, second, None),
        str(first): Moment("snapshot", 2, at(12), first, None, second),
        "seq:1": Moment("instant", 1, at(0), None, None, first),
        "seq:2": Moment("snapshot", 2, at(12), first, None, second),
        at(12)[:-8] + "Z": Moment("snapshot", 2, at(12), first, None, second),
        at(12.5): Moment("instant", 2, at(12.5), None, first, second),
        at(11): Moment("instant", 2, at(11), None, None, first),
        at(15): Moment("instant", 2, at(15), None, first, second),
        at(25): Moment("instant", 3, at(25), None, first, second),
        at(35): Moment("instant", 3, at(35), None, second, third),
        "": Moment("live", 3, at(20), None, third, None),
    }
    assert {moment: desk.moment(OSCAR, SHARE, moment) for moment in told} == told


def test_a_moment_of_which_nothing_is_kept_is_refused_as_that(desk: ShareDesk) -> None:
    for moment in ("seq:9", at(-5), "99", "yesterday"):
        with pytest.raises(NoSuchMoment):
            desk.moment(OSCAR, SHARE, moment)


@pytest.fixture(params=["the snapshot", "the journal too"])
def removed_while_looked(request: pytest.FixtureRequest, desk: ShareDesk, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Have the first snapshot removed, with all rows that only it saw, when a view is there and not read yet."""
    opened, first = desk._vault.share(SHARE), desk.list_snapshots(OSCAR, SHARE)[0]
    opened.fold.fold_all()
    to_do = [True]

    def remove() -> None:
        if to_do and to_do.pop():
            opened.fold.order(lambda number, _: SnapshotDropped(number, first.id))
            assert opened.sealer.seal() is not None
            assert opened.fold.sweep() > 0
            if request.param == "the journal too":
                opened.fold.trim_journal(3, last_too=True)

    for name in ("list_folder", "node_at"):
        real = getattr(SnapshotView, name)
        monkeypatch.setattr(SnapshotView, name, lambda *given, real=real: (remove(), real(*given))[1])
    return str(request.param) == "the snapshot"


@pytest.mark.parametrize("look", ["list_folder", "entry", "open_file"])
def test_what_is_removed_while_it_is_looked_at_is_shown_as_it_was_or_refused(
    desk: ShareDesk, removed_while_looked: bool, look: str
) -> None:
    moment = str(desk.list_snapshots(OSCAR, SHARE)[0].id)

    def seen() -> bytes | list[str]:
        if look == "list_folder":
            return [entry.name for entry in desk.list_folder(OSCAR, SHARE, moment, ROOT, b"", 10)[0]]
        if look == "entry":
            return [desk.entry(OSCAR, SHARE, moment, RelPath(b"plan")).name]
        return b"".join(desk.open_file(OSCAR, SHARE, moment, RelPath(b"plan"), 0, None).pieces)

    if removed_while_looked:
        assert seen() == (b"10rst plan\n" if look == "open_file" else ["plan"])
    else:
        with pytest.raises(NoSuchMoment, match="change 2 cannot be read any more"):
            seen()


def test_who_may_not_see_a_share_learns_of_no_moment(desk: ShareDesk) -> None:
    with pytest.raises(AccessDenied):
        desk.moment(Actor("anna", "user"), SHARE, "latest")
