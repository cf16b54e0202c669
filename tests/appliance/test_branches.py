"""How a branch becomes known, and how it stops being."""

import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.attempts import PATIENCE
from appliance.audit import AuditLog
from appliance.branches import CODE_SECONDS, Branches, BranchExists, BranchNotFound, BranchRevoked, CodeRefused, TokenRefused
from appliance.credentials import Chance
from appliance.enrolment import EnrolmentDesk
from core.errors import Refused
from tests.appliance.settable_clock import SettableClock
from web.errors import TooManyAttempts

FINGERPRINT = "ab" * 32
HERE = "192.0.2.1"


@pytest.fixture
def branches(database: ApplianceDatabase, clock: SettableClock, chance: Chance) -> Branches:
    return Branches(database, clock, chance, FINGERPRINT)


@pytest.fixture
def desk(database: ApplianceDatabase, branches: Branches, audit: AuditLog, clock: SettableClock) -> EnrolmentDesk:
    return EnrolmentDesk(database, branches, audit, clock)


def test_a_code_pins_the_certificate_and_becomes_a_token_once(branches: Branches) -> None:
    made = branches.add("leeds")
    code, _, pinned = made.code.partition(".")
    assert pinned == FINGERPRINT and made.expires_at == "2026-11-23T07:00:00.000000Z"
    enrolment = branches.enroll(code)
    assert branches.authenticate(enrolment.token) == enrolment.branch == "leeds"
    with pytest.raises(CodeRefused):
        branches.enroll(code)


def test_a_code_is_taken_as_people_type_it(branches: Branches) -> None:
    code = branches.add("leeds").code.lower()
    assert branches.enroll(f" {code[:5]}-{code[5:]}").branch == "leeds"


def test_a_code_ends_after_a_day(branches: Branches, clock: SettableClock) -> None:
    code = branches.add("leeds").code
    clock.move(CODE_SECONDS + 1)
    with pytest.raises(CodeRefused):
        branches.enroll(code)
    branches.enroll(branches.add("leeds").code)


def test_a_second_code_ends_the_first(branches: Branches) -> None:
    first, second = branches.add("leeds").code, branches.add("leeds").code
    with pytest.raises(CodeRefused):
        branches.enroll(first)
    branches.enroll(second)


def test_a_branch_whose_token_got_lost_on_the_way_may_be_added_again_until_it_called(branches: Branches) -> None:
    lost = branches.enroll(branches.add("leeds").code)
    kept = branches.enroll(branches.add("leeds").code)
    with pytest.raises(TokenRefused):
        branches.authenticate(lost.token)
    branches.authenticate(kept.token)
    with pytest.raises(BranchExists):
        branches.add("leeds")


def test_revoking_ends_token_and_code_at_once_and_for_good(
    branches: Branches, database: ApplianceDatabase, clock: SettableClock
) -> None:
    token = branches.enroll(branches.add("leeds").code).token
    waiting = branches.add("york").code
    assert branches.revoke("leeds").state == branches.revoke("leeds").state == "revoked"
    branches.revoke("york")
    again = Branches(database, clock, bytes, FINGERPRINT)
    for known in (branches, again):
        with pytest.raises(BranchRevoked):
            known.authenticate(token)
        with pytest.raises(CodeRefused):
            known.enroll(waiting)
        with pytest.raises(BranchExists):
            known.add("leeds")
    with pytest.raises(BranchNotFound):
        branches.revoke("nowhere")


def test_tokens_survive_a_restart_and_are_kept_as_digests(
    branches: Branches, database: ApplianceDatabase, clock: SettableClock
) -> None:
    made = branches.add("leeds")
    enrolment = branches.enroll(made.code)
    rows = repr(database.rows("SELECT * FROM branch"))
    assert enrolment.token not in rows and made.code.partition(".")[0] not in rows
    assert Branches(database, clock, bytes, FINGERPRINT).authenticate(enrolment.token) == "leeds"


def test_when_a_branch_called_is_shown_at_once_and_written_now_and_then(
    branches: Branches, database: ApplianceDatabase, clock: SettableClock
) -> None:
    token = branches.enroll(branches.add("leeds").code).token

    def written() -> int | None:
        row = database.row("SELECT last_seen_at FROM branch")
        assert row is not None
        seen: int | None = row["last_seen_at"]
        return seen

    branches.authenticate(token)
    assert branches.get("leeds").last_seen_at == clock.now_ns() and written() is None
    clock.move(31)
    branches.authenticate(token)
    assert written() == clock.now_ns()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 65, "é", "../x", "a\n"])
def test_names_that_could_not_stand_in_a_path_are_refused(branches: Branches, name: str) -> None:
    with pytest.raises(Refused):
        branches.add(name)


def test_enrolments_are_audited_and_guessing_is_slowed_down(desk: EnrolmentDesk, branches: Branches, audit: AuditLog) -> None:
    assert desk.enroll(branches.add("leeds").code, HERE).branch == "leeds"
    for _ in range(PATIENCE["enrolment"].free):
        with pytest.raises(CodeRefused):
            desk.enroll("A" * 32, HERE)
    with pytest.raises(TooManyAttempts):
        desk.enroll(branches.add("york").code, HERE)
    entries, _ = audit.page(None, 100)
    assert [(entry["account"], entry["outcome"]) for entry in entries[-2:]] == [("", "refused"), ("branch:leeds", "done")]
    assert len(entries) == 1 + PATIENCE["enrolment"].free
