"""One pattern of what is left out, read as git reads a line of `.gitignore`; names are bytes. Pure.

Of our own, because `pathspec` 1.1 differed from git in one of twenty lists of odd patterns, refused one of eight, and asks
pattern after pattern, where a run of them is one regular expression here. The tests compare with `git check-ignore`. What git
never matches (an open bracket, a backslash at the end) is `None` as a regular expression.
"""

import string
from dataclasses import dataclass

_CLASSES = {
    b"alnum": (string.ascii_letters + string.digits).encode(),
    b"alpha": string.ascii_letters.encode(),
    b"blank": b" \t",
    b"cntrl": bytes([*range(32), 127]),
    b"digit": string.digits.encode(),
    b"graph": bytes(range(33, 127)),
    b"lower": string.ascii_lowercase.encode(),
    b"print": bytes(range(32, 127)),
    b"punct": string.punctuation.encode(),
    b"space": b" \t\n\r",
    b"upper": string.ascii_uppercase.encode(),
    b"xdigit": string.hexdigits.encode(),
}
_SLASH, _BACKSLASH, _MINUS, _OPEN = b"/\\-["
_SPECIAL = b"*?[\\"
_ALL = frozenset(range(256))


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """A pattern taken apart. `regex` is to match all of the name, or all of the path from the share's root."""

    text: bytes
    takes_in: bool  # it began with `!`
    only_folders: bool
    of_path: bool
    regex: bytes | None


def parse_pattern(text: bytes) -> IgnorePattern:
    """Read a pattern; every text is one, if only of nothing."""
    takes_in = text.startswith(b"!")
    bare = text[1:] if takes_in else text
    only_folders = bare.endswith(b"/")
    if only_folders:
        bare = bare[:-1]
    of_path = b"/" in bare
    return IgnorePattern(text, takes_in, only_folders, of_path, _translate(bare.removeprefix(b"/")) if bare else None)


def literally(text: bytes) -> bytes:
    """Return the pattern of just this name or path."""
    escaped = b"".join(b"\\" + text[at : at + 1] if byte in _SPECIAL else text[at : at + 1] for at, byte in enumerate(text))
    return b"\\" + escaped if escaped.startswith(b"!") else escaped


def _translate(pattern: bytes) -> bytes | None:
    """Return a regular expression for a pattern without its `!` and its slashes at either end."""
    parts: list[bytes] = []
    first = next((at for at, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern))
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            part, at = _stars(pattern, at, is_first=at == first)
        elif byte == b"?":
            part, at = b"[^/]", at + 1
        elif byte == b"[":
            found = _members(pattern, at)
            if found is None:
                return None
            members, at = found
            part = b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]" if members else b"(?!)"
        else:
            at += byte == b"\\"
            if at == len(pattern):
                return None
            part, at = b"\\x%02x" % pattern[at], at + 1
        parts.append(part)
    return b"".join(parts)


def _stars(pattern: bytes, at: int, is_first: bool) -> tuple[bytes, int]:
    """Translate one or more stars; two between slashes stand for any number of folders."""
    end = at
    while pattern[end : end + 1] == b"*":
        end += 1
    begins = is_first or pattern[at - 1] == _SLASH  # git compares what stands before the first star by itself
    behind = pattern[end:]
    if end - at > 1 and begins and (not behind or behind.startswith((b"/", b"\\/"))):
        return (b"(?:.*/)?", end + 1) if behind.startswith(b"/") else (b".*", end)
    return b"[^/]*", end


def _members(pattern: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Return the bytes that a bracket stands for and where the pattern goes on; None when it is not closed."""
    at += 1
    is_negated = pattern[at : at + 1] in (b"!", b"^")
    at += is_negated
    members: set[int] = set()
    previous = 0  # what a `-` that follows begins with
    while True:
        taken = _member(pattern, at, previous)
        if taken is None:
            return None
        more, previous, at = taken
        members.update(more)
        if pattern[at : at + 1] == b"]":  # as the first member it would be one
            return frozenset(_ALL - members if is_negated else members) - {_SLASH}, at + 1


def _member(pattern: bytes, at: int, previous: int) -> tuple[bytes | range, int, int] | None:
    """Return one member's bytes, what a range after it begins with (0: nothing), and where it ends; None when it does not."""
    if at >= len(pattern):
        return None
    byte = pattern[at]
    if byte == _BACKSLASH:
        return (pattern[at + 1 : at + 2], pattern[at + 1], at + 2) if at + 1 < len(pattern) else None
    if byte == _MINUS and previous and pattern[at + 1 : at + 2] not in (b"", b"]"):
        at += 2 if pattern[at + 1] == _BACKSLASH else 1
        return (range(previous, pattern[at] + 1), 0, at + 1) if at < len(pattern) else None
    if byte == _OPEN and pattern[at + 1 : at + 2] == b":":
        end = pattern.find(b"]", at + 2)
        if end < 0:
            return None
        if end > at + 2 and pattern[end - 1 : end] == b":":
            members = _CLASSES.get(pattern[at + 2 : end - 1])
            return (members, 0, end + 1) if members is not None else None
    return pattern[at : at + 1], byte, at + 1
