"""Trust in exactly one certificate: the appliance's, pinned at enrolment.

The certificate is the only trust anchor; names and dates do not matter, since it was handed over by fingerprint and is
good until the branch is enrolled anew. Its bytes are compared besides, so that a pinned authority could not sign another.
"""

import hashlib
import hmac
import ssl

from core.errors import Refused

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


class CertificateMismatch(Refused):
    """The other side is not the appliance that this branch was enrolled with."""


def any_certificate_context() -> ssl.SSLContext:
    """Return a context that accepts every certificate: to look at one and compare its fingerprint, sending nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def pinned_context(certificate_pem: str) -> ssl.SSLContext:
    """Return a context that trusts one certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate_pem)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def fingerprint_of(certificate_der: bytes) -> str:
    """Return the SHA-256 fingerprint of a certificate as hex digits."""
    return hashlib.sha256(certificate_der).hexdigest()


def check_fingerprint(certificate_der: bytes, expected: str) -> None:
    """Compare a certificate with a fingerprint; raise `CertificateMismatch`."""
    found = fingerprint_of(certificate_der)
    if not hmac.compare_digest(found, expected.lower()):
        raise mismatch(f"its certificate's fingerprint is {found}")


def mismatch(detail: str) -> CertificateMismatch:
    """Return the refusal that tells what was met instead."""
    return CertificateMismatch(
        f"the server at that address is not the appliance of this branch: {detail}",
        remedy="check the address and the network; if the appliance has a new certificate, enrol this branch anew",
    )
