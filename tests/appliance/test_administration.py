"""Every change is checked, made, and in the audit log together with it."""

from pathlib import Path
from typing import Any

import pytest

from appliance.exports import DestinationRefused, checked_destination
from appliance.rights import TokenActor
from appliance.wiring import Appliance
from core.durable import WriteFailed
from core.errors import Damaged, NotFound, Refused, StagekeeperError
from tests.appliance.conftest import PASSWORD
from tests.appliance.memory_parts import SHARE, MemoryExporter, MemoryParts
from tests.faulty_files import FaultyFiles
from web.errors import AccessDenied
from web.operations import Actor, Administration
from web.share_values import Progress

ADMIN, OPERATOR = Actor("admin", "admin", "192.0.2.1"), Actor("otto", "operator", "192.0.2.2")
AUDITOR, USER = Actor("audrey", "auditor"), Actor("anna", "user")
SCHEDULE = {"name": "noon", "cron": "0 12 * * *", "action": "snapshot", "shares": [SHARE]}


@pytest.fixture
def administration(appliance: Appliance) -> Administration:
    return appliance.operations.administration


def log_of(appliance: Appliance) -> list[tuple[str, str, str, str]]:
    entries, _ = appliance.plumbing.audit.page(None, 1000)
    return [(entry["account"], entry["action"], entry["what"], entry["outcome"]) for entry in reversed(entries)][1:]


def exporter_of(parts: MemoryParts) -> MemoryExporter:
    assert isinstance(parts.exporter, MemoryExporter)
    return parts.exporter


def test_each_change_is_one_entry(appliance: Appliance, administration: Administration) -> None:
    administration.add_branch(ADMIN, "leeds")
    administration.revoke_branch(ADMIN, "leeds")
    administration.add_user(ADMIN, "anna", "user", PASSWORD, [SHARE])
    administration.set_password(ADMIN, "anna", PASSWORD + "!")
    administration.create_token(ADMIN, "anna", "read")
    administration.disable_user(ADMIN, "anna", True)
    administration.disable_user(ADMIN, "anna", False)
    administration.add_schedule(OPERATOR, SCHEDULE)
    administration.enable_schedule(OPERATOR, "noon", False)
    administration.delete_schedule(OPERATOR, "noon")
    assert log_of(appliance) == [
        ("admin", "branch.add", "leeds", "done"),
        ("admin", "branch.revoke", "leeds", "done"),
        ("admin", "user.add", "anna", "done"),
        ("admin", "user.password", "anna", "done"),
        ("admin", "user.token", "anna", "done"),
        ("admin", "user.disable", "anna", "done"),
        ("admin", "user.enable", "anna", "done"),
        ("otto", "schedule.add", "noon", "done"),
        ("otto", "schedule.disable", "noon", "done"),
        ("otto", "schedule.delete", "noon", "done"),
    ]
    assert PASSWORD not in repr(appliance.plumbing.audit.page(None, 100))


def test_what_is_refused_is_an_entry_too_and_changes_nothing(appliance: Appliance, administration: Administration) -> None:
    for actor in (OPERATOR, AUDITOR, USER, TokenActor("admin", "admin", "", "read")):
        with pytest.raises(AccessDenied):
            administration.add_branch(actor, "leeds")
    with pytest.raises(Refused):
        administration.add_branch(ADMIN, "../leeds")
    assert [(action, outcome) for _, action, _, outcome in log_of(appliance)] == [("branch.add", "refused")] * 5
    assert administration.list_branches(ADMIN) == []


@pytest.mark.parametrize("step", [1, 2])
def test_there_is_no_change_without_its_entry(administration: Administration, files: FaultyFiles, step: int) -> None:
    files.at, files.fault = files.count + step, "EIO"  # writing the entry, or syncing it
    with pytest.raises(WriteFailed):
        administration.add_user(ADMIN, "anna", "user", PASSWORD, [])
    assert [account["name"] for account in administration.list_users(ADMIN)] == ["admin"]


@pytest.mark.parametrize(
    ("ask", "allowed"),
    [
        (lambda a, who: a.list_branches(who), "aou-"), (lambda a, who: a.list_schedules(who), "aou-"),
        (lambda a, who: a.list_users(who), "a-u-"), (lambda a, who: a.list_audit(who, None, 10), "a-u-"),
        (lambda a, who: a.verify_audit(who), "a-u-"),
    ],
)  # fmt: skip
def test_who_may_look(administration: Administration, ask: Any, allowed: str) -> None:
    for actor, letter in zip((ADMIN, OPERATOR, AUDITOR, USER), allowed, strict=True):
        if letter == "-":
            with pytest.raises(AccessDenied):
                ask(administration, actor)
        else:
            ask(administration, actor)


def test_everybody_may_set_their_own_password_but_no_token_may(administration: Administration) -> None:
    administration.add_user(ADMIN, "anna", "user", PASSWORD, [])
    administration.set_password(USER, "anna", "another long password")
    for actor in (TokenActor("anna", "user"), Actor("bert", "user")):
        with pytest.raises(AccessDenied):
            administration.set_password(actor, "anna", "another long password")


def test_an_export_has_an_entry_before_and_one_behind(
    appliance: Appliance, administration: Administration, tmp_path: Path
) -> None:
    steps = list(administration.run_export(OPERATOR, [SHARE], str(tmp_path), "full"))
    assert all(isinstance(step, Progress) for step in steps[:-1]) and steps[-1].verified
    assert steps[-1].snapshots == [f"{SHARE}@latest"]
    assert [entry[1:] for entry in log_of(appliance)] == [
        ("export.begin", str(tmp_path), "done"),
        ("export.end", str(tmp_path), "done"),
    ]


def test_giving_up_an_export_ends_it_and_is_an_entry(
    appliance: Appliance, administration: Administration, parts: MemoryParts, tmp_path: Path
) -> None:
    steps = administration.run_export(OPERATOR, [SHARE], str(tmp_path), "full")
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    pieces = administration.stream_export(OPERATOR, [SHARE])
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert exporter_of(parts).ended == ["export", "stream"]
    assert [entry[1::2] for entry in log_of(appliance)] == [("export.begin", "done"), ("export.end", "failed")] * 2


def test_an_export_that_may_not_be_is_refused_before_anything(
    appliance: Appliance, administration: Administration, tmp_path: Path
) -> None:
    attempts: list[tuple[Actor, list[str], str]] = [
        (USER, [SHARE], str(tmp_path)),
        (OPERATOR, ["leeds"], str(tmp_path)),
        (OPERATOR, [SHARE], "relative"),
        (OPERATOR, [SHARE], str(appliance.plumbing.root.packs)),
        (OPERATOR, [SHARE], str(appliance.plumbing.root.path / "run" / "..")),
    ]
    for actor, sources, place in attempts:
        with pytest.raises(Refused):
            administration.run_export(actor, sources, place, "full")
    assert [entry[1::2] for entry in log_of(appliance)] == [("export.begin", "refused")] * len(attempts)


def test_settings_may_bind_exports_to_directories(tmp_path: Path) -> None:
    root, allowed = tmp_path / "root", [str(tmp_path / "tapes")]
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert checked_destination(OPERATOR, str(tmp_path / "tapes" / "a"), root, allowed) == tmp_path / "tapes" / "a"
    for place in ("other", "tapes/../other", "link", "tapes2"):
        with pytest.raises(DestinationRefused):
            checked_destination(OPERATOR, str(tmp_path / place), root, allowed)
    owner = Actor("owner", "owner")
    assert checked_destination(owner, str(tmp_path / "other"), root, allowed) == tmp_path / "other"


def test_running_a_schedule_takes_its_snapshots(appliance: Appliance, administration: Administration, parts: MemoryParts) -> None:
    administration.add_schedule(OPERATOR, {**SCHEDULE, "shares": [SHARE, "leeds/none"]})
    with pytest.raises(StagekeeperError, match="leeds/none"):
        administration.run_schedule(OPERATOR, "noon")
    assert parts.shares is not None and len(parts.shares.shares[SHARE].snapshots) == 1
    *_, shown = administration.list_schedules(OPERATOR)
    assert shown["last_outcome"] == "failed" and "leeds/none" in shown["last_message"]


def test_running_a_schedule_exports_and_an_unverified_cartridge_is_damage(
    appliance: Appliance, administration: Administration, parts: MemoryParts, tmp_path: Path
) -> None:
    asked = {**SCHEDULE, "name": "tape", "action": "export", "to": str(tmp_path)}
    administration.add_schedule(OPERATOR, asked)
    done = administration.run_schedule(OPERATOR, "tape")
    assert done["last_outcome"] == "done" and done["result"]["verified"]
    exporter_of(parts).verified = False
    with pytest.raises(Damaged):
        administration.run_schedule(OPERATOR, "tape")
    accounts = {entry[0] for entry in log_of(appliance) if entry[1].startswith("export.")}
    assert accounts == {"schedule:tape"}


def test_a_schedule_may_not_export_into_the_store(appliance: Appliance, administration: Administration) -> None:
    asked = {**SCHEDULE, "action": "export", "to": str(appliance.plumbing.root.packs)}
    with pytest.raises(DestinationRefused):
        administration.add_schedule(ADMIN, asked)
    assert [row["name"] for row in administration.list_schedules(ADMIN)] == ["@backup", "@collect", "@scrub"]


def test_runs_ahead_are_times_in_utc(administration: Administration) -> None:
    administration.add_schedule(OPERATOR, {**SCHEDULE, "tz": "Europe/Berlin"})
    assert administration.next_runs(AUDITOR, "noon", 2) == ["2026-11-22T11:00:00.000000Z", "2026-11-23T11:00:00.000000Z"]
    with pytest.raises(NotFound):
        administration.next_runs(AUDITOR, "none", 2)


def test_branches_count_their_shares(appliance: Appliance, administration: Administration) -> None:
    administration.add_branch(ADMIN, "leeds")
    administration.add_branch(ADMIN, "york")
    assert [(branch.name, branch.state, branch.shares) for branch in administration.list_branches(OPERATOR)] == [
        ("leeds", "waiting", 1),
        ("york", "waiting", 0),
    ]
