"""Who asks: by trusted environ key, by bearer token, or by session cookie; and the tokens against forged requests.

Cookies hold only what `operations.sign_in` made; nothing is kept here. The forgery token of a session is derived from
the session's secret, so it changes with it and needs no store.
"""

import hmac
from dataclasses import dataclass

from flask import Request, Response, g

from core.digest import derived_digest
from web.errors import RequestForged, SignInRequired
from web.operations import Actor, SignIn

ACTOR_KEY = "stagekeeper.actor"  # set by the local control socket and by in-process calls; no header can set it
_CSRF_CONTEXT = "stagekeeper 2026-11-22 request forgery token"


@dataclass(frozen=True, slots=True)
class Identity:
    """An actor, and how it was known; `secret` is the session's and empty otherwise."""

    actor: Actor
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Cookies:
    """The two cookies: the session's, and the visit's that binds a sign-in form to one browser."""

    secure: bool

    @property
    def session(self) -> str:
        """Return the session cookie's name; `__Host-` makes browsers refuse it from plain HTTP and other hosts."""
        return "__Host-stagekeeper" if self.secure else "stagekeeper"

    @property
    def visit(self) -> str:
        """Return the name of the cookie that a person has before signing in."""
        return self.session + "-visit"

    def put(self, answer: Response, name: str, value: str) -> None:
        """Set a cookie that ends with the browser and that no script can read."""
        answer.set_cookie(name, value, path="/", secure=self.secure, httponly=True, samesite="Lax")

    def drop(self, answer: Response, name: str) -> None:
        """Remove a cookie."""
        answer.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite="Lax")


def identify(request: Request, sign_in: SignIn, cookies: Cookies) -> Identity | None:
    """Return who asks, or None; a bearer token that is wrong raises `SignInRequired`, whatever cookies came with it."""
    local = request.environ.get(ACTOR_KEY)
    if isinstance(local, Actor):
        return Identity(local)
    token = bearer_token(request)
    if token is not None:
        actor = sign_in.actor_of_token(token, address_of(request))
        if actor is None:
            raise SignInRequired("this token is not known, or no longer good", remedy="ask for a new token")
        return Identity(actor)
    secret = request.cookies.get(cookies.session, "")
    actor = sign_in.actor_of_session(secret, address_of(request)) if secret else None
    return Identity(actor, secret) if actor is not None else None


def bearer_token(request: Request) -> str | None:
    """Return the token of an `Authorization: Bearer` header, or None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def address_of(request: Request) -> str:
    """Return the peer's address as the server saw it; headers of proxies are not believed."""
    return request.remote_addr or ""


def csrf_token(secret: str) -> str:
    """Return the token that belongs to a session's or visit's secret."""
    return derived_digest(_CSRF_CONTEXT, secret.encode("utf-8", "surrogateescape")).hex()


def check_csrf(request: Request, secret: str, given: str) -> None:
    """Raise `RequestForged` unless the request carries the secret's token and does not say it is from another site."""
    right = secret != "" and hmac.compare_digest(csrf_token(secret).encode(), given.encode("utf-8", "replace"))
    if not right or request.headers.get("Sec-Fetch-Site", "same-origin") in ("cross-site", "same-site"):
        raise RequestForged(
            "this request did not come from one of our own pages, so nothing was done",
            remedy="load the page again and repeat what you did",
        )


def current_identity() -> Identity | None:
    """Return who asks in the request at hand, as the guard found it; None on public addresses."""
    identity: Identity | None = g.get("identity")
    return identity


def current_actor() -> Actor:
    """Return the actor of the request at hand; raise `SignInRequired` when there is none."""
    identity = current_identity()
    if identity is None:
        raise SignInRequired("nobody is signed in", remedy="sign in, or send a token as Authorization: Bearer")
    return identity.actor
