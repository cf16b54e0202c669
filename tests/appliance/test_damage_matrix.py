"""Whatever is done to the bytes of databases and journals: it is found and named, nothing wrong is shown that is not told,
collect makes it no worse, and the remedy of docs/damage.md gives everything back. Packs: tests/snapshots/test_scrub.py.
"""

import io
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import staging.journal as journal_module
from appliance.database_checks import DatabaseChecks
from appliance.root import Root, open_root
from appliance.vault import Vault
from core.database import open_database
from core.framing import read_records
from core.relpath import RelPath
from snapshots.purging import order_purge
from staging.changes import Attributes, Create, Kind
from tests.appliance.damage_rig import Seen, Verdict, all_seen, build, copied, judge, rebuilt
from tests.appliance.program import SHARE, Program, VaultRig, fill
from tests.appliance.test_serve import get
from tests.snapshots.collect_rig import HOUR, TestClock

PAGE = 4096
DATABASES = {"index": Path("db/index.db"), "catalogue": Path("db/shares/leeds/finance.db")}
JOURNAL = Path("journal/leeds/finance")
DOCUMENT = Path(__file__).parents[2] / "docs" / "damage.md"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", 1500)
        return build(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def kept(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return all_seen(copied(stores["closed"], tmp_path_factory.mktemp("kept")))


def alter(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))


def flip(data: bytearray, at: int, bit: int = 0) -> None:
    data[at] ^= 1 << bit


def zero(data: bytearray, start: int, length: int) -> None:
    data[start : start + length] = bytes(length)


def cut(data: bytearray, length: int) -> None:
    del data[length:]


def swap_pages(data: bytearray, first: int, second: int) -> None:
    one, two = slice(first * PAGE, (first + 1) * PAGE), slice(second * PAGE, (second + 1) * PAGE)
    data[one], data[two] = data[two], data[one]


def judged(root: Path, kept: Seen) -> Verdict:
    """Return the verdict on a store that shows nothing wrong without telling so."""
    verdict = judge(root, kept)
    assert verdict.differs == [] or verdict.told, verdict.differs
    return verdict


# what is done to a database, and whether there is anything to tell: what SQLite reads past, or makes anew, harms nothing
WHOLE_FILE: dict[str, tuple[Callable[[bytearray], None], bool]] = {
    "header": (lambda data: flip(data, 0), True),
    "page size": (lambda data: flip(data, 16, 4), True),
    "schema": (lambda data: flip(data, data.index(b"CREATE TABLE") + 7), True),
    "first page": (lambda data: flip(data, 103), True),
    "truncated to a page": (lambda data: cut(data, PAGE), True),
    "truncated in a page": (lambda data: cut(data, len(data) - 700), True),
    "half": (lambda data: cut(data, len(data) // 2), True),
    "empty": (lambda data: data.clear(), False),
    "garbage behind it": (lambda data: data.extend(random.Random(1).randbytes(5000)), False),
    "twice": (lambda data: data.extend(bytes(data)), False),
    "garbage instead": (lambda data: data.__setitem__(slice(None), random.Random(2).randbytes(len(data))), True),
    "text instead": (lambda data: data.__setitem__(slice(None), b"this was a database once"), True),
}


@pytest.mark.parametrize("which", DATABASES)
@pytest.mark.parametrize("damage", WHOLE_FILE)
def test_a_damaged_database_is_named_and_made_again(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, which: str, damage: str
) -> None:
    change, is_told = WHOLE_FILE[damage]
    root = copied(stores["closed"], tmp_path)
    alter(root / DATABASES[which], change)
    verdict = judged(root, kept)
    assert bool(verdict.told) == is_told
    assert all(DATABASES[which].name in told for told in verdict.told), verdict.told
    rebuilt(root, kept)


def flip_in_page(data: bytearray, page: int, chance: random.Random) -> None:
    flip(data, page * PAGE + chance.randrange(PAGE), chance.randrange(8))


def zero_page(data: bytearray, page: int, chance: random.Random) -> None:
    zero(data, page * PAGE, PAGE)


def swap_with_another(data: bytearray, page: int, chance: random.Random) -> None:
    swap_pages(data, page, chance.choice([other for other in range(1, len(data) // PAGE) if other != page]))


@pytest.mark.long
@pytest.mark.parametrize("which", DATABASES)
@pytest.mark.parametrize("harm", [flip_in_page, zero_page, swap_with_another], ids=lambda harm: harm.__name__)
def test_damage_in_any_page_of_a_database_shows_nothing_wrong_that_is_not_told(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, which: str, harm: Callable[[bytearray, int, random.Random], None]
) -> None:
    chance = random.Random(harm.__name__ + which)
    count = (stores["closed"] / DATABASES[which]).stat().st_size // PAGE
    told = 0
    for page in range(1, count):
        root = copied(stores["closed"], tmp_path)
        alter(root / DATABASES[which], lambda data, page=page: harm(data, page, chance))  # type: ignore[misc]
        told += bool(judged(root, kept).told)
        rebuilt(root, kept)
    assert told >= (count // 5 if harm is flip_in_page else count - 2), "bits in free bytes harm nothing"


def older(store: Path, older_store: Path, *patterns: str) -> None:
    for pattern in patterns:
        for old in store.glob(pattern):
            old.unlink()
        for new in older_store.glob(pattern):
            shutil.copy(new, store / new.relative_to(older_store))


@pytest.mark.parametrize("state", ["killed", "closed"])
@pytest.mark.parametrize(
    "patterns",
    [("db/index.db*",), ("db/shares/york/*",), ("db/index.db*", "db/shares/york/*"), ("db/index.db", "db/shares/york/sales.db")],
    ids=["index", "catalogue", "both", "without their logs"],
)
@pytest.mark.parametrize("comes_back", [True, False], ids=["an older copy", "nothing"])
def test_a_database_that_is_older_or_gone_catches_up_by_itself(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, state: str, patterns: tuple[str, ...], comes_back: bool
) -> None:
    root = copied(stores[state], tmp_path)
    older(root, stores["older"] if comes_back else tmp_path / "nothing", *patterns)
    verdict = judge(root, kept)
    assert (verdict.told, verdict.differs) == ([], [])


LOGS: dict[str, Callable[[bytearray], None]] = {
    "header": lambda data: flip(data, 5),
    "first frame": lambda data: flip(data, 60),
    "a page": lambda data: flip(data, 100_000),
    "last frame": lambda data: flip(data, len(data) - 2000),
    "half": lambda data: cut(data, len(data) // 2),
    "garbage behind it": lambda data: data.extend(bytes(5000)),
}


@pytest.mark.parametrize("damage", LOGS)
def test_commits_that_a_damaged_log_loses_are_made_again(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, damage: str
) -> None:
    root = copied(stores["killed"], tmp_path)
    for log in root.glob("db/**/*.db-wal"):
        if log.stat().st_size and log.name != "appliance.db-wal":
            alter(log, LOGS[damage])
    verdict = judge(root, kept)
    assert (verdict.told, verdict.differs) == ([], [])


# what is done to a segment of a journal; of the newest one a torn end is what a power cut leaves: it is cut and reported
SEGMENT: dict[str, Callable[[bytearray], None]] = {
    "length in the head": lambda data: flip(data, 2),
    "head": lambda data: flip(data, 30),
    "first record": lambda data: flip(data, 100),
    "last record": lambda data: flip(data, len(data) - 5),
    "one byte": lambda data: data.__setitem__(150, data[150] ^ 0xFF),
    "zeros": lambda data: zero(data, 200, 600),
    "4 KiB": lambda data: zero(data, 100, 4096),
    "two records exchanged": lambda data: exchange_records(data),
    "truncated": lambda data: cut(data, len(data) - 40),
    "empty": lambda data: data.clear(),
    "twice": lambda data: data.extend(bytes(data)),
}


def exchange_records(data: bytearray) -> None:
    """Let the last two records stand in each other's places."""
    *_, first, second = read_records(io.BytesIO(bytes(data)), 0)
    data[first.offset : second.end] = data[second.offset : second.end] + data[first.offset : first.end]


def put_back(root: Path, stores: dict[str, Path]) -> None:
    older(root, stores["closed"], f"{JOURNAL}/*.skj")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("damage", SEGMENT)
def test_a_damaged_segment_is_named_and_a_copy_put_back_is_all_it_needs(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, number: int, damage: str
) -> None:
    root = copied(stores["closed"], tmp_path)
    segments = sorted((root / JOURNAL).glob("*.skj"))
    assert len(segments) == 3
    alter(segments[number], SEGMENT[damage])
    verdict = judged(root, kept)
    assert any("leeds/finance" in told for told in verdict.told), verdict.told
    put_back(root, stores)
    assert all_seen(root) == kept


def exchange(first: Path, second: Path) -> None:
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


SEGMENTS: dict[str, Callable[[list[Path]], object]] = {
    "one is missing": lambda paths: paths[1].unlink(),
    "the newest is missing": lambda paths: paths[2].unlink(),
    "two are exchanged": lambda paths: exchange(paths[0], paths[1]),
    "one stands there twice": lambda paths: shutil.copy(paths[1], paths[1].with_name(f"{int(paths[1].stem) + 1:020d}.skj")),
    "one takes another's place": lambda paths: shutil.copy(paths[0], paths[1]),
}


@pytest.mark.parametrize("damage", SEGMENTS)
@pytest.mark.parametrize("catalogue_is_lost", [False, True])
def test_a_journal_whose_segments_are_not_one_history_is_named_and_keeps_collect_away(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, damage: str, catalogue_is_lost: bool
) -> None:
    root = copied(stores["closed"], tmp_path)
    SEGMENTS[damage](sorted((root / JOURNAL).glob("*.skj")))
    if catalogue_is_lost:
        (root / DATABASES["catalogue"]).unlink()
    verdict = judge(root, kept)
    if catalogue_is_lost and damage == "the newest is missing":
        assert verdict.differs, "an older end is what is left; the agent, which is ahead of it, stops as forked"
    else:
        assert any("leeds/finance" in told for told in verdict.told), verdict.told
    put_back(root, stores)
    if catalogue_is_lost:
        rebuilt(root, kept)
    assert all_seen(root) == kept


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("catalogue", ["stands", "lost", "older"])
def test_a_journal_whose_oldest_segments_are_gone_is_named(
    stores: dict[str, Path], kept: Seen, tmp_path: Path, count: int, catalogue: str
) -> None:
    root = copied(stores["closed"], tmp_path)
    for path in sorted((root / JOURNAL).glob("*.skj"))[:count]:
        path.unlink()
    if catalogue == "lost":
        (root / DATABASES["catalogue"]).unlink()
    elif catalogue == "older":
        older(root, stores["older"], "db/shares/leeds/*")
    verdict = judge(root, kept)
    assert not verdict.differs, "what is shown is what was there"
    put_back(root, stores)
    assert all_seen(root) == kept
    if catalogue != "lost":  # made again from a seal, it needs no more of the journal than there is
        assert any("leeds/finance" in told and "journal" in told for told in verdict.told), verdict.told
        assert not judge(root, kept).told, "collect has waited"


def test_the_oldest_segment_removed_is_told_by_status_health_and_scrub(root: Root) -> None:
    rig = VaultRig(root.path)
    for number in range(4):
        rig.send([b"f%d" % number], [Create(0, Kind.FILE, Attributes(0o644, 0, 0, 1))])
        rig.journal.begin_segment()
    rig.snapshot()
    rig.fold.fold_all()
    rig.close()
    program = Program(root.path)
    assert program.json("share", "status", SHARE)["alerts"] == []
    oldest = min((root.path / JOURNAL).glob("*.skj"))
    held = oldest.read_bytes()
    oldest.unlink()
    (told,) = program.json("share", "status", SHARE)["alerts"]
    assert "the changes 1 to 1 were removed by somebody: instants from" in told and "put the segments back" in told
    assert "stand in the catalogue alone until the next seal" in told
    found = program.run("scrub")
    assert found.returncode == 6 and b"leeds/finance: segments of the journal" in found.stdout, found
    with program.serving() as serving:
        status, said = get(program, serving.port, "/readyz")
        assert status == 200 and b"leeds/finance: segments of the journal" in said, said
    oldest.write_bytes(held)
    assert program.json("share", "status", SHARE)["alerts"] == [] and program.run("scrub").returncode == 0


def test_a_snapshot_that_is_folded_is_read_and_restored_when_changes_behind_it_are_lost(root: Root, tmp_path: Path) -> None:
    fill(root.path, {b"a": b"one"})
    rig = VaultRig(root.path)
    rig.journal.begin_segment()
    rig.send([b"b"], [Create(0, Kind.FILE, Attributes(0o644, 0, 0, 1))])
    rig.journal.begin_segment()
    rig.close()
    for path in sorted((root.path / JOURNAL).glob("*.skj"))[:-1]:
        path.unlink()
    program = Program(root.path)
    assert [entry["name"] for entry in program.json("ls", f"{SHARE}@latest")["entries"]] == ["a"]
    assert program.json("versions", f"{SHARE}@latest", "a")["versions"]
    program.json("restore", f"{SHARE}@latest", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / "a").read_bytes() == b"one"
    refused = program.run("ls", SHARE)
    assert refused.returncode == 6 and b"changes 2 to 2 are not folded" in refused.stderr, "the live state is not known"
    assert program.run("collect").returncode == 6


def test_an_older_journal_is_told_by_the_catalogue_that_is_ahead_of_it(
    stores: dict[str, Path], kept: Seen, tmp_path: Path
) -> None:
    root = copied(stores["closed"], tmp_path)
    older(root, stores["older"], "journal/york/sales/*.skj")
    assert any("sales.db is folded up to" in told for told in judged(root, kept).told)


def test_catalogues_that_were_exchanged_are_told_by_their_seals(stores: dict[str, Path], kept: Seen, tmp_path: Path) -> None:
    root = copied(stores["closed"], tmp_path)
    exchange(root / DATABASES["catalogue"], root / "db/shares/york/sales.db")
    assert any("by its seals" in told for told in judged(root, kept).told)
    rebuilt(root, kept)


def test_the_commands_name_damage_end_with_6_and_tell_the_remedy_that_works(root: Root) -> None:
    fill(root.path, {b"a": b"one", b"d/b": b"two" * 100_000})
    program = Program(root.path)
    shot = f"{SHARE}@{program.json('snapshot', 'list', SHARE)['snapshots'][0]['id']}"
    before = program.json("ls", shot)
    for which, words in (("index", ("collect",)), ("catalogue", ("ls", shot))):
        alter(root.path / DATABASES[which], lambda data: flip(data, 103))
        refused = program.run(*words)
        assert refused.returncode == 6 and b".db" in refused.stderr and b"rebuild" in refused.stderr, refused
        assert program.run("rebuild").returncode == 0
        assert program.json("ls", shot) == before


def test_a_scrub_by_command_finds_a_bit_that_sqlite_does_not_see(root: Root) -> None:
    fill(root.path, {b"a": b"one", b"d/b": b"two" * 100_000})
    program = Program(root.path)
    with program.serving():
        while program.run("verify-seal", SHARE).returncode == 3:
            pass  # sealed within a moment
    assert program.json("scrub", "--all")["databases"] == 4
    connection = open_database(root.path / DATABASES["catalogue"]).conn
    connection.execute("UPDATE state SET size=size+1 WHERE node=(SELECT max(node) FROM state WHERE kind=1)")
    connection.close()
    found = program.run("scrub", "--all")
    assert found.returncode == 6 and b"leeds/finance.db" in found.stdout and b"rebuild" in found.stdout, found
    assert program.run("rebuild").returncode == 0
    assert program.run("scrub", "--all").returncode == 0


def test_the_page_about_damage_names_what_is_tested_here() -> None:
    text = DOCUMENT.read_text()
    rows = [line.split("|")[1].strip(" `") for line in text.splitlines() if re.match(r"\| [^-]", line)]
    for what in ("db/index.db", "db/shares/B/S.db", "db/…-wal", "journal/B/S/….skj", "packs/…/….skp", "db/appliance.db"):
        assert any(what in row for row in rows), what


def test_a_purge_that_is_not_sealed_yet_is_no_damage(stores: dict[str, Path], tmp_path: Path) -> None:
    root = copied(stores["closed"], tmp_path)
    vault = Vault(open_root(root), TestClock(), random.Random(4).randbytes)
    order_purge(vault.share("leeds/finance").fold, RelPath(b"big"), 1)
    assert DatabaseChecks(vault).run(lambda step: None, True)[1] == []
    vault.close()


def test_all_databases_are_checked_within_the_period_and_none_twice_as_often(stores: dict[str, Path], tmp_path: Path) -> None:
    root, clock = copied(stores["closed"], tmp_path), TestClock()
    vault = Vault(open_root(root), clock, random.Random(4).randbytes)
    checked = 0
    for _ in range(30):
        checked += DatabaseChecks(vault).run(lambda step: None, False)[0]
        clock.pass_(24 * HOUR)
    assert 4 <= checked <= 8, "index, appliance and two catalogues"
    vault.close()
