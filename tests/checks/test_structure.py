"""The house rules that a program can see: size of modules and functions, no grab-bags, one door to each package."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["core", "staging", "branch", "snapshots", "tapeexport", "web", "appliance"]
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
FORBIDDEN_NAMES = {"utils", "helpers", "misc", "common", "util", "helper"}
DOORS = {
    "blake3": {"core/digest.py"},
    "xxhash": {"branch/block_sums.py"},
    "pysqlite3": {"core/database.py"},
    "pyfastcdc": {"staging/chunking.py"},
    "zstandard": {"staging/frame_format.py", "staging/chunk_format.py", "snapshots/name_block_format.py"},
    "argon2": {"appliance/credentials.py"},
    "flask": None,
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_and_functions_fit_their_size(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_there_are_no_grab_bags() -> None:
    assert not [named(path) for path in MODULES if path.stem in FORBIDDEN_NAMES]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_stand_at_the_top_and_each_package_has_its_door(path: Path) -> None:
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node, name in _imports(tree):
        assert id(node) in top, f"line {node.lineno}: import inside a function"
        doors = DOORS.get(name.partition(".")[0])
        assert doors is None or named(path) in doors, f"{name} is imported past its door"


def test_only_durable_syncs_renames_and_removes() -> None:
    calls = re.compile(r"\bos\.(fsync|fdatasync|replace|rename|renames|sync)\(")
    assert [named(path) for path in MODULES if calls.search(path.read_text())] == ["core/durable.py"]


def test_nothing_asks_the_clock_or_the_environment_past_its_module() -> None:
    clock = re.compile(r"\btime\.(time|time_ns|monotonic)\(|datetime\.(now|utcnow|today)\(")
    environment = re.compile(r"\bos\.(environ|getenv)\b")
    settings = {"appliance/settings.py", "branch/settings.py"}
    assert [named(p) for p in MODULES if clock.search(p.read_text()) and named(p) != "core/clock.py"] == []
    assert [named(p) for p in MODULES if environment.search(p.read_text()) and named(p) not in settings] == []


def test_layers_hold() -> None:
    answer = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_every_dependency_has_its_reason_written_down() -> None:
    text = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()
    wanted = re.findall(r'^ {4}"([a-z0-9-]+)[><=]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert wanted and [name for name in wanted if f"`{name}`" not in text] == []


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module
