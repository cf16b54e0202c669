"""The API's differences of two moments."""

from flask import Blueprint, Response, request

from web.answers import document
from web.authentication import current_actor
from web.errors import RequestUnreadable
from web.operations import Differences
from web.query import Query, encode_token
from web.settings import WebSettings

_DEFAULT_DIFFERENCES = 1000


class DifferenceApi:
    """The view of shares/B/S/diff."""

    def __init__(self, differences: Differences, settings: WebSettings) -> None:
        """Keep what the view asks."""
        self._differences = differences
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the route."""
        routes = Blueprint("api_differences", __name__, url_prefix="/api/v1/shares")
        routes.add_url_rule("/<name:branch>/<name:share>/diff", view_func=self.differences)
        return routes

    def differences(self, branch: str, share: str) -> Response:
        """Answer what changed from one moment to another, one of which may be left out: the live state.

        `next` continues it as `after`; the summary holds all until there.
        """
        query = Query(request.query_string)
        before, after = (query.text(name).removeprefix("@") for name in ("from", "to"))
        if not before and not after:
            raise RequestUnreadable(
                "neither from nor to is given", remedy="give a moment, like from=1; the other is the live state"
            )
        limit = query.number("limit", _DEFAULT_DIFFERENCES, self._settings.max_entries_an_answer)
        page = self._differences.differences(current_actor(), f"{branch}/{share}", before, after, query.after(), limit)
        return document({"differences": page.differences, "next": encode_token(page.following), "summary": page.summary})
