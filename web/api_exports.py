"""The API's exports and schedules: what is written to cartridges, and when things happen by themselves."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, request
from msgspec import Meta, Struct

from web.answers import document, listing, progress_lines
from web.authentication import current_actor
from web.bodies import parse_document
from web.guard import current_body
from web.operations import Administration
from web.query import Query
from web.share_values import Place, Progress
from web.streams import close

Sources = Annotated[list[str], Meta(min_length=1, max_length=10_000)]
_MAX_RUNS = 1000  # runs asked ahead at once


class NewExport(Struct, forbid_unknown_fields=True):
    """The body of `POST /exports`; sources are `B/S@M`."""

    sources: Sources
    to: Annotated[str, Meta(min_length=1, max_length=4096)]
    kind: Literal["full", "differential", "incremental"] = "full"
    seen: Place | None = None


class NewStream(Struct, forbid_unknown_fields=True):
    """The body of `POST /exports/stream`; `name` is chosen by whoever wants to ask for the report."""

    sources: Sources
    name: Annotated[str, Meta(max_length=64, pattern="^[0-9a-f]*$")] = ""


class ExportApi:
    """Views below /api/v1/exports and /api/v1/schedules."""

    def __init__(self, administration: Administration) -> None:
        """Keep what the views ask."""
        self._administration = administration

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_exports", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/exports", view_func=self.run_export, methods=["POST"])
        routes.add_url_rule("/exports/stream", view_func=self.stream_export, methods=["POST"])
        routes.add_url_rule("/exports/stream/<plain:stream>", view_func=self.stream_report)
        routes.add_url_rule("/schedules", view_func=self.list_schedules)
        routes.add_url_rule("/schedules", view_func=self.add_schedule, methods=["POST"])
        one = "/schedules/<plain:schedule>"
        routes.add_url_rule(one, view_func=self.delete_schedule, methods=["DELETE"])
        routes.add_url_rule(one + "/run", view_func=self.run_schedule, methods=["POST"])
        routes.add_url_rule(one + "/start", view_func=self.start_schedule, methods=["POST"])
        routes.add_url_rule(one + "/enable", view_func=self.enable_schedule, methods=["POST"])
        routes.add_url_rule(one + "/disable", view_func=self.disable_schedule, methods=["POST"])
        routes.add_url_rule(one + "/next", view_func=self.next_runs)
        return routes

    def run_export(self) -> Response:
        """Export to a directory of the appliance; answers lines."""
        asked = parse_document(current_body(), NewExport)
        steps = self._administration.run_export(current_actor(), asked.sources, asked.to, asked.kind, asked.seen)
        return progress_lines(steps, Progress)

    def stream_export(self) -> Response:
        """Stream one tar; a failure on the way breaks the connection."""
        asked = parse_document(current_body(), NewStream)
        pieces = self._administration.stream_export(current_actor(), asked.sources, asked.name)
        first = next(pieces, b"")
        return Response(_continued(first, pieces), mimetype="application/x-tar", direct_passthrough=True)

    def stream_report(self, stream: str) -> Response:
        """Answer how a stream went, once."""
        return document(self._administration.stream_report(current_actor(), stream))

    def list_schedules(self) -> Response:
        """Answer all schedules."""
        return listing("schedules", self._administration.list_schedules(current_actor()))

    def add_schedule(self) -> Response:
        """Make a schedule."""
        asked = parse_document(current_body(), dict[str, Any])
        return document(self._administration.add_schedule(current_actor(), asked), 201)

    def delete_schedule(self, schedule: str) -> Response:
        """Remove a schedule."""
        self._administration.delete_schedule(current_actor(), schedule)
        return Response(status=204)

    def run_schedule(self, schedule: str) -> Response:
        """Run a schedule now and answer when it has ended."""
        return document(self._administration.run_schedule(current_actor(), schedule))

    def start_schedule(self, schedule: str) -> Response:
        """Run a schedule now and answer at once."""
        return document(self._administration.start_schedule(current_actor(), schedule), 202)

    def enable_schedule(self, schedule: str) -> Response:
        """Let a schedule run by itself."""
        return document(self._administration.enable_schedule(current_actor(), schedule, True))

    def disable_schedule(self, schedule: str) -> Response:
        """Keep a schedule from running by itself."""
        return document(self._administration.enable_schedule(current_actor(), schedule, False))

    def next_runs(self, schedule: str) -> Response:
        """Answer when a schedule runs next."""
        count = Query(request.query_string).number("count", 10, _MAX_RUNS)
        return listing("runs", self._administration.next_runs(current_actor(), schedule, count))


def _continued(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield first
        yield from rest
    finally:
        close(rest)
