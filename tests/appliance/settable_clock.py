"""A clock that tests set."""

from core.clock import NANOSECONDS, parse_time

SUNDAY_MORNING = parse_time("2026-11-22T07:00:00Z")


class SettableClock:
    """Stands still until it is moved."""

    def __init__(self, now_ns: int = SUNDAY_MORNING) -> None:
        self.time_ns = now_ns
        self.seconds = 1000.0

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.time_ns += int(seconds * NANOSECONDS)
        self.seconds += max(seconds, 0)

    def set(self, text: str) -> None:
        self.move((parse_time(text) - self.time_ns) / NANOSECONDS)
