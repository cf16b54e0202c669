"""docs/formats/protocol.md: its addresses, fields and refusals are those of the code."""

import re
from pathlib import Path

import pytest
from flask import Flask
from msgspec import Struct

from appliance.branches import BranchRevoked, TokenRefused
from appliance.cli.late import load_all
from appliance.intake_desk import EnrollRequest
from appliance.removals import ShareIsDeleted
from appliance.vault import TooManyShares
from core.errors import Refused, TryLater
from staging.protocol import (
    CONTENTS_TASK,
    Acknowledged,
    ChangedRepeat,
    Open,
    Opened,
    SequenceForked,
    SequenceGap,
    SessionFenced,
    StaleEpoch,
    Task,
    Tasks,
)
from staging.receiver import MAX_KEYS, ChunkMissing, ShareMismatch
from web.errors import status_of

TEXT = (Path(__file__).parents[2] / "docs" / "formats" / "protocol.md").read_text()
REFUSALS: tuple[type[Refused], ...] = (
    SessionFenced, SequenceForked, ChangedRepeat, StaleEpoch, ChunkMissing, SequenceGap, ShareMismatch, ShareIsDeleted,
    TooManyShares,
)  # fmt: skip


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table under a title (or of the first)."""
    _, _, behind = TEXT.partition(f"\n## {title}\n") if title else ("", "", TEXT)
    lines = [line for line in behind.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_address_of_agents_is_told(app: Flask) -> None:
    told = set()
    for cell, _, _ in rows(""):
        method, path = cell.strip("`").split()
        told.add((method, path))
    served = {
        (method, re.sub(r"<[^>]*>", "S", rule.rule.removeprefix("/intake/v1")).replace("/barriers/S", "/barriers/N"))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/intake/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served - told == {("POST", "/shares/S/chunks")} and told <= served  # a put may also be a POST


@pytest.mark.parametrize(
    ("request_path", "column", "form"),
    [("/enroll", 1, EnrollRequest), ("/open", 1, Open), ("/open", 2, Opened), ("/frames", 2, Acknowledged), ("/tasks", 2, Tasks)],
)
def test_every_message_has_the_fields_that_are_told(request_path: str, column: int, form: type[Struct]) -> None:
    (cell,) = [cells[column] for cells in rows("") if cells[0].endswith(f"{request_path}`")]
    assert re.findall(r"`(\w+)`", cell) == list(form.__struct_fields__)


def test_the_only_task_is_told() -> None:
    assert [cells[0] for cells in rows("Tasks")] == [f"`{CONTENTS_TASK}`"]
    assert "A task has `task` and `path`" in TEXT and list(Task.__struct_fields__) == ["task", "path"]
    assert f"at most {MAX_KEYS:_} (".replace("_", " ") in TEXT


def test_every_refusal_of_a_session_is_told_with_its_status() -> None:
    load_all()
    told = {name: cells[1] for cells in rows("Refusals") for name in re.findall(r"`(\w+)`", cells[0])}
    for kind in REFUSALS:
        error = kind("x")
        assert str(status_of(error)) == told.pop(error.type)
    assert told == dict.fromkeys((TokenRefused("x").type, BranchRevoked("x").type), "401")  # whatever keeps a branch out
    assert status_of(TryLater("x")) == 503
