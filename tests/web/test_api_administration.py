"""The API's branches, users, schedules, exports, figures and audit log."""

import json

import pytest
from flask.testing import FlaskClient

from tests.web.conftest import Person
from tests.web.memory_operations import MemoryOperations

API = "/api/v1"


def test_a_branch_is_added_listed_and_revoked(program: FlaskClient) -> None:
    assert program.post(f"{API}/branches", json={"name": "york"}).get_json()["code"] == "code-1"
    taken = program.post(f"{API}/branches", json={"name": "york"})
    assert (taken.status_code, taken.get_json()["error"]["type"]) == (409, "name_taken")
    assert program.post(f"{API}/branches/york/revoke").get_json()["state"] == "revoked"
    assert [branch["name"] for branch in program.get(f"{API}/branches").get_json()["branches"]] == ["york"]
    assert program.post(f"{API}/branches/hull/revoke").status_code == 404


def test_a_user_is_added_changed_and_shut(program: FlaskClient, appliance: MemoryOperations) -> None:
    new = {"name": "bea", "role": "user", "password": "long enough!", "grants": ["leeds/office"]}
    made = program.post(f"{API}/users", json=new)
    assert made.status_code == 201
    assert "long enough!" not in made.text
    assert program.post(f"{API}/users/bea/password", json={"password": "another one!"}).status_code == 204
    assert appliance.administration.users["bea"]["password"] == "another one!"
    assert program.post(f"{API}/users/bea/disable").get_json()["disabled"] is True
    assert program.post(f"{API}/users/bea/enable").get_json()["disabled"] is False
    assert program.post(f"{API}/users/bea/tokens", json={"scope": "read"}).get_json() == {"token": "token-bea-read"}
    assert "bea" in [user["name"] for user in program.get(f"{API}/users").get_json()["users"]]


def test_a_schedule_lives_its_life(program: FlaskClient) -> None:
    assert program.post(f"{API}/schedules", json={"name": "nightly", "cron": "0 19 * * 1-5"}).status_code == 201
    assert program.post(f"{API}/schedules/nightly/disable").get_json()["enabled"] is False
    assert program.post(f"{API}/schedules/nightly/enable").get_json()["enabled"] is True
    assert program.post(f"{API}/schedules/nightly/run").get_json() == {"ran": "nightly"}
    started = program.post(f"{API}/schedules/nightly/start")
    assert (started.status_code, started.get_json()) == (202, {"started": "nightly"})
    assert len(program.get(f"{API}/schedules/nightly/next?count=3").get_json()["runs"]) == 3
    assert len(program.get(f"{API}/schedules").get_json()["schedules"]) == 1
    assert program.delete(f"{API}/schedules/nightly").status_code == 204
    assert program.delete(f"{API}/schedules/nightly").status_code == 404


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{", b"1"])
def test_a_schedule_is_an_object(program: FlaskClient, body: bytes) -> None:
    assert program.post(f"{API}/schedules", data=body).status_code == 400


def lines(data: bytes) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in data.splitlines()]


def test_an_export_answers_lines(program: FlaskClient) -> None:
    answer = program.post(f"{API}/exports", json={"sources": ["leeds/office@3"], "to": "/tape", "kind": "full"})
    assert [next(iter(line)) for line in lines(answer.data)] == ["progress", "result"]
    assert lines(answer.data)[-1]["result"]["verified"] is True


def test_an_export_that_fails_on_the_way_ends_with_the_error(program: FlaskClient) -> None:
    answer = program.post(f"{API}/exports", json={"sources": ["leeds/office@3"], "to": "/broken"})
    assert answer.status_code == 200
    assert lines(answer.data)[-1]["error"]["message"] == "the cartridge is full"


def test_a_fault_on_the_way_says_so_in_the_last_line_and_breaks_the_connection(program: FlaskClient) -> None:
    answer = program.post(f"{API}/exports", json={"sources": ["leeds/office@3"], "to": "/fault"}, buffered=False)
    received = b""
    with pytest.raises(RuntimeError, match="a fault of ours"):
        for piece in answer.iter_encoded():
            received += piece
    assert lines(received)[-1]["error"]["type"] == "fault"
    assert b"a fault of ours" not in received


@pytest.mark.parametrize(
    "body", [{"sources": []}, {"sources": ["a"]}, {"sources": "a", "to": "b"}, {"sources": ["a"], "to": "b", "kind": "odd"}]
)
def test_exports_of_another_shape_are_refused(program: FlaskClient, body: dict[str, object]) -> None:
    assert program.post(f"{API}/exports", json=body).status_code == 400


def test_an_export_is_streamed(program: FlaskClient) -> None:
    answer = program.post(f"{API}/exports/stream", json={"sources": ["leeds/office@3"]})
    assert (answer.mimetype, answer.data) == ("application/x-tar", b"tar-begins leeds/office@3")


def test_figures_and_session(program: FlaskClient, anna: Person) -> None:
    assert program.get(f"{API}/stats").get_json()["packs"] == 312
    assert program.get(f"{API}/session").get_json() == {"account": "admin", "role": "admin", "csrf_token": None}
    assert anna.client.get(f"{API}/session").get_json()["csrf_token"] == anna.csrf


def test_the_audit_log_is_paged_and_checked(program: FlaskClient) -> None:
    for number in range(5):
        program.post(f"{API}/branches", json={"name": f"b{number}"})
    first = program.get(f"{API}/audit?limit=2").get_json()
    second = program.get(f"{API}/audit?limit=9&after={first['next']}").get_json()
    assert [record["what"] for record in first["audit"] + second["audit"]] == ["b4", "b3", "b2", "b1", "b0"]
    assert program.get(f"{API}/audit?before=2").get_json()["audit"][0]["what"] == "b0"
    assert program.get(f"{API}/audit/verify").get_json()["intact"] is True
    assert program.get(f"{API}/audit?before=0").status_code == 400


def test_users_may_not_administrate(anna: Person) -> None:
    for address in ("branches", "users", "schedules", "stats", "audit", "audit/verify"):
        answer = anna.client.get(f"{API}/{address}")
        assert (answer.status_code, answer.get_json()["error"]["type"]) == (403, "access_denied")


def test_long_bodies_and_wrong_methods_are_refused(program: FlaskClient) -> None:
    assert program.post(f"{API}/branches", data=b"x" * (1024 * 1024 + 1)).status_code == 413
    answer = program.put(f"{API}/branches")
    assert (answer.status_code, answer.get_json()["error"]["type"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
