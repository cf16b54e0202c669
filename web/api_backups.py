"""The API's backups of the appliance's own files, and the recovery key that they are encrypted to."""

from flask import Blueprint, Response

from web.answers import document, listing, progress_lines
from web.authentication import current_actor
from web.operations import Backups
from web.share_values import Progress


class BackupApi:
    """Views of /api/v1/backups and /api/v1/recovery-key."""

    def __init__(self, backups: Backups) -> None:
        """Keep what the views ask."""
        self._backups = backups

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("api_backups", __name__, url_prefix="/api/v1")
        routes.add_url_rule("/backups", view_func=self.list_backups)
        routes.add_url_rule("/backups", view_func=self.run_backup, methods=["POST"])
        routes.add_url_rule("/backups/<number:number>", view_func=self.drop_backup, methods=["DELETE"])
        routes.add_url_rule("/recovery-key", view_func=self.new_recovery_key, methods=["POST"])
        return routes

    def list_backups(self) -> Response:
        """Answer the backups that are kept, newest first."""
        return listing("backups", self._backups.list(current_actor()))

    def run_backup(self) -> Response:
        """Take a backup; answers lines."""
        return progress_lines(self._backups.run(current_actor()), Progress)

    def drop_backup(self, number: int) -> Response:
        """Let a backup go that cannot be restored; answers what it was."""
        return document(self._backups.drop(current_actor(), number))

    def new_recovery_key(self) -> Response:
        """Make a new recovery key; this answer is the only one that has it."""
        return document(self._backups.new_recovery_key(current_actor()), 201)
