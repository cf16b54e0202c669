"""The API's collect and scrub: the store as a whole."""

from flask import Blueprint, Response
from msgspec import Struct

from web.answers import progress_lines
from web.authentication import current_actor
from web.bodies import parse_document
from web.guard import current_body
from web.operations import Maintenance
from web.share_values import Progress


class NewScrub(Struct, forbid_unknown_fields=True):
    """The body of `POST /scrub`."""

    all: bool = False


class MaintenanceApi:
    """Views below /api/v1 that are about the store."""

    def __init__(self, maintenance: Maintenance) -> None:
        """Keep what the views ask."""
        self._maintenance = maintenance

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_maintenance", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/collect", view_func=self.collect, methods=["POST"])
        routes.add_url_rule("/scrub", view_func=self.scrub, methods=["POST"])
        return routes

    def collect(self) -> Response:
        """Free what nothing names; answers lines."""
        return progress_lines(self._maintenance.collect(current_actor()), Progress)

    def scrub(self) -> Response:
        """Read packs through; answers lines."""
        asked = parse_document(current_body(), NewScrub)
        return progress_lines(self._maintenance.scrub(current_actor(), asked.all), Progress)
