"""Query strings and addresses: bytes go in and come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.relpath import RelPath
from web.addresses import download_address, folder_address, own_address, versions_address
from web.errors import RequestUnreadable
from web.query import Query, decode_token, encode_token

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, max_size=4).map(lambda names: RelPath(b"/".join(names)))


def query_of(address: str) -> Query:
    assert address.isascii()
    assert address.isprintable()
    return Query(address.partition("?")[2].encode())


@given(PATHS, st.text(max_size=20), st.text(max_size=20))
def test_addresses_are_read_back(path: RelPath, at: str, asked: str) -> None:
    query = query_of(folder_address("leeds/office", at, path, "YQ", asked))
    assert query.path() == path
    assert query.text("at") == at
    assert query.text("asked") == asked
    assert query.after() == b"a"
    assert query_of(versions_address("leeds/office", at, path)).path() == path
    assert query_of(download_address("leeds/office", at, path)).path() == path


@given(st.binary(max_size=100))
def test_tokens_are_read_back(value: bytes) -> None:
    token = encode_token(value)
    assert token is not None
    assert decode_token(token, "after") == value
    assert Query(f"after={token}".encode()).after() == value


@given(st.binary(max_size=100))
def test_any_query_string_is_read_or_refused(raw: bytes) -> None:
    try:
        query = Query(raw)
        query.text("at")
        number = query.number("limit", 1, 10)
    except RequestUnreadable:
        return
    assert 1 <= number <= 10


def test_plus_is_a_space_and_percent_2b_a_plus() -> None:
    assert Query(b"path=a+b%2Bc").path() == b"a b+c"
    assert Query(b"").path() == b""
    assert Query(b"at=@latest").moment() == "latest"
    assert encode_token(None) is None


@pytest.mark.parametrize("text", ["!", "é", "a", "abcde"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(RequestUnreadable):
        decode_token(text, "after")


@given(st.text(max_size=30))
def test_only_own_addresses_are_followed(text: str) -> None:
    address = own_address(text)
    assert address.startswith("/")
    assert not address.startswith(("//", "/\\"))
    assert address.isprintable()
