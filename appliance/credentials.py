"""Passwords and secrets: how they are made, and in which form they are kept.

Passwords are kept as argon2id. Session secrets, tokens and codes have 128 bits or more of their own, so a plain keyed
digest keeps them; what is stored can neither be turned back nor be used to sign in.
"""

import base64
import functools
import threading
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from appliance.settings import MIN_PASSWORD_CHARACTERS
from core.digest import Digest, derived_digest
from core.errors import Refused

Chance = Callable[[int], bytes]  # returns that many bytes nobody can guess; tests pass their own

_SECRET_BYTES = 32
_CODE_BYTES = 20  # 160 bits = 32 base32 characters without padding
_MAX_PASSWORD_BYTES = 1024  # argon2's work grows with it; nobody types more
_CONTEXT = "stagekeeper appliance 1: kept form of a secret"
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)  # above OWASP's 19 MiB x 2; about 50 ms
_AT_ONCE = threading.BoundedSemaphore(2)  # a flood of sign-ins may neither take all memory nor all processors


class PasswordRefused(Refused):
    """A new password does not meet the rules."""


def check_new_password(password: str) -> None:
    """Raise `PasswordRefused` unless the password may be used from now on."""
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise PasswordRefused(
            f"the password has {len(password)} characters",
            remedy=f"choose one of at least {MIN_PASSWORD_CHARACTERS} characters",
        )
    if len(password.encode("utf-8", "surrogatepass")) > _MAX_PASSWORD_BYTES or "\0" in password:
        raise PasswordRefused("the password is too long or holds a NUL", remedy="choose a shorter one")


def hash_password(password: str) -> str:
    """Return the form in which a password is kept (argon2id with its own salt); takes about 50 ms."""
    with _AT_ONCE:
        return _HASHER.hash(password.encode("utf-8", "surrogatepass"))


def verify_password(kept: str, password: str) -> bool:
    """Tell whether `password` is the one kept; takes as long for a wrong one."""
    secret = password.encode("utf-8", "surrogatepass")
    if len(secret) > _MAX_PASSWORD_BYTES:
        return False
    try:
        with _AT_ONCE:
            return _HASHER.verify(kept, secret)
    except (Argon2Error, InvalidHashError):
        return False


@functools.cache
def nobodys_password() -> str:
    """Return a kept password that no account has: an unknown account then costs the same time as a known one."""
    return hash_password("no account has this one")


def new_secret(chance: Chance) -> str:
    """Return a new secret of 256 bits that fits into headers and cookies."""
    return base64.urlsafe_b64encode(chance(_SECRET_BYTES)).decode("ascii").rstrip("=")


def new_password(chance: Chance) -> str:
    """Return a generated password of 100 bits in groups that can be read out."""
    text = base64.b32encode(chance(_CODE_BYTES)).decode("ascii").lower()
    return "-".join(text[start : start + 5] for start in range(0, 20, 5))


def new_code(chance: Chance) -> str:
    """Return a one-time code of 160 bits in base32, which survives being read out."""
    return base64.b32encode(chance(_CODE_BYTES)).decode("ascii")


def plain_code(text: str) -> str:
    """Return a code as it was given out, from what a person typed (lower case, spaces, dashes)."""
    return "".join(text.split()).replace("-", "").upper()


def kept_form(secret: str) -> Digest:
    """Return the digest under which a secret is kept."""
    return derived_digest(_CONTEXT, secret.encode("utf-8", "surrogatepass"))
