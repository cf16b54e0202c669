"""The agents' addresses: tokens, raw bodies, refusals by name; bodies cut short, over a real server."""

import http.client
import json
import socket

import pytest
from flask import Flask
from flask.testing import FlaskClient

from core.durable import NoSpace
from core.errors import Damaged, StagekeeperError, Stopped
from tests.web.conftest import sign_in
from tests.web.memory_operations import BRANCH_TOKEN, MemoryOperations

SHARE = "/intake/v1/shares/office"
HEADERS = {"Authorization": f"Bearer {BRANCH_TOKEN}", "X-Stagekeeper-Session": "s1"}


def test_bodies_are_handed_on_as_they_came(client: FlaskClient, appliance: MemoryOperations) -> None:
    body = bytes(range(256)) * 300
    for verb in ("open", "frames", "missing", "chunks", "compare"):
        answer = client.post(f"{SHARE}/{verb}", data=body, headers=HEADERS)
        assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream")
        assert answer.data == b"\x00" + body[::-1]
    assert client.put(f"{SHARE}/chunks", data=body, headers=HEADERS).status_code == 200
    assert appliance.intake.received[1] == ("frames", "leeds", "office", "s1")
    assert set(appliance.intake.bodies) == {body}


def test_enrolling_needs_no_token_and_tells_the_address(client: FlaskClient, appliance: MemoryOperations) -> None:
    assert client.post("/intake/v1/enroll", data=b"code").status_code == 200
    assert appliance.intake.received == [("enroll", "127.0.0.1")]


def test_tasks_are_asked_for(client: FlaskClient) -> None:
    assert client.get(f"{SHARE}/tasks", headers=HEADERS).data == b"tasks of leeds/office"
    assert client.get(f"{SHARE}/tasks").status_code == 401


def test_a_branch_asks_what_became_of_its_barrier(client: FlaskClient, appliance: MemoryOperations) -> None:
    assert client.get(f"{SHARE}/barriers/17", headers=HEADERS).status_code == 200
    assert (appliance.intake.received, appliance.intake.bodies) == ([("barrier", "leeds", "office")], [b"17"])
    assert client.get(f"{SHARE}/barriers/{2**62 + 1}", headers=HEADERS).status_code == 404
    assert client.get(f"{SHARE}/barriers/-1", headers=HEADERS).status_code == 404


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", f"bearer{BRANCH_TOKEN}"])
def test_unknown_branches_are_refused_before_the_body_is_read(client: FlaskClient, value: str) -> None:
    answer = client.post(f"{SHARE}/frames", data=b"x", headers={**HEADERS, "Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.get_json()["error"]["remedy"]


def test_a_persons_session_is_no_branch(app: Flask, appliance: MemoryOperations) -> None:
    person = sign_in(app.test_client(), "admin")
    assert person.client.post(f"{SHARE}/open", data=b"x").status_code == 401
    assert client_with_branch_token(app).get("/api/v1/shares").status_code == 401


def client_with_branch_token(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {BRANCH_TOKEN}"
    return client


def test_a_gap_is_refused_with_what_was_expected(client: FlaskClient) -> None:
    answer = client.post(f"{SHARE}/frames", data=b"gap", headers=HEADERS)
    assert answer.status_code == 409
    assert answer.get_json()["error"] == {
        "type": "sequence_gap",
        "message": "frame begins at 9, expected 7",
        "remedy": "send from the expected number",
        "expected": {"sequence": 7},
    }


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (NoSpace("the disk is full"), 503, "5"),
        (Stopped("no more data"), 503, "5"),
        (Damaged("wrong bytes"), 500, None),
    ],
)
def test_reactions_become_statuses(
    client: FlaskClient, appliance: MemoryOperations, error: StagekeeperError, status: int, retry: str | None
) -> None:
    appliance.intake.fails_with = error
    answer = client.post(f"{SHARE}/frames", data=b"x", headers=HEADERS)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry)


def test_frames_and_chunks_need_their_session(client: FlaskClient) -> None:
    for verb in ("frames", "chunks"):
        answer = client.post(f"{SHARE}/{verb}", data=b"x", headers={"Authorization": HEADERS["Authorization"]})
        assert answer.status_code == 400


def test_bodies_are_bounded(client: FlaskClient) -> None:
    for verb, length in (("frames", 64 * 1024 * 1024 + 1), ("open", 1024 * 1024 + 1)):
        announced = {"CONTENT_LENGTH": str(length)}
        answer = client.post(f"{SHARE}/{verb}", headers=HEADERS, environ_overrides=announced)
        assert (answer.status_code, answer.get_json()["error"]["type"]) == (413, "body_too_large")


def raw(port: int, head: str, body: bytes, *, end: bool = True) -> tuple[int, dict[str, object]]:
    """Send bytes as they are, say that no more come, and return status and error."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall((head + "\r\n\r\n").replace("\n", "\r\n").replace("\r\r", "\r").encode() + body)
        if end:
            line.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        return answer.status, json.loads(answer.read())["error"]


def head(verb: str, *more: str) -> str:
    token = f"Authorization: Bearer {BRANCH_TOKEN}"
    return "\n".join([f"POST {SHARE}/{verb} HTTP/1.1", "Host: x", token, "X-Stagekeeper-Session: s1", *more])


def test_a_body_that_ends_early_is_refused_and_not_kept(server: int, appliance: MemoryOperations) -> None:
    for verb in ("frames", "chunks", "open", "missing"):
        status, error = raw(server, head(verb, "Content-Length: 1000000"), b"x" * 300_000)
        assert (status, error["type"]) == (400, "body_cut_short")
        assert "300000 of 1000000" in str(error["message"])
    assert appliance.intake.bodies == []


def test_a_body_that_stands_still_is_not_kept_and_the_line_is_cut(server: int, appliance: MemoryOperations) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        raw(server, head("frames", "Content-Length: 1000"), b"x" * 300, end=False)
    assert appliance.intake.bodies == []


def test_a_form_that_ends_early_signs_nobody_in(server: int, appliance: MemoryOperations) -> None:
    start = "POST /sign-in HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 500"
    with socket.create_connection(("127.0.0.1", server), timeout=20) as line:
        line.sendall((start + "\n\n").replace("\n", "\r\n").encode() + b"account=admin&password=x")
        line.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        assert answer.status == 400
    assert appliance.sign_in.sessions == {}


def test_bodies_without_a_length_are_refused(server: int, appliance: MemoryOperations) -> None:
    chunked = raw(server, head("frames", "Transfer-Encoding: chunked"), b"1\r\nx\r\n0\r\n\r\n")
    missing = raw(server, head("frames"), b"")
    assert (chunked[0], chunked[1]["type"]) == (411, "length_missing")
    assert (missing[0], missing[1]["type"]) == (411, "length_missing")
    assert appliance.intake.bodies == []


def test_a_whole_body_comes_through_the_real_server(server: int, appliance: MemoryOperations) -> None:
    body = bytes(range(256)) * 20_000
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=20)
    connection.request("PUT", f"{SHARE}/chunks", body=body, headers=HEADERS)
    assert connection.getresponse().read() == b"\x00" + body[::-1]
    connection.close()
    assert appliance.intake.bodies == [body]
