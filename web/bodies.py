"""Request bodies: read whole, counted against what was announced, and only then used.

Servers hand over a body whose connection broke as a clean end (seen: 300 000 of 1 000 000 bytes, no exception), so
length is checked here. Chunked bodies carry no length and are refused.
"""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from flask import Request

from web.errors import BodyCutShort, BodyTooLarge, LengthMissing, RequestUnreadable

_T = TypeVar("_T")
_BLOCK_BYTES = 1024 * 1024
_MAX_FIELDS = 50  # our longest form has six


def announced_length(request: Request, limit: int, *, required: bool) -> int:
    """Return the body's announced length; raise `LengthMissing` or `BodyTooLarge`. Reads nothing."""
    if request.headers.get("Transfer-Encoding"):
        raise LengthMissing("bodies without a length are not taken", remedy="send Content-Length instead of chunks")
    text = request.headers.get("Content-Length", "")
    if not text and not required:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise LengthMissing("the request does not say how long its body is", remedy="send Content-Length")
    if int(text) > limit:
        raise BodyTooLarge(f"a body of {int(text)} bytes is longer than {limit}", remedy="send it in smaller parts")
    return int(text)


def read_body(request: Request, limit: int, *, required: bool = False) -> bytes:
    """Return the whole body; raise `BodyCutShort` when fewer bytes came than were announced."""
    length = announced_length(request, limit, required=required)
    stream = request.environ["wsgi.input"]
    body = bytearray()
    try:
        while len(body) < length:
            block = stream.read(min(_BLOCK_BYTES, length - len(body)))
            if not block:
                break
            body += block
    except OSError as error:  # a line that breaks or stands still is the same to us as one that ends
        raise _cut_short(len(body), length) from error
    if len(body) < length:
        raise _cut_short(len(body), length)
    return bytes(body)


def parse_document(body: bytes, shape: type[_T]) -> _T:
    """Return a JSON body as the given shape (an empty one as `{}`); raise `RequestUnreadable` saying where it fails."""
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestUnreadable(f"the body is not what this address takes: {error}", remedy="see the API") from error
    except RecursionError as error:  # no document of ours is deeper than a few levels
        raise RequestUnreadable("the body is nested too deep", remedy="see the API") from error


def parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of an urlencoded form; raise `RequestUnreadable` when they are no UTF-8 or come twice."""
    try:
        pairs = parse_qsl(body.decode("ascii"), True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one
        raise RequestUnreadable("the form cannot be read", remedy="load the page again") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestUnreadable("a field of the form is given twice", remedy="load the page again")
    return fields


def _cut_short(came: int, length: int) -> BodyCutShort:
    return BodyCutShort(f"only {came} of {length} bytes arrived; nothing was kept", remedy="send it again")
