"""The options that every command of the agent takes, and how all of them answer."""

import functools
import json
from collections.abc import Callable
from typing import Any

import click

from branch.settings import STATE_VARIABLE, StateDirectory, state_directory
from branch.state_db import StateDb
from branch.state_folder import claim_state


class Given:
    """The options that every command takes, before or after its name."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.json = False

    @property
    def directory(self) -> StateDirectory:
        """Return the state directory."""
        return state_directory(self.state)

    def database(self) -> StateDb:
        """Open the agent's database, made when it is missing."""
        directory = self.directory
        claim_state(directory)
        return StateDb(directory.database)

    def answer(self, document: dict[str, Any], text: str) -> None:
        """Print the answer: the document with `--json`, else the text."""
        click.echo(json.dumps(document) if self.json else text)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; it is called with what was given as its first argument."""

    @click.option("--state", metavar="DIR", help=f"State directory (default: {STATE_VARIABLE} or /var/lib/stagekeeper-agent).")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @functools.wraps(function)
    def wrapped(state: str | None, as_json: bool, **values: Any) -> Any:
        given = click.get_current_context().ensure_object(Given)
        given.state = state or given.state
        given.json = as_json or given.json
        return function(given, **values)

    return wrapped
