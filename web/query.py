"""Query strings as raw bytes: file names need not be UTF-8, so nothing is decoded before its meaning is known.

Percent-encoding is undone once; `+` is a space, as forms and every URL library write it (a plus sign is `%2B`).
A name given twice is refused: two readers could pick different ones.
"""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from core.relpath import RelPath, parse_path
from web.errors import RequestUnreadable

_HIGHEST_NUMBER = 2**62  # of an audit record; fits into signed 64-bit integers


class Query:
    """The parameters of one address."""

    def __init__(self, raw: bytes) -> None:
        """Split a raw query string; raise `RequestUnreadable` for a name that comes twice."""
        self._values: dict[str, bytes] = {}
        for pair in filter(None, raw.split(b"&")):
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            key = unquote_to_bytes(name).decode("utf-8", "replace")
            if key in self._values:
                raise RequestUnreadable(f"parameter {key!r} is given twice", remedy="give it once")
            self._values[key] = unquote_to_bytes(value)

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as text; raise `RequestUnreadable` when it is not UTF-8."""
        try:
            return self._values[name].decode() if name in self._values else default
        except UnicodeDecodeError as error:
            raise RequestUnreadable(f"parameter {name!r} is not UTF-8", remedy="encode it as UTF-8") from error

    def path(self) -> RelPath:
        """Return the checked path of `path` (raw bytes) or `path_base64`; the root when neither is given."""
        if "path_base64" in self._values:
            return parse_path(decode_token(self.text("path_base64"), "path_base64"))
        return parse_path(self._values.get("path", b""))

    def moment(self) -> str:
        """Return `at` without a leading `@`; empty means now."""
        return self.text("at").removeprefix("@")

    def number(self, name: str, default: int, highest: int) -> int:
        """Return a whole number from 1 to `highest`."""
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and 1 <= int(text) <= highest):
            raise RequestUnreadable(f"{name} is not a number from 1 to {highest}", remedy=f"give 1 to {highest}")
        return int(text)

    def after(self) -> bytes:
        """Return the name to continue behind, from the `next` of an earlier answer; empty for the beginning."""
        return decode_token(self.text("after"), "after")

    def before(self) -> int | None:
        """Return the number to continue before (`before`, or `after` as for other lists); None for the newest."""
        name = "after" if self.text("after") else "before"
        return self.number(name, 1, _HIGHEST_NUMBER) if self.text(name) else None


def encode_token(value: bytes | None) -> str | None:
    """Return bytes as text that needs no escaping in an address; None stays None."""
    return None if value is None else base64.urlsafe_b64encode(value).decode("ascii").rstrip("=")


def decode_token(text: str, name: str) -> bytes:
    """Return the bytes of `encode_token` (or of standard base64); raise `RequestUnreadable` naming the parameter."""
    plain = text.replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestUnreadable(f"parameter {name!r} is not base64", remedy="give it as it was answered") from error
