"""Every route is closed unless it is named here; sessions need their forgery token for everything that changes."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.conftest import Person
from tests.web.memory_operations import API_TOKEN, MemoryOperations
from web.app import create_app
from web.authentication import ACTOR_KEY
from web.operations import Actor
from web.settings import WebSettings

OPEN_WITHOUT_SIGN_IN = {
    "/static/<path:filename>",
    "/favicon.ico",
    "/healthz",
    "/readyz",
    "/metrics",
    "/sign-in",
    "/intake/v1/enroll",
}
EXAMPLES = {
    "branch": "leeds",
    "share": "office",
    "account": "anna",
    "schedule": "nightly",
    "filename": "style.css",
    "snapshot": "3",
    "number": "1",
    "stream": "0badcafe",
    "sequence": "17",
}
SAFE = {"GET", "HEAD", "OPTIONS"}


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """Return (method, rule, address) of everything that the application answers."""
    found = []
    for rule in app.url_map.iter_rules():
        address = rule.rule
        for name in rule.arguments:
            start, end = address.rindex("<", 0, address.index(name + ">")), address.index(name + ">") + len(name) + 1
            address = address[:start] + EXAMPLES[name] + address[end:]
        found += [(method, rule.rule, address) for method in sorted(rule.methods or ()) if method != "OPTIONS"]
    return found


def test_the_list_of_open_addresses_holds_nothing_that_is_gone(app: Flask) -> None:
    assert {rule for _, rule, _ in routes(app)} >= OPEN_WITHOUT_SIGN_IN


def test_every_route_is_closed_to_nobody(app: Flask, client: FlaskClient) -> None:
    for method, rule, address in routes(app):
        answer = client.open(address, method=method)
        if rule in OPEN_WITHOUT_SIGN_IN:
            assert answer.status_code != 401 or method == "POST", (method, rule)
        elif address.startswith(("/api/", "/intake/")):
            assert answer.status_code == 401, (method, rule, answer.status_code)
            assert method == "HEAD" or answer.get_json()["error"]["type"] == "sign_in_required"
        elif method in SAFE:
            assert answer.status_code == 303, (method, rule)
            assert answer.headers["Location"].startswith("/sign-in")
        else:
            assert answer.status_code == 401, (method, rule, answer.status_code)


def test_a_wrong_token_or_cookie_opens_nothing(app: Flask) -> None:
    for method, rule, address in routes(app):
        if rule in OPEN_WITHOUT_SIGN_IN:
            continue
        client = app.test_client()
        client.set_cookie("stagekeeper", "session-1-admin")
        by_cookie = client.open(address, method=method)
        by_token = client.open(address, method=method, headers={"Authorization": "Bearer nothing"})
        assert by_cookie.status_code in (303, 401), (method, rule)
        assert by_token.status_code in (303, 401), (method, rule)


def test_every_changing_route_refuses_a_session_without_its_forgery_token(app: Flask, oscar: Person) -> None:
    changing = [(m, r, a) for m, r, a in routes(app) if m not in SAFE and not r.startswith("/intake/")]
    assert len(changing) > 12
    for method, rule, address in changing:
        for given in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "é"}):
            answer = oscar.client.open(address, method=method, headers=given)
            assert answer.status_code == 403, (method, rule, answer.status_code)
    assert oscar.client.get("/api/v1/session").get_json()["account"] == "oscar"


def test_another_sessions_forgery_token_is_no_good(oscar: Person, anna: Person) -> None:
    answer = oscar.client.post("/api/v1/shares/leeds/office/snapshots", headers={"X-CSRF-Token": anna.csrf})
    assert answer.status_code == 403
    assert answer.get_json()["error"]["type"] == "request_forged"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_says_it_is_from_another_site_is_refused(oscar: Person, site: str) -> None:
    headers = {"X-CSRF-Token": oscar.csrf, "Sec-Fetch-Site": site}
    assert oscar.client.post("/api/v1/shares/leeds/office/snapshots", headers=headers).status_code == 403


def test_the_right_forgery_token_lets_a_session_change_things(oscar: Person) -> None:
    answer = oscar.client.post("/api/v1/shares/leeds/office/snapshots", headers={"X-CSRF-Token": oscar.csrf})
    assert answer.status_code == 201


def test_tokens_of_programs_need_no_forgery_token(program: FlaskClient) -> None:
    assert program.post("/api/v1/shares/leeds/office/snapshots").status_code == 201


def test_a_wrong_token_is_not_saved_by_a_good_cookie(oscar: Person) -> None:
    assert oscar.client.get("/api/v1/shares", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_local_actor_is_trusted_and_only_from_the_environ(app: Flask) -> None:
    client = app.test_client()
    local = {ACTOR_KEY: Actor("owner", "owner")}
    assert client.post("/api/v1/branches", json={"name": "york"}, environ_overrides=local).status_code == 201
    for name in ("stagekeeper.actor", "Stagekeeper-Actor", "X-Stagekeeper-Actor"):
        assert client.get("/api/v1/shares", headers={name: "owner"}).status_code == 401
    forged = {ACTOR_KEY: "owner"}
    assert client.get("/api/v1/shares", environ_overrides=forged).status_code == 401


def test_metrics_can_be_closed(appliance: MemoryOperations) -> None:
    app = create_app(appliance.operations(), settings=WebSettings(metrics_need_token=True))
    client = app.test_client()
    assert client.get("/metrics").status_code == 303
    assert client.get("/metrics", headers={"Authorization": f"Bearer {API_TOKEN}"}).status_code == 200


def test_every_answer_carries_the_security_headers(app: Flask, oscar: Person) -> None:
    for method, rule, address in routes(app):
        answer = oscar.client.open(address, method=method)
        assert "unsafe" not in answer.headers["Content-Security-Policy"], rule
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], rule
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert ("no-store" in answer.headers["Cache-Control"]) == (rule not in ("/static/<path:filename>", "/favicon.ico"))


def test_pages_hold_no_inline_script_or_style(oscar: Person) -> None:
    for address in ("/", "/health", "/audit", "/s/leeds/office/", "/s/leeds/office/snapshots"):
        text = oscar.client.get(address).text
        assert "style=" not in text
        assert "onclick" not in text
        assert text.count("<script") == text.count('<script src="/static/') == 1


def test_a_user_does_not_see_what_is_not_granted(anna: Person) -> None:
    shares = anna.client.get("/api/v1/shares").get_json()["shares"]
    assert [share["share"] for share in shares] == ["leeds/office"]
    assert anna.client.get("/s/leeds/archive/").status_code == 404
    assert anna.client.get("/api/v1/shares/leeds/archive/cat?path=1999/Minutes.txt").status_code == 404
    assert anna.client.get("/audit").status_code == 403
    assert anna.client.get("/health").status_code == 403


def test_a_session_that_was_ended_downloads_nothing_more(anna: Person, appliance: MemoryOperations) -> None:
    address = "/s/leeds/office/download?path=Read%20me%20first.txt"
    assert anna.client.get(address).status_code == 200
    appliance.administration.users["anna"]["disabled"] = True
    assert anna.client.get(address).status_code == 303
