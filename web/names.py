"""The names that may stand in an address, as converters of routes; anything else is no such page."""

from typing import Any

from werkzeug.routing import BaseConverter, IntegerConverter, Map


class ShareNameConverter(BaseConverter):
    """A branch's or share's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`."""

    regex = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class PlainNameConverter(BaseConverter):
    """An account's or schedule's name: one component, no control characters, not beginning with a dot."""

    regex = r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,127}"


class NumberConverter(IntegerConverter):
    """A number that a database can hold; none of ours is longer."""

    regex = r"[0-9]{1,18}"


CONVERTERS: dict[str, type[BaseConverter]] = {"name": ShareNameConverter, "plain": PlainNameConverter, "number": NumberConverter}


def add_converters(url_map: Map) -> None:
    """Let routes say `<name:branch>` and `<plain:account>`."""
    converters: dict[str, Any] = CONVERTERS
    url_map.converters.update(converters)
