"""Becoming known to an appliance: a one-time token and the fingerprint of the certificate that must be met.

The token is sent only over a connection to the very certificate whose fingerprint stands in the code.
"""

import socket
import ssl

import msgspec
from msgspec import Struct

from branch.certificate import any_certificate_context, check_fingerprint, pinned_context
from branch.line import Address, ApplianceBusy, Line, Unreachable, parse_address
from branch.state_db import Enrolment
from core.errors import Refused

_FINGERPRINT_DIGITS = 64


class CodeUnreadable(Refused):
    """An enrolment code is not of the form TOKEN.FINGERPRINT."""


class AlreadyEnrolled(Refused):
    """This branch belongs to an appliance."""


class _Enroll(Struct, frozen=True):
    token: str
    host: str


class _Enrolled(Struct, frozen=True):
    branch: str
    token: str


def enroll(url: str, code: str, timeout_seconds: float) -> Enrolment:
    """Make this branch known to the appliance at `url`; raise `CertificateMismatch` when another answers there."""
    address = parse_address(url)
    token, fingerprint = _parse_code(code)
    try:
        return _enroll(address, token, fingerprint, timeout_seconds)
    except Unreachable as error:  # nothing is kept yet that could be sent later
        raise Unreachable(
            error.message, remedy="check the URL and its port, the network, and that `stagekeeper serve` runs"
        ) from error


def _enroll(address: Address, token: str, fingerprint: str, timeout_seconds: float) -> Enrolment:
    certificate = _fetch_certificate(Line(address, any_certificate_context(), timeout_seconds, None))
    check_fingerprint(certificate, fingerprint)
    pem = ssl.DER_cert_to_PEM_cert(certificate)
    line = Line(address, pinned_context(pem), timeout_seconds, certificate)
    try:
        body = msgspec.json.encode(_Enroll(token, socket.gethostname()))
        answer = line.request("POST", "/intake/v1/enroll", body, {"Content-Type": "application/json"})
        enrolled = msgspec.json.decode(answer, type=_Enrolled)
    except msgspec.MsgspecError as error:
        raise ApplianceBusy(f"the appliance's answer cannot be read: {error}", remedy="upgrade the agent") from error
    finally:
        line.close()
    return Enrolment(address.url, enrolled.branch, enrolled.token, pem)


def _fetch_certificate(line: Line) -> bytes:
    try:
        return line.peer_certificate()
    finally:
        line.close()


def _parse_code(code: str) -> tuple[str, str]:
    token, dot, fingerprint = code.strip().rpartition(".")
    digits = fingerprint.lower()
    if not dot or not token or len(digits) != _FINGERPRINT_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise CodeUnreadable("not an enrolment code", remedy="copy the whole code that `stagekeeper branch add` printed")
    return token, digits
