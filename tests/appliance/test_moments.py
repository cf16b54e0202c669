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
from snapshots.moments import NoSuchMoment
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


def test_who_may_not_see_a_share_learns_of_no_moment(desk: ShareDesk) -> None:
    with pytest.raises(AccessDenied):
        desk.moment(Actor("anna", "user"), SHARE, "latest")
