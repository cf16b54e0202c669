"""`stagekeeper collect` and `scrub`: the store as a whole."""

from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.failures import DAMAGED
from appliance.cli.printing import count, local_time, print_table, say, size


@click.command()
@with_call
def collect(call: Call) -> int | None:
    """Free the chunks that nothing names any more.

    A chunk goes when two runs, two days apart, found that nothing names it.
    """
    with call.console() as console, call.progress() as on_progress:
        report = console.follow("collect", {}, on_progress)

    def show(found: Any) -> None:
        say(f"{count(found['chunks'], 'chunk')}, {found['named']} of them named")
        say(f"Condemned {found['condemned']}, named again {found['resurrected']}, removed {found['removed_chunks']} "
            f"({size(found['removed_bytes'])})")  # fmt: skip
        say(f"Copied {count(found['moved_chunks'], 'chunk')} ({size(found['moved_bytes'])}), cleared "
            f"{count(found['cleared_packs'], 'pack')}, freed {size(found['freed_bytes'])}")  # fmt: skip
        for line in found["damaged"]:
            say(line)

    call.show(report, show)
    return DAMAGED if report["damaged"] else None


@click.command()
@click.option("--all", "everything", is_flag=True, help="Read every pack now, not only what is due.")
@with_call
def scrub(call: Call, everything: bool) -> int | None:
    """Read what is stored and compare it with its digests: what is due of 30 days, or everything."""
    with call.console() as console, call.progress() as on_progress:
        report = console.follow("scrub", {"all": everything}, on_progress)

    def show(found: Any) -> None:
        say(f"Read {count(found['packs'], 'pack')}, {size(found['bytes'])}, and {count(found['databases'], 'database')}; "
            f"everything was written or read through since "
            f"{local_time(found['verified_since'])}")  # fmt: skip
        for line in found["findings"]:
            say(line)
        if found["damaged_chunks"]:
            say(f"DAMAGED: {count(found['damaged_chunks'], 'chunk')}; these files cannot be read whole:")
            rows = (
                (hit["share"], hit["path"], "yes" if hit["live"] else "", ", ".join(f"@{id}" for id in hit["snapshots"]))
                for hit in found["hits"]
            )
            print_table(("share", "path", "live", "snapshots"), rows)
        if found["hits_left_off"]:
            say("… and more files")

    call.show(report, show)
    return DAMAGED if report["damaged_chunks"] or report["findings"] else None
