"""The API's journal: the segments with their window, and changes page by page."""

import pytest
from flask.testing import FlaskClient

JOURNAL = "/api/v1/shares/leeds/office/journal"


def test_the_journal_is_listed_with_its_window(program: FlaskClient) -> None:
    answer = program.get(JOURNAL).get_json()
    assert set(answer) == {"segments", "window", "next"} and answer["next"] is None
    assert set(answer["window"]) == {"from", "until"}
    assert answer["segments"][0]["closed_at"] is None and answer["segments"][0]["changes"] == 5


def test_changes_come_page_by_page_newest_last(program: FlaskClient) -> None:
    found, following = [], ""
    while following is not None:
        answer = program.get(f"{JOURNAL}/changes?path=a%20b&limit=2&after={following}").get_json()
        found += [(change["sequence"], change["path"], change["offset"]) for change in answer["changes"]]
        following = answer["next"]
    assert found == [(number, "a b", 10 * number) for number in range(1, 6)]


@pytest.mark.parametrize("after", ["1", "1.x", "-1.0", ".", "1.2.3", "9" * 30 + ".0"])
def test_what_is_no_place_in_a_journal_is_refused(program: FlaskClient, after: str) -> None:
    assert program.get(f"{JOURNAL}/changes?path=a&after={after}").status_code == 400
