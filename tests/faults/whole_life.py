"""The whole life of a share in small: ingest, folds, snapshots, seals, drops, a trimmed journal, collects that repack, and
rebuilds of the catalogue and of the index. Each fault campaign plays it, breaks it somewhere, and compares what is left.

Every step may be done again after it failed, as its caller in the appliance does. The ledger is what was answered, and the
models are what must be found: both are kept outside of the store.
"""

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import snapshots.packs as packs_module
from core.clock import NANOSECONDS
from core.durable import OS_FILES, FileLayer
from core.errors import StagekeeperError, Stopped
from core.relpath import ROOT
from snapshots.anchors import AnchorLimits
from snapshots.control_format import SnapshotDropped
from snapshots.journal_retention import JournalPolicy
from snapshots.ledger_db import SnapshotRow
from snapshots.own_content import read_own_content
from snapshots.restore import restore_tree
from staging.changes import Attributes, Change, Content, Create, Kind, Mirror, Rename, Unlink, Write
from tests.naive_tree import NaiveTree
from tests.share_rig import listing
from tests.snapshots.collect_rig import CollectRig

PLAIN = Attributes(0o644, 0, 0, 5)
SMALL_PACKS = 40_000
PATHS = [b"d", *(b"d/%02d" % number for number in range(6)), b"moved", b"big"]
KEEP_LITTLE = JournalPolicy(keep_ns=3600 * NANOSECONDS, max_bytes=1)
_TRIES = 4


class LifeRig(CollectRig):
    """A rig with anchors close together, so that its journal can be trimmed."""

    def _open(self) -> None:
        self.limits = AnchorLimits(changes=4)
        super()._open()

    def lose_index(self) -> None:
        self.close()
        for path in self.folder.glob("index.db*"):
            path.unlink()
        self._open()


@dataclass
class Ledger:
    """What was answered, and what each sequence looks like."""

    acknowledged: int = 0
    models: dict[int, dict[bytes, tuple[object, ...]]] = field(default_factory=dict)
    snapshots: list[SnapshotRow] = field(default_factory=list)
    dropping: set[int] = field(default_factory=set)
    done: int = 0

    def save(self, path: Path) -> None:
        path.with_suffix(".new").write_bytes(pickle.dumps(self))
        path.with_suffix(".new").replace(path)

    @staticmethod
    def load(path: Path) -> "Ledger":
        loaded = pickle.loads(path.read_bytes())
        assert isinstance(loaded, Ledger)
        return loaded


class Life:
    """The steps, in order; each is given the rig as it is open at the time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._model = NaiveTree({})
        self._chance = random.Random(11)
        self.contents: list[bytes] = []
        self._sequence = 0
        ledger.models[0] = self._model.listing()
        self.steps = self._steps()

    def _steps(self) -> list[Callable[[LifeRig], None]]:
        first = {4: 9_000, 1: 30_000, 2: 30_000, 3: 300, 5: 300, 6: 300}  # the first stays, in a pack of which most goes
        big = self._data(130_000)
        made = [Create(0, Kind.FOLDER, PLAIN), *(Create(n, Kind.FILE, PLAIN) for n in range(1, 7)), Create(8, Kind.FILE, PLAIN)]
        steps = [
            self._send([Mirror(True), *made, Mirror(False)], {}),
            self._send([], {path: self._data(size) for path, size in first.items()} | {8: big}),
            self._snapshot("one"),
        ]
        for generation in range(3):
            steps += [
                self._send([Write(8, 40_000 * generation + 500, b"written over")], {generation + 1: self._data(8_000)}),
                self._fold,
                self._snapshot(f"generation {generation}"),
                self._seal(full=generation == 2),
            ]
        return [
            *steps,
            self._send([Rename(4, 7), Unlink(5)], {6: self._data(700)}),
            self._drop(0),
            self._drop(1),
            self._new_segment,
            self._reopen,
            self._send([Write(8, 3, b"after the restart")], {}),
            self._snapshot("late"),
            self._seal(),
            self._trim,  # collect removes nothing that the kept journal names
            self._sweep,
            *[self._collect] * 4,
            LifeRig.lose_catalogue,
            LifeRig.lose_index,
            self._send([Write(8, 9, b"after the rebuild")], {2: self._data(400)}),
            self._snapshot("last"),
            self._fold,
        ]

    def _data(self, size: int) -> bytes:
        self.contents.append(self._chance.randbytes(size))
        return self.contents[-1]

    def _send(self, changes: list[Change], contents: dict[int, bytes]) -> Callable[[LifeRig], None]:
        """Send changes in one frame; done again, it asks first what is durable, as an agent does."""
        after = self._sequence + len(changes) + len(contents)
        self._sequence = after
        planned: list[Change] = []

        def step(rig: LifeRig) -> None:
            if rig.journal.position.sequence < after:
                refs = {path: rig.put(data) for path, data in contents.items()}
                if not planned:
                    planned.extend([*changes, *(Content(path, ref) for path, ref in refs.items())])
                    for ref, data in zip(refs.values(), contents.values(), strict=True):
                        self._model.contents[ref.digest] = data
                    for number, change in enumerate(planned, start=after - len(planned) + 1):
                        self._model.apply(change, PATHS)
                        self.ledger.models[number] = self._model.listing()
                rig.send(PATHS, planned)
            rig.journal.sync(rig.journal.ticket)
            self.ledger.acknowledged = rig.journal.durable.sequence

        return step

    def _snapshot(self, label: str) -> Callable[[LifeRig], None]:
        def step(rig: LifeRig) -> None:
            self.ledger.snapshots.append(rig.snapshot(label))

        return step

    def _seal(self, full: bool = False) -> Callable[[LifeRig], None]:
        def step(rig: LifeRig) -> None:
            rig.fold.fold_all()
            rig.sealer.seal(full)

        return step

    def _drop(self, which: int) -> Callable[[LifeRig], None]:
        def step(rig: LifeRig) -> None:
            row = self.ledger.snapshots[which]
            self.ledger.dropping.add(row.id)
            if row.id in {shown.id for shown in rig.reader.ledger.snapshots()}:
                rig.fold.order(lambda number, _: SnapshotDropped(number, row.id))

        return step

    @staticmethod
    def _fold(rig: LifeRig) -> None:
        rig.fold.fold_all()

    @staticmethod
    def _sweep(rig: LifeRig) -> None:
        while rig.fold.sweep():
            pass

    @staticmethod
    def _collect(rig: LifeRig) -> None:
        rig.fold.fold_all()
        rig.collect()

    @staticmethod
    def _new_segment(rig: LifeRig) -> None:
        rig.journal.begin_segment()

    @staticmethod
    def _trim(rig: LifeRig) -> None:
        rig.fold.fold_all()
        rig.instants.trim(KEEP_LITTLE)

    @staticmethod
    def _reopen(rig: LifeRig) -> None:
        rig.reopen()


def play(folder: Path, ledger: Ledger, files: FileLayer = OS_FILES, saved: Path | None = None) -> None:
    """Play the whole life; the first error ends it. With `saved` the ledger is written there after each step."""
    rig = LifeRig(folder, files)
    for step in Life(ledger).steps:
        step(rig)
        ledger.done += 1
        if saved is not None:
            ledger.save(saved)
    rig.close()


def play_on(folder: Path, ledger: Ledger, files: FileLayer, told: Callable[[BaseException], None]) -> None:
    """Play the whole life, going on after errors as the appliance does: what may succeed later is done again in this process,
    what says that it stopped only after a restart."""
    rig: LifeRig | None = None
    for step in Life(ledger).steps:
        for attempt in range(_TRIES):
            try:
                rig = rig or LifeRig(folder, files)
                step(rig)
                break
            except (StagekeeperError, OSError) as error:
                told(error)
                if attempt == _TRIES - 1:
                    raise
                if rig is not None and not _is_whole(rig):
                    rig = None  # it ended while it was being opened again
                elif rig is not None and isinstance(error, Stopped):
                    rig.close()
                    rig = None
        ledger.done += 1
    assert rig is not None
    rig.close()


def _is_whole(rig: LifeRig) -> bool:
    """Tell whether a rig is open; a step that reopens it may have ended half-way."""
    try:
        rig.reader.ledger.snapshots()
        rig.store.counts()
    except StagekeeperError:
        return False
    return True


def check(folder: Path, ledger: Ledger) -> None:
    """Open with a sound file layer: what was answered is there, nothing is half there, and the share goes on, also when it
    has lost its catalogue and the store its index."""
    rig = LifeRig(folder)
    for what in ("as it was found", "after a collect", "without its catalogue", "without its index"):
        if what == "after a collect":
            Life._sweep(rig)  # else rows of what was being dropped, which nobody sees, may name what is collected
            rig.collect_all()
        elif what == "without its catalogue":
            rig.lose_catalogue()
        elif what == "without its index":
            rig.lose_index()
        _compare(rig, ledger, what)
        _put_again(rig)
    content = rig.put(b"still taking data")
    rig.send([b"new"], [Create(0, Kind.FILE, PLAIN, content)])
    assert rig.live().node_at(b"new").size_bytes == 17  # type: ignore[arg-type]
    assert not restore_tree(rig.reader.view(rig.fold.sequence), ROOT, folder / "restored").not_applied
    rig.close()


def _put_again(rig: LifeRig) -> None:
    """Put all that was ever put once more: what the store says it has already, although it let it go, would be lost now."""
    for data in Life(Ledger()).contents:
        assert b"".join(read_own_content(rig.store, rig.put(data))) == data


def _as_answered(row: SnapshotRow) -> SnapshotRow:
    """Return a row without what the fold adds once it gets there."""
    return replace(row, good=None, files=None, logical_bytes=None)


def _compare(rig: LifeRig, ledger: Ledger, what: str) -> None:
    durable = rig.journal.durable.sequence
    assert durable >= ledger.acknowledged, f"{what}: acknowledged changes are lost"
    assert listing(rig.live()) == ledger.models[durable], what
    assert rig.store.parts.lost == set(), what
    shown = {row.id: _as_answered(row) for row in rig.reader.ledger.snapshots()}
    for row in ledger.snapshots:
        if row.id not in ledger.dropping:
            assert shown.get(row.id) == _as_answered(row), f"{what}: an answered snapshot is lost"
    for row in shown.values():
        assert listing(rig.reader.view(row.sequence)) == ledger.models[row.sequence], (what, row)


def with_small_packs() -> None:
    """Let packs be so small that some are cleared within a life: in a process of its own."""
    packs_module.PACK_BYTES = SMALL_PACKS
