"""Which files a branch is asked for when chunks went bad: those that hold them now, each once a day."""

from pathlib import Path

import pytest

from appliance.mending import Mending
from core.relpath import RelPath
from snapshots import damage_db
from staging.changes import Attributes, Create, Kind, Unlink
from staging.chunk_format import ChunkKind, address_of
from tests.appliance.settable_clock import SettableClock
from tests.snapshots.collect_rig import CollectRig

PLAIN = Attributes(0o644, 0, 0, 0)
DATA = [bytes([number]) * 5000 for number in range(120)]


class Asked:
    """A share of files of one chunk each, two of them alike, and what is asked of its branch."""

    def __init__(self, folder: Path) -> None:
        self.rig = CollectRig(folder)
        for number, data in enumerate(DATA):
            self.rig.send([b"f%03d" % number], [Create(0, Kind.FILE, PLAIN, self.rig.put(data))])
        self.rig.send([b"twin"], [Create(0, Kind.FILE, PLAIN, self.rig.put(DATA[0]))])
        self.rig.snapshot()
        self.rig.send([b"f001"], [Unlink(0)])
        self.rig.fold.fold_all()
        self.clock = SettableClock()
        self.mending = Mending(self.rig.store, self.clock)

    def damage(self, *numbers: int) -> None:
        damage_db.add_damaged(self.rig.store.parts.index, [address_of(ChunkKind.DATA, DATA[n]) for n in numbers], 1)

    def heal(self, *numbers: int) -> None:
        damage_db.withdraw_damaged(self.rig.store.parts.index, [address_of(ChunkKind.DATA, DATA[n]) for n in numbers])

    def files(self) -> list[RelPath]:
        return sorted(self.mending.files(self.rig.reader))


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_while_nothing_is_damaged_nothing_is_asked_for(asked: Asked) -> None:
    assert asked.files() == []


def test_every_file_that_holds_a_damaged_chunk_now_is_asked_for_once(asked: Asked) -> None:
    asked.damage(0, 1, 7)
    assert asked.files() == [b"f000", b"f007", b"twin"]  # f001 stands in the snapshot alone: the branch does not have it
    assert asked.files() == []


def test_more_files_than_fit_one_answer_follow(asked: Asked) -> None:
    asked.damage(*range(len(DATA)))
    first, second = asked.files(), asked.files()
    assert len(first) == 100 and len(first + second) == len(set(first + second)) == len(DATA)  # f001 gone, a twin of f000


def test_new_damage_is_asked_for_soon_and_old_damage_again_after_a_day(asked: Asked) -> None:
    asked.damage(3)
    assert asked.files() == [b"f003"]
    asked.damage(4)
    assert asked.files() == []  # catalogues are not read through at every question
    asked.clock.move(61)
    assert asked.files() == [b"f003", b"f004"]
    asked.clock.move(86_000)
    assert asked.files() == []
    asked.clock.move(500)
    assert asked.files() == [b"f003", b"f004"]


def test_what_was_healed_is_not_asked_for_unless_it_is_damaged_again(asked: Asked) -> None:
    asked.damage(3, 4)
    asked.files()
    asked.heal(3, 4)
    asked.clock.move(100_000)
    assert asked.files() == []
    asked.damage(4)
    assert asked.files() == [b"f004"]
