"""The API's shares: documents, paging, raw bytes in paths, refusals."""

import json
from urllib.parse import quote_from_bytes

import pytest
from flask.testing import FlaskClient

from core.relpath import read_path
from tests.web.example_shares import BUDGET, HOSTILE_NAMES, budget
from tests.web.memory_operations import MemoryOperations
from web.query import encode_token

OFFICE = "/api/v1/shares/leeds/office"


def test_lists_have_their_plural_and_the_next_page(program: FlaskClient) -> None:
    for address, plural in (
        ("/api/v1/shares", "shares"),
        (OFFICE + "/snapshots", "snapshots"),
        (OFFICE + "/ls", "entries"),
        (f"{OFFICE}/versions?path={quote_from_bytes(BUDGET)}", "versions"),
    ):
        answer = program.get(address).get_json()
        assert set(answer) == {plural, "next"}
        assert len(answer[plural]) > 1
        assert answer["next"] is None


def test_versions_come_in_pages_and_up_to_a_moment(program: FlaskClient) -> None:
    address = f"{OFFICE}/versions?path={quote_from_bytes(BUDGET)}"
    whole = program.get(address).get_json()["versions"]
    paged, after = [], ""
    for _ in range(len(whole)):
        page = program.get(f"{address}&limit=1{after}").get_json()
        paged += page["versions"]
        after = f"&after={page['next']}"
    assert (paged, page["next"]) == (whole, None)
    until = whole[2]["sequence"]
    assert program.get(f"{address}&at=@seq:{until}").get_json()["versions"] == whole[2:]
    assert program.get(f"{address}&after=x").status_code == 400


def test_a_shares_state(program: FlaskClient) -> None:
    answer = program.get(OFFICE).get_json()
    assert (answer["share"], answer["state"], answer["lag_seconds"]) == ("leeds/office", "good", 4.2)


def test_a_snapshot_is_taken_with_its_label(program: FlaskClient, appliance: MemoryOperations) -> None:
    answer = program.post(OFFICE + "/snapshots", json={"label": "before <b>"})
    assert answer.status_code == 201
    assert answer.get_json()["label"] == "before <b>"
    assert appliance.shares.shares["leeds/office"].snapshots[-1].id == answer.get_json()["id"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"label": 1}', b'{"lable": "x"}', b"\xff", b'{"label": "%s"}' % (b"x" * 201)])
def test_bodies_of_another_shape_are_refused(program: FlaskClient, body: bytes) -> None:
    answer = program.post(OFFICE + "/snapshots", data=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["type"] == "request_unreadable"


def test_folders_are_paged_to_the_end(program: FlaskClient) -> None:
    names: list[bytes] = []
    after = ""
    for _ in range(100):
        answer = program.get(f"{OFFICE}/ls?path=Odd%20names&limit=4&after={after}").get_json()
        assert len(answer["entries"]) <= 4
        names += [read_path(entry["name"]) for entry in answer["entries"]]
        after = answer["next"]
        if after is None:
            break
    assert names == sorted([*HOSTILE_NAMES, b"ordinary.txt"])


@pytest.mark.parametrize("limit", ["0", "-1", "x", "10001", "9" * 30, "٣"])
def test_limits_are_checked(program: FlaskClient, limit: str) -> None:
    assert program.get(f"{OFFICE}/ls?limit={limit}").status_code == 400


def test_every_name_is_read_back_by_its_bytes(program: FlaskClient) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        expected = b"content of odd name %d" % number
        path = b"Odd names/" + name
        encoded = program.get(f"{OFFICE}/cat?path={quote_from_bytes(path, safe='')}")
        assert (encoded.status_code, encoded.data) == (200, expected), name
        based = program.get(f"{OFFICE}/cat?path_base64={encode_token(path)}")
        assert based.data == expected, name
        entry = program.get(f"{OFFICE}/entry?path={quote_from_bytes(path)}").get_json()
        assert read_path(entry["name"]) == name


def test_the_past_is_read_by_snapshot_sequence_and_time(program: FlaskClient) -> None:
    path = quote_from_bytes(BUDGET)
    for at, version in (("1", 1), ("9", 2), ("@9", 2), ("seq:1", 1), ("2026-11-19T12:00:00Z", 2), ("latest", 3)):
        assert program.get(f"{OFFICE}/cat?path={path}&at={at}").data == budget(version), at
    assert program.get(f"{OFFICE}/cat?path={path}").data == b"saved over by mistake\n"


TRAVERSALS = [b"../etc/passwd", b"a/../../b", b"/etc/passwd", b"a//b", b"./a", b"a/", b"..", b"a\0b", b"a/" + b"x" * 300]
WITH_PATH = ["ls", "entry", "cat", "versions"]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_paths_that_leave_the_share_are_refused_everywhere(program: FlaskClient, path: bytes) -> None:
    for verb in WITH_PATH:
        for parameter in (f"path={quote_from_bytes(path, safe='')}", f"path_base64={encode_token(path)}"):
            answer = program.get(f"{OFFICE}/{verb}?{parameter}")
            assert answer.status_code == 400, (verb, parameter)
            assert answer.get_json()["error"]["type"] == "path_refused"
    for address in ("", "versions", "download"):
        assert program.get(f"/s/leeds/office/{address}?path={quote_from_bytes(path)}").status_code == 400
    body = {"to": "/tmp/x", "path_base64": encode_token(path)}
    assert program.post(f"{OFFICE}/restore", json=body).status_code == 400


@pytest.mark.parametrize("name", ["..", "%2e%2e", ".hidden", "a%2fb", "a%00", "%ff", "x" * 65, "-a", "a b"])
def test_names_that_are_no_names_lead_nowhere(program: FlaskClient, name: str) -> None:
    for address in (f"/api/v1/shares/{name}/office", f"/api/v1/shares/leeds/{name}", f"/s/leeds/{name}/"):
        assert program.get(address).status_code == 404
    assert program.post(f"/api/v1/branches/{name}/revoke").status_code == 404


def test_a_parameter_given_twice_is_refused(program: FlaskClient) -> None:
    assert program.get(f"{OFFICE}/ls?path=Finance&path=Sales").status_code == 400
    assert program.get(f"{OFFICE}/ls?path_base64=%21%21").status_code == 400
    assert program.get(f"{OFFICE}/ls?at=%ff").status_code == 400


def test_what_is_not_there_is_a_404_that_says_what_to_do(program: FlaskClient) -> None:
    for address in ("/api/v1/shares/leeds/nothing", f"{OFFICE}/ls?path=Nothing", f"{OFFICE}/ls?at=99", "/api/v1/nothing"):
        answer = program.get(address)
        assert answer.status_code == 404
        assert {"type", "message", "remedy"} == set(answer.get_json()["error"])


def test_a_restore_answers_lines(program: FlaskClient, appliance: MemoryOperations) -> None:
    answer = program.post(f"{OFFICE}/restore", json={"to": "/tmp/x", "path": "Finance", "at": "@9"})
    assert answer.mimetype == "application/x-ndjson"
    *progress, last = [json.loads(line) for line in answer.data.splitlines()]
    assert all(set(line) == {"progress"} for line in progress)
    assert last["result"]["files"] == len(progress) > 1
    assert appliance.shares.restored == [("leeds/office", b"Finance", "/tmp/x")]


def test_a_restore_that_is_refused_at_once_has_a_status(program: FlaskClient) -> None:
    body = {"to": "/tmp/x", "path": "Finance"}
    assert b"result" in program.post(f"{OFFICE}/restore", json=body).data
    again = program.post(f"{OFFICE}/restore", json=body)
    assert (again.status_code, again.get_json()["error"]["type"]) == (409, "target_not_empty")
    assert program.post(f"{OFFICE}/restore", json={**body, "path_base64": "YQ"}).status_code == 400
    assert program.post(f"{OFFICE}/restore", json={"path": "Finance"}).status_code == 400
