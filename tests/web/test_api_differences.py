"""The API's differences: moments and pages come through, and what is not asked right is refused."""

import pytest
from flask.testing import FlaskClient

from tests.web.memory_operations import MemoryOperations

DIFF = "/api/v1/shares/leeds/office/diff"


def test_two_moments_are_asked_for_and_pages_go_on_to_the_end(program: FlaskClient, appliance: MemoryOperations) -> None:
    found, after = [], ""
    for _ in range(10):
        page = program.get(f"{DIFF}?from=@1&to=latest&limit=2{after}").get_json()
        found += page["differences"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert appliance.differences.asked == [("leeds/office", "1", "latest", 2)] * 2
    assert [(row["what"], row["path"]) for row in found] == [("added", "a"), ("renamed", "c"), ("changed", "d\\xff")]
    assert found[0].keys() == {"path", "what", "kind", "size_bytes", "size_before_bytes", "different_bytes"}
    assert (found[1]["path_before"], found[2]["path_base64"]) == ("b", "ZP8=")
    assert page["summary"]["changed"] == 1


def test_a_moment_that_is_left_out_is_the_live_state(program: FlaskClient, appliance: MemoryOperations) -> None:
    for query in ("from=seq:7", "from=@&to=@seq:7", "to=2026-11-22T07:00:00Z"):
        assert program.get(f"{DIFF}?{query}").status_code == 200
    moments = [asked[1:3] for asked in appliance.differences.asked]
    assert moments == [("seq:7", ""), ("", "seq:7"), ("", "2026-11-22T07:00:00Z")]


@pytest.mark.parametrize("query", ["", "?from=@&to=", "?from=1&to=2&limit=0", "?from=1&to=2&after=!"])
def test_other_questions_are_refused(program: FlaskClient, query: str) -> None:
    assert program.get(DIFF + query).status_code == 400
