"""`python -m bench.find --names 1000000`: how fast a part of a name is found among many, and what the index takes.

Names are laid through frames, journal and fold like an agent's (`--direct`: as rows of the catalogue, for ten million), then
indexed block by block. Times are of whole questions as the API asks them: the first page of 100, catalogue look-ups included.
"""

import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.figure import Figure, at_most, parser_of, reading, tell
from core.clock import SystemClock
from core.database import open_database, transaction
from snapshots.chunk_store import ChunkStore
from snapshots.find import TOP, Finder, Work
from snapshots.name_index import NameIndex
from snapshots.schema_db import LIVE
from snapshots.search_form import wanted_form
from snapshots.share_fold import ShareFold
from snapshots.view_db import CatalogueReader
from staging.changes import Attributes, Change, Create, Kind
from staging.frame_format import seal_frame
from staging.journal import Journal
from staging.protocol import Open
from staging.receiver import ShareReceiver

SHARE_ID = bytes(range(16))
FILES_A_FOLDER = 100
FOLDERS_A_FRAME = 50
PLAIN = Attributes(0o644, 1000, 1000, 1_700_000_000_000_000_000)
SYLLABLES = [
    "re",
    "port",
    "in",
    "voice",
    "bud",
    "get",
    "plan",
    "con",
    "tract",
    "scan",
    "img",
    "doc",
    "fin",
    "al",
    "draft",
    "mar",
    "ket",
    "ing",
    "sales",
    "team",
    "data",
    "log",
    "mod",
    "ule",
    "ad",
]
ENDINGS = [".txt", ".pdf", ".docx", ".jpg", ".py", ".xlsx", ".log", ".json", ".c", ""]
QUESTIONS = {
    "3 characters, many": ["rep", "pdf", "img", "log"],
    "5 characters, many": ["datai", "inman", "plan_", "sales"],
    "10 characters, few or many": ["saleteamre", "img_047110", "draftdraft", "contractin"],
    "3 characters, none": ["qzx", "zzz", "jqj", "wvw"],
    "10 characters, none": ["quarterly!", "0123456789", "zebrazebra", "_____-----"],
    "1 character": ["e", "7", "q", "."],
}


def names(count: int, chance: random.Random) -> Iterator[bytes]:
    """Yield names like those of an office: words, numbers, endings, pictures, and some that are everywhere."""
    words = ["".join(chance.choice(SYLLABLES) for _ in range(chance.randint(1, 4))) for _ in range(20_000)]
    for number in range(count):
        kind = chance.random()
        if kind < 0.05:
            yield b"index %d.html" % (number % FILES_A_FOLDER)
        elif kind < 0.2:
            yield b"IMG_%06d_%d.JPG" % (chance.randrange(100_000), number % FILES_A_FOLDER)
        else:
            first, second = chance.choice(words).capitalize(), chance.choice(words)
            yield f"{first}_{second}-{number % 9973}{chance.choice(ENDINGS)}".encode()


class BenchShare:
    """One share below a folder."""

    def __init__(self, folder: Path) -> None:
        """Open all of it."""
        self.catalogue = folder / "share.db"
        self.store = ChunkStore(folder / "packs", folder / "index.db", SHARE_ID)
        self.journal = Journal(folder / "journal", SHARE_ID, SystemClock())
        self.fold = ShareFold(self.catalogue, "bench", self.journal, self.store)
        self.receiver = ShareReceiver(SHARE_ID, "bench", self.journal, self.store, lambda: "session")
        self.receiver.open(Open(SHARE_ID, 1))
        self.reader = CatalogueReader(self.catalogue, "bench/share", self.store)
        self._find = folder / "find"
        self.open_index()

    def open_index(self) -> None:
        """Open the index of names, also after it was closed: then it takes no more on the disk than it needs."""
        self.index = NameIndex(self._find / "share.db", self.reader)

    def lay(self, count: int) -> int:
        """Lay files by frames and fold; return the last birth."""
        made = names(count, random.Random(1))
        folder_number = 0
        while True:
            paths, changes = [], []
            for _ in range(FOLDERS_A_FRAME):
                some = list(itertools.islice(made, FILES_A_FOLDER))
                if some:
                    folder_number += 1
                    folder = b"folder %d" % folder_number
                    paths += [folder, *(folder + b"/" + name for name in some)]
                    changes += [Kind.FOLDER, *[Kind.FILE] * len(some)]
            if not paths:
                self.fold.fold_all()
                return self.fold.sequence
            created: list[Change] = [Create(number, kind, PLAIN) for number, kind in enumerate(changes)]
            position = self.journal.position
            frame = seal_frame(SHARE_ID, 1, position.sequence + 1, position.hash, paths, created)
            self.receiver.frames("session", frame)

    def lay_rows(self, count: int) -> int:
        """Put the rows of files and folders into the catalogue; return the last birth."""
        connection = open_database(self.catalogue).conn
        born = 1
        made = names(count, random.Random(1))
        state = (
            "INSERT INTO state SELECT ?1, ?1, died, ?1, ?2, size, mode, uid, gid, owner, mtime_ns, xattrs, content_kind, content,"
            " target, device, linked FROM state WHERE node=1"
        )
        while some := list(itertools.islice(made, FILES_A_FOLDER * 200)):
            with transaction(connection):
                for start in range(0, len(some), FILES_A_FOLDER):
                    born += 1
                    folder, rows = born, [(1, b"folder %d" % born, born, LIVE, born)]
                    for name in some[start : start + FILES_A_FOLDER]:
                        born += 1
                        rows.append((folder, name, born, LIVE, born))
                    connection.executemany("INSERT INTO entry VALUES (?,?,?,?,?)", rows)
                    connection.executemany(state, [(row[4], int(Kind.FILE if row[0] > 1 else Kind.FOLDER)) for row in rows])
        connection.close()
        return born

    def question(self, text: str, last: int) -> tuple[float, float, int]:
        """Ask for the first page, live and deleted; return (seconds, seconds of CPU, hits)."""
        begun, cpu = time.perf_counter(), time.thread_time()
        work = Work()
        finder = Finder(self.reader, self.index, wanted_form(text), last, lambda path: True)
        found, following = finder.page(True, TOP, 100, work)
        if following is None:
            found += finder.page(False, TOP, 100 - len(found), work)[0]
        return time.perf_counter() - begun, time.thread_time() - cpu, len(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, index, ask, and print a table."""
    parser = parser_of("bench.find", __doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--direct", action="store_true", help="put rows into the catalogue instead of folding frames")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-bench-") as name:
        share = BenchShare(Path(name))
        begun = time.perf_counter()
        last = share.lay_rows(options.names) if options.direct else share.lay(options.names)
        found = [reading(f"{options.names} names laid", time.perf_counter() - begun, "s")]
        begun, blocks, longest = time.perf_counter(), 0, 0.0
        while True:
            step = time.perf_counter()
            if not share.index.step(last):
                break
            blocks, longest = blocks + 1, max(longest, time.perf_counter() - step)
        spent = time.perf_counter() - begun
        share.index.close()
        size = sum(part.stat().st_size for part in (Path(name) / "find").iterdir())
        share.open_index()
        found += [
            reading(f"indexed in {blocks} steps", spent, "s"),
            reading("the longest step of indexing", 1000 * longest, "ms"),
            reading("index of a name", size / options.names, "B"),
        ]
        found += [figure for what, texts in QUESTIONS.items() for figure in _ask(share, last, options.rounds, what, texts)]
    tell(options, found)


def _ask(share: BenchShare, last: int, rounds: int, what: str, texts: list[str]) -> list[Figure]:
    asked = [share.question(text, last) for _ in range(rounds) for text in texts]
    hits = " or ".join(str(count) for count in sorted({count for *_, count in asked}))
    clock, cpu = ([one[which] for one in asked] for which in (0, 1))
    return [
        reading(f"find, {what} ({hits} hits on the first page), p50", _percentile(clock, 0.5), "ms"),
        reading(f"find, {what}, p95", _percentile(clock, 0.95), "ms", at_most(1000)),
        reading(f"find, {what}, CPU p50", _percentile(cpu, 0.5), "ms"),
        reading(f"find, {what}, CPU p95", _percentile(cpu, 0.95), "ms"),
    ]


def _percentile(seconds: list[float], part: float) -> float:
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))]


if __name__ == "__main__":
    main(sys.argv[1:])
