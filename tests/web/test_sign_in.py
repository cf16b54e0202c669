"""Signing in and out: secrets change, forms are bound to a browser, nobody is led away."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.conftest import Person, csrf_in, sign_in
from tests.web.memory_operations import ALLOWED_ATTEMPTS, PASSWORD, MemoryOperations
from web.app import create_app
from web.settings import WebSettings


def attempt(client: FlaskClient, account: str, password: str, **fields: str) -> tuple[int, str]:
    token = csrf_in(client.get("/sign-in").text)
    data = {"account": account, "password": password, "csrf_token": token, **fields}
    answer = client.post("/sign-in", data=data)
    return answer.status_code, answer.headers.get("Location", answer.text)


def test_a_person_signs_in_and_out(client: FlaskClient, appliance: MemoryOperations) -> None:
    person = sign_in(client, "anna")
    assert "Signed in as <bdi>anna</bdi>" in client.get("/").text
    answer = client.post("/sign-out", data={"csrf_token": person.csrf})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert appliance.sign_in.sessions == {}
    assert client.get("/").status_code == 303


def test_a_wrong_password_is_told_and_the_account_is_kept_in_the_form(client: FlaskClient) -> None:
    status, text = attempt(client, "anna", "wrong")
    assert status == 401
    assert "do not go together" in text
    assert 'value="anna"' in text
    assert "wrong" not in text


def test_too_many_attempts_are_put_off(client: FlaskClient) -> None:
    for _ in range(ALLOWED_ATTEMPTS):
        attempt(client, "anna", "wrong")
    status, text = attempt(client, "anna", PASSWORD)
    assert status == 429
    assert "Too many wrong passwords" in text


def test_the_form_of_another_browser_does_not_sign_in(app: Flask, appliance: MemoryOperations) -> None:
    token = csrf_in(app.test_client().get("/sign-in").text)
    victim = app.test_client()
    victim.get("/sign-in")
    answer = victim.post("/sign-in", data={"account": "anna", "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 403
    assert appliance.sign_in.sessions == {}


def test_a_planted_session_is_never_adopted(client: FlaskClient, appliance: MemoryOperations) -> None:
    client.set_cookie("stagekeeper", "planted")
    sign_in(client, "anna")
    cookie = client.get_cookie("stagekeeper")
    assert cookie is not None
    assert cookie.value != "planted"
    assert list(appliance.sign_in.sessions) == [cookie.value]


def test_signing_in_again_changes_the_secret_and_ends_the_former_session(
    client: FlaskClient, appliance: MemoryOperations
) -> None:
    first = sign_in(client, "anna")
    former = next(iter(appliance.sign_in.sessions))
    second = sign_in(client, "oscar")
    assert former not in appliance.sign_in.sessions
    assert first.csrf != second.csrf


def test_the_visit_cookie_is_forgotten_after_signing_in(client: FlaskClient) -> None:
    sign_in(client, "anna")
    assert client.get_cookie("stagekeeper-visit") is None


def test_cookies_are_closed_to_scripts_and_other_sites(appliance: MemoryOperations) -> None:
    app = create_app(appliance.operations(), settings=WebSettings())
    client = app.test_client()
    shown = client.get("/sign-in", base_url="https://localhost")
    data = {"account": "anna", "password": PASSWORD, "csrf_token": csrf_in(shown.text)}
    entered = client.post("/sign-in", data=data, base_url="https://localhost")
    for header in (shown.headers["Set-Cookie"], entered.headers["Set-Cookie"]):
        assert header.startswith("__Host-stagekeeper")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in header.split(";")}
        assert "Domain" not in header


def test_after_signing_in_the_asked_page_is_shown(client: FlaskClient) -> None:
    address = "/s/leeds/office/?path=Odd%20names/caf%E9%20not%20utf8.txt"
    sent = client.get(address).headers["Location"]
    page = client.get(sent).text
    following = page.split('name="next" value="')[1].split('"')[0]
    assert attempt(client, "anna", PASSWORD, next=following) == (303, address)


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "\\\\evil", "/a\nb", "é", ""],
)
def test_nobody_is_led_to_another_site(client: FlaskClient, address: str) -> None:
    assert attempt(client, "anna", PASSWORD, next=address) == (303, "/")


def test_what_was_typed_is_escaped(client: FlaskClient) -> None:
    _, text = attempt(client, '"><script>alert(1)</script>', "x", next='/"><script>')
    assert "<script>alert" not in text
    assert text.count("<script") == 1


def test_forms_that_cannot_be_read_are_refused(client: FlaskClient, anna: Person) -> None:
    client.get("/sign-in")
    for body in (b"\xff\xfe", b"account=a&account=b", b"a=%ff", b"&".join(b"f%d=1" % number for number in range(60))):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/sign-in", data=body, headers=headers).status_code == 400
    assert client.post("/sign-in", data=b"x" * 70_000).status_code == 413


def test_a_form_that_was_left_open_while_another_tab_signed_in_is_shown_again(app: Flask) -> None:
    browser = app.test_client()
    old = csrf_in(browser.get("/sign-in?next=/s/leeds/office/").text)
    sign_in(browser, "anna")
    fields = {"account": "anna", "password": PASSWORD, "next": "/s/leeds/office/", "csrf_token": old}
    again = browser.post("/sign-in", data=fields)
    assert again.status_code == 403
    assert "This form was too old, so nothing was done; type the password again." in again.text
    answer = browser.post("/sign-in", data={**fields, "csrf_token": csrf_in(again.text)})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/s/leeds/office/")
