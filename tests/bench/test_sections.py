"""The bench runs its sections one after another, keeps what it has, and says which aims are kept."""

import importlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.agents import at_once
from bench.figure import at_least, at_most, of_times, reading, shown
from bench.held import held_during
from bench.sections import SCALES, SECTIONS, Command, Section

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
QUICK = "tests.bench.quick_section"


def section(words: str) -> Section:
    return Section("a test", [Command(QUICK, {"tiny": words})])


def run(path: Path, sections: dict[str, Section], *words: str) -> Any:
    main(["--scale", "tiny", "--json", str(path), *words], sections)
    return json.loads(path.read_text())


def test_a_figure_says_its_aim_whether_it_is_kept_and_what_repeats_it(tmp_path: Path) -> None:
    document = run(tmp_path / "figures.json", {"one": section("--value 12 --work 0.2")})
    most, least, free = document["sections"]["one"]["figures"]
    assert (most["name"], most["value"], most["unit"], most["aim"], most["is_kept"]) == ("at most ten", 12, "B", "≤ 10", False)
    assert (least["aim"], least["is_kept"]) == ("≥ 10", True)
    assert (free["aim"], free["is_kept"]) == ("", None)
    assert most["command"] == f"python -m {QUICK} --value 12 --work 0.2"
    assert most["wall_seconds"] >= most["cpu_seconds"] / 2 and most["cpu_seconds"] >= 0.2
    assert document["told by"] == 12


def test_what_was_measured_before_a_section_failed_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    with pytest.raises(SystemExit):
        run(path, {"one": section("--value 1"), "two": section("--value 2 --fail"), "three": section("--value 3")})
    sections = json.loads(path.read_text())["sections"]
    assert [len(sections[name]["figures"]) for name in ("one", "two", "three")] == [3, 0, 3]
    assert sections["two"]["failures"] == [f"python -m {QUICK} --value 2 --fail ended with 1"]
    shown_text = capsys.readouterr().out
    assert "| one | at least ten | 1 B | ≥ 10 | missed |" in shown_text and "FAILED: two" in shown_text


def test_the_file_is_written_after_each_section(tmp_path: Path) -> None:
    """An interrupted bench keeps what it has: the second section is one that cannot even be begun."""
    path = tmp_path / "figures.json"
    with pytest.raises(KeyError):
        run(path, {"one": section("--value 1"), "two": Section("no such scale", [Command(QUICK, {})])})
    assert list(json.loads(path.read_text())["sections"]) == ["one"]


def test_sections_that_are_picked_leave_the_others_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    run(path, {"one": section("--value 1"), "two": section("--value 2")})
    document = run(path, {"one": section("--value 1"), "two": section("--value 5")}, "--section", "two")
    values = {name: found["figures"][0]["value"] for name, found in document["sections"].items()}
    assert values == {"one": 1, "two": 5}


def test_a_file_of_another_scale_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text('{"scale": "full"}')
    with pytest.raises(SystemExit, match="scale full"):
        run(path, {"one": section("--value 1")}, "--section", "one")
    assert path.read_text() == '{"scale": "full"}'


@pytest.mark.parametrize("name", ["hot", "differences"])
def test_a_section_as_it_stands_runs_at_the_smallest_scale(name: str, tmp_path: Path) -> None:
    document = run(tmp_path / "figures.json", dict(SECTIONS), "--section", name, "--folder", str(tmp_path))
    aims = [figure for figure in document["sections"][name]["figures"] if figure["aim"]]
    assert aims and all(figure["is_kept"] for figure in aims), aims


@pytest.mark.parametrize("name", SECTIONS)
def test_every_command_of_every_section_takes_its_arguments_at_every_scale(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in SECTIONS[name].commands:
        module = importlib.import_module(command.module)
        for scale in SCALES:
            with pytest.raises(SystemExit):
                module.main([*command.words(scale), "--unknown"])
            assert capsys.readouterr().err.endswith("error: unrecognized arguments: --unknown\n"), command.shown(scale)


def test_every_command_that_the_page_of_benchmarks_shows_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown_commands = re.findall(r"`python -m (bench[.\w]*)([^`]*)`", BENCHMARKS.read_text())
    assert len(shown_commands) >= 5
    for name, words in shown_commands:
        module = importlib.import_module("bench.__main__" if name == "bench" else name)
        with pytest.raises(SystemExit):
            module.main([*words.split(), "--unknown"])
        assert "unrecognized arguments: --unknown\n" in capsys.readouterr().err, f"{name}{words}"


def test_the_page_of_benchmarks_tells_of_every_section() -> None:
    table = re.findall(r"^\| (`.*`) \| .* min \| .* min \|$", BENCHMARKS.read_text(), re.MULTILINE)
    assert [name for row in table for name in re.findall(r"`(\w+)`", row)] == list(SECTIONS)


def test_bounds_are_met_at_their_limits() -> None:
    assert at_most(300).is_kept_by(300) and not at_most(300).is_kept_by(300.1)
    assert at_least(200_000).is_kept_by(200_000) and not at_least(200_000).is_kept_by(199_999)
    assert (str(at_most(300)), str(at_least(200_000)), str(at_most(0.7))) == ("≤ 300", "≥ 200 000", "≤ 0.70")
    assert reading("a", 5, "s", at_most(4)).is_kept is False


def test_percentiles_are_of_the_times_that_were_seen() -> None:
    figures = of_times("answer", [number / 1000 for number in range(1, 101)], p95=at_most(20))
    assert [(figure.name, figure.value) for figure in figures] == [
        ("answer, p50", 51.0), ("answer, p95", 96.0), ("answer, p99", 100.0), ("answer, longest", 100.0),
    ]  # fmt: skip
    assert [figure.is_kept for figure in figures] == [None, False, None, None]
    with pytest.raises(SystemExit, match="nothing was timed"):
        of_times("answer", [])


def test_agents_in_processes_answer_in_the_order_in_which_they_were_given() -> None:
    def work(number: int, ready: Callable[[], object]) -> int:
        ready()
        return number

    assert at_once([partial(work, number) for number in range(4)]) == [0, 1, 2, 3]


def test_an_agent_that_fails_ends_the_others_and_is_told() -> None:
    def fail(ready: Callable[[], object]) -> None:
        raise ValueError("no such appliance")

    def wait(ready: Callable[[], object]) -> None:
        ready()

    with pytest.raises(SystemExit, match="ValueError: no such appliance"):
        at_once([wait, fail, wait])


def test_an_acknowledgement_counts_for_what_ran_at_any_time_while_it_was_waited_for() -> None:
    waits = [(0.0, 1.0), (1.5, 2.1), (2.9, 3.5), (4.0, 9.0)]
    lasted, *_, longest = held_during("fold", (2.0, 3.0), waits)
    assert lasted.value == 1.0
    assert longest.value == pytest.approx(600.0) and longest.is_kept is False


def test_numbers_are_shown_for_people() -> None:
    assert [shown(value) for value in (0.7, 12.34, 123.4, 400_000, 5)] == ["0.70", "12.3", "123", "400 000", "5"]
