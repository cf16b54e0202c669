"""Everything but packs, journal and the root's marker is lost: with the recovery key, people and agents go on as before."""

import http.client
import re
import shutil
import ssl
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.end_to_end.rig import PASSWORD, Rig
from tests.tree_compare import describe_tree

KEPT = {"packs", "journal", "store-id"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def live(rig: Rig) -> Path:
    """Make an appliance with a branch, a share, an account, a schedule and a backup; return the file with the recovery key."""
    (rig.folder / "password").write_text(PASSWORD + "\n")
    made = rig.appliance("init", str(rig.root), "--admin-password-file", str(rig.folder / "password"), "--json").json
    rig.serve()
    rig.enroll()
    (rig.share / "folder").mkdir()
    (rig.share / "folder" / "a").write_bytes(b"before the loss")
    (rig.share / "large").write_bytes(bytes(range(256)) * 4000)
    rig.look()
    rig.appliance("snapshot", "create", "leeds/data", "--label", "before")
    rig.appliance("schedule", "add", "noon", "--cron", "0 12 * * *", "--action", "snapshot", "--share", "leeds/data")
    rig.appliance("user", "add", "oscar", "--role", "operator", "--password-file", str(rig.folder / "password"))
    rig.appliance("backup", "run")
    file = rig.folder / "recovery-key"
    file.write_text(made["recovery_key"].lower().replace("-", " ") + "\n")  # as somebody types it
    return file


def lose(rig: Rig) -> None:
    for path in rig.root.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def signs_in(rig: Rig, account: str) -> bool:
    """Sign in on the page as a browser does; the certificate must be the one that is trusted."""
    context = ssl.create_default_context(cadata=(rig.folder / "trusted.pem").read_text())
    connection = http.client.HTTPSConnection("localhost", rig.port, context=context, timeout=20)
    connection.request("GET", "/sign-in")
    answer = connection.getresponse()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', answer.read().decode())
    cookies = SimpleCookie(answer.headers["Set-Cookie"])
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()),
    }
    body = urlencode({"account": account, "password": PASSWORD, "csrf_token": token})
    connection.request("POST", "/sign-in", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status == 303


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_people_and_agents_go_on_after_everything_but_packs_and_journal_was_lost(rig: Rig, how: str) -> None:
    key = live(rig)
    shutil.copy(rig.root / "tls" / "certificate.pem", rig.folder / "trusted.pem")
    assert signs_in(rig, "admin")
    rig.stop(*([] if how == "stopped" else [9]))
    lose(rig)
    refused = rig.appliance("share", "list", check=False)
    assert refused.code == 7 and "part_missing" in refused.err
    mistyped = rig.folder / "mistyped"
    right = key.read_text()
    mistyped.write_text(("y" if right[0] == "x" else "x") + right[1:])
    wrong = rig.appliance("rebuild", "--recovery-key-file", str(mistyped), check=False)
    assert wrong.code == 4 and "recovery_key_mistyped" in wrong.err and "group 1" in wrong.err
    other = rig.folder / "other"
    other.write_text("AAAQF-EAYEI-AUDAX-OCAJW-BIFQ7-YDIOJ-B4IBS-CEQTS-CQKRW-MFYYB-DENBE-WHA5C-DYPQO-CBAAT")
    wrong = rig.appliance("rebuild", "--recovery-key-file", str(other), check=False)
    assert wrong.code == 4 and "recovery_key_wrong" in wrong.err
    report = rig.appliance("rebuild", "--recovery-key-file", str(key)).json
    assert report["accounts"] and report["own_files"]["number"] == 1 and report["own_files"]["kept"] == []
    assert [(row["share"], row["error"]) for row in report["shares"]] == [("leeds/data", None)]
    check_all_is_there(rig)


def check_all_is_there(rig: Rig) -> None:
    rig.serve()
    (rig.share / "folder" / "a").write_bytes(b"after the loss")
    rig.look()  # the agent was enrolled once, and pins the certificate's fingerprint
    assert rig.appliance("cat", "leeds/data", "folder/a").out == b"after the loss"
    assert signs_in(rig, "admin") and signs_in(rig, "oscar") and not signs_in(rig, "nobody")
    assert {row["name"] for row in rig.appliance("schedule", "list").json["schedules"]} == {
        "@backup",
        "@collect",
        "@scrub",
        "noon",
    }
    (snapshot,) = rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]
    assert snapshot["label"] == "before"
    target = rig.folder / "restored"
    rig.appliance("restore", "leeds/data", "--to", str(target))
    assert describe_tree(target) == describe_tree(rig.share)
    assert rig.appliance("cat", "leeds/data@latest", "folder/a").out == b"before the loss"
    verdict = rig.appliance("audit", "verify").json
    assert verdict["intact"]
    actions = [row["action"] for row in rig.appliance("audit", "list").json["audit"]]
    assert "appliance.restored" in actions and "appliance.init" in actions
    assert [row["number"] for row in rig.appliance("backup", "list").json["backups"]] == [1]
    assert rig.appliance("backup", "run").json["number"] == 2
    assert rig.stop() == 0
