"""The sample share of the demo: real files of this machine, copied, and rounds of edits as people make them."""

import os
import random
import shutil
import sysconfig
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path

WANTED_FILES = 2400
_MAX_FILE_BYTES = 512 * 1024
_MAX_TOTAL_BYTES = 48 * 1024 * 1024


def fill_sample(folder: Path) -> int:
    """Copy documentation, perl and Python's library below `folder`; return how many files there are."""
    sources = {
        "documentation": Path("/usr/share/doc"),
        "perl": Path("/usr/share/perl"),
        "python": Path(sysconfig.get_paths()["stdlib"]),
        "packages": Path(sysconfig.get_paths()["purelib"]),
    }
    streams = [_files(name, root) for name, root in sources.items() if root.is_dir()]
    in_turn = (found for found in chain.from_iterable(zip_longest(*streams)) if found is not None)
    total = copied = 0
    for name, root, path in islice(in_turn, 4 * WANTED_FILES):
        size = path.stat().st_size
        if total + size > _MAX_TOTAL_BYTES:
            continue
        target = folder / name / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        total, copied = total + size, copied + 1
        if copied == WANTED_FILES:
            break
    _add_budget(folder)
    return copied


def edit_sample(folder: Path, number: int) -> str:
    """Edit the share as people do in half a day; return what was done in a sentence."""
    chance = random.Random(number)
    texts = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".txt", ".pm", ".md") and path.is_file()]
    picked = chance.sample(texts, min(30, len(texts)))
    for path in picked[:20]:
        with path.open("ab") as file:
            file.write(b"\n# edited in round %d\n" % number)
    for path in picked[20:25]:
        path.rename(path.with_name(f"{path.stem}-renamed-{number}{path.suffix}"))
    for path in picked[25:]:
        path.unlink()
    report = folder / "reports" / f"report-{number:03d}.txt"
    report.parent.mkdir(exist_ok=True)
    report.write_text(f"Report {number}\n" + "all is well\n" * chance.randint(5, 50))
    _edit_budget(folder, number)
    return "20 files edited, 5 renamed, 5 deleted, a report written, the budget changed"


def _files(name: str, root: Path) -> Iterator[tuple[str, Path, Path]]:
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
        for path in (Path(parent, file_name) for file_name in sorted(names)):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_FILE_BYTES and os.access(path, os.R_OK):
                yield name, root, path


def _add_budget(folder: Path) -> None:
    finance = folder / "finance" / "2026"
    finance.mkdir(parents=True, exist_ok=True)
    (finance / "Budget 2026.csv").write_text("item,amount\n" + "".join(f"post {n},{n * 100}\n" for n in range(200)))
    (finance / "Résumé – draft.txt").write_text("A name that is not plain ASCII.\n")


def _edit_budget(folder: Path, number: int) -> None:
    budget = folder / "finance" / "2026" / "Budget 2026.csv"
    if budget.exists():
        lines = budget.read_text().splitlines()
        lines[1 + number % 199] = f"post {number % 199},{number * 1234}"
        budget.write_text("\n".join(lines) + "\n")
