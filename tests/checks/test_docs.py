"""What the documents say can be done, can be done: commands exist, linked files exist, tables of the interface hold."""

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import branch.cli
from appliance.cli.main import stagekeeper
from appliance.settings import DEFAULT_LISTEN
from bench.document import tables
from snapshots.policy import Policy

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TESTS = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}


def commands_in(document: Path) -> list[tuple[str, list[str]]]:
    found = re.findall(r"(?:^|`)(stagekeeper(?:-agent)?) ([a-z][^`\n]*)", document.read_text(), re.MULTILINE)
    return [(program, words.split()) for program, words in found]


def agent_commands() -> click.Group:
    (group,) = [value for value in vars(branch.cli).values() if isinstance(value, click.Group)]
    return group


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_exists_with_its_options(document: Path) -> None:
    for program, words in commands_in(document):
        command: click.Command = stagekeeper if program == "stagekeeper" else agent_commands()
        rest = list(words)
        while isinstance(command, click.Group):
            name = rest.pop(0)
            assert name in command.commands, f"{program} {' '.join(words)}: no command {name}"
            command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        for word in rest:
            if word.startswith("--"):
                assert word in options, f"{program} {' '.join(words)}: no option {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / link).exists(), link
    for name in re.findall(
        r"`((?:core|staging|branch|snapshots|tapeexport|web|appliance|tests|docs|bench|deploy)/[\w./-]+)`", document.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_the_benchmarks_show_what_was_measured() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    runs = sorted((ROOT / "docs" / "measured").glob("*.json"))
    assert runs
    for run in runs:
        shown = tables(json.loads(run.read_text()))
        assert shown and shown in text, run.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", document.read_text()))
    assert named - TESTS == set()


def test_the_page_about_damage_names_the_tests_that_bear_it_out() -> None:
    assert len(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "damage.md").read_text())) >= 10


def test_the_readme_tells_how_to_run_and_to_test() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text and "make test" in text
    assert text.count("\n") <= 120


def test_the_readme_says_what_is_so() -> None:
    text = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    assert "Python " + project["project"]["requires-python"].removeprefix(">=") + " or newer" in text
    assert f"backup.example.org:{DEFAULT_LISTEN.rpartition(':')[2]}" in text
    (layers,) = [contract["layers"] for contract in project["tool"]["importlinter"]["contracts"]]
    assert " ".join(f"`{name}`" for layer in reversed(layers) for name in layer.split(" | ")) in text
    assert "Journals are kept for seven days" in text and Policy().limits.journal_keep == "7d"
    for unit in re.findall(r"deploy/[\w-]+\.service", text):
        assert (ROOT / unit).exists(), unit
    writable = re.findall(r"^ReadWritePaths=(.*)$", (ROOT / "deploy" / "stagekeeper.service").read_text(), re.MULTILINE)
    (said,) = re.findall(r"only below ((?:`/\w+`,? ?)+)", text)
    assert {path.strip("`") for path in said.split(", ")} <= {path.lstrip("-") for paths in writable for path in paths.split()}


def test_completion_is_printed_for_every_shell() -> None:
    for shell in ("bash", "zsh", "fish"):
        answer = CliRunner().invoke(stagekeeper, ["completion", shell])
        assert answer.exit_code == 0 and "_STAGEKEEPER_COMPLETE" in answer.output
