"""docs/retention.md: its example is what the function answers, its tables are the document's fields and presets."""

import json
import re
from pathlib import Path

import msgspec

from core.clock import parse_time
from snapshots.policy import RETENTION_PRESETS, Policy
from snapshots.policy_document import read_policy
from snapshots.retention import SnapshotFacts, decide

TEXT = (Path(__file__).parents[2] / "docs" / "retention.md").read_text()


def table(head: str) -> list[list[str]]:
    _, _, behind = TEXT.partition(f"| {head} |")
    rows = re.match(r"[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)", behind)
    assert rows is not None, head
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[1].splitlines()]


def test_the_example_is_what_is_decided() -> None:
    (document,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (now,) = re.findall(r"^at (\S+):$", TEXT, re.MULTILINE)
    rows = table("id")
    snapshots = [
        SnapshotFacts(
            int(id), int(id), parse_time(taken), trigger,
            holds=tuple(re.findall(r"held by (\w+)", besides)),
            good="share not good" not in besides, deleted="deleted" in besides,
        )
        for id, taken, trigger, besides, _, _ in rows
    ]  # fmt: skip
    decisions = decide(snapshots, read_policy(document.encode()), parse_time(now))
    answers = [["keep" if decision.keep else "drop", "; ".join(decision.reasons)] for decision in decisions]
    assert [row[4:] for row in rows] == answers


def test_the_table_has_every_field_with_its_default() -> None:
    fields: dict[str, object] = {}
    for name, value in msgspec.to_builtins(Policy()).items():
        fields |= {f"{name}.{inner}": content for inner, content in value.items()} if isinstance(value, dict) else {name: value}
    assert {row[0].strip("`"): json.loads(row[1].strip("`")) for row in table("field")} == fields


def test_the_presets_are_those_that_can_be_named() -> None:
    stated = {row[0].strip("`"): read_policy(b'{"retention": %s}' % row[1].strip("`").encode()) for row in table("preset")}
    assert {name: policy.retention for name, policy in stated.items()} == RETENTION_PRESETS
