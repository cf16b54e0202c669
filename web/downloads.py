"""One file as an answer: ranges, entity tags, a safe name. Used by the pages' downloads and the API's `cat`.

The promise is that a reader never takes a part for the whole: the first piece is read before the status is sent, and
a content that ends early, or late, breaks the connection instead of ending the answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from flask import Request, Response

from core.errors import TryLater
from core.relpath import RelPath
from web.errors import AnswerBroken, RangeRefused
from web.operations import Actor, Shares
from web.share_values import Download
from web.streams import close

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")
_NOT_IN_NAMES = re.compile('[\x00-\x1f\x7f-\x9f/\\\\:*?"<>|\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]')
_NOT_ASCII_SAFE = re.compile(r"[^A-Za-z0-9._ -]")
_SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"


class FileChanging(TryLater):
    """The live file changed its size between two looks."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which file, as of when, for whom."""

    actor: Actor
    share: str
    moment: str
    path: RelPath


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes first..last, both included."""

    first: int
    last: int


def answer_download(shares: Shares, wanted: Wanted, request: Request) -> Response:
    """Answer a file's bytes, whole or the asked range, as an attachment."""
    asked = request.headers.get("Range", "")
    span = _resolve_range(shares, wanted, asked) if _RANGE.fullmatch(asked) else None
    download = _open(shares, wanted, span)
    tag = _quoted(download.etag)
    if span is not None and request.headers.get("If-Range", tag) != tag:
        close(download.pieces)
        span, download = None, _open(shares, wanted, None)
        tag = _quoted(download.etag)
    if tag in (known.strip().removeprefix("W/") for known in request.headers.get("If-None-Match", "").split(",")):
        close(download.pieces)
        return Response(status=304, headers={"ETag": tag})
    return _answer(download, span, with_body=request.method != "HEAD")


def content_disposition(name: bytes) -> str:
    """Return the header that names an attachment: a plain ASCII form, and the real one as RFC 5987 has it."""
    text = _NOT_IN_NAMES.sub("_", name.decode("utf-8", "replace")) or "file"
    plain = _NOT_ASCII_SAFE.sub("_", text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}"


def parse_range(text: str, size_bytes: int) -> ByteRange | None:
    """Return the one range of a Range header; None when the whole file is to be sent; raise `RangeRefused`.

    What is no single byte range is ignored, as RFC 9110 allows. Of an empty file the whole is sent.
    """
    match = _RANGE.fullmatch(text)
    if match is None or size_bytes == 0:
        return None
    first_text, last_text, suffix = match.groups()
    first = max(0, size_bytes - int(suffix)) if suffix else int(first_text)
    last = min(int(last_text), size_bytes - 1) if last_text else size_bytes - 1
    if last_text and int(last_text) < first:
        return None
    if first >= size_bytes:
        raise RangeRefused(f"the file has only {size_bytes} bytes", remedy="ask again", size_bytes=size_bytes)
    return ByteRange(first, last)


def _resolve_range(shares: Shares, wanted: Wanted, text: str) -> ByteRange | None:
    entry = shares.entry(wanted.actor, wanted.share, wanted.moment, wanted.path)
    return parse_range(text, entry.size_bytes)


def _open(shares: Shares, wanted: Wanted, span: ByteRange | None) -> Download:
    first, last = (span.first, span.last) if span else (0, None)
    download = shares.open_file(wanted.actor, wanted.share, wanted.moment, wanted.path, first, last)
    if span is not None and span.last >= download.size_bytes:
        close(download.pieces)
        raise FileChanging("the file is being changed just now", remedy="try again")
    return download


def _answer(download: Download, span: ByteRange | None, *, with_body: bool) -> Response:
    length = span.last - span.first + 1 if span else download.size_bytes
    body: Iterator[bytes] | None = None
    if with_body:
        first = next(download.pieces, b"")
        body = _exactly(first, download.pieces, length)
    else:
        close(download.pieces)
    answer = Response(body, 206 if span else 200, mimetype="application/octet-stream", direct_passthrough=True)
    answer.headers["Content-Length"] = str(length)
    answer.headers["Accept-Ranges"] = "bytes"
    answer.headers["ETag"] = _quoted(download.etag)
    answer.headers["Content-Disposition"] = content_disposition(download.name)
    answer.headers["Content-Security-Policy"] = _SANDBOX
    if span:
        answer.headers["Content-Range"] = f"bytes {span.first}-{span.last}/{download.size_bytes}"
    return answer


def _exactly(first: bytes, rest: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Yield the pieces; raise `AnswerBroken` before a byte too many is sent, or after one too few."""
    sent = 0
    piece = first
    try:
        while True:
            sent += len(piece)
            if sent > length:
                raise AnswerBroken(f"a content gave more than its {length} bytes", remedy="scrub the store")
            if piece:
                yield piece
            following = next(rest, None)
            if following is None:
                break
            piece = following
        if sent < length:
            raise AnswerBroken(f"a content gave {sent} of its {length} bytes", remedy="scrub the store")
    finally:
        close(rest)


def _quoted(etag: str) -> str:
    return '"' + re.sub(r"[^!#-~]", "", etag) + '"'
