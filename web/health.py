"""Addresses for machines that watch: /healthz, /readyz, /metrics (Prometheus text). Nothing is counted here."""

import math
from collections.abc import Iterable

from flask import Blueprint, Response

from web.machine_operations import Health

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

Sample = tuple[str, str, dict[str, str], float]


class HealthViews:
    """The three views."""

    def __init__(self, health: Health) -> None:
        """Keep what the views ask."""
        self._health = health

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("health", __name__)
        routes.add_url_rule("/healthz", view_func=self.healthz)
        routes.add_url_rule("/readyz", view_func=self.readyz)
        routes.add_url_rule("/metrics", view_func=self.metrics)
        return routes

    def healthz(self) -> Response:
        """Answer that the process serves."""
        return Response("ok\n", mimetype="text/plain")

    def readyz(self) -> Response:
        """Answer whether data is taken, or 503 with a reason a line; what else fails stands below, and is no 503."""
        reasons = self._health.ready()
        told = [*(reasons or ["ready"]), *self._health.concerns()]
        text = "".join(" ".join(line.split()) + "\n" for line in told)
        return Response(text, 503 if reasons else 200, mimetype="text/plain")

    def metrics(self) -> Response:
        """Answer all figures."""
        return Response(format_metrics(self._health.metrics()), content_type=_TEXT_FORMAT)


def format_metrics(samples: Iterable[Sample]) -> str:
    """Return samples in Prometheus' text format; names ending in `_total` are counters, all others gauges."""
    families: dict[str, list[str]] = {}
    for name, help_text, labels, value in samples:
        kind = "counter" if name.endswith("_total") else "gauge"
        head = [f"# HELP {name} {help_text.translate(_HELP_ESCAPES)}", f"# TYPE {name} {kind}"]
        families.setdefault(name, head).append(f"{name}{_format_labels(labels)} {_format_value(value)}")
    return "".join(line + "\n" for lines in families.values() for line in lines)


def _format_labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def _format_value(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
