"""The data that every candidate protects: many small real files and one large one, and a round of small changes to them."""

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCES = ("/usr/share", "/usr/lib", "/usr/include", "/opt", "/usr/local", "/root/.pyenv")
_SMALL_FILE_BYTES = 64 * 1024
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scale:
    """How much data a run uses."""

    small_files: int
    large_bytes: int


SCALES = {"tiny": Scale(2_000, 20_000_000), "small": Scale(10_000, 200_000_000), "full": Scale(45_000, 900_000_000)}
RANDOM_WRITES = 1000
WRITE_BYTES = 150


def build_corpus(folder: Path, scale: Scale) -> tuple[int, int]:
    """Copy small files and join large ones into one; return (files, bytes)."""
    folder.mkdir(parents=True)
    copied = total = 0
    for source in _small_files():
        target = folder / "small" / f"{copied % 97:02d}" / f"{copied // 97 % 31:02d}" / f"{copied:06d}-{source.name[-80:]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        total += target.stat().st_size
        copied += 1
        if copied == scale.small_files:
            break
    if copied < scale.small_files:
        raise SystemExit(f"this machine has only {copied} small files; use a smaller scale")
    with (folder / "large.bin").open("wb") as large:
        for block in _large_blocks():
            large.write(block[: scale.large_bytes - large.tell()])
            if large.tell() >= scale.large_bytes:
                break
        total += large.tell()
    return copied + 1, total


def change_corpus(folder: Path, seed: int = 2005) -> None:
    """Write 150 bytes at 1000 random places of the large file and touch 1 % of the small ones (a few bytes appended)."""
    chance = random.Random(seed)
    large = folder / "large.bin"
    size = large.stat().st_size
    with large.open("r+b") as file:
        for _ in range(RANDOM_WRITES):
            file.seek(chance.randrange(size - WRITE_BYTES))
            file.write(chance.randbytes(WRITE_BYTES))
    small = sorted(path for path in (folder / "small").rglob("*") if path.is_file())
    for path in chance.sample(small, len(small) // 100):
        with path.open("ab") as file:
            file.write(b"a small change\n")


def _small_files() -> Iterator[Path]:
    for source in _SOURCES:
        for parent, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if not path.is_symlink() and path.is_file() and 0 < path.stat().st_size < _SMALL_FILE_BYTES:
                    yield path


def _large_blocks() -> Iterator[bytes]:
    """Yield the machine's larger files block by block, again and again with a mark, so that no two rounds are equal."""
    for round_number in range(100):
        for source in _SOURCES:
            for parent, folders, names in os.walk(source):
                folders.sort()
                for name in sorted(names):
                    path = Path(parent, name)
                    if path.is_symlink() or not path.is_file() or path.stat().st_size < _BLOCK:
                        continue
                    with path.open("rb") as file:
                        while block := file.read(_BLOCK):
                            yield bytes([round_number]) + block
