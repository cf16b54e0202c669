"""Details of audit entries as people read them, also those that older releases wrote."""

from typing import Any

import pytest

from web.audit_words import details_words


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"sources": ["leeds/office@3", "leeds/archive@4"], "to": "/srv"}, "sources leeds/office@3, leeds/archive@4; to /srv"),
        ({"policy": {"keep": {"hourly": 24}, "ever": True}}, "policy keep hourly 24, ever yes"),
        ({"error": "destination_missing"}, "error destination missing"),
        ({"error": "given_up"}, "error given up"),
        ({"error": "GeneratorExit"}, "error given up"),  # as the first releases wrote it
        ({"label": "a_b ['x']", "first": None, "n": 0}, "label a_b ['x']; n 0"),
        ({}, ""),
    ],
)
def test_details_are_words(details: dict[str, Any], words: str) -> None:
    assert details_words(details) == words
