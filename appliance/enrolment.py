"""Taking branches in by their one-time code: slowed down per address, and in the audit log either way."""

from appliance.appliance_db import ApplianceDatabase
from appliance.attempts import Attempts, address_key
from appliance.audit import AuditLog
from appliance.branches import Branches, CodeRefused, Enrolment
from core.clock import Clock
from web.operations import Actor


class EnrolmentDesk:
    """Turns codes into branches' tokens."""

    def __init__(self, database: ApplianceDatabase, branches: Branches, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._branches = branches
        self._audit = audit
        self._attempts = Attempts(database, clock)

    def enroll(self, code: str, address: str) -> Enrolment:
        """Return the branch's name and token; raise `CodeRefused`, or `TooManyAttempts` without looking at the code."""
        place = address_key(address)
        self._attempts.begin([("enrolment", place)])
        try:
            with self._database.write():
                enrolment = self._branches.enroll(code)
                self._attempts.withdraw("enrolment", place)
                actor = Actor(f"branch:{enrolment.branch}", "branch", address)
                self._audit.record(actor, "branch.enroll", enrolment.branch)
        except CodeRefused:
            self._audit.record(Actor("", "branch", address), "branch.enroll", "", "refused")
            raise
        return enrolment
