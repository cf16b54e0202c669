"""The API's shares: state, snapshots, folders, files, versions, restore."""

from typing import Annotated

from flask import Blueprint, Response, request
from msgspec import Meta, Struct

from core.relpath import RelPath, parse_path
from web.answers import document, listing, progress_lines
from web.authentication import current_actor
from web.bodies import parse_document
from web.downloads import Wanted, answer_download
from web.errors import RequestUnreadable
from web.guard import current_body
from web.operations import Shares
from web.query import Query, decode_token, encode_token
from web.settings import WebSettings
from web.share_values import Place, Progress

_DEFAULT_ENTRIES = 1000


class NewSnapshot(Struct, forbid_unknown_fields=True):
    """The body of `POST …/snapshots`."""

    label: Annotated[str, Meta(max_length=200)] = ""  # staging.changes.MAX_LABEL_CHARACTERS


class NewRestore(Struct, forbid_unknown_fields=True):
    """The body of `POST …/restore`; a path that is not UTF-8 comes as `path_base64`."""

    to: Annotated[str, Meta(min_length=1, max_length=4096)]
    at: str = ""
    path: str = ""
    path_base64: str = ""
    overwrite: bool = False
    seen: Place | None = None

    def checked_path(self) -> RelPath:
        """Return what is to be restored; raise `PathRefused` or `RequestUnreadable`."""
        if self.path and self.path_base64:
            raise RequestUnreadable("both path and path_base64 are given", remedy="give one of them")
        return parse_path(decode_token(self.path_base64, "path_base64") if self.path_base64 else self.path.encode())


class ShareApi:
    """Views below /api/v1/shares."""

    def __init__(self, shares: Shares, settings: WebSettings) -> None:
        """Keep what the views ask."""
        self._shares = shares
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_shares", __name__, url_prefix="/api/v1/shares")
        one = "/<name:branch>/<name:share>"
        routes.add_url_rule("", view_func=self.list_shares)
        routes.add_url_rule(one, view_func=self.share_status)
        routes.add_url_rule(one + "/snapshots", view_func=self.list_snapshots)
        routes.add_url_rule(one + "/snapshots", view_func=self.create_snapshot, methods=["POST"])
        routes.add_url_rule(one + "/ls", view_func=self.list_folder)
        routes.add_url_rule(one + "/entry", view_func=self.entry)
        routes.add_url_rule(one + "/cat", view_func=self.cat)
        routes.add_url_rule(one + "/versions", view_func=self.versions)
        routes.add_url_rule(one + "/restore", view_func=self.restore, methods=["POST"])
        return routes

    def list_shares(self) -> Response:
        """Answer all shares that the actor may see."""
        return listing("shares", self._shares.list_shares(current_actor()))

    def share_status(self, branch: str, share: str) -> Response:
        """Answer one share's state."""
        return document(self._shares.share_status(current_actor(), f"{branch}/{share}"))

    def list_snapshots(self, branch: str, share: str) -> Response:
        """Answer the snapshots by sequence."""
        return listing("snapshots", self._shares.list_snapshots(current_actor(), f"{branch}/{share}"))

    def create_snapshot(self, branch: str, share: str) -> Response:
        """Take a snapshot now."""
        asked = parse_document(current_body(), NewSnapshot)
        return document(self._shares.create_snapshot(current_actor(), f"{branch}/{share}", asked.label), 201)

    def list_folder(self, branch: str, share: str) -> Response:
        """Answer a folder's entries; `next` continues it as `after`."""
        query = Query(request.query_string)
        limit = query.number("limit", _DEFAULT_ENTRIES, self._settings.max_entries_an_answer)
        entries, following = self._shares.list_folder(
            current_actor(), f"{branch}/{share}", query.moment(), query.path(), query.after(), limit
        )
        return listing("entries", entries, encode_token(following))

    def entry(self, branch: str, share: str) -> Response:
        """Answer what stands at one path."""
        query = Query(request.query_string)
        return document(self._shares.entry(current_actor(), f"{branch}/{share}", query.moment(), query.path()))

    def cat(self, branch: str, share: str) -> Response:
        """Answer a file's bytes, with ranges."""
        query = Query(request.query_string)
        wanted = Wanted(current_actor(), f"{branch}/{share}", query.moment(), query.path())
        return answer_download(self._shares, wanted, request)

    def versions(self, branch: str, share: str) -> Response:
        """Answer the versions of what stands or stood at a path, up to a moment, newest first; `next` continues as `after`."""
        query = Query(request.query_string)
        limit = query.number("limit", _DEFAULT_ENTRIES, self._settings.max_entries_an_answer)
        versions, following = self._shares.versions(
            current_actor(), f"{branch}/{share}", query.moment(), query.path(), query.before(), limit
        )
        return listing("versions", versions, None if following is None else str(following))

    def restore(self, branch: str, share: str) -> Response:
        """Restore to a directory of the appliance; answers lines."""
        asked = parse_document(current_body(), NewRestore)
        path = asked.checked_path()
        steps = self._shares.restore(
            current_actor(), f"{branch}/{share}", asked.at.removeprefix("@"), path, asked.to, asked.overwrite, asked.seen
        )
        return progress_lines(steps, Progress)
