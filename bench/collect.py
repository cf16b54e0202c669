"""`python -m bench.collect`: what collect's mark takes for each chunk, and how long a run takes with hundreds of shares.

`slope`: the mark runs as the process that it is, over stores of several sizes. It looks at a chunk's rows only, so
index and catalogue rows are put there directly and no data stands behind them; recipe nodes, which it reads, are
records of real packs. Of ten chunks six are named by recipes (256 a node), three by files of one chunk, one of these as a
delta on another, and one by nothing.
`shares`: branches, each a dedup domain of its own, are laid through chunks, frames and fold under a clock that stands four
days back, and `stagekeeper collect` is run twice.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.root import Root, open_root
from appliance.vault import Vault
from bench.figure import Figure, at_most, parser_of, reading, tell
from bench.laying import BIN, EarlierClock, make_root
from bench.measure import Measured, allocated_bytes, drop_caches, timed
from core.clock import NANOSECONDS
from core.database import Connection, transaction
from core.digest import DIGEST_BYTES, Digest
from snapshots.catalogue_db import CatalogueWriter
from snapshots.chunk_store import ChunkStore
from snapshots.mark import Roots
from snapshots.mark_child import LISTS, MarkPlan
from snapshots.schema_db import LIVE
from staging.changes import Attributes, Change, Chunk, Create, Kind, Mirror
from staging.chunk_format import ChunkKind, PackedChunk, address_of, item_parts, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open
from staging.recipe_format import Piece, encode_node

_STORE_ID = bytes(range(16))
_FAR_PACK = 1_000_000  # rows name a pack that does not exist; the mark asks no chunk of data for its bytes
_BATCH = 256_000  # chunks laid at a time; a multiple of ten shares and of 256
_PIECES_A_NODE = 256
_AIM_CHUNKS, _AIM_MIB = 50_000_000, 1024
_DAYS_BACK = 4
_DAYS_BACK_NS = _DAYS_BACK * 86_400 * NANOSECONDS
_PLAIN = Attributes(0o644, 1000, 1000, 0)
_STATE = f"INSERT INTO state VALUES (?,?,{LIVE},?,1,1,420,0,0,1,0,NULL,?,?,x'',0,0)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the slope, or a run with many shares."""
    parser = parser_of("bench.collect", __doc__)
    parser.add_argument("what", choices=["slope", "shares"])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 2, 4], help="slope: chunks of each store")
    parser.add_argument("--shares", type=int, default=300, help="shares: how many")
    parser.add_argument("--files", type=int, default=500, help="shares: files of each")
    options = parser.parse_args(arguments)
    if options.what == "slope":
        tell(options, _slope([int(millions * 1_000_000) for millions in options.millions], options.folder))
    else:
        tell(options, _shares(options.shares, options.files, options.folder))


def _slope(sizes: list[int], folder: Path | None) -> list[Figure]:
    marked: list[tuple[int, Measured]] = []
    found: list[Figure] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder, prefix="stagekeeper-collect-") as name:
            chunks, plan = _lay_store(Path(name), size)
            drop_caches()
            measured = timed([sys.executable, "-m", "snapshots.mark_child", str(plan)])
            listed = {kind: (Path(name) / kind).stat().st_size // DIGEST_BYTES for kind in LISTS}
        if not 0.099 * chunks <= listed["fresh"] <= 0.1 * chunks:  # what is named is never listed, garbage but for chance is
            raise SystemExit(f"of {chunks} chunks {listed['fresh']} were found to be garbage")
        marked.append((chunks, measured))
        found += _mark_figures(f"mark of {chunks} chunks", measured, chunks)
    (few, small), (many, large) = marked[0], marked[-1]
    if len(marked) > 1:
        slope = (large.peak_mb - small.peak_mb) / (many - few)
        found.append(reading("memory of a mark for each chunk", slope * 2**20, "B"))
        at_aim = large.peak_mb + slope * (_AIM_CHUNKS - many)
        found.append(reading(f"memory of a mark of {_AIM_CHUNKS} chunks by that slope", at_aim, "MiB", at_most(_AIM_MIB)))
    return found


def _mark_figures(what: str, measured: Measured, chunks: int) -> list[Figure]:
    return [
        reading(what, measured.wall_seconds, "s"),
        reading(f"{what}, CPU", measured.cpu_seconds, "s"),
        reading(f"{what}, CPU a chunk", measured.cpu_seconds / chunks * 1e6, "µs"),
        reading(f"{what}, peak", measured.peak_mb, "MiB"),
    ]


def _lay_store(folder: Path, size: int) -> tuple[int, Path]:
    """Make an index, a catalogue and packs with nodes; return how many chunks there are, and the file with a mark's plan."""
    store = ChunkStore(folder / "packs", folder / "index.db", _STORE_ID)
    catalogue = CatalogueWriter(folder / "share.db")
    rows_of = store.parts.index.connection
    with transaction(rows_of):
        rows_of.execute("INSERT INTO pack VALUES (?,?,?,?,?)", (_FAR_PACK, 1, 0, 0, 0))
    chance = random.Random(1)
    node = chunks = 0
    while chunks < size:
        digests = [Digest(chance.randbytes(DIGEST_BYTES)) for _ in range(min(_BATCH, size - chunks))]
        nodes = _lay_chunks(rows_of, digests)
        store.put_own("bench", nodes)
        with transaction(catalogue.connection):
            single, tenth = ChunkKind.DATA, len(digests) // 10
            named = [(single, digest) for digest in digests[6 * tenth : 9 * tenth]]
            named += [(ChunkKind.NODE, chunk.digest) for chunk in nodes]
            rows = [(node + at, node + at, node + at, int(kind), digest) for at, (kind, digest) in enumerate(named, 2)]
            catalogue.connection.executemany(_STATE, rows)
        node += len(rows)
        chunks += len(digests) + len(nodes)
    catalogue.close()
    store.close()
    roots = Roots([], [str(folder / "share.db")])
    index, packs, old = str(folder / "index.db"), str(folder / "packs"), time.time_ns() - _DAYS_BACK_NS
    plan = MarkPlan(index, packs, _STORE_ID, roots, b"saltsalt", old, str(folder))
    (folder / "plan").write_bytes(msgspec.msgpack.encode(plan))
    return chunks, folder / "plan"


def _lay_chunks(index: Connection, digests: list[Digest]) -> list[PackedChunk]:
    """Put the rows of data chunks into the index and return the nodes that name six tenths of them."""
    tenth = len(digests) // 10
    bases = {digest: digests[at] for at, digest in enumerate(digests[8 * tenth : 9 * tenth])}
    with transaction(index):
        index.executemany(
            "INSERT INTO chunk VALUES (?,?,0,100,1,?)", [(digest, _FAR_PACK, bases.get(digest)) for digest in sorted(digests)]
        )
    parts = [digests[at : at + _PIECES_A_NODE] for at in range(0, 6 * tenth, _PIECES_A_NODE)]
    parts[-1] = parts[-1][: 6 * tenth - (len(parts) - 1) * _PIECES_A_NODE]
    return [pack_chunk(ChunkKind.NODE, encode_node(0, [Piece(1, digest) for digest in part])) for part in parts]


def _shares(count: int, files: int, folder: Path | None) -> list[Figure]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="stagekeeper-collect-") as name:
        root = make_root(Path(name)).path
        began = time.perf_counter()
        for number in range(count):
            _lay_share(open_root(root), number, files)
        found = [
            reading(f"{count} shares of {files} files laid", time.perf_counter() - began, "s"),
            reading("packs of them", allocated_bytes(root / "packs") / 1e6, "MB"),
        ]
        for run, condemned in (("first", count * (files // 10)), ("second", 0)):
            drop_caches()
            measured, report = _collect(root)
            if not 0.99 * condemned <= report["condemned"] <= condemned or report["removed_chunks"]:
                raise SystemExit(f"{condemned} chunks were to be condemned and none removed: {report}")
            found += _mark_figures(f"{run} collect of {count} shares", measured, report["chunks"])
    return found


def _lay_share(root: Root, number: int, files: int) -> None:
    """Lay one share, with a snapshot and chunks that nothing names."""
    vault = Vault(root, EarlierClock(_DAYS_BACK), os.urandom)
    share_id = number.to_bytes(16, "big")
    share = vault.register(f"branch{number}/data", share_id)
    session = share.receiver.open(Open(share_id, 1)).session
    contents = [b"file %d of branch %d\n" % (file, number) for file in range(files + files // 10)]
    chunks = [pack_chunk(ChunkKind.DATA, data, address_of(ChunkKind.DATA, data)) for data in contents]
    share.receiver.chunks(b"".join(part for chunk in chunks for part in item_parts(chunk)))
    paths = [b"file %04d.txt" % file for file in range(files)]
    changes: list[Change] = [Mirror(True)]
    changes += [Create(file, Kind.FILE, _PLAIN, Chunk(chunks[file].digest, chunks[file].size)) for file in range(files)]
    frame = seal_frame(share_id, 1, 1, share.journal.position.hash, paths, [*changes, Mirror(False)])
    share.receiver.frames(session, frame)
    share.fold.fold_all()
    share.fold.take_snapshot("laid", "command", vault.clock.now_ns())
    share.fold.fold_all()
    share.sealer.seal()
    vault.close()


def _collect(root: Path) -> tuple[Measured, Any]:
    """Run the installed command; return what it took with its child, and its report."""
    report = root.parent / "report"
    command = f'exec "{BIN}/stagekeeper" collect --root "{root}" --json > "{report}"'
    measured = timed(["/bin/sh", "-c", command])
    return measured, msgspec.json.decode(report.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
