"""`stagekeeper demo`: see all of it at work on this machine."""

import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.late import load
from appliance.cli.printing import say


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(".demo"), show_default=True,
              help="Where the demo keeps its data; the next run continues with it.")  # fmt: skip
@click.option("--exit", "leave", is_flag=True, help="End when everything is made, instead of going on until Ctrl-C.")
@with_call
def demo(call: Call, folder: Path, leave: bool) -> None:
    """Run an appliance with a branch that protects a sample share, on 127.0.0.1."""

    def tell(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def show(answer: dict[str, Any]) -> None:
        def for_people(_: object) -> None:
            say(f"The page:  {answer['url']}/  (the browser warns: the certificate is the appliance's own)")
            say(f"Sign in:   {answer['account']}  {answer['password']}")
            for cartridge in answer["export"]["cartridges"]:
                say(f"Cartridge: {cartridge['path']}")
            say(f"More:      {sys.argv[0]} snapshot list leeds/documents --root {answer['root']}")
            if not leave:
                say("Ctrl-C ends it; the next run continues with the same data.")

        call.show(answer, for_people)
        sys.stdout.flush()

    is_made = load("appliance.demo:run_demo")(folder, leave, tell, show)
    if leave and not is_made:
        raise click.Abort
