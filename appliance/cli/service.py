"""`stagekeeper init`, `serve` and `completion`: making an appliance, running it, and typing less."""

import logging
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from appliance.cli.backup import say_recovery_key
from appliance.cli.call import Call, with_call
from appliance.cli.late import load
from appliance.cli.printing import say
from appliance.cli.user import choose_password

PROGRAM = "stagekeeper"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="ROOT", required=False)
@click.option("--admin-password-file", type=click.Path(path_type=Path, allow_dash=True), metavar="F",
              help="Take the password of the account admin from the first line of F; else one is generated.")  # fmt: skip
@click.option("--hostname", "hostnames", multiple=True, metavar="H", help="A name for the certificate; may be repeated.")
@with_call
def init(call: Call, folder: Path | None, admin_password_file: Path | None, hostnames: tuple[str, ...]) -> None:
    """Make an appliance in an empty folder, with the account admin and a certificate of its own."""
    password, generated = choose_password(admin_password_file)
    founded = load("appliance.founding:found_appliance")(folder or call.root, list(hostnames), password)
    recovery_key = load("appliance.recovery_key:show_recovery_key")(founded.recovery_key)
    answer = {
        "root": str(founded.root.path),
        "account": founded.account,
        "fingerprint": founded.fingerprint,
        "recovery_key": recovery_key,
    }

    def show(_: object) -> None:
        say(f"Made an appliance in {founded.root.path}")
        say(f"Certificate fingerprint (SHA-256): {founded.fingerprint}")
        if generated:
            say(f"Account {founded.account}, generated password, shown this once: {password}")
        say_recovery_key(recovery_key)
        say(f"Start it: {PROGRAM} serve --root {founded.root.path}")

    call.show({**answer, "password": password} if generated else answer, show)


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes any free one.")
@click.option("--cert", type=click.Path(path_type=Path), metavar="F", help="PEM certificate in place of our own.")
@click.option("--key", type=click.Path(path_type=Path), metavar="F", help="Its key, when it is not in the same file.")
@with_call
def serve(call: Call, listen: str | None, cert: Path | None, key: Path | None) -> None:
    """Serve until SIGTERM."""
    if key is not None and cert is None:
        raise click.UsageError("--key needs --cert")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")  # to stderr
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of each job that it plans

    def announce(address: str) -> None:
        sys.stdout.write(f"listening on {address}\n")
        sys.stdout.flush()

    files = None if cert is None else (cert.absolute(), (key or cert).absolute())
    load("appliance.server:run_service")(call.root, call.setup.environment, files, listen, announce)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell; put it where the shell looks for such."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this release of click does not complete in {shell}")
    click.echo(kind(context.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
