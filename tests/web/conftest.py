"""Fixtures of the web tests: an appliance in memory, its application, clients, and a real server."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cheroot.wsgi import Server
from flask import Flask
from flask.testing import FlaskClient

from tests.web.example_shares import add_examples
from tests.web.memory_operations import API_TOKEN, PASSWORD, MemoryOperations
from web.app import create_app
from web.settings import WebSettings


@pytest.fixture
def appliance() -> MemoryOperations:
    """Return an appliance with the example shares."""
    made = MemoryOperations()
    add_examples(made)
    return made


@pytest.fixture
def app(appliance: MemoryOperations) -> Flask:
    """Return the application over it."""
    settings = WebSettings(secure_cookies=False)
    return create_app(appliance.operations(), settings=settings, clock=appliance.clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a browser that is nobody yet."""
    return app.test_client()


@pytest.fixture
def program(app: Flask) -> FlaskClient:
    """Return a program with the administrator's token."""
    made = app.test_client()
    made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {API_TOKEN}"
    return made


@dataclass
class Person:
    """A browser, and the forgery token of its session."""

    client: FlaskClient
    csrf: str


def sign_in(client: FlaskClient, account: str, password: str = PASSWORD) -> Person:
    """Sign in as a person does, by the form."""
    token = csrf_in(client.get("/sign-in").text)
    answer = client.post("/sign-in", data={"account": account, "password": password, "csrf_token": token})
    assert answer.status_code == 303, answer.text
    return Person(client, csrf_in(client.get("/").text))


def csrf_in(page: str) -> str:
    """Return the forgery token of a page's form."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture
def anna(app: Flask) -> Person:
    """Return a user of leeds/office."""
    return sign_in(app.test_client(), "anna")


@pytest.fixture
def oscar(app: Flask) -> Person:
    """Return an operator."""
    return sign_in(app.test_client(), "oscar")


@pytest.fixture
def server(app: Flask) -> Iterator[int]:
    """Serve the application on loopback by the real server; return the port."""
    made = Server(("127.0.0.1", 0), app, numthreads=6, timeout=1)
    made.prepare()
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield made.bind_addr[1]
    made.stop()
    thread.join()
