"""The API's backups of the appliance's own files."""

import msgspec
from flask.testing import FlaskClient

from tests.web.memory_operations import API_TOKEN

HEADERS = {"Authorization": f"Bearer {API_TOKEN}"}


def test_a_backup_is_taken_line_by_line_and_listed(client: FlaskClient) -> None:
    assert client.get("/api/v1/backups", headers=HEADERS).get_json() == {"backups": [], "next": None}
    answer = client.post("/api/v1/backups", headers=HEADERS)
    progress, result = map(msgspec.json.decode, answer.data.splitlines())
    assert progress["progress"]["what"] == "backing up" and result["result"]["number"] == 1
    assert client.get("/api/v1/backups", headers=HEADERS).get_json()["backups"] == [result["result"]]


def test_a_recovery_key_is_not_made_over_the_network(client: FlaskClient) -> None:
    answer = client.post("/api/v1/recovery-key", headers=HEADERS)
    assert answer.status_code == 403 and "recovery_key" not in answer.get_json()
