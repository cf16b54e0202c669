"""The groups of the command line, whose lists say of each command what it does in whole sentences."""

import click

_WHOLE = 1000  # characters: no first sentence of a help text is cut


class Commands(click.Group):
    """A group that prints the first sentence of each of its commands, wrapped and not cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Noun(Commands):
    """A group whose own line names its commands, so that nobody has to remember to."""

    def get_short_help_str(self, limit: int = _WHOLE) -> str:
        """Return what the noun is, and its commands."""
        return f"{(self.help or '').removesuffix('.')}: {', '.join(self.commands)}"
