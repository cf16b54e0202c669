"""The API's acts by which shares and branches go, and come back while there is time."""

from flask import Blueprint, Response
from msgspec import Struct

from core.relpath import RelPath, parse_path
from web.answers import document
from web.authentication import current_actor
from web.bodies import parse_document
from web.errors import RequestUnreadable
from web.guard import current_body
from web.operations import Removal
from web.query import decode_token


class NewPurge(Struct, forbid_unknown_fields=True):
    """The body of `POST …/purge`; a path that is not UTF-8 comes as `path_base64`."""

    path: str = ""
    path_base64: str = ""

    def checked_path(self) -> RelPath:
        """Return what is to be purged; raise `PathRefused` or `RequestUnreadable`."""
        if self.path and self.path_base64:
            raise RequestUnreadable("both path and path_base64 are given", remedy="give one of them")
        return parse_path(decode_token(self.path_base64, "path_base64") if self.path_base64 else self.path.encode())


class RemovalApi:
    """Views below /api/v1 that remove."""

    def __init__(self, removal: Removal) -> None:
        """Keep what the views ask."""
        self._removal = removal

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_removal", __name__, url_prefix="/api/v1")
        share = "/shares/<name:branch>/<name:share>"
        routes.add_url_rule(share + "/delete", view_func=self.delete_share, methods=["POST"])
        routes.add_url_rule(share + "/undelete", view_func=self.undelete_share, methods=["POST"])
        routes.add_url_rule(share + "/purge", view_func=self.purge, methods=["POST"])
        routes.add_url_rule("/branches/<name:branch>/delete", view_func=self.delete_branch, methods=["POST"])
        routes.add_url_rule("/branches/<name:branch>/undelete", view_func=self.undelete_branch, methods=["POST"])
        return routes

    def delete_share(self, branch: str, share: str) -> Response:
        """Delete a share; it can be taken back for a while."""
        return document(self._removal.delete_share(current_actor(), f"{branch}/{share}"))

    def undelete_share(self, branch: str, share: str) -> Response:
        """Take the deletion of a share back."""
        return document(self._removal.undelete_share(current_actor(), f"{branch}/{share}"))

    def delete_branch(self, branch: str) -> Response:
        """Delete a branch with its shares; it can be taken back for a while."""
        return document(self._removal.delete_branch(current_actor(), branch))

    def undelete_branch(self, branch: str) -> Response:
        """Take the deletion of a branch back."""
        return document(self._removal.undelete_branch(current_actor(), branch))

    def purge(self, branch: str, share: str) -> Response:
        """Purge a path from everything that is kept of a share, at once."""
        path = parse_document(current_body(), NewPurge).checked_path()
        return document(self._removal.purge(current_actor(), f"{branch}/{share}", path))
