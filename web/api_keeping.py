"""The API's acts on snapshots, the policy of a share, and prune."""

from typing import Annotated, Any

from flask import Blueprint, Response
from msgspec import Meta, Struct

from web.answers import document, progress_lines
from web.authentication import current_actor
from web.bodies import parse_document
from web.guard import current_body
from web.operations import Keeping
from web.share_values import Progress


class NewLabel(Struct, forbid_unknown_fields=True):
    """The body of `POST …/label`."""

    label: str


class NewHold(Struct, forbid_unknown_fields=True):
    """The body of `POST …/hold`; `until` is an RFC 3339 time."""

    name: Annotated[str, Meta(min_length=1)] = "hold"
    reason: str = ""
    until: str | None = None


class OldHold(Struct, forbid_unknown_fields=True):
    """The body of `POST …/release`."""

    name: str = "hold"


class Prune(Struct, forbid_unknown_fields=True):
    """The body of `POST prune`; without a share all are meant."""

    share: str | None = None
    dry_run: bool = False


class Range(Struct, forbid_unknown_fields=True):
    """The body of `POST …/weigh`: one snapshot, or those from one to another."""

    first: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    last: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class KeepingApi:
    """Views below /api/v1 that decide what stays."""

    def __init__(self, keeping: Keeping) -> None:
        """Keep what the views ask."""
        self._keeping = keeping

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_keeping", __name__, url_prefix="/api/v1")
        share = "/shares/<name:branch>/<name:share>"
        for verb in (self.label, self.hold, self.release, self.delete, self.undelete):
            address = f"{share}/snapshots/<number:snapshot>/{verb.__name__}"
            routes.add_url_rule(address, view_func=verb, methods=["POST"])
        routes.add_url_rule(share + "/policy", view_func=self.policy)
        routes.add_url_rule(share + "/policy", view_func=self.set_policy, methods=["PUT"])
        routes.add_url_rule(share + "/weigh", view_func=self.weigh, methods=["POST"])
        routes.add_url_rule("/prune", view_func=self.prune, methods=["POST"])
        return routes

    def label(self, branch: str, share: str, snapshot: int) -> Response:
        """Give a snapshot another label."""
        asked = parse_document(current_body(), NewLabel)
        return document(self._keeping.label(current_actor(), f"{branch}/{share}", snapshot, asked.label))

    def hold(self, branch: str, share: str, snapshot: int) -> Response:
        """Keep a snapshot."""
        asked = parse_document(current_body(), NewHold)
        held = self._keeping.hold(current_actor(), f"{branch}/{share}", snapshot, asked.name, asked.reason, asked.until)
        return document(held)

    def release(self, branch: str, share: str, snapshot: int) -> Response:
        """Let go of a hold."""
        asked = parse_document(current_body(), OldHold)
        return document(self._keeping.release(current_actor(), f"{branch}/{share}", snapshot, asked.name))

    def delete(self, branch: str, share: str, snapshot: int) -> Response:
        """Delete a snapshot; it can be taken back for a while."""
        return document(self._keeping.delete(current_actor(), f"{branch}/{share}", snapshot))

    def undelete(self, branch: str, share: str, snapshot: int) -> Response:
        """Take a deletion back."""
        return document(self._keeping.undelete(current_actor(), f"{branch}/{share}", snapshot))

    def policy(self, branch: str, share: str) -> Response:
        """Answer the policy document of a share."""
        return document(self._keeping.policy(current_actor(), f"{branch}/{share}"))

    def set_policy(self, branch: str, share: str) -> Response:
        """Replace the policy document of a share."""
        asked: Any = parse_document(current_body(), dict)
        return document(self._keeping.set_policy(current_actor(), f"{branch}/{share}", asked))

    def prune(self) -> Response:
        """Decide about snapshots, and delete what is not to be kept unless it is a dry run."""
        asked = parse_document(current_body(), Prune)
        return document({"decisions": self._keeping.prune(current_actor(), asked.share, asked.dry_run)})

    def weigh(self, branch: str, share: str) -> Response:
        """Tell what deleting snapshots would free; answers lines."""
        asked = parse_document(current_body(), Range)
        last = asked.first if asked.last is None else asked.last
        return progress_lines(self._keeping.weigh(current_actor(), f"{branch}/{share}", asked.first, last), Progress)
