"""The form in which a name and a text that is looked for are compared: small letters, composed, without invisible marks.

Canonically equal names (NFC and NFD twins) have one form, and so have names that differ in case only. Bytes that are no
printable UTF-8 stand in it as `show_path` shows them, so that what an answer shows can be looked for. See
docs/formats/names.md.
"""

import re
from unicodedata import category, normalize

from core.errors import Refused
from core.relpath import read_path, show_path

_MAX_CHARACTERS = 255  # no name is longer
_PLAIN = re.compile(rb"[ -\[\]-~]*")  # printable ASCII without the backslash that begins an escape


class TextRefused(Refused):
    """A text cannot be a part of any name."""


def search_form(name: bytes) -> bytes:
    """Return the form of a name; it holds no slash when the name holds none."""
    if _PLAIN.fullmatch(name):
        return name.lower()
    text = name.decode("utf-8", "surrogateescape")
    visible = "".join(character for character in text if category(character) != "Cf") or text
    folded = normalize("NFC", normalize("NFD", visible).casefold())
    return show_path(folded.encode("utf-8", "surrogateescape")).encode()


def wanted_form(text: str) -> bytes:
    r"""Return the form of a text from outside, in which `\xNN` may stand for a byte; raise `TextRefused`."""
    if len(text) > _MAX_CHARACTERS:
        raise TextRefused(f"a text of {len(text)} characters", remedy=f"look for at most {_MAX_CHARACTERS} characters of a name")
    if not text or "/" in text or "\0" in text:
        raise TextRefused(f"no name holds {text[:_MAX_CHARACTERS]!r}", remedy="give a part of a name, without slashes")
    name = read_path(text)
    if b"/" in name:
        raise TextRefused(f"no name holds {text!r}", remedy="give a part of a name, without slashes")
    return search_form(name)


def odd_lines(names: bytes) -> bool:
    """Tell whether any of the names, joined by slashes, has a form other than itself with A–Z made small."""
    return _PLAIN.fullmatch(names) is None
