"""Stores made by earlier releases are opened by this one, show what they showed, and go on taking data."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.rig import Rig
from tests.old_stores.make import HERE, shown

VERSIONS = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_store_shows_what_it_showed_and_goes_on(tmp_path: Path, version: str) -> None:
    subprocess.run(["tar", "-C", tmp_path, "-xzf", HERE / f"{version}.tar.gz"], check=True)
    history = json.loads((HERE / f"{version}.json").read_text())
    rig = Rig(tmp_path)
    rig.serve()
    try:
        rows = rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]
        assert len(rows) == len(history)
        for row in rows:
            shown_then = history[str(row["id"])]["snapshot"]
            assert {field: row[field] for field in shown_then} == shown_then
        for number, entry in history.items():
            target = tmp_path / f"restored-{number}"
            rig.appliance("restore", f"leeds/data@{number}", "--to", str(target))
            assert shown(target) == entry["tree"]
        assert rig.appliance("audit", "verify").code == 0
        assert rig.appliance("audit", "list").json["audit"][-1]["action"] == "appliance.init"
        rig.enroll("york", "more")
        (rig.share / "new").write_bytes(b"new")
        rig.look()
        assert rig.appliance("cat", "york/more", "new").out == b"new"
    finally:
        rig.close()


def test_there_is_a_store_of_the_first_release() -> None:
    assert VERSIONS[:1] == ["0.1.0"]
