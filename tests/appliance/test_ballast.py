"""How much room is kept on a disk, and when it is given up."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.ballast import (
    PLENTY_BYTES,
    SMALL_BALLAST_BYTES,
    Ballast,
    DiskSpace,
    ballast_for,
    low_water_for,
    reserve_for,
)

MIB = 1024 * 1024
DISKS = st.integers(0, 2**44).flatmap(lambda total: st.builds(DiskSpace, st.just(total), st.integers(0, total)))
SIZES = st.integers(0, 2**34)


@given(DISKS, SIZES)
def test_a_ballast_is_never_larger_than_asked_nor_than_a_part_of_the_disk(disk: DiskSpace, largest: int) -> None:
    assert 0 <= ballast_for(disk, largest) <= min(largest, disk.total_bytes // 16)
    assert reserve_for(disk, largest) <= min(largest, disk.total_bytes // 16)


@given(DISKS, st.integers(1, 2**34))
def test_what_was_given_up_is_not_made_again_from_its_own_room(disk: DiskSpace, largest: int) -> None:
    wanted = ballast_for(disk, largest)
    freed = low_water_for(wanted) - 1 + wanted
    assert freed < wanted + 2 * low_water_for(wanted)


def test_a_disk_with_plenty_of_room_carries_a_small_one() -> None:
    total = 2 * PLENTY_BYTES
    assert ballast_for(DiskSpace(total, PLENTY_BYTES), 64 * MIB) == SMALL_BALLAST_BYTES
    assert ballast_for(DiskSpace(total, PLENTY_BYTES - 1), 64 * MIB) == 64 * MIB
    assert ballast_for(DiskSpace(60 * MIB, MIB), 64 * MIB) < 4 * MIB


def test_parts_on_one_disk_share_one_ballast_and_none_is_made_when_none_is_wished(tmp_path: Path) -> None:
    for name in ("db", "packs"):
        (tmp_path / name).mkdir()
    folders = [tmp_path / "db", tmp_path / "packs"]
    Ballast(folders, 0, 0).tend()
    assert not list(tmp_path.glob("*/.ballast"))
    ballast = Ballast(folders, MIB, 0)
    assert ballast.is_given_up()
    ballast.tend()
    assert [path.parent.name for path in tmp_path.glob("*/.ballast")] == ["db"]
    assert ballast.held_bytes == MIB and not ballast.is_given_up()
