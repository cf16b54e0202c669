"""docs/commands.md: its commands are those of both parsers, with their arguments; its values are those of the code."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from msgspec import NODEFAULT, Struct

import appliance.cli.failures
from appliance.accounts import Account
from appliance.audit_format import AuditEntry
from appliance.backup_restore import Restored
from appliance.cli.main import stagekeeper
from appliance.rebuilding import RebuildReport, RebuiltShare
from appliance.schedules import Schedule
from branch.cli import agent
from branch.cli_errors import DIFFERENCES
from branch.status import GapStatus, LimitStatus, NotProtected, ShareStatus
from branch.verification_db import DifferentPath, Verified
from branch.wire import WireBill
from tapeexport.archive_writer import NotExported
from tapeexport.cartridge_format import SnapshotLabel
from tapeexport.export_report import CartridgeReport, ExportReport
from tests.appliance.conftest import PASSWORD, Terminal
from tests.appliance.memory_parts import SHARE
from web.backup_answers import Backup, NewRecoveryKey
from web.differences import ChangedPath, DifferenceSummary
from web.figures import BranchSpace, Stats
from web.found import Found, FoundName, NotSearched
from web.share_values import Branch, BranchCode, Entry, Hold, NotApplied, RestoreReport, Share, Snapshot, Version
from web.upkeep_values import (
    CollectReport,
    FileHit,
    JournalChange,
    JournalSegment,
    JournalWindow,
    PruneDecision,
    PurgeReport,
    ScrubReport,
    SealReport,
    WeighedSnapshot,
    Weight,
)

TEXT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
ARROW = "→"
COMMON = {"--root", "--json", "--state"}
OPTION = re.compile(r"\[(--[a-z-]+)( (?:[^\[\]]|\[[^\[\]]*\])+)?\](…)?|(--[a-z-]+) (\S+)")
VALUES: dict[str, type[Struct]] = {
    "account": Account, "audit entry": AuditEntry, "backup": Backup, "branch": Branch, "branch code": BranchCode,
    "branch space": BranchSpace, "cartridge": CartridgeReport, "collect report": CollectReport, "decision": PruneDecision,
    "difference": ChangedPath, "different path": DifferentPath,
    "entry": Entry, "export report": ExportReport, "exported snapshot": SnapshotLabel,
    "figures": Stats, "gap": GapStatus, "file hit": FileHit, "hit": Found, "hit's name": FoundName, "hold": Hold,
    "journal change": JournalChange, "limit": LimitStatus, "not applied": NotApplied, "not exported": NotExported,
    "not protected": NotProtected, "not searched": NotSearched, "own files": Restored, "purge report": PurgeReport,
    "weight": Weight, "weighed snapshot": WeighedSnapshot,
    "rebuild report": RebuildReport, "rebuilt share": RebuiltShare, "recovery key": NewRecoveryKey,
    "restore report": RestoreReport, "schedule": Schedule, "scrub report": ScrubReport, "seal report": SealReport,
    "segment": JournalSegment, "share": Share, "share status": ShareStatus, "snapshot": Snapshot,
    "summary": DifferenceSummary, "verified": Verified, "version": Version, "window": JournalWindow, "wire": WireBill,
}  # fmt: skip
BESIDES = {"audit entry": ["digest"]}  # what is put to the stored entry when it is answered
UNNAMED = {"text", "bytes", "policy"}  # answers that are no value of the last section


def section(title: str) -> str:
    _, _, behind = TEXT.partition(f"\n## {title}\n")
    return behind.partition("\n## ")[0]


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines of the blocks; one that begins with a space goes on with the line before."""
    for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from re.sub(r"\n +", " ", block).splitlines()


def stated(program: click.Group) -> dict[str, tuple[str, str, set[int]]]:
    """Return the arguments, answer and exit codes that the page gives each command."""
    ours = section("The agent")
    blocks = ours if program is agent else TEXT.partition("\n## Values\n")[0].replace(ours, "")
    names = sorted((" ".join(path) for path, _ in commands(program)), key=len, reverse=True)
    found = {}
    for line in lines_of(blocks):
        given, _, answer = (part.strip() for part in line.partition(ARROW))
        name = next((name for name in names if f"{given} ".startswith(f"{name} ")), given)
        assert name not in found, name
        answer, _, codes = answer.partition(" · ")
        found[name] = (given.removeprefix(name).strip(), answer, {int(code) for code in codes.split()})
    return found


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def arguments_of(command: click.Command) -> list[str]:
    context = click.Context(command)
    return [parameter.make_metavar(context) for parameter in command.params if isinstance(parameter, click.Argument)]


def options_of(command: click.Command) -> set[tuple[str, bool, bool, bool]]:
    """Return of each option its name, whether it is required, takes a value, and may be repeated."""
    options = [each for each in command.params if isinstance(each, click.Option) and each.opts[0] not in COMMON]
    return {(each.opts[0], each.required, not each.is_flag, each.multiple) for each in options}


def read_options(given: str) -> set[tuple[str, bool, bool, bool]]:
    return {
        (free or bound, bool(bound), bool(value or bound), bool(more)) for free, value, more, bound, _ in OPTION.findall(given)
    }


def fields_of(kind: type[Struct]) -> list[str]:
    """Return the names in JSON; those that are left out when they say nothing end in `?`."""
    config = kind.__struct_config__
    return [
        field.encode_name + ("?" if config.omit_defaults and (field.default, field.default_factory) != (NODEFAULT,) * 2 else "")
        for field in msgspec.structs.fields(kind)
    ]


def values_stated() -> dict[str, list[str]]:
    rows = [re.split(r" {2,}", line, maxsplit=1) for line in lines_of(section("Values"))]
    return {name: fields.split() for name, fields in rows}


def values_in(answer: str) -> list[str]:
    return re.findall(r": \[?([a-z' ]+)\]?", answer) if answer.startswith("{") else [answer]


@pytest.mark.parametrize("program", [stagekeeper, agent], ids=["stagekeeper", "agent"])
def test_every_command_is_listed_and_every_listed_one_exists(program: click.Group) -> None:
    assert sorted(stated(program)) == sorted(" ".join(path) for path, _ in commands(program))


@pytest.mark.parametrize("program", [stagekeeper, agent], ids=["stagekeeper", "agent"])
def test_each_is_listed_with_its_arguments_and_options(program: click.Group) -> None:
    page = stated(program)
    for path, command in commands(program):
        given = page[" ".join(path)][0]
        assert OPTION.sub("", given).split() == arguments_of(command), path
        assert read_options(given) == options_of(command), path


@pytest.mark.parametrize("program", [stagekeeper, agent], ids=["stagekeeper", "agent"])
def test_the_exit_codes_behind_an_answer_are_those_that_its_command_returns(program: click.Group) -> None:
    page = stated(program)
    for path, command in commands(program):
        module = inspect.getmodule(inspect.unwrap(command.callback)) if command.callback else None
        source = inspect.getsource(inspect.unwrap(command.callback)) if command.callback else ""
        for called in re.findall(r"return (_\w+)\(", source):
            source += inspect.getsource(getattr(module, called))
        codes = {
            "DIFFERENT": appliance.cli.failures.DIFFERENT,
            "DAMAGED": appliance.cli.failures.DAMAGED,
            "DIFFERENCES": DIFFERENCES,
        }
        assert page[" ".join(path)][2] == {codes[word] for word in re.findall(r"\b[A-Z]{7,}\b", source) if word in codes}, path


def test_the_values_have_the_fields_of_the_code() -> None:
    assert values_stated() == {name: fields_of(kind) + BESIDES.get(name, []) for name, kind in VALUES.items()}


def test_every_answer_is_of_values_that_are_listed() -> None:
    for program in (stagekeeper, agent):
        for name, (_, answer, _) in stated(program).items():
            assert set(values_in(answer)) <= {*VALUES, *UNNAMED}, name


@pytest.mark.parametrize(
    "words",
    [
        "stats", "branch add leeds", "branch list", "share list", f"share status {SHARE}", f"snapshot create {SHARE}",
        f"snapshot list {SHARE}", f"ls {SHARE}", f"versions {SHARE} Budget.txt", f"find Budget --share {SHARE}",
        f"journal list {SHARE}", f"journal show {SHARE} Budget.txt", f"prune {SHARE} --dry-run", "schedule list",
        "schedule next @scrub", "user list", "user token admin --scope read", "audit list", "audit verify", "backup run",
        "backup list", "recovery-key new", f"verify-seal {SHARE}", "collect", "scrub",
    ],
)  # fmt: skip
def test_commands_answer_what_the_page_says(terminal: Terminal, words: str) -> None:
    page = stated(stagekeeper)
    name = next(name for name in sorted(page, key=len, reverse=True) if f"{words} ".startswith(f"{name} "))
    answer = page[name][1]
    code, out, err = terminal.run(*words.split(), "--json")
    assert code in {0, *page[name][2]}, err
    document = msgspec.json.decode(out)
    if not answer.startswith("{"):
        assert_fields(document, answer)
        return
    assert list(document) == [part.partition(":")[0].strip() for part in answer.strip("{}").split(",")]
    for key, value in re.findall(r"(\w+): \[([a-z' ]+)\]", answer):
        for row in document[key]:
            assert_fields(row, value)


def assert_fields(document: dict[str, object], value: str) -> None:
    fields = values_stated()[value]
    assert [name for name in document if name not in {field.rstrip("?") for field in fields}] == []
    assert [field for field in fields if not field.endswith("?") and field not in document] == []


def test_a_password_is_answered_only_when_it_was_made(terminal: Terminal, tmp_path: Path) -> None:
    assert stated(stagekeeper)["user passwd"][1] == "{password?}"
    assert list(terminal.json("user", "passwd", "admin")) == ["password"]
    (tmp_path / "password").write_text(PASSWORD)
    assert terminal.json("user", "passwd", "admin", "--password-file", str(tmp_path / "password")) == {}
