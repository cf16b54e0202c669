"""What `protect` is told about what to leave out, and what its dry run answers."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from branch.excludes import Excludes
from branch.file_rules import FileRules, SizeUnreadable, parse_size
from branch.presets import PRESETS
from branch.survey import Survey, survey
from core.clock import SystemClock, format_time
from core.durations import DurationUnreadable, parse_duration
from core.relpath import show_path


@dataclass(frozen=True, slots=True)
class GivenRules:
    """The rules of a share: patterns in their order, and limits for files."""

    patterns: tuple[bytes, ...]
    file_rules: FileRules

    def is_empty(self) -> bool:
        """Tell whether they leave nothing out."""
        return not self.patterns and self.file_rules.is_empty

    def shown(self) -> dict[str, Any]:
        """Return them as answered."""
        since_ns = self.file_rules.unchanged_since_ns
        return {
            "excludes": [os.fsdecode(pattern) for pattern in self.patterns],
            "larger_than_bytes": self.file_rules.larger_than_bytes,
            "unchanged_since": None if since_ns is None else format_time(since_ns),
        }

    def survey(self, root: bytes) -> Survey:
        """Look at what they take below a folder."""
        return survey(root, Excludes(self.patterns), self.file_rules)


def rule_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that leave something out; it is called with them as `rules`."""

    @click.option("--exclude", "patterns", multiple=True, metavar="PATTERN",
                  help="Leave out, as a line of .gitignore says it: *.tmp, /var/cache/, build/**/*.o; !keep.tmp takes in again."
                  " The last pattern that matches decides.")  # fmt: skip
    @click.option("--preset", "presets", multiple=True, type=click.Choice(sorted(PRESETS)),
                  help="Leave out what many do not want; its patterns come before those given.")  # fmt: skip
    @click.option("--exclude-larger", "larger", metavar="SIZE", help="Leave out files larger than that, like 4G, when first met.")
    @click.option("--exclude-older", "older", metavar="AGE",
                  help="Leave out files not changed for so long before now, like 90d or 5y, when first met.")  # fmt: skip
    @functools.wraps(function)
    def wrapped(
        *given: Any, patterns: Sequence[str], presets: Sequence[str], larger: str | None, older: str | None, **values: Any
    ) -> Any:
        written = [pattern for name in presets for pattern in PRESETS[name]]
        written += [os.fsencode(pattern) for pattern in patterns]
        limits = FileRules(_size(larger) if larger is not None else None, _time(older) if older is not None else None)
        return function(*given, rules=GivenRules(tuple(written), limits), **values)

    return wrapped


def dry_run_answer(share: str, found: Survey) -> tuple[dict[str, Any], str]:
    """Return what would be taken and what is left out by which rule, as a document and as text."""
    taken, left_out = found.taken, found.left_out
    excluded = sum(each.entries for each in left_out.values())
    document = {
        "share": share, "files": taken.files, "folders": taken.folders, "logical_bytes": taken.logical_bytes,
        "excluded": excluded,
        "rules": [
            {
                "rule": rule, "files": each.counted.files, "folders": each.counted.folders,
                "logical_bytes": each.counted.logical_bytes, "examples": [show_path(path) for path in each.examples],
            }
            for rule, each in left_out.items()
        ],
        "not_protected": [{"path": show_path(path), "reason": reason} for path, reason in found.not_protected],
    }  # fmt: skip
    lines = [f"{taken.files} files in {taken.folders} folders, {taken.logical_bytes} bytes, {excluded} left out"]
    lines += [
        f"  {rule} leaves out {each.counted.files} files in {each.counted.folders} folders, {each.counted.logical_bytes} bytes:"
        f" {', '.join(show_path(path) for path in each.examples)}{' …' if each.entries > len(each.examples) else ''}"
        for rule, each in left_out.items()
    ]
    lines += [f"  not protected: {show_path(path)}: {reason}" for path, reason in found.not_protected]
    return document, "\n".join(lines)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except SizeUnreadable as error:
        raise click.BadParameter(f"{error.message}; {error.remedy}", param_hint="--exclude-larger") from error


def _time(text: str) -> int:
    try:
        return SystemClock().now_ns() - parse_duration(text)
    except DurationUnreadable as error:
        raise click.BadParameter(f"{error.message}; {error.remedy}", param_hint="--exclude-older") from error
