"""The wire bill: how many bytes a share's connections carried, and what for.

`payload_bytes` are changes and contents before packing, `compressed_bytes` the same as sent, `framing_bytes` everything
else that went over the connections in both directions (TLS, HTTP, headers, questions and answers), as the kernel counts
it. `resync_bytes` is the part of the two last that laid or repaired a baseline.
"""

import threading

from msgspec import Struct


class WireBill(Struct, frozen=True):
    """The counters, as printed."""

    payload_bytes: int = 0
    framing_bytes: int = 0
    compressed_bytes: int = 0
    resync_bytes: int = 0


class WireMeter:
    """Adds up a share's bill; any thread may add."""

    def __init__(self, bill: WireBill) -> None:
        """Go on from an earlier bill."""
        self._lock = threading.Lock()
        self._bill = bill
        self.is_resync = False

    def add(self, wire_bytes: int, payload_bytes: int = 0, compressed_bytes: int = 0) -> None:
        """Add one request: all its bytes on the wire, and what of them was payload."""
        with self._lock:
            bill = self._bill
            self._bill = WireBill(
                bill.payload_bytes + payload_bytes,
                bill.framing_bytes + max(wire_bytes - compressed_bytes, 0),
                bill.compressed_bytes + compressed_bytes,
                bill.resync_bytes + (wire_bytes if self.is_resync else 0),
            )

    @property
    def bill(self) -> WireBill:
        """Return the counters as of now."""
        with self._lock:
            return self._bill
