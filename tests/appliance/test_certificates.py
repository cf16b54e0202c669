"""The self-signed certificate and what is known of secrets."""

import hashlib
import ipaddress
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from appliance.certificates import CertificateUnreadable, fingerprint, write_certificate
from appliance.credentials import (
    PasswordRefused,
    check_new_password,
    hash_password,
    kept_form,
    new_code,
    new_password,
    new_secret,
    plain_code,
    verify_password,
)
from core.errors import Refused
from tests.appliance.settable_clock import SUNDAY_MORNING


def test_a_certificate_names_its_hosts_and_lasts_ten_years(tmp_path: Path) -> None:
    write_certificate(tmp_path, ["backup.example", "192.0.2.7", "::1"], SUNDAY_MORNING)
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["backup.example", "localhost"]
    addresses = {ipaddress.ip_address(text) for text in ("192.0.2.7", "::1", "127.0.0.1")}
    assert set(names.get_values_for_type(x509.IPAddress)) == addresses
    assert certificate.not_valid_after_utc.year == 2036
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")


def test_the_fingerprint_is_that_of_the_der_form(tmp_path: Path) -> None:
    write_certificate(tmp_path, [], SUNDAY_MORNING)
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "certificate.pem").read_text())
    assert fingerprint(tmp_path / "certificate.pem") == hashlib.sha256(der).hexdigest()
    with pytest.raises(CertificateUnreadable):
        fingerprint(tmp_path / "nothing.pem")
    with pytest.raises(Refused):
        write_certificate(tmp_path, ["ho\udcffst"], SUNDAY_MORNING)


def test_passwords_are_kept_so_that_only_they_fit() -> None:
    kept = hash_password("pässword of length")
    assert kept.startswith("$argon2id$") and "pässword" not in kept
    assert verify_password(kept, "pässword of length")
    assert not verify_password(kept, "password of length")
    assert not verify_password("nonsense", "password of length")
    assert not verify_password(kept, "x" * 5000)


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 2000, "nul\0nul\0nul\0nul"])
def test_weak_or_odd_passwords_are_refused(password: str) -> None:
    with pytest.raises(PasswordRefused):
        check_new_password(password)
    check_new_password("twelve chars")


def test_secrets_are_long_and_different() -> None:
    assert len({new_secret(os.urandom) for _ in range(100)}) == 100
    assert len(new_secret(os.urandom)) == 43 and len(new_code(os.urandom)) == 32
    check_new_password(new_password(os.urandom))
    code = new_code(os.urandom)
    assert plain_code(f" {code[:8].lower()}-{code[8:]} \n") == code
    assert kept_form(code) == kept_form(code) != kept_form(code + "x")
