"""Signing in and out.

A form is bound to one browser by the visit cookie. Signing in always makes a new session, ends the one that the
browser showed before, and forgets the visit: a secret that somebody planted before is worth nothing after.
"""

import secrets

from flask import Blueprint, Response, request

from core.errors import Refused
from web.addresses import own_address, sign_in_address
from web.authentication import Cookies, address_of, check_csrf, csrf_token, current_identity
from web.bodies import parse_form, read_body
from web.errors import RequestForged, TooManyAttempts
from web.operations import SignIn
from web.query import Query
from web.rendering import render_page, see_other, sentence
from web.settings import WebSettings

_VISIT_BYTES = 32
_MAX_FORM_BYTES = 64 * 1024


class SignInPages:
    """The sign-in form and what it sends, and signing out."""

    def __init__(self, sign_in: SignIn, settings: WebSettings) -> None:
        """Keep what the views ask."""
        self._sign_in = sign_in
        self._cookies = Cookies(settings.secure_cookies)

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("sign_in", __name__)
        routes.add_url_rule("/sign-in", view_func=self.show)
        routes.add_url_rule("/sign-in", view_func=self.enter, methods=["POST"])
        routes.add_url_rule("/sign-out", view_func=self.leave, methods=["POST"])
        return routes

    def show(self) -> Response:
        """Show the form."""
        return self._form(Query(request.query_string).text("next"), "", "", 200)

    def enter(self) -> Response:
        """Sign in, or show the form again with the reason."""
        form = parse_form(read_body(request, _MAX_FORM_BYTES))
        account, following = form.get("account", ""), form.get("next", "")
        try:
            check_csrf(request, request.cookies.get(self._cookies.visit, ""), form.get("csrf_token", ""))
        except RequestForged:  # mostly a form that was left open while another tab signed in; nothing of it is used
            return self._form(following, account, "this form was too old, so nothing was done; type the password again", 403)
        try:
            secret = self._sign_in.sign_in(account, form.get("password", ""), address_of(request))
        except TooManyAttempts as error:
            answer = self._form(following, account, error.message, 429)
            answer.headers["Retry-After"] = str(error.retry_after_seconds)
            return answer
        except Refused as error:
            return self._form(following, account, error.message, 401)
        return self._entered(secret, following)

    def leave(self) -> Response:
        """End the session here and on the server."""
        identity = current_identity()
        if identity and identity.secret:
            self._sign_in.sign_out(identity.secret)
        answer = see_other(sign_in_address())
        self._cookies.drop(answer, self._cookies.session)
        return answer

    def _entered(self, secret: str, following: str) -> Response:
        former = request.cookies.get(self._cookies.session, "")
        if former and former != secret:
            self._sign_in.sign_out(former)
        answer = see_other(own_address(following))
        self._cookies.put(answer, self._cookies.session, secret)
        self._cookies.drop(answer, self._cookies.visit)
        return answer

    def _form(self, following: str, account: str, problem: str, status: int) -> Response:
        visit = request.cookies.get(self._cookies.visit, "")
        fresh = visit or secrets.token_urlsafe(_VISIT_BYTES)
        answer = render_page(
            "sign_in.html", status, token=csrf_token(fresh), following=own_address(following),
            account=account, problem=sentence(problem),
        )  # fmt: skip
        if not visit:
            self._cookies.put(answer, self._cookies.visit, fresh)
        return answer
