"""Downloads: ranges, entity tags, names; a part is never taken for the whole."""

import http.client
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import Person
from tests.web.example_shares import BUDGET, budget
from tests.web.memory_operations import API_TOKEN, MemoryOperations
from web.downloads import ByteRange, content_disposition, parse_range
from web.errors import RangeRefused

ADDRESS = f"/api/v1/shares/leeds/office/cat?at=1&path={quote_from_bytes(BUDGET)}"
WHOLE = budget(1)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, 1),
        ("bytes=500-1999", 500, 2000),
        ("bytes=1000-", 1000, None),
        ("bytes=-10", -10, None),
        ("bytes=-99999999", 0, None),
        (f"bytes={len(WHOLE) - 1}-99999999", -1, None),
    ],
)
def test_a_range_is_answered(program: FlaskClient, asked: str, first: int, end: int | None) -> None:
    answer = program.get(ADDRESS, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.data == WHOLE[first:end]
    begin = first % len(WHOLE)
    assert answer.headers["Content-Range"] == f"bytes {begin}-{begin + len(answer.data) - 1}/{len(WHOLE)}"
    assert int(answer.headers["Content-Length"]) == len(answer.data)


@pytest.mark.parametrize("asked", ["", "bytes=", "bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-3", "bytes=--1", "bytes=-"])
def test_what_is_no_single_range_is_answered_whole(program: FlaskClient, asked: str) -> None:
    answer = program.get(ADDRESS, headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, WHOLE)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked", [f"bytes={len(WHOLE)}-", "bytes=99999999-999999999", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(program: FlaskClient, asked: str) -> None:
    answer = program.get(ADDRESS, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(WHOLE)}"


def test_a_broken_download_is_resumed_only_while_the_content_is_the_same(program: FlaskClient) -> None:
    live = ADDRESS.replace("at=1&", "")
    tag = program.get(ADDRESS).headers["ETag"]
    same = program.get(ADDRESS, headers={"Range": "bytes=1000-", "If-Range": tag})
    changed = program.get(live, headers={"Range": "bytes=10-", "If-Range": tag})
    assert (same.status_code, same.data) == (206, WHOLE[1000:])
    assert (changed.status_code, changed.data) == (200, b"saved over by mistake\n")
    assert tag.startswith('"')
    assert tag != changed.headers["ETag"]


def test_an_unchanged_file_is_not_sent_again(program: FlaskClient, appliance: MemoryOperations) -> None:
    tag = program.get(ADDRESS).headers["ETag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}"):
        answer = program.get(ADDRESS, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data) == (304, b"")
    assert program.get(ADDRESS, headers={"If-None-Match": '"other"'}).status_code == 200
    assert appliance.shares.open_pieces == 0


def test_head_tells_the_length_and_reads_nothing(program: FlaskClient, appliance: MemoryOperations) -> None:
    answer = program.head(ADDRESS)
    assert (answer.status_code, answer.data) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(WHOLE)
    assert appliance.shares.open_pieces == 0


def test_a_reader_that_goes_away_closes_the_content(program: FlaskClient, appliance: MemoryOperations) -> None:
    answer = program.get(ADDRESS, buffered=False)
    next(answer.iter_encoded())
    assert appliance.shares.open_pieces == 1
    answer.close()
    assert appliance.shares.open_pieces == 0


def test_empty_files_and_folders(program: FlaskClient) -> None:
    appliance_folder = "/api/v1/shares/leeds/office/cat?path=Finance"
    assert program.get(appliance_folder).status_code == 409
    assert parse_range("bytes=0-", 0) is None


def test_a_content_that_ends_early_breaks_the_connection(server: int, appliance: MemoryOperations) -> None:
    appliance.shares.damaged.add(BUDGET)  # type: ignore[arg-type]
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=20)
    connection.request("GET", ADDRESS, headers={"Authorization": f"Bearer {API_TOKEN}"})
    answer = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


def test_a_download_by_page_is_an_attachment_that_runs_nowhere(anna: Person) -> None:
    answer = anna.client.get("/s/leeds/office/download?path=Odd%20names/%3Cscript%3Ealert(1)")
    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "plain", "real"),
    [
        (b"Plan.docx", "Plan.docx", "Plan.docx"),
        ("grüße.txt".encode(), "gr__e.txt", "grüße.txt"),
        (b'a"b\\c/d.txt', "a_b_c_d.txt", "a_b_c_d.txt"),
        (b"two\r\nlines", "two__lines", "two__lines"),
        ("cod\u202egnp.exe".encode(), "cod_gnp.exe", "cod_gnp.exe"),
        (b"caf\xe9", "caf_", "caf\ufffd"),
        (b"100%;x", "100__x", "100%;x"),
    ],
)
def test_names_of_attachments(name: bytes, plain: str, real: str) -> None:
    header = content_disposition(name)
    match = re.fullmatch(r"attachment; filename=\"([A-Za-z0-9._ -]*)\"; filename\*=UTF-8''(\S*)", header)
    assert match is not None
    assert match[1] == plain
    assert unquote_to_bytes(match[2]).decode() == real


@given(st.binary(min_size=1, max_size=300))
def test_no_name_leaves_its_header(name: bytes) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@given(st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True) | st.text(max_size=20), st.integers(0, 3000))
def test_a_range_lies_within_the_file(text: str, size_bytes: int) -> None:
    try:
        span = parse_range(text, size_bytes)
    except RangeRefused as error:
        assert error.size_bytes == size_bytes
        return
    assert span is None or (isinstance(span, ByteRange) and 0 <= span.first <= span.last < size_bytes)
