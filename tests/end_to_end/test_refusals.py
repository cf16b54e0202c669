"""Bad input over real TLS: each a named refusal with a remedy, and nothing of it is kept."""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.digest import ZERO_DIGEST, Digest, digest_of
from staging.changes import Attributes, Change, Chunk, Content, Create, Kind, Unlink
from staging.chunk_format import ChunkKind, item_parts, pack_chunk
from staging.frame_format import read_header, seal_frame
from tests.end_to_end.rig import Rig

SHARE_ID = bytes(range(16))
PLAIN = Attributes(0o644, 0, 0, 0)


class Peer:
    """A branch that talks to the intake by hand."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.rig, self.token, self.session = rig, "", ""
        self.name = name
        code = rig.appliance("branch", "add", name).json["code"]
        answer = self.ask("enroll", json.dumps({"token": code.rpartition(".")[0], "host": "test"}).encode())
        self.token = answer["token"]

    def ask(self, path: str, body: bytes, length: int | None = None, method: str = "POST") -> Any:
        """Send one request; return the answer's JSON (or bytes)."""
        context = ssl.create_default_context(cadata=(self.rig.root / "tls" / "certificate.pem").read_text())
        connection = http.client.HTTPSConnection("localhost", self.rig.port, context=context, timeout=20)
        headers = {"Content-Length": str(len(body) if length is None else length), "X-Stagekeeper-Session": self.session}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection.request(method, f"/intake/v1/{path}", body, headers)
        answer = connection.getresponse().read()
        connection.close()
        try:
            return json.loads(answer)
        except ValueError:
            return answer

    def open(self, share: str = "data", epoch: int = 1) -> Any:
        message = {"share_id": base64.b64encode(SHARE_ID).decode(), "epoch": epoch}
        answer = self.ask(f"shares/{share}/open", json.dumps(message).encode())
        self.session = answer.get("session", self.session)
        return answer


def refusal(answer: Any) -> str:
    assert set(answer["error"]) >= {"type", "message", "remedy"}, answer
    return str(answer["error"]["type"])


def frame(first: int, changes: list[Change], previous: Digest = ZERO_DIGEST, path: bytes = b"f") -> bytes:
    return seal_frame(SHARE_ID, 1, first, previous, [path], changes)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("refusals"))
    rig.init()
    rig.serve()
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def peer(rig: Rig) -> Peer:
    peer = Peer(rig, "leeds")
    peer.open()
    assert peer.ask("shares/data/frames", frame(1, [Create(0, Kind.FILE, PLAIN)])) == {"durable_sequence": 1, "tasks": []}
    return peer


def kept(rig: Rig) -> bytes:
    """Return all that the appliance keeps for branches."""
    files = sorted([*rig.root.glob("journal/*/*/*.skj"), *rig.root.glob("packs/*/*.skp")])
    return b"".join(path.name.encode() + path.read_bytes() for path in files)


LAST = read_header(frame(1, [Create(0, Kind.FILE, PLAIN)])).hash
BAD_FRAMES = {
    "truncated": (frame(2, [Unlink(0)], LAST)[:-3], "frame_damaged"),
    "rubbish": (b"rubbish" * 30, "frame_damaged"),
    "gap": (frame(9, [Unlink(0)], LAST), "sequence_gap"),
    "fork": (frame(2, [Unlink(0)], digest_of(b"another history")), "frame_damaged"),
    "straddle": (frame(1, [Unlink(0), Unlink(0)]), "sequence_forked"),
    "changed repeat": (frame(1, [Unlink(0)]), "changed_repeat"),
    "foreign chunk": (frame(2, [Content(0, Chunk(digest_of(b"theirs"), 6))], LAST), "chunk_missing"),
    "path out of the share": (frame(2, [Unlink(0)], LAST, b"../../etc/shadow"), "path_refused"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_refused_by_name_and_not_kept(rig: Rig, peer: Peer, name: str) -> None:
    body, expected = BAD_FRAMES[name]
    before = kept(rig)
    assert refusal(peer.ask("shares/data/frames", body)) == expected
    assert kept(rig) == before


def test_a_gap_is_answered_with_what_was_expected(peer: Peer) -> None:
    assert peer.ask("shares/data/frames", BAD_FRAMES["gap"][0])["error"]["expected"] == {"sequence": 2}


def test_an_unknown_share_and_an_ended_session_are_refused(rig: Rig, peer: Peer) -> None:
    before = kept(rig)
    assert refusal(peer.ask("shares/nowhere/frames", frame(1, [Unlink(0)]))) == "share_unknown"
    assert refusal(peer.ask("shares/nowhere/missing", b"")) == "share_unknown"
    assert refusal(peer.open("nowhere", epoch=5)) == "share_unknown"
    live, peer.session = peer.session, "no session"
    assert refusal(peer.ask("shares/data/frames", frame(2, [Unlink(0)], LAST))) == "session_fenced"
    peer.session = live
    assert kept(rig) == before


def test_another_branchs_chunk_looks_like_an_unknown_one(rig: Rig, peer: Peer) -> None:
    other = Peer(rig, "york")
    other.open()
    secret = pack_chunk(ChunkKind.DATA, b"york's secret" * 20)
    assert other.ask("shares/data/chunks", b"".join(item_parts(secret)), method="PUT") == {}
    before = kept(rig)
    answer = peer.ask("shares/data/frames", frame(2, [Content(0, Chunk(secret.digest, secret.size))], LAST))
    assert refusal(answer) == "chunk_missing"
    key = bytes([ChunkKind.DATA]) + secret.digest
    assert peer.ask("shares/data/missing", key) == key
    assert kept(rig) == before


def test_a_revoked_branch_is_refused_at_once(rig: Rig) -> None:
    peer = Peer(rig, "hull")
    peer.open()
    rig.appliance("branch", "revoke", "hull")
    before = kept(rig)
    assert refusal(peer.ask("shares/data/frames", frame(1, [Create(0, Kind.FILE, PLAIN)]))) == "branch_revoked"
    assert kept(rig) == before


def test_a_code_works_once_and_a_guessed_token_never(rig: Rig) -> None:
    code = rig.appliance("branch", "add", "once").json["code"]
    body = json.dumps({"token": code.rpartition(".")[0], "host": "x"}).encode()
    peer = Peer(rig, "guess")
    assert "token" in peer.ask("enroll", body)
    assert refusal(peer.ask("enroll", body)) == "code_refused"
    peer.token = "guessed"
    assert refusal(peer.open()) == "token_refused"


def test_a_wrong_certificate_is_refused_by_the_agent(rig: Rig, tmp_path: Path) -> None:
    other = Rig(tmp_path)
    code = rig.appliance("branch", "add", "wary").json["code"]
    token, _, fingerprint = code.rpartition(".")
    wrong = f"{token}.{'0' * len(fingerprint)}"
    outcome = other.agent("enroll", rig.url, wrong, "--json", check=False)
    assert outcome.code == 4
    assert json.loads(outcome.err)["error"]["type"] == "certificate_mismatch"
    assert other.agent("enroll", rig.url, code).code == 0, "the code was not used up"
