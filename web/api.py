"""The JSON API under /api/v1: the same nouns as the command line.

    GET    session                                 who asks, and the token that changing requests of a session carry
    GET    stats · audit?before=&limit= · audit/verify
    GET    shares · shares/B/S · shares/B/S/snapshots · …/ls · …/entry · …/cat · …/versions
    GET    shares/B/S/journal · …/journal/changes?path=&after=&limit=
    GET    find?text=&share=&deleted=true|false&after=&limit=
    GET    shares/B/S/diff?from=&to=
    POST   shares/B/S/snapshots {label} · shares/B/S/restore {to, at, path | path_base64, overwrite} (lines)
    POST   shares/B/S/snapshots/ID/label {label} | hold {name, reason, until} | release {name} | delete | undelete
    GET    shares/B/S/policy    PUT shares/B/S/policy {…}    POST prune {share, dry_run}
    POST   shares/B/S/verify-seal · shares/B/S/weigh {first, last} (lines)
    POST   shares/B/S/delete | undelete · shares/B/S/purge {path | path_base64}
    GET    branches · users · schedules · schedules/NAME/next?count=
    POST   branches {name} · branches/B/revoke | delete | undelete    PUT branches/B/quota {quota_bytes}
    POST   users {name, role, password, grants} · users/NAME/password {password} | disable | enable | tokens {scope}
    POST   collect · scrub {all} (lines)
    POST   exports {sources, to, kind} (lines) · exports/stream {sources} (tar)
    GET    backups    POST   backups (lines) · recovery-key    DELETE backups/N
    POST   schedules {…} · schedules/NAME/run | start | enable | disable    DELETE schedules/NAME

`at=` is a moment as behind `@`, empty for now; `path=` percent-encoded bytes, or `path_base64=`; ls, diff and audit take
`limit=` and `after=` (the `next` of the answer before). Lines are one JSON document each: `{"progress"}`…, then
`{"result"}` or `{"error"}`. Sessions send `X-CSRF-Token` (or a form's `csrf_token`) with what changes; tokens do not.
"""

from flask import Blueprint, Flask, Response, request

from web.answers import document, listing
from web.api_accounts import AccountApi
from web.api_backups import BackupApi
from web.api_differences import DifferenceApi
from web.api_exports import ExportApi
from web.api_find import FindApi
from web.api_journal import JournalApi
from web.api_keeping import KeepingApi
from web.api_maintenance import MaintenanceApi
from web.api_removal import RemovalApi
from web.api_seals import SealApi
from web.api_shares import ShareApi
from web.authentication import csrf_token, current_actor, current_identity
from web.operations import Operations
from web.query import Query
from web.settings import WebSettings

_DEFAULT_RECORDS = 500


class AuditApi:
    """Views of the session, the figures and the audit log."""

    def __init__(self, operations: Operations, settings: WebSettings) -> None:
        """Keep what the views ask."""
        self._operations = operations
        self._settings = settings

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_audit", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/session", view_func=self.session)
        routes.add_url_rule("/stats", view_func=self.stats)
        routes.add_url_rule("/audit", view_func=self.list_audit)
        routes.add_url_rule("/audit/verify", view_func=self.verify_audit)
        return routes

    def session(self) -> Response:
        """Answer who asks."""
        actor = current_actor()
        identity = current_identity()
        token = csrf_token(identity.secret) if identity and identity.secret else None
        return document({"account": actor.account, "role": actor.role, "csrf_token": token})

    def stats(self) -> Response:
        """Answer the figures of the store."""
        return document(self._operations.shares.stats(current_actor()))

    def list_audit(self) -> Response:
        """Answer audit records, newest first; `next` continues it as `after` (or `before`)."""
        query = Query(request.query_string)
        limit = query.number("limit", _DEFAULT_RECORDS, self._settings.max_entries_an_answer)
        records, following = self._operations.administration.list_audit(current_actor(), query.before(), limit)
        return listing("audit", records, None if following is None else str(following))

    def verify_audit(self) -> Response:
        """Check the audit log's chain."""
        return document(self._operations.administration.verify_audit(current_actor()))


def add_api(app: Flask, operations: Operations, settings: WebSettings) -> None:
    """Put the whole API on `app`."""
    app.register_blueprint(ShareApi(operations.shares, settings).blueprint())
    app.register_blueprint(DifferenceApi(operations.differences, settings).blueprint())
    app.register_blueprint(KeepingApi(operations.keeping).blueprint())
    app.register_blueprint(RemovalApi(operations.removal).blueprint())
    app.register_blueprint(SealApi(operations.sealing).blueprint())
    app.register_blueprint(JournalApi(operations.journals, settings).blueprint())
    app.register_blueprint(BackupApi(operations.backups).blueprint())
    app.register_blueprint(MaintenanceApi(operations.maintenance).blueprint())
    app.register_blueprint(FindApi(operations.finding, settings).blueprint())
    app.register_blueprint(AccountApi(operations.administration).blueprint())
    app.register_blueprint(ExportApi(operations.administration).blueprint())
    app.register_blueprint(AuditApi(operations, settings).blueprint())
