"""Instants through the program: ls, cat and restore of moments that nobody took a snapshot of."""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from appliance.root import Root
from core.clock import NANOSECONDS, format_time
from staging.changes import Attributes, Create, Group, Kind, Rename, SetAttributes, Truncate, Unlink, Write
from tests.appliance.program import SHARE, Program, VaultRig
from tests.appliance.settable_clock import SettableClock

PLAIN = Attributes(0o644, os.getuid(), os.getgid(), 1_795_000_000_000_000_000)
PATHS = [b"plan", b"plan.old", b"notes"]
HOUR_AGO = (time.time_ns() // NANOSECONDS - 3600) * NANOSECONDS


@pytest.fixture
def program(root: Root) -> Program:
    return Program(root.path)


@pytest.fixture
def worked(program: Program) -> Program:
    """A file written and renamed in frames ten seconds apart, a snapshot only at the end; nothing folded yet."""
    clock = SettableClock(HOUR_AGO)
    rig = VaultRig(program.root, clock=clock)
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN, rig.put(b"first plan\n"))])
    clock.move(10)
    rig.send(PATHS, [Write(0, 0, b"FIRST"), Truncate(0, 8)])
    clock.move(10)
    rig.send(PATHS, [Group((Rename(0, 1), Create(0, Kind.FILE, PLAIN, rig.put(b"second plan\n")))), Create(2, Kind.FILE, PLAIN)])
    clock.move(10)
    rig.send(PATHS, [Unlink(1)])
    rig.snapshot("evening")
    rig.close()
    return program


@pytest.fixture(params=["direct", "served"])
def asked(worked: Program, request: pytest.FixtureRequest) -> Iterator[Program]:
    with worked.serving() if request.param == "served" else nullcontext():
        yield worked


def at(seconds: float) -> str:
    return f"{SHARE}@{format_time(HOUR_AGO + int(seconds * NANOSECONDS))}"


def test_any_two_instants_and_the_live_state_are_compared(asked: Program) -> None:
    def rows(*moments: str) -> list[tuple[str, str, str | None]]:
        done = asked.run("snapshot", "diff", SHARE, *moments, "--json")
        answer = msgspec.json.decode(done.stdout)
        assert done.returncode == (5 if answer["differences"] else 0)
        return [(row["what"], row["path"], row.get("path_before")) for row in answer["differences"]]

    assert rows("@seq:1", "@seq:3") == [("changed", "plan", None)]
    assert rows("seq:3", at(20).partition("@")[2]) == [
        ("added", "notes", None), ("added", "plan", None), ("renamed", "plan.old", "plan"),
    ]  # fmt: skip
    assert rows("seq:4", "latest") == [("added", "notes", None), ("removed", "plan.old", None)]
    assert rows("seq:5") == rows("seq:5", "@") == [("removed", "plan.old", None)]
    assert rows("@", "seq:5") == [("added", "plan.old", None)]
    assert rows("latest") == []


def test_what_stood_at_an_instant_is_found_by_its_name(asked: Program) -> None:
    def found(moment: str) -> list[tuple[str, bool, int]]:
        answer = asked.json("find", "plan", "--share", moment)
        return [(row["path"], row["deleted"], row["size_bytes"]) for row in answer["found"]]

    assert found(f"{SHARE}@seq:4") == [("plan", False, 12), ("plan.old", False, 8)]
    assert found(at(5)) == [("plan", False, 11)]
    assert found(f"{SHARE}@latest") == found(SHARE) == [("plan", False, 12)]
    assert asked.run("find", "plan", "--share", f"{SHARE}@seq:3", "--deleted").returncode == 2


def test_versions_between_snapshots_are_listed_and_read(asked: Program) -> None:
    def listed(moment: str, path: str) -> list[tuple[int, int, bool, bool, str]]:
        rows = asked.json("versions", moment, path)["versions"]
        return [(row["sequence"], row["size_bytes"], bool(row["snapshots"]), row["deleted"], row["path"]) for row in rows]

    assert listed(SHARE, "plan") == [(4, 12, True, False, "plan"), (3, 8, False, False, "plan"), (1, 11, False, False, "plan")]
    assert listed(SHARE, "plan.old") == [(6, 0, True, True, "plan.old"), (4, 8, False, False, "plan.old")]
    assert listed(f"{SHARE}@seq:2", "plan") == [(2, 11, False, False, "plan"), (1, 11, False, False, "plan")]
    assert listed(at(15), "plan") == listed(SHARE, "plan")[1:]
    assert asked.run("cat", f"{SHARE}@seq:3", "plan").stdout == b"FIRST pl"
    assert b"between snapshots" in asked.run("versions", SHARE, "plan").stdout
    assert asked.run("versions", f"{SHARE}@seq:2", "notes").returncode == 3


def test_every_instant_can_be_listed_read_and_restored(asked: Program, tmp_path: Path) -> None:
    def names(moment: str) -> list[str]:
        return [entry["name"] for entry in asked.json("ls", moment)["entries"]]

    assert asked.run("cat", f"{SHARE}@seq:1", "plan").stdout == b"first plan\n"
    assert b"the share's root is a folder, not a file" in asked.run("cat", SHARE, "").stderr
    assert asked.run("cat", f"{SHARE}@seq:2", "plan").stdout == b"FIRST plan\n"
    assert asked.run("cat", at(5), "plan").stdout == b"first plan\n"
    assert asked.run("cat", at(15), "plan").stdout == b"FIRST pl"
    assert [names(at(second)) for second in (0, 15, 20, 29.5, 30)] == [
        ["plan"],
        ["plan"],
        ["notes", "plan", "plan.old"],
        ["notes", "plan", "plan.old"],
        ["notes", "plan"],
    ]
    done = asked.run("restore", f"{SHARE}@seq:5", "--to", "here", "--json", cwd=tmp_path)
    assert (done.returncode, msgspec.json.decode(done.stdout)["not_applied"]) == (0, []), done
    found = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert found == {"plan": b"second plan\n", "plan.old": b"FIRST pl", "notes": b""}


def test_an_instant_outside_the_journal_is_refused_with_its_bounds(asked: Program) -> None:
    for moment in (at(-1), f"{SHARE}@seq:7", f"{SHARE}@2043-01-01T00:00:00Z"):
        done = asked.run("ls", moment, "--json")
        assert done.returncode == 3
        assert f"@seq:0 to @seq:6 ({format_time(HOUR_AGO)} to " in msgspec.json.decode(done.stderr)["error"]["remedy"]


def test_the_journal_tells_its_window_and_what_happened_to_a_file(asked: Program) -> None:
    found = asked.json("journal", "list", SHARE)
    assert [(s["first_sequence"], s["last_sequence"], s["closed_at"], s["changes"]) for s in found["segments"]] == [
        (1, 6, None, 6)
    ]
    assert found["segments"][0]["opened_at"] == found["window"]["from"] == format_time(HOUR_AGO)
    shown = asked.json("journal", "show", SHARE, "plan")
    assert shown["next"] is None
    assert [(c["sequence"], c["what"], c["path"], c["offset"], c["length"], c["size_bytes"]) for c in shown["changes"]] == [
        (1, "create", "plan", None, None, 11),
        (2, "write", "plan", 0, 5, None),
        (3, "truncate", "plan", None, None, 8),
        (4, "rename", "plan.old", None, None, None),
        (4, "create", "plan", None, None, 12),
        (6, "unlink", "plan.old", None, None, None),
    ]
    assert b"Every instant from" in asked.run("journal", "list", SHARE).stdout
    assert asked.run("journal", "show", SHARE, "never").returncode == 3


def test_what_happened_to_the_share_itself_is_told_of_its_root(worked: Program) -> None:
    rig = VaultRig(worked.root)
    rig.send([b""], [SetAttributes(0, PLAIN)])
    rig.close()
    assert worked.run("journal", "show", SHARE).stdout.rstrip().endswith(b" /")


def test_a_renamed_file_is_told_under_both_names(worked: Program) -> None:
    rig = VaultRig(worked.root)
    rig.send(PATHS, [Rename(0, 1), Write(1, 3, b"more")])
    rig.close()
    shown = worked.json("journal", "show", SHARE, "plan.old")["changes"]
    assert [(c["what"], c["path"], c["offset"], c["length"]) for c in shown[-4:]] == [
        ("create", "plan", None, None),
        ("unlink", "plan.old", None, None),
        ("rename", "plan.old", None, None),
        ("write", "plan.old", 3, 4),
    ]
    for change in shown:
        assert worked.run("ls", f"{SHARE}@seq:{change['sequence']}").returncode == 0
