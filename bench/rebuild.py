"""`python -m bench.rebuild`: how long `stagekeeper rebuild` takes for a share of a million versions whose databases are gone.

Versions are laid through chunks, frames and fold: files that each get a new content behind every snapshot, so that each state
is kept. What is laid is sealed, every database of the store removed, and the installed command run: once to its end, and
once killed when half of that time has passed and run again. After each `verify-seal` compares catalogue and seals, and what a
snapshot in the middle shows is compared with what was laid. CPU and memory are those of the process that rebuilds.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.root import Root, open_root
from appliance.vault import OpenShare, Vault
from bench.figure import Figure, at_most, parser_of, reading, tell
from bench.laying import BIN, make_root
from bench.measure import Measured, allocated_bytes, drop_caches, timed
from core.clock import SystemClock
from core.digest import Digest
from core.relpath import RelPath
from staging.changes import Attributes, Change, Chunk, Content, Create, Kind, Mirror
from staging.chunk_format import ChunkKind, address_of, item_parts, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open

_SHARE = "big/data"
_SHARE_ID = bytes(range(16))
_PLAIN = Attributes(0o644, 1000, 1000, 0)
_FILES_A_FOLDER = 100
_FOLDERS_A_FRAME = 50
_FILES_ASKED = 20
_LABEL = "round "


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay the versions, lose the databases, rebuild."""
    parser = parser_of("bench.rebuild", __doc__)
    parser.add_argument("--versions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10, help="versions of each file")
    parser.add_argument("--behind", type=int, default=1, help="rounds that lie behind the newest seal, in the journal alone")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-rebuild-") as name:
        root = make_root(Path(name)).path
        folders = options.versions // options.rounds // _FILES_A_FOLDER
        began, cpu = time.perf_counter(), time.process_time()
        _lay(open_root(root), folders, options.rounds, options.behind)
        versions = folders * _FILES_A_FOLDER * options.rounds
        found = [
            reading(f"{versions} versions laid", time.perf_counter() - began, "s"),
            reading("CPU of laying them", time.process_time() - cpu, "s"),
            *(reading(f"{part} before", allocated_bytes(root / part) / 1e6, "MB") for part in ("packs", "journal", "db")),
        ]
        whole = _rebuild(root)
        found += [reading(f"rows that verify-seal found equal, {versions} versions", _check(root, folders, options.rounds), "")]
        killed = _rebuild_in_two(root, whole.wall_seconds / 2)
        _check(root, folders, options.rounds)
    tell(options, [*found, *_figures("rebuilt", whole, versions), *_figures("rebuilt once killed half-way", killed, versions)])


def _figures(what: str, measured: Measured, versions: int) -> list[Figure]:
    return [
        reading(f"{versions} versions {what}", measured.wall_seconds, "s"),
        reading(f"{versions} versions {what}, of a million", measured.wall_seconds * 1e6 / versions, "s", at_most(600)),
        reading(f"{versions} versions {what}, CPU", measured.cpu_seconds, "s"),
        reading(f"{versions} versions {what}, peak", measured.peak_mb, "MB"),
    ]


def _lay(root: Root, folders: int, rounds: int, behind: int) -> None:
    vault = Vault(root, SystemClock(), os.urandom)
    share = vault.register(_SHARE, _SHARE_ID)
    session = share.receiver.open(Open(_SHARE_ID, 1)).session
    _send(share, session, [b""], [Mirror(True)])
    for number in range(rounds):
        for first in range(0, folders, _FOLDERS_A_FRAME):
            _round(share, session, number, range(first, min(first + _FOLDERS_A_FRAME, folders)))
        if number == 0:
            _send(share, session, [b""], [Mirror(False)])
        share.fold.fold_all()
        share.fold.take_snapshot(f"{_LABEL}{number}", "command", vault.clock.now_ns())
        share.fold.fold_all()
        if number < rounds - behind:
            share.sealer.seal()
    vault.close()


def _round(share: OpenShare, session: str, number: int, folders: range) -> None:
    """Give each file of some folders a new content, each of its own."""
    paths: list[bytes] = []
    changes: list[Change] = []
    body: list[bytes | memoryview] = []
    for folder in folders:
        if number == 0:
            paths.append(b"folder %05d" % folder)
            changes.append(Create(len(paths) - 1, Kind.FOLDER, _PLAIN))
        for file in range(_FILES_A_FOLDER):
            paths.append(b"folder %05d/file %03d.txt" % (folder, file))
            data = _content(number, folder, file)
            address = address_of(ChunkKind.DATA, data)
            content = Chunk(address, len(data))
            index = len(paths) - 1
            changes.append(Content(index, content) if number else Create(index, Kind.FILE, _PLAIN, content))
            body += item_parts(pack_chunk(ChunkKind.DATA, data, address))
    share.receiver.chunks(b"".join(body))
    _send(share, session, paths, changes)


def _content(number: int, folder: int, file: int) -> bytes:
    return b"version %d of file %d in folder %d\n" % (number, file, folder)


def _send(share: OpenShare, session: str, paths: list[bytes], changes: list[Change]) -> None:
    position = share.journal.position
    frame = seal_frame(_SHARE_ID, 1, position.sequence + 1, Digest(position.hash), paths, changes)
    share.receiver.frames(session, frame)


def _lose_databases(root: Path) -> None:
    for pattern in ("index.db*", "shares/*/*.db*"):
        for path in (root / "db").glob(pattern):
            path.unlink()
    drop_caches()


def _words(root: Path) -> list[str]:
    return [str(BIN / "stagekeeper"), "rebuild", "--root", str(root)]


def _rebuild(root: Path) -> Measured:
    _lose_databases(root)
    return timed(_words(root))


def _rebuild_in_two(root: Path, seconds: float) -> Measured:
    """Kill a rebuild after some time and go on; return what the second one took."""
    _lose_databases(root)
    child = subprocess.Popen(_words(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    ended = child.wait()
    if ended != -signal.SIGKILL:
        raise SystemExit(f"the rebuild was to be killed after {seconds:.1f} s and ended with {ended} before")
    return timed(_words(root))


def _check(root: Path, folders: int, rounds: int) -> int:
    """Compare the catalogue with its seals, each snapshot with what was laid; return the rows, raise when anything differs."""
    words = [str(BIN / "stagekeeper"), "verify-seal", _SHARE, "--root", str(root), "--json"]
    verify = subprocess.run(words, capture_output=True, check=False)
    verdict: Any = msgspec.json.decode(verify.stdout)
    if verify.returncode != 0 or not verdict["equal"]:
        raise SystemExit(f"the catalogue does not equal its seals: {verdict}")
    vault = Vault(open_root(root), SystemClock(), os.urandom)
    share = vault.share(_SHARE)
    snapshots = [row for row in share.reader.ledger.snapshots() if row.label.startswith(_LABEL)]
    kept = share.reader.query("SELECT count(*) FROM state WHERE content_kind != 0")[0][0]
    if (len(snapshots), kept) != (rounds, rounds * folders * _FILES_A_FOLDER):
        raise SystemExit(f"{len(snapshots)} snapshots and {kept} versions came back")
    for number, snapshot in enumerate(snapshots):
        view = share.reader.view(snapshot.sequence)
        for asked in range(_FILES_ASKED):
            folder, file = asked * folders // _FILES_ASKED, asked * 7 % _FILES_A_FOLDER
            node = view.node_at(RelPath(b"folder %05d/file %03d.txt" % (folder, file)))
            expected = _content(number, folder, file)
            if view.read(node.content, 0, len(expected) + 1) != expected:
                raise SystemExit(f"file {file} in folder {folder} differs in snapshot {number}")
    vault.close()
    return int(verdict["rows"])


if __name__ == "__main__":
    main(sys.argv[1:])
