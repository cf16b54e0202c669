"""A program that reads, writes, cuts, maps and punches a file at random and compares it with a model: PATH SEED COUNT."""

import mmap
import os
import random
import sys

MAX_BYTES = 400_000


class File:
    """The file and what it should hold."""

    def __init__(self, path: str, seed: int) -> None:
        self.path, self.chance = path, random.Random(seed)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self.model = bytearray()

    def step(self) -> None:
        chance = self.chance
        getattr(self, chance.choice(["write", "write", "write", "read", "read", "map", "map", "cut", "punch", "again", "sync"]))()

    def write(self) -> None:
        offset, data = self.chance.randrange(MAX_BYTES), self.chance.randbytes(self.chance.randrange(1, 20_000))
        assert os.pwrite(self.descriptor, data, offset) == len(data)
        self._put(offset, data)

    def read(self) -> None:
        offset, length = self.chance.randrange(MAX_BYTES), self.chance.randrange(1, 50_000)
        assert os.pread(self.descriptor, length, offset) == self.model[offset : offset + length]

    def map(self) -> None:
        if not self.model:
            return
        with mmap.mmap(self.descriptor, len(self.model)) as mapped:
            assert mapped[:] == self.model
            offset = self.chance.randrange(len(self.model))
            data = self.chance.randbytes(min(self.chance.randrange(1, 9000), len(self.model) - offset))
            mapped[offset : offset + len(data)] = data
            self._put(offset, data)
            if self.chance.random() < 0.5:
                mapped.flush()

    def cut(self) -> None:
        size = self.chance.randrange(MAX_BYTES)
        os.ftruncate(self.descriptor, size)
        del self.model[size:]
        self.model += bytes(size - len(self.model))

    def punch(self) -> None:
        offset, length = self.chance.randrange(MAX_BYTES), self.chance.randrange(1, 30_000)
        end = min(offset + length, len(self.model))
        os.system(f"fallocate --punch-hole --offset {offset} --length {length} {self.path}")
        if offset < end:
            self._put(offset, bytes(end - offset))

    def again(self) -> None:
        os.close(self.descriptor)
        self.descriptor = os.open(self.path, os.O_RDWR)

    def sync(self) -> None:
        os.fsync(self.descriptor)
        assert os.fstat(self.descriptor).st_size == len(self.model)

    def _put(self, offset: int, data: bytes) -> None:
        self.model += bytes(max(offset - len(self.model), 0))
        self.model[offset : offset + len(data)] = data


def main() -> None:
    file = File(sys.argv[1], int(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        file.step()
    with open(sys.argv[1], "rb") as whole:
        assert whole.read() == file.model


main()
