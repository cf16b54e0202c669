"""The API's verification of seals."""

from flask import Blueprint, Response

from web.answers import progress_lines
from web.authentication import current_actor
from web.operations import Sealing
from web.share_values import Progress


class SealApi:
    """Views below /api/v1/shares that are about seals."""

    def __init__(self, sealing: Sealing) -> None:
        """Keep what the views ask."""
        self._sealing = sealing

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_seals", __name__, url_prefix="/api/v1/shares")
        routes.add_url_rule("/<name:branch>/<name:share>/verify-seal", view_func=self.verify_seal, methods=["POST"])
        return routes

    def verify_seal(self, branch: str, share: str) -> Response:
        """Compare the catalogue with its seals; answers lines."""
        return progress_lines(self._sealing.verify_seal(current_actor(), f"{branch}/{share}"), Progress)
