"""What is asked of exports, and which directories they may write to."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from appliance.names import check_source
from core.errors import NotFound, Refused
from web.operations import Actor

LATEST = "@latest"
_KEPT_REPORTS = 64  # of streams that may end before their takers ask


class DestinationRefused(Refused):
    """An export may not write there."""


class Exporter(Protocol):
    """Writes static snapshots to cartridges. Sources are `B/S@M`; rights were checked and the destination too."""

    def export(self, actor: Actor, sources: list[str], destination: Path, kind: str) -> Iterator[Any]:
        """Yield `Progress`, then the report (with `verified`); closing the iterator ends the export."""

    def stream(self, actor: Actor, sources: list[str], report: Callable[[Any], None]) -> Iterator[bytes]:
        """Yield one tar; what fails before the first byte is raised by the first step. `report` is given how it went."""


class StreamReportMissing(NotFound):
    """No stream of that name ended well lately."""


class StreamReports:
    """How the last streams went: a stream of bytes has no place for it, so whoever took it asks afterwards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def keep(self, actor: Actor, name: str, report: Any) -> None:
        """Keep a report under the name that its actor chose."""
        with self._lock:
            self._reports[actor.account, name] = report
            if len(self._reports) > _KEPT_REPORTS:
                self._reports.popitem(last=False)

    def take(self, actor: Actor, name: str) -> Any:
        """Return a report, once; raise `StreamReportMissing`."""
        with self._lock:
            found = self._reports.pop((actor.account, name), None)
        if found is None:
            raise StreamReportMissing("no stream of that name ended lately", remedy="export again: the archive may be cut off")
        return found


def checked_sources(sources: list[str]) -> list[str]:
    """Return the sources, each with a moment (none given = the newest snapshot); raise `NameRefused`."""
    checked = (check_source(source) for source in sources)
    return [source if "@" in source else source + LATEST for source in checked]


def checked_destination(actor: Actor, destination: str, root: Path, allowed: list[str]) -> Path:
    """Return where an export writes; raise `DestinationRefused` for a place that must not or may not be written."""
    if not os.path.isabs(destination) or "\0" in destination:
        raise DestinationRefused(
            f"not an absolute directory: {destination[:200]!r}",
            remedy="name it from the appliance's root on, like /mnt",
        )
    path = Path(os.path.realpath(destination))
    real_root = Path(os.path.realpath(root))
    if path == real_root or real_root in path.parents:
        raise DestinationRefused(f"{path} lies inside the appliance's own folder", remedy="name a directory outside it")
    places = [Path(os.path.realpath(place)) for place in allowed]
    if actor.role != "owner" and places and not any(path == place or place in path.parents for place in places):
        raise DestinationRefused(
            f"exports over the network may not write to {path}",
            remedy="name a directory that the settings allow ([directories] exports)",
        )
    return path
