"""The gate before every view and the headers behind it.

Closed unless opened: an address that is not listed here as public needs an identity, and every changing request of a
session needs its forgery token. A new route is therefore protected without doing anything.
"""

from flask import Flask, Response, g, request

from web.authentication import Cookies, check_csrf, current_actor, identify
from web.bodies import parse_form, read_body
from web.operations import SignIn
from web.settings import WebSettings

ICON_ENDPOINT = "icon"
_FILES = frozenset({"static", ICON_ENDPOINT})
PUBLIC_ENDPOINTS = _FILES | frozenset({"sign_in.show", "sign_in.enter", "health.healthz", "health.readyz"})
METRICS_ENDPOINT = "health.metrics"
INTAKE_BLUEPRINT = "intake"  # agents: has its own gate, by branch token
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"

_CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_STATIC_SECONDS = 3600  # style and script may be an hour old after an update


class Guard:
    """Lets requests in by identity, reads their bodies, and puts the security headers on answers."""

    def __init__(self, sign_in: SignIn, settings: WebSettings) -> None:
        """Keep what is needed to know people and programs."""
        self._sign_in = sign_in
        self._settings = settings
        self._cookies = Cookies(settings.secure_cookies)
        self._public = PUBLIC_ENDPOINTS | (frozenset() if settings.metrics_need_token else {METRICS_ENDPOINT})

    def install(self, app: Flask) -> None:
        """Stand before and behind every view of `app`."""
        app.before_request(self.check)
        app.after_request(self.add_headers)

    def check(self) -> None:
        """Find out who asks and whether the request is really theirs; leave body and form for the view."""
        if request.endpoint is None or request.blueprint == INTAKE_BLUEPRINT:
            return
        if request.endpoint in self._public:
            return
        g.identity = identify(request, self._sign_in, self._cookies)
        current_actor()
        if request.method in _SAFE:
            return
        g.body = read_body(request, self._settings.max_body_bytes)
        g.form = parse_form(g.body) if request.mimetype == _FORM else {}
        if g.identity.secret:
            given = request.headers.get("X-CSRF-Token") or g.form.get("csrf_token", "")
            check_csrf(request, g.identity.secret, given)

    def add_headers(self, answer: Response) -> Response:
        """Add the headers that every answer carries; private answers are kept nowhere."""
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        if request.endpoint in _FILES and answer.status_code in (200, 304):
            answer.headers["Cache-Control"] = f"public, max-age={_STATIC_SECONDS}"
        else:
            answer.headers["Cache-Control"] = "private, no-store"
            answer.headers.setdefault("Vary", "Cookie, Authorization")
        return answer


def current_body() -> bytes:
    """Return the whole, counted body of the request at hand."""
    body: bytes = g.get("body", b"")
    return body


def current_form() -> dict[str, str]:
    """Return the fields of the form of the request at hand; empty when it was none."""
    form: dict[str, str] = g.get("form", {})
    return form
