"""Names of branches, shares, accounts and schedules: one rule for all that stand in addresses and file names."""

import re

from core.errors import Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


RESERVED = frozenset({"owner", "stagekeeper"})


class NameRefused(Refused):
    """A name is not of the form that names have."""


def is_name(text: str) -> bool:
    """Tell whether a text is of the form that names have."""
    return _NAME.fullmatch(text) is not None


def check_name(what: str, name: str) -> str:
    """Return the name; raise `NameRefused` saying what it was to name."""
    if not _NAME.fullmatch(name):
        raise NameRefused(
            f"not a name for a {what}: {name[:80]!r}",
            remedy="use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
        )
    return name


def check_account_name(name: str) -> str:
    """Return the name; raise `NameRefused` also for those under which the appliance itself stands in the audit log."""
    if check_name("account", name) in RESERVED:
        raise NameRefused(f"{name} is no name for an account", remedy=f"{', '.join(sorted(RESERVED))} are taken")
    return name


def check_share(name: str) -> str:
    """Return `BRANCH/SHARE`; raise `NameRefused`."""
    branch, slash, share = name.partition("/")
    if not slash or not _NAME.fullmatch(branch) or not _NAME.fullmatch(share):
        raise NameRefused(f"not a share: {name[:160]!r}", remedy="write it as BRANCH/SHARE")
    return name


def check_source(text: str) -> str:
    """Return `BRANCH/SHARE[@MOMENT]` whose share is well formed; raise `NameRefused`."""
    check_share(text.partition("@")[0])
    return text
