"""The API's acts on snapshots, policy and prune: what is asked comes through, and odd bodies are refused."""

import pytest
from flask.testing import FlaskClient

from tests.web.memory_operations import MemoryOperations

ONE = "/api/v1/shares/leeds/office/snapshots/3"


@pytest.mark.parametrize(
    ("verb", "body", "asked"),
    [
        ("label", {"label": "noon"}, ("noon",)),
        ("hold", {}, ("hold", "", None)),
        ("hold", {"name": "audit", "reason": "why", "until": "2027-01-01T00:00:00Z"}, ("audit", "why", "2027-01-01T00:00:00Z")),
        ("release", {"name": "audit"}, ("audit",)),
        ("delete", {}, ()),
        ("undelete", {}, ()),
    ],
)
def test_an_act_comes_through(
    program: FlaskClient, appliance: MemoryOperations, verb: str, body: dict[str, str], asked: tuple[object, ...]
) -> None:
    answer = program.post(f"{ONE}/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    assert appliance.keeping.asked == [(verb, "leeds/office", 3, *asked)]
    assert answer.get_json()["state"] == "ready"


@pytest.mark.parametrize(
    ("verb", "body"), [("label", b"{}"), ("hold", b'{"name":""}'), ("hold", b'{"days":3}'), ("release", b"[]")]
)
def test_bodies_of_another_shape_are_refused(program: FlaskClient, appliance: MemoryOperations, verb: str, body: bytes) -> None:
    assert program.post(f"{ONE}/{verb}", data=body).status_code == 400
    assert appliance.keeping.asked == []


def test_the_policy_is_read_and_replaced(program: FlaskClient) -> None:
    address = "/api/v1/shares/leeds/office/policy"
    assert program.get(address).get_json() == {"version": 1}
    assert program.put(address, json={"version": 1, "quota_bytes": 5}).get_json()["quota_bytes"] == 5
    assert program.put(address, data=b"[1]").status_code == 400


def test_weighing_answers_lines(program: FlaskClient, appliance: MemoryOperations) -> None:
    for body, asked in ((b'{"first": 3}', (3, 3)), (b'{"first": 3, "last": 5}', (3, 5)), (b'{"first": 3, "last": null}', (3, 3))):
        answer = program.post("/api/v1/shares/leeds/finance/weigh", data=body, content_type="application/json")
        assert appliance.keeping.asked[-1] == ("weigh", "leeds/finance", *asked)
        assert b'"frees_bytes":7' in answer.data.splitlines()[-1], answer.data
    for wrong in (b"{}", b'{"first": -1}', b'{"first": "3"}', b'{"first": 99999999999999999999}'):
        assert program.post("/api/v1/shares/leeds/finance/weigh", data=wrong, content_type="application/json").status_code == 400


def test_prune_asks_for_one_share_or_all(program: FlaskClient, appliance: MemoryOperations) -> None:
    program.post("/api/v1/prune", json={"share": "leeds/office", "dry_run": True})
    answer = program.post("/api/v1/prune", json={}).get_json()
    assert appliance.keeping.asked == [("prune", "leeds/office", True), ("prune", None, False)]
    assert answer == {
        "decisions": [{"share": "leeds/finance", "snapshot": 3, "keep": True, "reasons": ["newest"], "frees_bytes": 0}]
    }


@pytest.mark.parametrize("number", ["9" * 19, "9" * 40, "9" * 5000])
def test_a_snapshot_of_a_number_that_none_can_have_is_unknown(
    program: FlaskClient, appliance: MemoryOperations, number: str
) -> None:
    answer = program.post(f"/api/v1/shares/leeds/office/snapshots/{number}/delete")
    assert answer.status_code == 404 and answer.get_json()["error"]["type"] == "not_found"
    assert program.delete(f"/api/v1/backups/{number}").status_code == 404
    assert appliance.keeping.asked == []


def test_a_body_nested_deeper_than_can_be_read_is_refused(program: FlaskClient, appliance: MemoryOperations) -> None:
    for depth in (10_000, 400_000):
        body = b'{"schedule":' + b"[" * depth + b"]" * depth + b"}"
        answer = program.put("/api/v1/shares/leeds/office/policy", data=body)
        assert answer.status_code == 400 and answer.get_json()["error"]["type"] == "request_unreadable"
