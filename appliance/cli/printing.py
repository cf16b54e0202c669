"""What people read: tables, sizes, times. Nothing that came from outside can steer the terminal or be markup."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.cli.failures import plain
from web.streams import close

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_PIPE_COLUMNS = 100_000  # in a pipe nothing is cut or wrapped


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(plain(text) + "\n")


def warn_of_unknown(row: dict[str, Any], as_json: bool) -> None:
    """Warn on standard error of shares that are named and not there; a document tells it by itself."""
    unknown = row.get("unknown_shares", [])
    if unknown and not as_json:
        sys.stderr.write(f"stagekeeper: not here (yet): {plain(', '.join(unknown))}; see `stagekeeper share list`\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """Print a table; columns named in `numbers` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=not sys.stdout.isatty())
    count = 0
    for row in rows:
        table.add_row(*(Text(plain(_shown(value))) for value in row))
        count += 1
    if not count:
        say("(none)")
    else:
        width = None if sys.stdout.isatty() else _PIPE_COLUMNS
        Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def print_facts(facts: dict[str, object]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        say(f"{name:<{width}}  {_shown(value)}")


def write_raw(pieces: Iterator[bytes]) -> None:
    """Write bytes to standard output as they come; a reader that has enough ends them at their source too."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    finally:
        close(pieces)


def size(size_bytes: int) -> str:
    """Return a size for people, in powers of 1000."""
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.5 else f"{value:.1f} {_UNITS[unit]}"


def local_time(text: str | None) -> str:
    """Return an RFC 3339 time in this machine's zone, to the second; nothing for none."""
    if not text:
        return ""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def local_time_ns(time_ns: int) -> str:
    """Return an instant in this machine's zone, to the second."""
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
