"""HTML pages: every template gets the person, the forgery token and the words of `web.words`; errors become pages."""

from typing import Any

from flask import Flask, Response, render_template

from core.errors import StagekeeperError
from web import addresses, words
from web.authentication import csrf_token, current_identity
from web.errors import status_of

# Who is shown which links and forms: whether they may be used is checked behind them.
OPERATOR_ROLES = frozenset({"owner", "admin", "operator", "auditor"})  # the operators' pages
_AUDIT_ROLES = frozenset({"owner", "admin", "auditor"})
_FILE_ROLES = frozenset({"owner", "admin", "operator", "user"})
_SNAPSHOT_ROLES = frozenset({"owner", "admin", "operator"})

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
    role = actor.role if actor else ""
    text = render_template(
        template,
        actor=actor,
        operator=role in OPERATOR_ROLES,
        sees_audit=role in _AUDIT_ROLES,
        sees_files=role in _FILE_ROLES,
        takes_snapshots=role in _SNAPSHOT_ROLES,
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
    told = {"title": title, "message": sentence(message), "remedy": sentence(remedy)}
    return render_page("message.html", status, signing_in=status == 401, **told)


def see_other(address: str) -> Response:
    """Lead the browser to another page of ours."""
    return Response(status=303, headers={"Location": address})


def sentence(text: str) -> str:
    """Return an error's words as a sentence."""
    whole = text[:1].upper() + text[1:]
    return whole if not whole or whole.endswith((".", "!", "?")) else whole + "."
