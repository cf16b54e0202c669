"""HTML pages: every template gets the person, the forgery token and the words of `web.words`; errors become pages."""

from typing import Any

from flask import Flask, Response, render_template

from core.errors import StagekeeperError
from web import addresses, words
from web.authentication import csrf_token, current_identity
from web.errors import status_of

OPERATOR_ROLES = frozenset({"owner", "admin", "operator", "auditor"})  # who sees links to the operators' pages

_TITLES = {
    400: "That address cannot be read",
    401: "Please sign in",
    403: "This is not open to you",
    404: "There is nothing here",
    405: "That cannot be done here",
    409: "That was refused",
    416: "That part does not exist",
    429: "Please wait a moment",
    503: "Not just now",
}
_FAULT_TITLE = "Something went wrong on our side"


def add_words(app: Flask) -> None:
    """Give templates the words for sizes, counts, spans and the pieces of long texts."""
    app.jinja_env.filters.update(size=words.size_words, count=words.count_words, lag=words.lag_words, pieces=words.pieces)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True


def render_page(template: str, status: int = 200, **values: Any) -> Response:
    """Answer a page."""
    identity = current_identity()
    actor = identity.actor if identity else None
    text = render_template(
        template,
        actor=actor,
        operator=actor is not None and actor.role in OPERATOR_ROLES,
        csrf_token=csrf_token(identity.secret) if identity and identity.secret else "",
        sign_in_address=addresses.sign_in_address(),
        **values,
    )
    return Response(text, status, mimetype="text/html")


def error_page(error: StagekeeperError) -> Response:
    """Answer an error as a page that says what is the matter and what to do."""
    status = status_of(error)
    return message_page(status, error.message, error.remedy)


def message_page(status: int, message: str, remedy: str) -> Response:
    """Answer a page of a few sentences."""
    title = _TITLES.get(status, _FAULT_TITLE)
    return render_page("message.html", status, title=title, message=sentence(message), remedy=sentence(remedy))


def see_other(address: str) -> Response:
    """Lead the browser to another page of ours."""
    return Response(status=303, headers={"Location": address})


def sentence(text: str) -> str:
    """Return an error's words as a sentence."""
    whole = text[:1].upper() + text[1:]
    return whole if not whole or whole.endswith((".", "!", "?")) else whole + "."
