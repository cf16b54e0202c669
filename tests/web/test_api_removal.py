"""Acts by which shares go come through the API as they were asked."""

from flask.testing import FlaskClient

from tests.web.conftest import Person
from tests.web.memory_operations import MemoryOperations


def test_acts_on_shares_come_through(program: FlaskClient, appliance: MemoryOperations) -> None:
    for verb in ("delete", "undelete"):
        answer = program.post(f"/api/v1/shares/leeds/office/{verb}")
        assert (answer.status_code, answer.get_json()["drops_at"]) == (200, "2026-11-23T07:00:00Z")
    assert appliance.removal.asked == [
        ("delete_share", "admin", "leeds/office"),
        ("undelete_share", "admin", "leeds/office"),
    ]


def test_nothing_goes_by_a_link(oscar: Person, appliance: MemoryOperations) -> None:
    assert oscar.client.get("/api/v1/shares/leeds/office/delete").status_code == 405
    assert oscar.client.post("/api/v1/shares/leeds/office/delete").status_code == 403, "no forgery token"
    assert appliance.removal.asked == []


def test_acts_on_branches_come_through(program: FlaskClient, appliance: MemoryOperations) -> None:
    assert program.post("/api/v1/branches/leeds/delete").get_json()["drops_at"] == "2026-11-23T07:00:00Z"
    assert program.post("/api/v1/branches/leeds/undelete").get_json()["state"] == "enrolled"
    assert appliance.removal.asked == [("delete_branch", "admin", "leeds"), ("undelete_branch", "admin", "leeds")]


def test_a_purge_comes_through_with_any_path(program: FlaskClient, appliance: MemoryOperations) -> None:
    address = "/api/v1/shares/leeds/office/purge"
    assert program.post(address, json={"path": "a/b"}).get_json()["cartridges"] == ["SK0001L9"]
    assert program.post(address, json={"path_base64": "_w"}).status_code == 200
    assert program.post(address, json={"path": "a", "path_base64": "_w"}).status_code == 400
    assert program.post(address, json={"path": "a/../b"}).status_code == 400
    assert appliance.removal.asked == [
        ("purge", "admin", "leeds/office", b"a/b"),
        ("purge", "admin", "leeds/office", b"\xff"),
    ]
