"""`python -m bench.collect`: what collect's mark takes for each chunk, and how long a run takes with hundreds of shares.

`slope`: the mark runs as the process that it is, over stores of several sizes. It looks at a chunk's rows only, so
index and catalogue rows are put there directly and no data stands behind them; recipe nodes, which it reads, are
records of real packs. Of ten chunks six are named by recipes (256 a node), three by files of one chunk, one of these as a
delta on another, and one by nothing.
`shares`: branches, each a dedup domain of its own, are laid through chunks, frames and fold under a clock that stands four
days back, and `stagekeeper collect` is run twice.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from appliance.root import Root, open_root
from appliance.vault import Vault
from bench.measure import Measured, allocated_bytes, drop_caches, timed
from core.clock import NANOSECONDS, SystemClock
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

_BIN = Path(sys.executable).parent
_STORE_ID = bytes(range(16))
_FAR_PACK = 1_000_000  # rows name a pack that does not exist; the mark asks no chunk of data for its bytes
_BATCH = 256_000  # chunks laid at a time; a multiple of ten shares and of 256
_PIECES_A_NODE = 256
_AIM_CHUNKS, _AIM_MIB = 50_000_000, 1024
_DAYS_BACK_NS = 4 * 86_400 * NANOSECONDS
_PLAIN = Attributes(0o644, 1000, 1000, 0)
_STATE = f"INSERT INTO state VALUES (?,?,{LIVE},?,1,1,420,0,0,1,0,NULL,?,?,x'',0,0)"


def main() -> None:
    """Measure the slope, or a run with many shares."""
    parser = argparse.ArgumentParser(prog="python -m bench.collect", description=__doc__)
    parser.add_argument("what", choices=["slope", "shares"])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 2, 4], help="slope: chunks of each store")
    parser.add_argument("--shares", type=int, default=300, help="shares: how many")
    parser.add_argument("--files", type=int, default=500, help="shares: files of each")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    if options.what == "slope":
        _slope([int(millions * 1_000_000) for millions in options.millions], options.folder)
    else:
        _shares(options.shares, options.files, options.folder)


def _slope(sizes: list[int], folder: Path | None) -> None:
    found: list[tuple[int, Measured]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder, prefix="stagekeeper-collect-") as name:
            chunks, plan = _lay_store(Path(name), size)
            drop_caches()
            measured = timed([sys.executable, "-m", "snapshots.mark_child", str(plan)])
            listed = {kind: (Path(name) / kind).stat().st_size // DIGEST_BYTES for kind in LISTS}
        if not 0.099 * chunks <= listed["fresh"] <= 0.1 * chunks:  # what is named is never listed, garbage but for chance is
            raise SystemExit(f"of {chunks} chunks {listed['fresh']} were found to be garbage")
        found.append((chunks, measured))
        _say(f"{chunks} chunks: {measured.wall_seconds:.1f} s, {measured.cpu_seconds:.1f} s of CPU "
             f"({measured.cpu_seconds / chunks * 1e6:.1f} µs a chunk), peak {measured.peak_mb:.0f} MiB")  # fmt: skip
    if len(found) > 1:
        (few, small), (many, large) = found[0], found[-1]
        slope = (large.peak_mb - small.peak_mb) / (many - few)
        _say(f"{slope * 2**20:.1f} bytes a chunk; {_AIM_CHUNKS} chunks: {large.peak_mb + slope * (_AIM_CHUNKS - many):.0f} MiB "
             f"by that slope (aim: {_AIM_MIB})")  # fmt: skip


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


class _PastClock(SystemClock):
    """The machine's clock, four days ago: what is written then is old enough to be condemned."""

    def now_ns(self) -> int:
        return super().now_ns() - _DAYS_BACK_NS


def _shares(count: int, files: int, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="stagekeeper-collect-") as name:
        password = Path(name) / "password"
        password.write_text("a long bench password\n")
        root = Path(name) / "root"
        timed([str(_BIN / "stagekeeper"), "init", str(root), "--admin-password-file", str(password)])
        began = time.perf_counter()
        for number in range(count):
            _lay_share(open_root(root), number, files)
        _say(f"{count} shares of as many branches, {files} files and a tenth as much garbage each, laid in "
             f"{time.perf_counter() - began:.1f} s; packs {allocated_bytes(root / 'packs') / 1e6:.0f} MB")  # fmt: skip
        for run, condemned in (("first", count * (files // 10)), ("second", 0)):
            drop_caches()
            measured, report = _collect(root)
            if not 0.99 * condemned <= report["condemned"] <= condemned or report["removed_chunks"]:
                raise SystemExit(f"{condemned} chunks were to be condemned and none removed: {report}")
            _say(f"{run} run: {report['chunks']} chunks, {report['named']} named, {report['condemned']} condemned in "
                 f"{measured.wall_seconds:.1f} s, {measured.cpu_seconds:.1f} s of CPU, "
                 f"peak {measured.peak_mb:.0f} MiB")  # fmt: skip


def _lay_share(root: Root, number: int, files: int) -> None:
    """Lay one share, with a snapshot and chunks that nothing names."""
    vault = Vault(root, _PastClock(), os.urandom)
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
    command = f'exec "{_BIN}/stagekeeper" collect --root "{root}" --json > "{report}"'
    measured = timed(["/bin/sh", "-c", command])
    return measured, msgspec.json.decode(report.read_bytes())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
