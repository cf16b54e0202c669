"""The appliance's self-signed certificate: made once, pinned by agents through its fingerprint."""

import hashlib
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.durable import OS_FILES, FileLayer, replace_file
from core.errors import Refused

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
VALID_DAYS = 3652  # ten years: agents pin the fingerprint, so a renewal means telling each of them
_ALWAYS = ("localhost", "127.0.0.1")


class CertificateUnreadable(Refused):
    """A certificate file cannot be read or holds no certificate."""


def write_certificate(directory: Path, hostnames: list[str], now_ns: int, files: FileLayer = OS_FILES) -> None:
    """Make key (0600) and certificate for the host names, localhost and 127.0.0.1; durable on return."""
    key = ec.generate_private_key(ec.SECP256R1())
    key_bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = _self_signed(key, list(dict.fromkeys([*hostnames, *_ALWAYS])), now_ns)
    replace_file(directory / KEY_FILE, key_bytes, files)
    replace_file(directory / CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM), files)


def fingerprint(certificate_file: Path) -> str:
    """Return the SHA-256 of the (first) certificate's DER form as 64 hexadecimal digits."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateUnreadable(
            f"cannot read the certificate {certificate_file}: {error}", remedy="name a PEM file with a certificate"
        ) from error
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def is_pair(certificate_file: Path, key_file: Path) -> bool:
    """Tell whether both files can be read and belong to each other."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return False
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _self_signed(key: ec.EllipticCurvePrivateKey, hostnames: list[str], now_ns: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stagekeeper")])  # clients look at the names below
    begin = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(days=1))  # clients' clocks may be behind
        .not_valid_after(begin + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hostnames]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except UnicodeError as error:
        raise Refused(f"not a host name: {host!r}", remedy="give a DNS name or an IP address") from error
