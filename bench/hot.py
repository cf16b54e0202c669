"""`python -m bench.hot`: what a kept version costs when the same 80 KB chunk is edited again and again.

A file of one chunk of text gets 150 random bytes at a random place, as a write that is journaled and folded, and a
snapshot is kept and sealed; so 200 times. Counted are the bytes of the file's own records in packs, by the index, and
beside them all that the root takes without the journal, as `du` counts it: seals, rows of catalogue and index, free pages.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.figure import Figure, at_most, parser_of, reading, tell
from bench.laying import PLAIN, LaidShare, make_root
from bench.measure import allocated_bytes
from staging.changes import Change, Create, Kind, Mirror, Write
from staging.chunking import cut_blocks

_SIZE_BYTES = 80_000
_WRITE_BYTES = 150
_WORDS = b"the quick brown fox jumps over a lazy dog while it rains in leeds and york".split()


def main(arguments: Sequence[str] | None = None) -> None:
    """Edit, keep, count."""
    parser = parser_of("bench.hot", __doc__)
    parser.add_argument("--edits", type=int, default=200)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-hot-") as name:
        tell(options, _edit(Path(name), options.edits))


def _edit(folder: Path, edits: int) -> list[Figure]:
    root = make_root(folder)
    laid = LaidShare(root, "hot/data")
    chance = random.Random(1)
    data = _text_of_one_chunk(chance)
    chunk = laid.put(data)
    begin: list[Change] = [Mirror(True), Create(0, Kind.FILE, PLAIN, chunk), Mirror(False)]
    laid.send([b"hot.txt"], begin)
    laid.snapshot("laid")
    laid.share.sealer.seal()
    laid.vault.truncate_logs()
    whole_before = allocated_bytes(root.packs) + allocated_bytes(root.db)
    taken = []
    for number in range(edits):
        before = laid.vault.store.stored_bytes("hot")
        laid.send([b"hot.txt"], [Write(0, chance.randrange(len(data) - _WRITE_BYTES), chance.randbytes(_WRITE_BYTES))])
        laid.share.fold.fold_all()
        taken.append(laid.vault.store.stored_bytes("hot") - before)
        laid.snapshot(f"edit {number}")
        laid.share.sealer.seal()
    laid.vault.truncate_logs()
    whole = allocated_bytes(root.packs) + allocated_bytes(root.db) - whole_before
    kept = len(laid.share.reader.ledger.snapshots())
    laid.close()
    if kept != edits + 1 or not all(taken):
        raise SystemExit(f"of {edits} edits {sum(map(bool, taken))} were stored and {kept - 1} kept")
    ten = taken[:10]
    return [
        reading("stored for the first kept version of a hot chunk", taken[0], "B", at_most(300)),
        reading(f"stored for each of the first {len(ten)}, on average", sum(ten) / len(ten), "B", at_most(1000)),
        reading(f"stored for each of {edits}, on average", sum(taken) / edits, "B", at_most(5000)),
        reading(f"all that the root takes for each of {edits} without the journal", whole / edits, "B"),
    ]


def _text_of_one_chunk(chance: random.Random) -> bytes:
    """Return text that packs to about a third, as texts do, and that the cutter leaves whole."""
    while True:
        words = b" ".join(chance.choice(_WORDS) + b"%d" % chance.randrange(1000) for _ in range(_SIZE_BYTES // 4))
        data = words[:_SIZE_BYTES]
        if len(list(cut_blocks([data]))) == 1:
            return data


if __name__ == "__main__":
    main(sys.argv[1:])
