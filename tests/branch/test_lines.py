"""The line: pinned certificate, cuts, lost answers, refusals by name; nothing is lost and nothing comes twice."""

import os
import ssl
from pathlib import Path

import pytest

from branch.certificate import CertificateMismatch, pinned_context
from branch.enrolment import CodeUnreadable, enroll
from branch.line import AddressUnreadable, ApplianceBusy, ApplianceRefused, Line, Unreachable, parse_address
from tests.branch.rig import Rig
from tests.branch.target import Target


class FaultOnce:
    """Does a fault at the n-th request of a kind."""

    def __init__(self, fault: str, name: str, at: int = 1) -> None:
        self.fault, self.name, self.left = fault, name, at

    def __call__(self, method: str, name: str) -> str:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                return self.fault
        return ""


@pytest.mark.parametrize("name", ["open", "missing", "chunks", "frames"])
@pytest.mark.parametrize("fault", ["cut", "drop", "busy"])
def test_a_fault_of_the_line_loses_and_repeats_nothing(rig: Rig, fault: str, name: str) -> None:
    for number in range(30):
        (rig.tree / f"f{number}").write_bytes(os.urandom(3000))
    (rig.tree / "big").write_bytes(os.urandom(500_000))
    rig.protect()
    rig.target.fault = FaultOnce(fault, name)
    rig.once()
    rig.check()
    (rig.tree / "f1").rename(rig.tree / "g")
    (rig.tree / "big").write_bytes(os.urandom(400_000))
    rig.target.fault = FaultOnce(fault, name)
    rig.once()
    rig.check()


def test_changes_wait_in_the_outbox_while_the_appliance_is_away(rig: Rig) -> None:
    rig.protect()
    rig.once()
    rig.target.stop()
    for round_number in range(3):
        (rig.tree / "big").write_bytes(os.urandom(700_000))
        (rig.tree / f"small{round_number}").write_text("x")
        assert rig.command("run", "--once", "--timeout", "0.3") == 7
    rig.target.start()
    rig.once()
    assert rig.check().sequence >= 4


def test_a_full_outbox_stops_looking_and_loses_nothing(rig: Rig) -> None:
    rig.protect()
    rig.once()
    rig.target.stop()
    (rig.state.path / "settings.toml").write_text("outbox_limit_bytes = 1_048_576\n")
    (rig.tree / "big").write_bytes(os.urandom(40_000_000))
    assert rig.command("run", "--once", "--timeout", "0.5") == 7
    kept = sum(path.stat().st_size for path in rig.state.path.rglob("*.sko"))
    assert kept < 12_000_000  # the limit, and the group of chunks that went beyond it
    rig.target.start()
    assert rig.command("run", "--once", "--timeout", "20") == 0
    rig.check()


def test_another_certificate_is_refused_by_name(rig: Rig, tmp_path: Path) -> None:
    rig.protect()
    impostor = Target(tmp_path / "impostor")
    rig.target.stop()
    impostor.port = rig.target.port
    impostor.start()
    with pytest.raises(CertificateMismatch):
        rig.once()
    assert impostor.requests == []
    impostor.stop()


def test_a_code_of_another_appliance_sends_no_token(rig: Rig, tmp_path: Path) -> None:
    other = Target(tmp_path / "other")
    other.start()
    with pytest.raises(CertificateMismatch):
        enroll(other.url, rig.target.code, 5.0)
    assert other.requests == []
    other.stop()


def test_an_appliance_that_cannot_be_reached_leaves_nothing_to_be_kept(rig: Rig) -> None:
    rig.target.fault = lambda method, name: "cut" if name == "enroll" else ""
    for url, code in (("https://127.0.0.1:1", "token." + "a" * 64), (rig.target.url, rig.target.code)):
        with pytest.raises(Unreachable) as raised:
            enroll(url, code, 1.0)
        assert "kept" not in raised.value.remedy and "port" in raised.value.remedy


@pytest.mark.parametrize("code", ["", "token", "token.12", "." + "a" * 64, "token." + "g" * 64])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(CodeUnreadable):
        enroll("https://127.0.0.1:1", code, 1.0)


@pytest.mark.parametrize("url", ["http://host", "host:1", "https://host/path", "https://", "https://host:port"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(AddressUnreadable):
        parse_address(url)


def line_to(target: Target) -> Line:
    pem = target.certificate.read_text()
    return Line(parse_address(target.url), pinned_context(pem), 2.0, ssl.PEM_cert_to_DER_cert(pem))


def test_refusals_keep_their_name_and_what_was_expected(rig: Rig) -> None:
    with pytest.raises(ApplianceRefused) as caught:
        line_to(rig.target).request("GET", "/intake/v1/shares/data/tasks")
    assert (caught.value.type, caught.value.status) == ("branch_revoked", 409)


def test_busy_and_absent_mean_try_later(rig: Rig) -> None:
    line = line_to(rig.target)
    rig.target.fault = lambda method, name: "busy"
    with pytest.raises(ApplianceBusy):
        line.request("GET", "/intake/v1/shares/data/tasks")
    rig.target.stop()
    with pytest.raises(Unreachable):
        line.request("GET", "/intake/v1/shares/data/tasks")


def test_a_connection_closed_meanwhile_is_opened_anew(rig: Rig) -> None:
    line = line_to(rig.target)
    rig.target.codes = {"one", "two"}
    line.request("POST", "/intake/v1/enroll", b'{"token": "one"}')
    rig.target.stop()
    rig.target.start()
    assert b"branch" in line.request("POST", "/intake/v1/enroll", b'{"token": "two"}')


def test_every_byte_on_the_wire_is_counted(rig: Rig) -> None:
    (rig.tree / "file").write_bytes(os.urandom(100_000))
    rig.protect()
    (status,) = rig.once()
    wire = status.wire
    assert 100_000 <= wire.compressed_bytes <= wire.payload_bytes + 500
    assert 1_000 < wire.framing_bytes < 12_000  # a handshake a connection, headers, questions and answers
    assert wire.resync_bytes > 100_000
    assert rig.once()[0].wire.payload_bytes == wire.payload_bytes  # kept over a restart, and nothing was sent again
