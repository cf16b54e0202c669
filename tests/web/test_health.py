"""The addresses for machines that watch, and the health page."""

from flask.testing import FlaskClient

from tests.web.conftest import Person
from tests.web.memory_operations import MemoryOperations


def test_a_serving_process_says_ok(client: FlaskClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")


def test_readiness_tells_its_reasons_a_line_each(client: FlaskClient, appliance: MemoryOperations) -> None:
    assert (client.get("/readyz").status_code, client.get("/readyz").text) == (200, "ready\n")
    appliance.health.troubles = ["names of leeds/office are not\nindexed"]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ready\nnames of leeds/office are not indexed\n")
    appliance.health.reasons = ["disk full:\n2 bytes free", "journal stopped"]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (
        503,
        "disk full: 2 bytes free\njournal stopped\nnames of leeds/office are not indexed\n",
    )


def test_figures_are_prometheus_text(client: FlaskClient, appliance: MemoryOperations) -> None:
    appliance.health.samples = [
        ("stagekeeper_lag_seconds", 'How "far"\nbehind', {"share": "leeds/office"}, 4.25),
        ("stagekeeper_frames_total", "Frames taken", {}, 7.0),
        ("stagekeeper_lag_seconds", "x", {"share": 'a"b\\c\nd'}, float("nan")),
        ("stagekeeper_limit", "x", {}, float("inf")),
        ("stagekeeper_least", "x", {}, float("-inf")),
    ]
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.text == (
        '# HELP stagekeeper_lag_seconds How "far"\\nbehind\n'
        "# TYPE stagekeeper_lag_seconds gauge\n"
        'stagekeeper_lag_seconds{share="leeds/office"} 4.25\n'
        'stagekeeper_lag_seconds{share="a\\"b\\\\c\\nd"} NaN\n'
        "# HELP stagekeeper_frames_total Frames taken\n"
        "# TYPE stagekeeper_frames_total counter\n"
        "stagekeeper_frames_total 7\n"
        "# HELP stagekeeper_limit x\n# TYPE stagekeeper_limit gauge\nstagekeeper_limit +Inf\n"
        "# HELP stagekeeper_least x\n# TYPE stagekeeper_least gauge\nstagekeeper_least -Inf\n"
    )


def test_the_health_page_says_what_is_the_matter(oscar: Person, appliance: MemoryOperations) -> None:
    appliance.health.troubles = ["not <i>indexed"]
    page = oscar.client.get("/health").text
    assert "Data is taken, and kept" in page and "not &lt;i&gt;indexed" in page
    appliance.health.reasons = ["the disk is full <b>"]
    page = oscar.client.get("/health").text
    assert "Data is not taken at the moment" in page
    assert "the disk is full &lt;b&gt;" in page
