"""The API's search for names: `GET /api/v1/find?text=&share=&at=&deleted=&after=&limit=`."""

from flask import Blueprint, Response, request

from web.answers import document
from web.authentication import current_actor
from web.errors import RequestUnreadable
from web.operations import Finding
from web.query import Query, encode_token
from web.settings import WebSettings

_DEFAULT_HITS = 100


class FindApi:
    """The view of /api/v1/find."""

    def __init__(self, finding: Finding, settings: WebSettings) -> None:
        """Keep what the view asks."""
        self._finding = finding
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the route."""
        routes = Blueprint("api_find", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/find", view_func=self.find)
        return routes

    def find(self) -> Response:
        """Answer paths whose last name holds `text`; a page may hold few or none and still have a `next`."""
        query = Query(request.query_string)
        limit = query.number("limit", _DEFAULT_HITS, self._settings.max_entries_an_answer)
        deleted = query.text("deleted", "false")
        if deleted not in ("true", "false"):
            raise RequestUnreadable("deleted is neither true nor false", remedy="give true or false, or leave it out")
        share, moment = query.text("share"), query.moment()
        if moment and (not share or deleted == "true"):
            raise RequestUnreadable(
                "a moment belongs to one share, and shows what stood then", remedy="give share, and not deleted"
            )
        page = self._finding.find(current_actor(), query.text("text"), share, deleted == "true", query.after(), limit, moment)
        return document({"found": page.found, "next": encode_token(page.following), "not_searched": page.not_searched})
