"""The recovery key: an X25519 key whose private part only people keep, on paper.

The private part is shown once and never kept; the public part stays in the appliance's folder, so that backups can be
encrypted every night by a machine that cannot read them. What a person types is checked group by group: the error names
the group that is wrong. Layout of both forms: docs/formats/recovery-key.md.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.credentials import Chance
from core.digest import derived_digest, digest_of
from core.durable import OS_FILES, FileLayer, replace_file
from core.errors import NotFound, Refused

KEY_BYTES = 32
KEY_ID_BYTES = 8
DATA_KEY_BYTES = 32

_VERSION = 1
_WORD = "stagekeeper-recovery-key"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TYPED = {**{letter: value for value, letter in enumerate(_ALPHABET)}, "0": 14, "1": 8, "8": 1}  # O, I, B as they look
_GROUP = 4  # characters of the key in a group, before its check character
_GROUPS = 13  # 52 characters hold 256 bits
_SUM_CHARACTERS = 5  # the last group: 25 bits over the whole key
_SUM_CONTEXT = "stagekeeper 2026 recovery key checksum v1"
_WRAP_INFO = b"stagekeeper 2026 backup data key v1"
_NONCE = bytes(12)  # each wrapping key is used for one message only


class RecoveryKeyMistyped(Refused):
    """A text is no recovery key, or has typing errors."""


class RecoveryKeyWrong(Refused):
    """This recovery key does not open that backup."""


class RecoveryKeyMissing(NotFound):
    """The appliance has no recovery key, so nothing can be encrypted to it."""


class RecoveryKeyUnreadable(Refused):
    """The file with the public part is damaged, or of a newer release."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The part that encrypts."""

    data: bytes

    @property
    def id(self) -> bytes:
        """Return what tells keys apart without telling them."""
        return digest_of(self.data)[:KEY_ID_BYTES]

    def wrap(self, data_key: bytes, about: bytes, chance: Chance) -> tuple[bytes, bytes]:
        """Return (ephemeral public key, wrapped data key); `about` must be the same when it is opened."""
        ephemeral = X25519PrivateKey.from_private_bytes(chance(KEY_BYTES))
        sent = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.data))
        return sent, ChaCha20Poly1305(_wrapping_key(shared, sent, self.data)).encrypt(_NONCE, data_key, about)


@dataclass(frozen=True, slots=True, repr=False)
class RecoveryKey:
    """The part that decrypts; never kept by the appliance, never in a log."""

    data: bytes

    @property
    def public(self) -> PublicKey:
        """Return the part that encrypts."""
        return PublicKey(X25519PrivateKey.from_private_bytes(self.data).public_key().public_bytes_raw())

    def unwrap(self, ephemeral: bytes, wrapped: bytes, about: bytes) -> bytes:
        """Return a data key; raise `RecoveryKeyWrong`."""
        try:
            private = X25519PrivateKey.from_private_bytes(self.data)
            shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            return ChaCha20Poly1305(_wrapping_key(shared, ephemeral, self.public.data)).decrypt(_NONCE, wrapped, about)
        except (InvalidTag, ValueError) as error:
            raise RecoveryKeyWrong("this recovery key does not open the backup", remedy="use the key of its time") from error


def new_recovery_key(chance: Chance) -> RecoveryKey:
    """Return a new key."""
    return RecoveryKey(chance(KEY_BYTES))


def show_recovery_key(key: RecoveryKey) -> str:
    """Return a key as it is written down: fourteen groups of five letters and digits."""
    text = base64.b32encode(key.data).decode("ascii").rstrip("=")
    parts = [text[start : start + _GROUP] for start in range(0, len(text), _GROUP)]
    groups = [part + _ALPHABET[_check(number, _values(part))] for number, part in enumerate(parts)]
    return "-".join([*groups, _sum(key.data)])


def read_recovery_key(text: str) -> RecoveryKey:
    """Return the key that somebody typed, in any case, with any spaces and dashes; raise `RecoveryKeyMistyped`."""
    plain = "".join(text.split()).replace("-", "").upper()
    odd = sorted({character for character in plain if character not in _TYPED})
    if odd:
        raise _mistyped(f"holds {odd[0]!r}, which no recovery key has")
    size = _GROUP + 1
    wanted = _GROUPS * size + _SUM_CHARACTERS
    if len(plain) != wanted:
        raise _mistyped(f"has {len(plain)} letters and digits instead of {wanted}")
    groups = [_values(plain[start : start + size]) for start in range(0, _GROUPS * size, size)]
    wrong = [number for number, group in enumerate(groups) if group[-1] != _check(number, group[:-1])]
    if wrong:
        names = ", ".join(f"{number + 1} ({plain[number * size : number * size + size]})" for number in wrong)
        raise _mistyped(f"has a typing error in group {names}")
    text = "".join(_ALPHABET[value] for group in groups for value in group[:-1])
    data = base64.b32decode(text + "====")
    if _values(plain[-_SUM_CHARACTERS:]) != _values(_sum(data)) or base64.b32encode(data).decode().rstrip("=") != text:
        raise _mistyped("does not add up: a group was typed wrong in several places")
    return RecoveryKey(data)


def write_public_key(path: Path, key: PublicKey, files: FileLayer = OS_FILES) -> None:
    """Keep the public part; durable on return."""
    replace_file(path, encode_public_key(key), files)


def load_public_key(path: Path) -> PublicKey:
    """Return the public part; raise `RecoveryKeyMissing` or `RecoveryKeyUnreadable`."""
    try:
        return decode_public_key(path.read_bytes())
    except FileNotFoundError as error:
        raise RecoveryKeyMissing(
            "this appliance has no recovery key, so its own databases are not backed up",
            remedy="make one with `stagekeeper recovery-key new`, and write it down",
        ) from error
    except OSError as error:
        raise RecoveryKeyUnreadable(f"{path} cannot be read: {error.strerror}", remedy="check the folder's owner") from error


def encode_public_key(key: PublicKey) -> bytes:
    """Return the file's one line."""
    line = f"{_WORD} {_VERSION} {key.data.hex()}"
    return f"{line} {digest_of(line.encode())[:8].hex()}\n".encode()


def decode_public_key(data: bytes) -> PublicKey:
    """Return what the file says; raise `RecoveryKeyUnreadable`."""
    words = data.decode("ascii", "replace").split()
    if len(words) > 1 and words[0] == _WORD and words[1].isdecimal() and int(words[1]) > _VERSION:
        raise RecoveryKeyUnreadable("the recovery key's file was written by a newer release", remedy="upgrade the appliance")
    try:
        key = PublicKey(bytes.fromhex(words[2]) if len(words) == 4 else b"")
    except ValueError:
        key = PublicKey(b"")
    if len(key.data) != KEY_BYTES or data != encode_public_key(key):
        raise RecoveryKeyUnreadable(
            "the file with the public part of the recovery key is damaged",
            remedy="make a new key with `stagekeeper recovery-key new`",
        )
    return key


def _wrapping_key(shared: bytes, ephemeral: bytes, public: bytes) -> bytes:
    return HKDF(SHA256(), DATA_KEY_BYTES, salt=ephemeral + public, info=_WRAP_INFO).derive(shared)


def _values(text: str) -> list[int]:
    return [_TYPED[character] for character in text]


def _check(number: int, values: list[int]) -> int:
    """Return a group's check value: a weighted sum in the field of 32 elements, with the group's number as first term.

    Every single wrong character, every exchange of two neighbours and every exchange of two whole groups changes it.
    """
    total = 0
    for value in [number, *values]:
        total = _doubled(total) ^ value
    return _doubled(total)


def _doubled(value: int) -> int:
    return (value << 1) ^ (0x25 if value & 16 else 0)  # modulo x^5 + x^2 + 1


def _sum(data: bytes) -> str:
    return base64.b32encode(derived_digest(_SUM_CONTEXT, data)[:5]).decode("ascii")[:_SUM_CHARACTERS]


def _mistyped(what: str) -> RecoveryKeyMistyped:
    return RecoveryKeyMistyped(f"the recovery key {what}", remedy="compare it with what was written down")
