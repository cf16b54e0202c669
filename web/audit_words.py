"""Details of audit entries in words, the same on the page and at the command line. Pure.

An entry is never changed: what an older release wrote is put into words here, and what is not known is shown as it stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

GIVEN_UP = "given_up"
"""Why a long operation ended when whoever had asked for it went away."""
FAULT = "fault"
"""Why it ended when something failed that nobody foresaw; the server's log has the rest."""

_CODES = frozenset({"error"})  # keys whose values are names of errors, like `destination_missing`
_FORMER = {"GeneratorExit": GIVEN_UP}


def details_words(details: Mapping[str, Any]) -> str:
    """Return what an entry tells besides, in one line: `sources leeds/office@3, leeds/archive@4; to /srv`."""
    return "; ".join(_pairs(details))


def plain_words(value: Any) -> str:
    """Return a value without quotes and brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(_pairs(value))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(plain_words(inner) for inner in value)
    return str(value)


def _pairs(told: Mapping[str, Any]) -> list[str]:
    return [f"{_spaced(key)} {_value(key, value)}" for key, value in told.items() if value not in (None, "", [], {})]


def _value(key: str, value: Any) -> str:
    return _spaced(_FORMER.get(value, value)) if key in _CODES and isinstance(value, str) else plain_words(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
