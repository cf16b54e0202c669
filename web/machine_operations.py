"""What programs ask of the appliance: the agents of branches, and monitoring. No account stands behind them."""

from collections.abc import Iterable
from typing import Protocol


class Intake(Protocol):
    """The agents' side. `branch` is the authenticated branch's name; bodies are bytes as they came, length-checked."""

    def enroll(self, body: bytes, address: str) -> bytes: ...

    def authenticate(self, token: str, address: str) -> str:
        """Return the branch's name; raise `Refused` for an unknown or revoked one."""

    def open(self, branch: str, share: str, body: bytes) -> bytes: ...

    def frames(self, branch: str, share: str, session: str, body: bytes) -> bytes: ...

    def missing(self, branch: str, share: str, body: bytes) -> bytes: ...

    def chunks(self, branch: str, share: str, session: str, body: bytes) -> bytes: ...

    def barrier(self, branch: str, share: str, sequence: int) -> bytes:
        """Return how far the share is folded, and the snapshot at a barrier of the branch or null."""

    def compare(self, branch: str, share: str, body: bytes) -> bytes: ...

    def tasks(self, branch: str, share: str) -> bytes: ...


class Health(Protocol):
    """For `/healthz`, `/readyz` and `/metrics`."""

    def ready(self) -> list[str]:
        """Return the reasons why data is not taken at the moment; empty when all is well."""

    def concerns(self) -> list[str]:
        """Return what fails meanwhile without keeping data from being taken, each with what to do; empty when nothing does."""

    def metrics(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """Yield (name, help, labels, value); counters' names end in `_total`. No file names: anyone may read it."""
