"""The application factory: everything comes in as an argument, and nothing is kept outside the returned object.

Errors become answers here: JSON below /api and /intake, a calm page elsewhere. What nobody foresaw is logged once,
here, and answered without its inside.
"""

import re
from functools import partial

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from core.clock import Clock, SystemClock
from core.errors import StagekeeperError, Stopped, TryLater
from web.addresses import sign_in_address
from web.answers import FAULT, document, error_answer
from web.api import add_api
from web.errors import RangeRefused, SignInRequired, status_of
from web.guard import ICON_ENDPOINT, Guard
from web.health import HealthViews
from web.intake import IntakeViews
from web.names import add_converters
from web.operations import Operations
from web.pages_files import FilePages
from web.pages_operators import OperatorPages
from web.pages_sign_in import SignInPages
from web.rendering import add_words, error_page, message_page, see_other
from web.settings import WebSettings

_PROGRAMS = ("/api/", "/intake/")
_SENTENCES = {  # to people, instead of Flask's
    404: "no page has this address; perhaps a sign of it is missing",
    405: "this page cannot do what was asked of it",
}


def create_app(operations: Operations, *, settings: WebSettings, clock: Clock | None = None) -> Flask:
    """Return a WSGI application that serves pages, API, intake and health over `operations`; may be called often."""
    app = Flask("web", static_folder="static", template_folder="templates")
    times = clock or SystemClock()
    app.url_map.merge_slashes = False  # `//host` in an address must not become a redirect
    add_converters(app.url_map)
    add_words(app)
    app.add_url_rule("/favicon.ico", ICON_ENDPOINT, partial(app.send_static_file, "mark.svg"))  # asked where no page names it
    Guard(operations.sign_in, settings).install(app)
    add_api(app, operations, settings)
    app.register_blueprint(IntakeViews(operations.intake, settings).blueprint())
    app.register_blueprint(HealthViews(operations.health).blueprint())
    app.register_blueprint(SignInPages(operations.sign_in, settings).blueprint())
    app.register_blueprint(OperatorPages(operations, settings, times).blueprint())
    app.register_blueprint(FilePages(operations.shares, settings, times).blueprint())
    _Errors(app, settings).install()
    return app


class _Errors:
    """Turns what is raised into answers."""

    def __init__(self, app: Flask, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    def install(self) -> None:
        """Handle every kind of error of the application."""
        self._app.register_error_handler(StagekeeperError, self.on_purpose)
        self._app.register_error_handler(HTTPException, self.by_flask)
        self._app.register_error_handler(Exception, self.unforeseen)

    def on_purpose(self, error: StagekeeperError) -> Response:
        """Answer an error that was raised on purpose."""
        answer = self._shaped(error)
        if isinstance(error, TryLater | Stopped):
            seconds = getattr(error, "retry_after_seconds", self._settings.retry_after_seconds)
            answer.headers["Retry-After"] = str(seconds)
        if isinstance(error, RangeRefused):
            answer.headers["Content-Range"] = f"bytes */{error.size_bytes}"
        return answer

    def by_flask(self, error: HTTPException) -> Response:
        """Answer what Flask refused: an unknown address, a wrong method."""
        status, message = error.code or 500, error.description or error.name
        if not _is_program():
            return message_page(status, _SENTENCES.get(status, message), "")
        kind = re.sub(r"\W+", "_", error.name.lower())
        answer = document({"error": {"type": kind, "message": message, "remedy": ""}}, status)
        for name, value in error.get_headers():
            if name == "Allow":
                answer.headers[name] = value
        return answer

    def unforeseen(self, error: Exception) -> Response:
        """Log a fault of ours, and answer without its inside. Names in the log are quoted: they come from outside."""
        self._app.logger.error("fault at %s %r", request.method, request.path, exc_info=error)
        if _is_program():
            return document({"error": FAULT}, 500)
        return message_page(500, FAULT["message"], FAULT["remedy"])

    def _shaped(self, error: StagekeeperError) -> Response:
        if _is_program():
            return error_answer(error)
        if isinstance(error, SignInRequired) and request.method in ("GET", "HEAD"):
            raw = request.query_string.decode("latin-1")
            address = request.path + ("?" + raw if raw else "")
            return see_other(sign_in_address("" if address == "/" else address))
        if isinstance(error, SignInRequired):
            return message_page(
                status_of(error), "you were signed out meanwhile, so nothing was done", "sign in, then do it again"
            )
        return error_page(error)


def _is_program() -> bool:
    return request.path.startswith(_PROGRAMS) or request.headers.get("Authorization", "").startswith("Bearer ")
