"""The API's branches and users: who may send data, and who may come."""

from typing import Annotated

from flask import Blueprint, Response
from msgspec import Meta, Struct

from web.answers import document, listing
from web.authentication import current_actor
from web.bodies import parse_document
from web.guard import current_body
from web.operations import Administration

Name = Annotated[str, Meta(max_length=128)]
Password = Annotated[str, Meta(max_length=1024)]  # argon2 takes time by length; its rules are the accounts' own


class NewBranch(Struct, forbid_unknown_fields=True):
    """The body of `POST /branches`."""

    name: Name


class NewQuota(Struct, forbid_unknown_fields=True):
    """The body of `PUT /branches/B/quota`; null: no limit."""

    quota_bytes: Annotated[int, Meta(ge=1, le=2**62)] | None


class NewUser(Struct, forbid_unknown_fields=True):
    """The body of `POST /users`."""

    name: Name
    role: Name
    password: Password
    grants: list[str] = []


class NewPassword(Struct, forbid_unknown_fields=True):
    """The body of `POST /users/NAME/password`."""

    password: Password


class NewToken(Struct, forbid_unknown_fields=True):
    """The body of `POST /users/NAME/tokens`."""

    scope: Name


class AccountApi:
    """Views below /api/v1/branches and /api/v1/users."""

    def __init__(self, administration: Administration) -> None:
        """Keep what the views ask."""
        self._administration = administration

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_accounts", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/branches", view_func=self.list_branches)
        routes.add_url_rule("/branches", view_func=self.add_branch, methods=["POST"])
        routes.add_url_rule("/branches/<name:branch>/revoke", view_func=self.revoke_branch, methods=["POST"])
        routes.add_url_rule("/branches/<name:branch>/quota", view_func=self.set_branch_quota, methods=["PUT"])
        routes.add_url_rule("/users", view_func=self.list_users)
        routes.add_url_rule("/users", view_func=self.add_user, methods=["POST"])
        one = "/users/<plain:account>"
        routes.add_url_rule(one + "/password", view_func=self.set_password, methods=["POST"])
        routes.add_url_rule(one + "/disable", view_func=self.disable_user, methods=["POST"])
        routes.add_url_rule(one + "/enable", view_func=self.enable_user, methods=["POST"])
        routes.add_url_rule(one + "/tokens", view_func=self.create_token, methods=["POST"])
        return routes

    def list_branches(self) -> Response:
        """Answer all branches."""
        return listing("branches", self._administration.list_branches(current_actor()))

    def add_branch(self) -> Response:
        """Make a branch; the answer holds its one-time code."""
        asked = parse_document(current_body(), NewBranch)
        return document(self._administration.add_branch(current_actor(), asked.name), 201)

    def revoke_branch(self, branch: str) -> Response:
        """Take a branch's right to send."""
        return document(self._administration.revoke_branch(current_actor(), branch))

    def set_branch_quota(self, branch: str) -> Response:
        """Set how much a branch may take."""
        asked = parse_document(current_body(), NewQuota)
        return document(self._administration.set_branch_quota(current_actor(), branch, asked.quota_bytes))

    def list_users(self) -> Response:
        """Answer all accounts."""
        return listing("users", self._administration.list_users(current_actor()))

    def add_user(self) -> Response:
        """Make an account."""
        asked = parse_document(current_body(), NewUser)
        made = self._administration.add_user(current_actor(), asked.name, asked.role, asked.password, asked.grants)
        return document(made, 201)

    def set_password(self, account: str) -> Response:
        """Set a password."""
        asked = parse_document(current_body(), NewPassword)
        self._administration.set_password(current_actor(), account, asked.password)
        return Response(status=204)

    def disable_user(self, account: str) -> Response:
        """Shut an account."""
        return document(self._administration.disable_user(current_actor(), account, True))

    def enable_user(self, account: str) -> Response:
        """Open an account again."""
        return document(self._administration.disable_user(current_actor(), account, False))

    def create_token(self, account: str) -> Response:
        """Make a bearer token; it is shown this once."""
        asked = parse_document(current_body(), NewToken)
        return document({"token": self._administration.create_token(current_actor(), account, asked.scope)}, 201)
