"""The pages for operators and auditors: overview, snapshots of a share, health, audit log."""

from flask import Blueprint, Response, request

from core.clock import Clock
from core.relpath import ROOT
from web.addresses import snapshots_address
from web.authentication import current_actor
from web.errors import RequestUnreadable
from web.file_rows import breadcrumb
from web.guard import current_form
from web.operations import Operations
from web.operator_rows import audit_rows, headline, share_rows, snapshot_rows, verdict_of
from web.query import Query
from web.rendering import render_page, see_other
from web.settings import WebSettings
from web.words import when_at_length

_MAX_LABEL_CHARACTERS = 200  # staging.changes.MAX_LABEL_CHARACTERS


class OperatorPages:
    """The start page, and what is one step away from it."""

    def __init__(self, operations: Operations, settings: WebSettings, clock: Clock) -> None:
        """Keep what the views ask."""
        self._operations = operations
        self._settings = settings
        self._clock = clock

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("operators", __name__)
        routes.add_url_rule("/", view_func=self.overview)
        routes.add_url_rule("/health", view_func=self.health)
        routes.add_url_rule("/audit", view_func=self.audit)
        snapshots = "/s/<name:branch>/<name:share>/snapshots"
        routes.add_url_rule(snapshots, view_func=self.snapshots)
        routes.add_url_rule(snapshots, view_func=self.create_snapshot, methods=["POST"])
        return routes

    def overview(self) -> Response:
        """Show all shares, worst first."""
        now_ns = self._clock.now_ns()
        shares = self._operations.shares.list_shares(current_actor())
        return render_page(
            "overview.html", rows=share_rows(shares, now_ns), headline=headline(shares),
            looked=when_at_length(now_ns, now_ns),
        )  # fmt: skip

    def snapshots(self, branch: str, share: str) -> Response:
        """Show a share's snapshots, newest first."""
        name, now_ns = f"{branch}/{share}", self._clock.now_ns()
        snapshots = self._operations.shares.list_snapshots(current_actor(), name)
        return render_page(
            "snapshots.html", share=name, rows=snapshot_rows(name, snapshots, now_ns),
            address=snapshots_address(name), crumbs=breadcrumb(name, "", ROOT),
            taken=Query(request.query_string).text("taken"),
        )  # fmt: skip

    def create_snapshot(self, branch: str, share: str) -> Response:
        """Take a snapshot and show the list again."""
        label = current_form().get("label", "").strip()
        if len(label) > _MAX_LABEL_CHARACTERS:
            raise RequestUnreadable("that label is too long", remedy=f"use at most {_MAX_LABEL_CHARACTERS} characters")
        name = f"{branch}/{share}"
        made = self._operations.shares.create_snapshot(current_actor(), name, label)
        return see_other(f"{snapshots_address(name)}?taken={made.id}")

    def health(self) -> Response:
        """Show whether data is taken, and how full the store is."""
        stats = self._operations.shares.stats(current_actor())
        health = self._operations.health
        return render_page("health.html", reasons=health.ready(), concerns=health.concerns(), stats=stats)

    def audit(self) -> Response:
        """Show the audit log, newest first; with `verify` also whether its chain is whole."""
        query, actor = Query(request.query_string), current_actor()
        administration = self._operations.administration
        records, following = administration.list_audit(actor, query.before(), self._settings.entries_a_page)
        verdict = verdict_of(administration.verify_audit(actor)) if query.text("verify") else None
        return render_page(
            "audit.html", rows=audit_rows(records), following=following, verdict=verdict,
            continued=query.before() is not None, page_entries=self._settings.entries_a_page,
        )  # fmt: skip
