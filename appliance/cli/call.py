"""One call of a command: its common options, the console it asks, and the form in which it answers."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, cast

import click
import msgspec
from rich.console import Console as Screen
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from appliance.console import Console, OnProgress, OpenLocally, open_console
from appliance.settings import Environment

Options = ParamSpec("Options")


@dataclass(frozen=True, slots=True)
class Setup:
    """What the program was started with."""

    environment: Environment
    open_locally: OpenLocally


@dataclass(frozen=True, slots=True)
class Call:
    """A command's surroundings."""

    setup: Setup
    root_option: Path | None
    as_json: bool

    @property
    def root(self) -> Path:
        """The appliance's folder, from --root or the environment."""
        if self.root_option is not None:
            return self.root_option
        if self.setup.environment.root is not None:
            return Path(self.setup.environment.root)
        raise click.UsageError("name the appliance's folder with --root or STAGEKEEPER_ROOT")

    @contextmanager
    def console(self) -> Iterator[Console]:
        """Open the way to the API for the time of the command."""
        with ExitStack() as stack:
            yield open_console(self.root, self.setup.environment, self.setup.open_locally, stack)

    def show(self, document: Any, for_people: Callable[[Any], None]) -> None:
        """Print the API's answer unchanged, or in the form for people."""
        if self.as_json:
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        else:
            for_people(document)

    @contextmanager
    def progress(self) -> Iterator[OnProgress]:
        """Show a bar while something long is done; on a terminal only."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda step: None
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Screen(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda step: bar.update(
                task, completed=step["done_bytes"], total=step["total_bytes"], description=str(step["what"])
            )


def with_call(function: Callable[Concatenate[Call, Options], int | None]) -> Callable[..., int | None]:
    """Give a command --root and --json, and a `Call` as its first argument; what it returns is the exit code."""

    @functools.wraps(function)
    def wrapper(setup: Setup, *args: Any, root: Path | None, as_json: bool, **options: Any) -> int | None:
        return function(Call(setup, root, as_json), *args, **options)

    wrapped: Callable[..., int | None] = click.pass_obj(cast(Any, wrapper))
    wrapped = click.option("--json", "as_json", is_flag=True, help="Print the API's answer as one JSON document.")(wrapped)
    root_type = click.Path(path_type=Path)
    return click.option("--root", type=root_type, help="The appliance's folder; else STAGEKEEPER_ROOT.")(wrapped)


def raw_path(text: str) -> bytes:
    """Return a path inside a share as the shell gave it; a slash at the end only says that a folder is meant."""
    return text.encode("utf-8", "surrogateescape").removesuffix(b"/")


def named_place(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Refuse an empty place: a shell's variable that is not set would mean the directory in which one stands."""
    if not text:
        raise click.BadParameter("it is empty (write . for this directory)")
    return text


def split_moment(text: str) -> tuple[str, str]:
    """Return (share, moment) of `B/S[@M]`."""
    share, _, moment = text.partition("@")
    branch, slash, name = share.partition("/")
    if not branch or not slash or not name or "/" in name:
        raise click.UsageError(f"not a share: {text} (write BRANCH/SHARE or BRANCH/SHARE@MOMENT)")
    return share, moment
