"""`python -m bench.flat`: restoring ten times as much data takes no more memory.

Two sources, one ten times as large as the other (a large file that does not pack, and small ones beside it), are protected
by an agent. The appliance is stopped, and `stagekeeper restore` works on its folder as the only process; its peak is compared.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.figure import at_most, parser_of, reading, tell
from bench.laying import BIN
from bench.measure import Measured, drop_caches, timed
from bench.ours import Stagekeeper

_TIMES_AS_MUCH = 10
_SMALL_FILES_A_MEGABYTE = 20
_BLOCK_BYTES = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Protect and restore both."""
    parser = parser_of("bench.flat", __doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="of the smaller source")
    options = parser.parse_args(arguments)
    sizes = (options.megabytes, _TIMES_AS_MUCH * options.megabytes)
    measured = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-flat-") as name:
            measured.append(_restore(Path(name), size))
    few, many = measured
    found = [
        reading(f"restore of {size} MB, peak", one.peak_mb, "MB", at_most(300)) for size, one in zip(sizes, measured, strict=True)
    ]
    tell(options, [*found, reading(f"peak with {_TIMES_AS_MUCH} × the data", many.peak_mb / few.peak_mb, "×", at_most(1.5))])


def _restore(folder: Path, megabytes: int) -> Measured:
    source, target = folder / "source", folder / "target"
    _make_source(source, megabytes)
    target.mkdir()
    ours = Stagekeeper()
    ours.begin(folder)
    try:
        ours.protect(source)
    finally:
        ours.end()
    drop_caches()
    measured = timed([str(BIN / "stagekeeper"), "restore", "bench/data", "--to", str(target), "--root", str(folder / "root")])
    restored = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if restored != sum(path.stat().st_size for path in source.rglob("*") if path.is_file()):
        raise SystemExit(f"{restored} bytes came back")
    return measured


def _make_source(source: Path, megabytes: int) -> None:
    chance = random.Random(megabytes)
    (source / "small").mkdir(parents=True)
    with (source / "large.bin").open("wb") as large:
        for number in range(megabytes):
            large.write(chance.randbytes(_BLOCK_BYTES))
            for file in range(_SMALL_FILES_A_MEGABYTE):
                (source / "small" / f"{number:05d}-{file:02d}.txt").write_bytes(b"file %d of %d\n" % (file, number) * 50)


if __name__ == "__main__":
    main(sys.argv[1:])
