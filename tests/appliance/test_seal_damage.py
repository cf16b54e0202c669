"""Whatever is done to the records of seals: the share is read on, the damage is named, nothing is made up from it, and either
remedy of docs/damage.md works: the pack back from a copy, or the next seal, which is a full one then.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.rebuilding import rebuild
from appliance.root import open_root
from appliance.vault import OpenShare, Vault
from core.digest import Digest
from core.errors import Damaged
from snapshots.seal_verify import verify_seals
from snapshots.sealing import read_head
from tests.appliance.damage_rig import SHARES, Seen, all_seen, build, copied, judge
from tests.share_rig import listing
from tests.snapshots.collect_rig import TestClock

SHARE = SHARES[0]
PARTS = ["head of the newest", "body of the newest", "head of the full one", "body of the full one"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("stores"))["closed"]


@pytest.fixture(scope="module")
def kept(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return all_seen(copied(store, tmp_path_factory.mktemp("kept")))


def opened(root: Path) -> Vault:
    return Vault(open_root(root), TestClock(), lambda size: bytes(size))


def records(root: Path) -> dict[str, tuple[Path, int, int]]:
    """Return where each part of the chain of two seals stands: pack, first byte of the record, end."""
    vault = opened(root)
    seals = vault.share(SHARE).reader.ledger.seals()
    assert [seal.full for seal in seals] == [True, False]
    found = {}
    for name, seal in (("newest", seals[1]), ("full one", seals[0])):
        body = read_head(vault.store, seal.digest).body_key
        assert body is not None
        for what, digest in (("head", seal.digest), ("body", body[1])):
            place = vault.store.locations([digest])[digest]
            found[f"{what} of the {name}"] = (vault.store.parts.packs.path(place.pack), place.offset, place.end)
    vault.close()
    return found


def flip(data: bytearray, start: int, end: int) -> None:
    data[end - 9] ^= 1


def another_byte(data: bytearray, start: int, end: int) -> None:
    data[end - 5] ^= 0xFF


def zeros(data: bytearray, start: int, end: int) -> None:
    data[start:end] = bytes(end - start)


def four_kib(data: bytearray, start: int, end: int) -> None:
    data[end - 20 : end + 4076] = bytes(len(data[end - 20 : end + 4076]))


def cut(data: bytearray, start: int, end: int) -> None:
    del data[start + 60 :]


def twice(data: bytearray, start: int, end: int) -> None:
    """What stands before it stands in its place too."""
    data[start:end] = data[start - (end - start) : start]


HARMS = [flip, another_byte, zeros, four_kib, cut, twice]


def harm(root: Path, part: str, change: Callable[[bytearray, int, int], None]) -> tuple[Path, bytes]:
    """Damage a part of the chain; return its pack as it was."""
    pack, start, end = records(root)[part]
    whole = pack.read_bytes()
    data = bytearray(whole)
    change(data, start, end)
    pack.write_bytes(data)
    return pack, whole


def verified(share: OpenShare, vault: Vault) -> tuple[str, ...]:
    scratch = vault.root.db / "scratch.db"
    return verify_seals(share.fold.path, share.journal, vault.store, scratch, lambda done, total: None).differences


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", HARMS)
def test_a_damaged_seal_is_named_and_nothing_is_made_up_from_it(
    store: Path, kept: Seen, tmp_path: Path, part: str, change: Callable[[bytearray, int, int], None]
) -> None:
    root = copied(store, tmp_path)
    pack, whole = harm(root, part, change)
    verdict = judge(copied(root, tmp_path / "read"), kept)
    assert verdict.told and verdict.differs == []
    vault = opened(root)
    with pytest.raises(Damaged):
        verified(vault.share(SHARE), vault)
    vault.close()
    for catalogue in (root / "db/shares").glob(f"{SHARE}.db*"):
        catalogue.unlink()
    (row,) = [row for row in rebuild(root, lambda step: None, clock=TestClock()).shares if row.share == SHARE]
    assert row.error, "a share must not come back as something else"
    pack.write_bytes(whole)
    rebuild(root, lambda step: None, clock=TestClock())
    assert all_seen(root) == kept


@pytest.mark.parametrize("part", PARTS)
def test_the_next_seal_is_a_full_one_and_all_that_is_needed(store: Path, tmp_path: Path, part: str) -> None:
    root = copied(store, tmp_path)
    harm(root, part, flip)
    vault = opened(root)
    share = vault.share(SHARE)
    with pytest.raises(Damaged):
        verified(share, vault)
    share.fold.take_snapshot("after it", "command", 1)
    share.fold.fold_all()
    seal = share.sealer.seal()
    assert seal is not None and seal.full
    assert verified(share, vault) == ()
    shown = listing(share.reader.view(share.fold.sequence))
    vault.close()
    for catalogue in (root / "db/shares").glob(f"{SHARE}.db*"):
        catalogue.unlink()
    vault = opened(root)
    assert listing(vault.share(SHARE).reader.view(vault.share(SHARE).fold.sequence)) == shown
    assert Digest(seal.digest) == vault.share(SHARE).reader.ledger.seals()[-1].digest
    vault.close()
