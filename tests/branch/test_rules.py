"""Rules of what is left out: sizes, presets, what a dry run tells, and patterns of earlier releases."""

import fnmatch
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branch.excludes import Excludes
from branch.file_rules import SizeUnreadable, parse_size
from branch.old_excludes import as_git_reads
from branch.presets import PRESETS
from branch.state_db import StateDb
from tests.branch.rig import Rig
from tests.branch.test_command import ask


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("4K", 4000), ("1.5M", 1_500_000), ("2Gi", 2 * 1024**3), ("1T", 10**12), ("3GB", 3 * 10**9)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1,5G", "1 G", "1g", "1e9", "4X"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SizeUnreadable):
        parse_size(text)


@pytest.mark.parametrize(
    ("preset", "path", "is_folder", "is_out"),
    [
        ("office", b"d/~$budget.xlsx", False, True),
        ("office", b"d/.~lock.budget.ods#", False, True),
        ("office", b"d/budget.ods", False, False),
        ("temporary", b"notes.txt~", False, True),
        ("temporary", b".notes.txt.swp", False, True),
        ("temporary", b"x.swp", False, False),
        ("desktop", b"photos/Thumbs.db", False, True),
        ("system", b"$RECYCLE.BIN", True, True),
        ("system", b".Trash-1000", True, True),
        ("system", b"lost+found", False, False),
    ],
)
def test_presets_leave_out_what_they_say(preset: str, path: bytes, is_folder: bool, is_out: bool) -> None:
    assert Excludes(PRESETS[preset]).match(path, path.rpartition(b"/")[2], is_folder) is is_out


def test_the_page_has_the_presets() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page.partition("## Presets")[2].partition("\n## ")[0], re.MULTILINE)
    told = {name: tuple(word.encode() for word in re.findall(r"`([^`]+)`", words)) for name, words in rows}
    assert told == PRESETS


def test_no_two_presets_say_the_same() -> None:
    patterns = [pattern for preset in PRESETS.values() for pattern in preset]
    assert len(patterns) == len(set(patterns))


def test_a_dry_run_says_what_each_rule_leaves_out(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("cache/deep", "kept"):
        (rig.tree / folder).mkdir(parents=True)
    for name, text in {"cache/a": "12", "cache/deep/b": "345", "kept/x.tmp": "1", "kept/y.tmp": "", "big": "x" * 100}.items():
        (rig.tree / name).write_text(text)
    (rig.tree / "old").write_text("o")
    os.utime(rig.tree / "old", (10**9, 10**9))
    rules = [
        "--preset",
        "temporary",
        "--exclude",
        "cache/",
        "--exclude",
        "!y.tmp",
        "--exclude-larger",
        "50",
        "--exclude-older",
        "1y",
    ]
    _, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", "--dry-run", *rules)
    assert (document["files"], document["folders"], document["logical_bytes"], document["excluded"]) == (1, 1, 0, 4)
    told = {rule["rule"]: rule for rule in document["rules"]}
    assert told["cache/"] == {"rule": "cache/", "files": 2, "folders": 2, "logical_bytes": 5, "examples": ["cache"]}
    assert told["*.tmp"]["examples"] == ["kept/x.tmp"]
    assert told["larger than 50 bytes"]["logical_bytes"] == 100
    assert [rule for rule in told if rule.startswith("not changed since ")] and len(told) == 4


def test_protect_answers_with_all_rules_as_they_are_kept(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--exclude", "!a~", "--preset", "office", "--exclude-larger", "2Gi", "--exclude-older", "30d"]
    _, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", *options)
    assert document["excludes"] == [*(pattern.decode() for pattern in PRESETS["office"]), "!a~"]
    assert document["larger_than_bytes"] == 2 * 1024**3 and document["unchanged_since"].endswith("Z")
    database = StateDb(rig.state.database)
    record = database.share("data")
    assert record.excludes == (*PRESETS["office"], b"!a~")
    assert record.file_rules.larger_than_bytes == 2 * 1024**3
    database.close()
    rig.protect()
    _, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data")
    assert (document["excludes"], document["larger_than_bytes"], document["unchanged_since"]) == ([], None, None)


@pytest.mark.parametrize("option", [["--exclude-larger", "x"], ["--exclude-older", "3m"], ["--preset", "none"]])
def test_rules_that_cannot_be_read_are_refused(rig: Rig, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    assert ask(rig, capsys, "protect", str(rig.tree), "--as", "data", *option)[0] == 2


PARTS = st.sampled_from(
    [b"a", b"b", b"*", b"?", b"[ab]", b"[!a]", b"[", b"]", b"[^a]", b"[]a]", b"\\", b"!", b"^", b"-", b"\xff"]
)
OLD_NAMES = st.lists(PARTS, min_size=1, max_size=5).map(b"".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b"^", b"[", b"]", b"\\", b"!", b"-", b"\xff"]), min_size=1, max_size=4).map(
    b"".join
)


@given(OLD_NAMES, NAMES, st.booleans())
def test_an_old_pattern_of_names_goes_on_to_mean_the_same(pattern: bytes, name: bytes, is_folder: bool) -> None:
    written = as_git_reads(pattern + b"/" * is_folder)
    assert written is not None
    meant = re.match(fnmatch.translate(pattern.decode("latin-1")), name.decode("latin-1")) is not None
    assert Excludes([written]).match(b"d/" + name, name, is_folder) is meant


def test_an_old_pattern_of_paths_leaves_out_nothing_more() -> None:
    assert [as_git_reads(old) for old in (b"var/cache/*", b"/build", b"build/", b"!a/b", b"///")] == [
        b"/var/cache/*", b"/build", b"build/", b"/!a/b", None,
    ]  # fmt: skip


def test_the_state_of_an_earlier_release_opens_with_its_patterns(rig: Rig) -> None:
    rig.protect("--exclude", "*.tmp")
    connection = sqlite3.connect(rig.state.database)
    connection.execute("UPDATE share SET excludes = ?", (json.dumps(["*.tmp", "!odd", "a\\b", "/"]),))
    for column in ("larger_than", "unchanged_since_ns", "capture"):
        connection.execute(f"ALTER TABLE share DROP COLUMN {column}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version - 2}")
    connection.commit()
    connection.close()
    database = StateDb(rig.state.database)
    assert database.share("data").excludes == (b"*.tmp", b"\\!odd", b"a\\\\b")
    assert database.share("data").file_rules.is_empty
    database.close()
    rig.once()
