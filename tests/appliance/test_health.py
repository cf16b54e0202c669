"""What fails in the background without keeping data from being taken is told, with what to do, until it goes well again."""

import threading
from pathlib import Path

from appliance.ballast import Ballast
from appliance.find_indexes import FindIndexes, index_step
from appliance.health_desk import HealthDesk
from appliance.share_worker import ShareWorker, Step
from appliance.vault import Vault
from appliance.workers import Workers
from tests.appliance.test_vault_and_fold import open_vault, send


def worked(vault: Vault, what: str, step: Step) -> ShareWorker:
    """Return a worker that has done one step for the only share."""
    done = threading.Event()

    def once(name: str) -> bool:
        try:
            step(name)
        finally:
            done.set()
        return False

    worker = ShareWorker(what, vault.names, once)
    worker.start()
    assert done.wait(20)
    worker.stop()
    return worker


def health_of(vault: Vault, keep: ShareWorker, index: ShareWorker) -> HealthDesk:
    idle = ShareWorker("idle", list, lambda name: False)
    return HealthDesk(vault, Workers(idle, keep, index, idle), lambda: 0.0, Ballast([], 0, 0), lambda: iter(()))


def test_names_that_cannot_be_indexed_are_a_concern_and_no_reason_to_take_nothing(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1, 300)
    vault.share("leeds/data").fold.fold_all()
    (tmp_path / "db" / "find").write_bytes(b"a file where the folder of the indexes should be")
    indexes = FindIndexes(vault)
    idle = ShareWorker("idle", list, lambda name: False)
    health = health_of(vault, idle, worked(vault, "index", index_step(vault, indexes, lambda: None)))
    (told,) = health.concerns()
    assert health.ready() == []
    assert told.startswith("the names of leeds/data are not indexed") and "remove db/find/leeds/data.db" in told
    assert ("stagekeeper_not_indexed", {"share": "leeds/data"}) in [(name, labels) for name, _, labels, _ in health.metrics()]
    (tmp_path / "db" / "find").unlink()
    health = health_of(vault, idle, worked(vault, "index", index_step(vault, indexes, lambda: None)))
    assert health.concerns() == []
    indexes.close()
    vault.close()


def test_a_share_that_cannot_be_kept_is_a_concern(tmp_path: Path) -> None:
    def step(name: str) -> bool:
        raise OSError("the disk is gone")

    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1)
    idle = ShareWorker("idle", list, lambda name: False)
    (told,) = health_of(vault, worked(vault, "keep", step), idle).concerns()
    assert told.startswith("leeds/data is not sealed, pruned and trimmed: OSError: the disk is gone")
    vault.close()
