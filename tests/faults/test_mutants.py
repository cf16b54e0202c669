"""The campaigns' own test: orders of writes are broken one at a time, and the sweeps must see each.

Mutants are made here, of the product's parts or of the file layer; the product has no switch for them.
"""

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import core.database as database_module
import snapshots.packs as packs_module
from core.durable import AppendFile
from snapshots.index_db import ChunkIndex
from snapshots.repack import PackClearing
from snapshots.sealing import Sealer
from snapshots.share_fold import ShareFold
from tests.faults.loop_disk import loop_disk
from tests.faults.test_power_cut import live_until_cut
from tests.faults.whole_life import SMALL_PACKS, Ledger, check, play, play_on
from tests.faulty_files import FaultyFiles, Killed

Patch = pytest.MonkeyPatch

pytestmark = [pytest.mark.long, pytest.mark.in_memory]


class Lazy(FaultyFiles):
    """While `lazy` is set, syncs of packs answer at once and do nothing."""

    lazy = False

    def sync(self, descriptor: int) -> None:
        if not (Lazy.lazy and self._paths[descriptor].suffix == ".skp"):
            super().sync(descriptor)


class AcknowledgeBeforeSync(FaultyFiles):
    def sync(self, descriptor: int) -> None:
        if self._paths[descriptor].suffix != ".skj":
            super().sync(descriptor)


class NoDirectorySync(FaultyFiles):
    def sync_directory(self, path: Path) -> None:
        return


def lazily(patch: Patch, kind: type, name: str) -> None:
    """Let what a method puts into packs be published without a sync of theirs."""
    real = getattr(kind, name)

    def lazy(*arguments: Any, **more: Any) -> Any:
        Lazy.lazy = True
        try:
            return real(*arguments, **more)
        finally:
            Lazy.lazy = False

    patch.setattr(kind, name, lazy)


def seal_before_packs(patch: Patch) -> None:
    lazily(patch, Sealer, "seal")


def fold_before_chunks(patch: Patch) -> None:
    lazily(patch, ShareFold, "fold")


def move_before_packs(patch: Patch) -> None:
    lazily(patch, PackClearing, "_move")


def discard_before_copy(patch: Patch) -> None:
    """A pack is in the trash before what stands in it is anywhere else."""
    real = PackClearing._move

    def move(self: Any, batch: list[Any]) -> int:
        number = batch[0][0].location.pack
        if self._parts.packs.path(number).exists():
            self._parts.packs.discard(number, self._now_ns)
        return real(self, batch)

    patch.setattr(PackClearing, "_move", move)
    patch.setattr(PackClearing, "_discard", lambda self, number, copied: None)


def index_not_durable(patch: Patch) -> None:
    """Collect lets packs go before the rows that name them are gone for good."""
    patch.setattr(ChunkIndex, "make_durable", lambda self: None)


def synchronous_normal(patch: Patch) -> None:
    real = database_module.open_database
    for place in ("core.database", "snapshots.catalogue_db"):
        patch.setattr(f"{place}.open_database", lambda path, **more: real(path, **{**more, "synchronous": "NORMAL"}))


def retry_failed_sync(patch: Patch) -> None:
    def sync(self: Any) -> None:
        try:
            self._files.sync(self._descriptor)
        except OSError:
            self._files.sync(self._descriptor)
        self._synced_size = self.size

    patch.setattr(AppendFile, "sync", sync)


def keep_what_a_sync_failed_for(patch: Patch) -> None:
    """The file takes no more data, but what it holds is found again by a restart."""

    def undo(self: Any, cause: OSError) -> None:
        self._failure = f"sync failed: {cause.strerror}"

    patch.setattr(AppendFile, "_undo_unsynced", undo)


# Where in a life its first traces can be, as a part of all operations: the sweep begins there.
BROKEN_ORDERS: list[tuple[str, type[FaultyFiles], Callable[[Patch], None], float]] = [
    ("ack_before_sync", AcknowledgeBeforeSync, lambda patch: None, 0),
    ("no_directory_sync", NoDirectorySync, lambda patch: None, 0),
    ("seal_before_packs", Lazy, seal_before_packs, 0.35),
    ("fold_before_chunks", Lazy, fold_before_chunks, 0.35),
    ("move_before_packs", Lazy, move_before_packs, 0.75),
    ("discard_before_copy", FaultyFiles, discard_before_copy, 0.75),
]


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: Patch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", SMALL_PACKS)


@pytest.fixture
def whole(tmp_path: Path, small_packs: None) -> Ledger:
    ledger = Ledger()
    (tmp_path / "models").mkdir()
    play(tmp_path / "models", ledger)
    return ledger


def operations(folder: Path, files: FaultyFiles) -> list[str]:
    folder.mkdir()
    play(folder, Ledger(), files)
    return files.log


def is_wrong(folder: Path, ledger: Ledger, whole: Ledger) -> bool:
    """Tell whether the campaigns' check finds fault with what is left."""
    ledger.models = whole.models  # the fault may come before there is any
    folder.mkdir(exist_ok=True)
    try:
        check(folder, ledger)
    except Exception:
        return True
    return False


def is_caught(points: Iterable[int], leaves_wrong: Callable[[int, bool], bool]) -> bool:
    """Tell whether a mutant is caught at one of the points, where the product itself is right."""
    for at in points:
        if leaves_wrong(at, True):
            assert not leaves_wrong(at, False), "the product itself is wrong here"
            return True
    return False


@pytest.mark.parametrize(("layer", "mutate", "begin"), [row[1:] for row in BROKEN_ORDERS], ids=[row[0] for row in BROKEN_ORDERS])
def test_a_broken_order_is_caught_by_the_sweep(
    tmp_path: Path, monkeypatch: Patch, whole: Ledger, layer: type[FaultyFiles], mutate: Callable[[Patch], None], begin: float
) -> None:
    def leaves_wrong(at: int, mutated: bool) -> bool:
        folder, ledger = tmp_path / f"{at}-{mutated}", Ledger()
        files = layer(at, "kill") if mutated else FaultyFiles(at, "kill")
        folder.mkdir()
        with monkeypatch.context() as patch, suppress(Killed, Exception):
            if mutated:
                mutate(patch)
            play(folder, ledger, files)
        files.lose_unsynced()
        return is_wrong(folder, ledger, whole)

    with monkeypatch.context() as patch:
        mutate(patch)
        total = len(operations(tmp_path / "whole", layer()))
    assert is_caught(range(int(begin * total) + 1, total + 1), leaves_wrong)


@pytest.mark.parametrize("mutate", [retry_failed_sync, keep_what_a_sync_failed_for])
def test_a_sync_that_is_tried_again_is_caught_by_the_sweep(
    tmp_path: Path, monkeypatch: Patch, whole: Ledger, mutate: Callable[[Patch], None]
) -> None:
    def leaves_wrong(at: int, mutated: bool) -> bool:
        folder, files, ledger = tmp_path / f"{at}-{mutated}", FaultyFiles(at, "EIO"), Ledger()
        folder.mkdir()
        with monkeypatch.context() as patch:
            if mutated:
                mutate(patch)
            play_on(folder, ledger, files, lambda error: None)
        files.lose_unsynced()
        return is_wrong(folder, ledger, whole)

    log = operations(tmp_path / "whole", FaultyFiles())
    assert is_caught([number for number, entry in enumerate(log, 1) if entry.startswith("sync ")], leaves_wrong)


@pytest.mark.parametrize("mutate", [index_not_durable, synchronous_normal])
def test_a_commit_that_a_power_cut_takes_back_is_caught_by_the_sweep(
    tmp_path: Path, monkeypatch: Patch, whole: Ledger, mutate: Callable[[Patch], None]
) -> None:
    log = operations(tmp_path / "whole", FaultyFiles())
    first = next(number for number, entry in enumerate(log, 1) if entry.startswith(("rename", "unlink")))
    with loop_disk(tmp_path) as disk:

        def leaves_wrong(at: int, mutated: bool) -> bool:
            with monkeypatch.context() as patch:
                if mutated:
                    mutate(patch)
                folder = live_until_cut(disk, tmp_path / "ledger", at, True)
            left = tmp_path / folder.name  # what ends within a check keeps its files open: not on that disk
            if folder.exists():
                shutil.copytree(folder, left)
                shutil.rmtree(folder)
            return is_wrong(left, Ledger.load(tmp_path / "ledger"), whole)

        assert is_caught(range(first, len(log) + 1), leaves_wrong)
