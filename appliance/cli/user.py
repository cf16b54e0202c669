"""`stagekeeper user`: accounts of people, and tokens of their programs."""

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.group import Noun
from appliance.cli.printing import local_time, print_table, say, warn_of_unknown
from appliance.credentials import new_password
from appliance.rights import ROLES, SCOPES
from core.errors import Refused

PASSWORD_FILE = click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="F",
    help="Take the password from the first line of F (- = standard input).",
)


class PasswordUnreadable(Refused):
    """The file that should hold a password cannot be read."""


@click.group(cls=Noun)
def user() -> None:
    """Accounts."""


@user.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--grant", "grants", multiple=True, metavar="B/S[/PATH]", help="What a user may see; may be repeated.")
@PASSWORD_FILE
@with_call
def add(call: Call, name: str, role: str, grants: tuple[str, ...], password_file: Path | None) -> None:
    """Make an account."""
    password, generated = choose_password(password_file)
    body = {"name": name, "role": role, "password": password, "grants": list(grants)}
    with call.console() as console:
        made = console.ask("POST", "users", body=body)
    call.show({**made, "password": password} if generated else made, lambda row: _print([row]))
    _say_generated(call, password, generated)
    warn_of_unknown(made, call.as_json)


@user.command("list")
@with_call
def list_users(call: Call) -> None:
    """List all accounts."""
    with call.console() as console:
        call.show(console.ask_all("users", "users"), lambda found: _print(found["users"]))


@user.command()
@click.argument("name")
@PASSWORD_FILE
@with_call
def passwd(call: Call, name: str, password_file: Path | None) -> None:
    """Set an account's password; whoever owns the appliance's folder needs no old one."""
    password, generated = choose_password(password_file)
    with call.console() as console:
        answer = console.ask("POST", f"users/{name}/password", body={"password": password})
    call.show({**answer, "password": password} if generated else answer, lambda _: say(f"The password of {name} is set"))
    _say_generated(call, password, generated)


@user.command()
@click.argument("name")
@with_call
def disable(call: Call, name: str) -> None:
    """Switch an account off; its sessions and tokens end at once."""
    with call.console() as console:
        call.show(console.ask("POST", f"users/{name}/disable"), lambda row: _print([row]))


@user.command()
@click.argument("name")
@with_call
def enable(call: Call, name: str) -> None:
    """Switch an account on again."""
    with call.console() as console:
        call.show(console.ask("POST", f"users/{name}/enable"), lambda row: _print([row]))


@user.command()
@click.argument("name")
@click.option("--scope", required=True, type=click.Choice(SCOPES), help="all = what the account may; read = only look.")
@with_call
def token(call: Call, name: str, scope: str) -> None:
    """Make a bearer token for programs; it is shown this once."""
    with call.console() as console:
        made = console.ask("POST", f"users/{name}/tokens", body={"scope": scope})
    call.show(made, lambda row: say(row["token"]))


def choose_password(file: Path | None) -> tuple[str, bool]:
    """Return a password and whether it was generated: from a file, from a person at a terminal, or a new one."""
    if file is not None:
        try:
            text = sys.stdin.readline() if str(file) == "-" else file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PasswordUnreadable(f"cannot read a password from {file}: {error}", remedy="name another file") from error
        return text.partition("\n")[0].removesuffix("\r"), False
    if sys.stdin.isatty() and sys.stderr.isatty():
        typed = click.prompt(
            "New password (empty: generate one)", default="", hide_input=True, show_default=False, err=True,
            confirmation_prompt=True,
        )  # fmt: skip
        if typed:
            return str(typed), False
    return new_password(secrets.token_bytes), True


def _say_generated(call: Call, password: str, generated: bool) -> None:
    if generated and not call.as_json:
        say(f"Generated password, shown this once: {password}")


def _print(users: list[dict[str, Any]]) -> None:
    rows = ((row["name"], row["role"], row["disabled"], row["grants"], local_time(row["signed_in_at"])) for row in users)
    print_table(("account", "role", "disabled", "grants", "last sign-in"), rows)
