"""Packs that go bad under a running service: the branch sends what its files still have, and old snapshots are whole again."""

import random
from pathlib import Path

from tests.end_to_end.rig import Rig

LARGE = random.Random(11).randbytes(2_000_000)


def damage(root: Path) -> int:
    """Flip a bit in each tenth part of every pack; return how many packs there are."""
    packs = sorted((root / "packs").glob("??/*.skp"))
    for pack in packs:
        data = bytearray(pack.read_bytes())
        for part in range(1, 10):
            data[len(data) * part // 10] ^= 4
        pack.write_bytes(bytes(data))
    return len(packs)


def test_what_went_bad_on_the_appliance_is_healed_by_the_branch(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.init()
    rig.serve()
    rig.enroll()
    (rig.share / "large").write_bytes(LARGE)
    for number in range(50):
        (rig.share / f"small-{number}").write_bytes(random.Random(number).randbytes(9000))
    rig.agent("run", "--once")
    rig.appliance("snapshot", "create", "leeds/data")
    (rig.share / "small-0").write_bytes(b"changed since")
    rig.agent("run", "--once")

    rig.stop()
    assert damage(rig.root)
    rig.serve()
    report = rig.appliance("scrub", "--all", check=False)
    assert report.code == 6 and report.json["damaged_chunks"] >= 5
    assert {hit["path"] for hit in report.json["hits"]} & {"large", *(f"small-{number}" for number in range(50))}

    rig.agent("run", "--once")
    lost = {hit["path"] for hit in report.json["hits"]} & {"small-0"}  # its earlier content is nowhere on the branch any more
    after = rig.appliance("scrub", "--all", check=False)
    assert after.json["damaged_chunks"] == (1 if lost else 0)
    assert rig.appliance("cat", "leeds/data@1", "large").out == LARGE
    for number in range(1, 50):
        assert rig.appliance("cat", "leeds/data@1", f"small-{number}").out == random.Random(number).randbytes(9000)
    rig.stop()
