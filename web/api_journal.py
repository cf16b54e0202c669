"""The API's journal: a share's segments, and which bytes of a file changed when."""

from flask import Blueprint, Response, request

from web.answers import document, listing
from web.authentication import current_actor
from web.errors import RequestUnreadable
from web.operations import Journals
from web.query import Query
from web.settings import WebSettings

_DEFAULT_CHANGES = 1000
_MAX_DIGITS = 19


class JournalApi:
    """Views below /api/v1/shares/B/S/journal."""

    def __init__(self, journals: Journals, settings: WebSettings) -> None:
        """Keep what the views ask."""
        self._journals, self._settings = journals, settings

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_journal", __name__, url_prefix="/api/v1/shares/<name:branch>/<name:share>/journal")
        routes.add_url_rule("", view_func=self.list_journal)
        routes.add_url_rule("/changes", view_func=self.show_journal)
        return routes

    def list_journal(self, branch: str, share: str) -> Response:
        """Answer the segments, oldest first, and the times whose every instant can be read."""
        found = self._journals.list_journal(current_actor(), f"{branch}/{share}")
        return document({"segments": found.segments, "window": found.window, "next": None})

    def show_journal(self, branch: str, share: str) -> Response:
        """Answer what happened to a path, newest last; `next` continues it as `after`."""
        query = Query(request.query_string)
        limit = query.number("limit", _DEFAULT_CHANGES, self._settings.max_entries_an_answer)
        changes, following = self._journals.show_journal(
            current_actor(), f"{branch}/{share}", query.path(), _mark(query.text("after")), limit
        )
        return listing("changes", changes, None if following is None else f"{following[0]}.{following[1]}")


def _mark(text: str) -> tuple[int, int]:
    frame, dot, change = text.partition(".")
    if not text:
        return 0, 0
    if not dot or not all(part.isascii() and part.isdecimal() and len(part) < _MAX_DIGITS for part in (frame, change)):
        raise RequestUnreadable("parameter 'after' is no place in a journal", remedy="give it as it was answered")
    return int(frame), int(change)
