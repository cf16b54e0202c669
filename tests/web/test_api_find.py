"""The API's search for names."""

from flask.testing import FlaskClient

from tests.web.conftest import Person
from tests.web.memory_operations import MemoryOperations
from tests.web.memory_shares import MemoryShare, Thing


def test_a_text_is_found_page_by_page_and_deleted_paths_only_when_asked(
    program: FlaskClient, appliance: MemoryOperations
) -> None:
    share = MemoryShare("leeds/find")
    share.change(1, {b"d/Needle 1": Thing(), b"needle 2": Thing(), b"needle gone": Thing(), b"needle/hay": Thing()})
    share.change(2, {b"needle gone": None})
    appliance.shares.shares["leeds/find"] = share
    query = {"text": "needle", "limit": "2"}
    first = program.get("/api/v1/find", query_string=query).json
    assert [hit["path"] for hit in first["found"]] == ["d/Needle 1", "needle"] and first["not_searched"] == []
    second = program.get("/api/v1/find", query_string={**query, "after": first["next"]}).json
    assert ([hit["path"] for hit in second["found"]], second["next"]) == (["needle 2"], None)
    everything = program.get("/api/v1/find", query_string={"text": "needle", "deleted": "true", "share": "leeds/find"}).json
    assert [hit["path"] for hit in everything["found"] if hit["deleted"]] == ["needle gone"]


def test_what_stood_at_a_moment_of_one_share_is_found(program: FlaskClient, appliance: MemoryOperations) -> None:
    share = MemoryShare("leeds/find")
    share.change(1, {b"needle brief": Thing(), b"needle": Thing()})
    share.change(2, {b"needle brief": None})
    appliance.shares.shares["leeds/find"] = share
    query = {"text": "needle", "share": "leeds/find", "at": "@seq:1"}
    answer = program.get("/api/v1/find", query_string=query).json
    assert [(hit["path"], hit["deleted"]) for hit in answer["found"]] == [("needle", False), ("needle brief", False)]
    assert program.get("/api/v1/find", query_string={**query, "share": ""}).status_code == 400
    assert program.get("/api/v1/find", query_string={**query, "deleted": "true"}).status_code == 400


def test_a_question_that_cannot_be_answered_is_refused(program: FlaskClient, client: FlaskClient) -> None:
    assert program.get("/api/v1/find").status_code == 409
    assert program.get("/api/v1/find?text=a&deleted=perhaps").status_code == 400
    assert program.get("/api/v1/find?text=%ff").status_code == 400
    assert program.get("/api/v1/find?text=a&limit=0").status_code == 400
    assert client.get("/api/v1/find?text=a").status_code == 401


def test_a_user_finds_in_granted_shares_only(anna: Person, appliance: MemoryOperations) -> None:
    share = MemoryShare("york/hidden")
    share.change(1, {b"needle": Thing()})
    appliance.shares.shares["york/hidden"] = share
    assert anna.client.get("/api/v1/find?text=needle").json == {"found": [], "next": None, "not_searched": []}
    assert anna.client.get("/api/v1/find?text=needle&share=york/hidden").status_code == 404
