"""The recovery key: as it is written down, typed again with errors, and kept in its public part."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.recovery_key import (
    PublicKey,
    RecoveryKey,
    RecoveryKeyMissing,
    RecoveryKeyMistyped,
    RecoveryKeyUnreadable,
    RecoveryKeyWrong,
    load_public_key,
    new_recovery_key,
    read_recovery_key,
    show_recovery_key,
    write_public_key,
)

KEYS = st.binary(min_size=32, max_size=32).map(RecoveryKey)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
PAGE = Path(__file__).parents[2] / "docs" / "formats" / "recovery-key.md"


@given(KEYS)
def test_a_key_that_is_typed_as_people_type_is_the_same(key: RecoveryKey) -> None:
    shown = show_recovery_key(key)
    assert re.fullmatch(r"(?:[A-Z2-7]{5}-){13}[A-Z2-7]{5}", shown)
    assert read_recovery_key(shown) == key
    typed = shown.lower().replace("-", " \n").replace("o", "0").replace("i", "1").replace("b", "8")
    assert read_recovery_key(f"  {typed}\r\n") == key


@given(KEYS, st.integers(0, 13 * 5 - 1), st.sampled_from(LETTERS))
def test_a_wrong_character_is_named_by_its_group(key: RecoveryKey, place: int, letter: str) -> None:
    plain = show_recovery_key(key).replace("-", "")
    wrong = plain[:place] + letter + plain[place + 1 :]
    if wrong == plain:
        return
    with pytest.raises(RecoveryKeyMistyped, match=rf"group {place // 5 + 1} \("):
        read_recovery_key(wrong)


@given(KEYS, st.integers(0, 13 * 5 - 2))
def test_two_exchanged_characters_are_found(key: RecoveryKey, place: int) -> None:
    plain = show_recovery_key(key).replace("-", "")
    wrong = plain[:place] + plain[place + 1] + plain[place] + plain[place + 2 :]
    if wrong != plain:
        with pytest.raises(RecoveryKeyMistyped):
            read_recovery_key(wrong)


@given(KEYS, st.integers(0, 12), st.integers(0, 12))
def test_two_exchanged_groups_are_found(key: RecoveryKey, one: int, other: int) -> None:
    groups = show_recovery_key(key).split("-")
    groups[one], groups[other] = groups[other], groups[one]
    if one != other:
        with pytest.raises(RecoveryKeyMistyped):
            read_recovery_key("-".join(groups))


@given(KEYS, st.text(max_size=90))
def test_nothing_but_a_whole_key_is_taken(key: RecoveryKey, text: str) -> None:
    with pytest.raises(RecoveryKeyMistyped):
        read_recovery_key(text)
    with pytest.raises(RecoveryKeyMistyped, match="69 letters and digits instead of 70"):
        read_recovery_key(show_recovery_key(key)[:-1])


@given(KEYS, KEYS, st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.randoms(use_true_random=False))
def test_only_the_right_key_opens_what_was_wrapped(
    key: RecoveryKey, other: RecoveryKey, data_key: bytes, about: bytes, chance: random.Random
) -> None:
    ephemeral, wrapped = key.public.wrap(data_key, about, chance.randbytes)
    assert key.unwrap(ephemeral, wrapped, about) == data_key
    with pytest.raises(RecoveryKeyWrong):
        key.unwrap(ephemeral, wrapped, about + b"x")
    with pytest.raises(RecoveryKeyWrong):
        key.unwrap(ephemeral, wrapped[:-1] + bytes((wrapped[-1] ^ 1,)), about)
    if other.public != key.public:
        with pytest.raises(RecoveryKeyWrong):
            other.unwrap(ephemeral, wrapped, about)


def test_the_public_part_is_kept_and_damage_in_it_is_found(tmp_path: Path) -> None:
    path = tmp_path / "recovery-key.pub"
    with pytest.raises(RecoveryKeyMissing):
        load_public_key(path)
    key = new_recovery_key(random.Random(3).randbytes).public
    write_public_key(path, key)
    assert load_public_key(path) == key
    line = path.read_bytes()
    for place in range(len(line)):
        path.write_bytes(line[:place] + bytes((line[place] ^ 1,)) + line[place + 1 :])
        with pytest.raises(RecoveryKeyUnreadable):
            load_public_key(path)
    path.write_bytes(line.replace(b" 1 ", b" 2 "))
    with pytest.raises(RecoveryKeyUnreadable, match="newer release"):
        load_public_key(path)


def test_the_golden_key_and_file_are_what_the_code_writes(tmp_path: Path) -> None:
    shown, line = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    key = RecoveryKey(bytes(range(32)))
    assert show_recovery_key(key) == "".join(shown.split())
    write_public_key(tmp_path / "key", key.public)
    assert (tmp_path / "key").read_text() == line
    assert load_public_key(tmp_path / "key") == key.public == PublicKey(key.public.data)


def test_a_key_does_not_show_itself_by_accident() -> None:
    assert bytes(range(32)).hex() not in repr(RecoveryKey(bytes(range(32))))
