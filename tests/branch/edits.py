"""Random edits of a real folder: everything that a file system lets happen between two looks."""

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path
from random import Random

_NAMES = [b"a", b"b", b"c", b"d", b"\xff\xfe", b"new\nline", "für".encode(), b"-rf", b"x" * 255, b"back\\slash"]


class Editor:
    """Edits below `root`, led by `random` alone."""

    def __init__(self, root: Path, random: Random, without: str = "") -> None:
        self.root, self.random = os.fsencode(root), random
        self.verbs = [verb for verb in _VERBS if verb != without]
        self.done: list[str] = []

    def edit(self, count: int) -> None:
        for _ in range(count):
            verb = self.random.choice(self.verbs)
            self.done.append(verb)
            with contextlib.suppress(OSError, shutil.Error):  # the verb does not fit what was picked
                getattr(self, verb)()

    def create(self) -> None:
        self._write(self._new_path(), self._data())

    def overwrite(self) -> None:
        self._write(self._pick(stat.S_ISREG), self._data())

    def append(self) -> None:
        with open(self._pick(stat.S_ISREG), "ab") as file:
            file.write(self._data())

    def patch(self) -> None:
        """Change bytes inside, keeping size and mtime."""
        path = self._pick(stat.S_ISREG)
        found = os.lstat(path)
        with open(path, "r+b") as file:
            file.seek(self.random.randrange(max(found.st_size, 1)))
            file.write(self.random.randbytes(min(4, found.st_size)))
            file.truncate(found.st_size)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))

    def patch_large(self) -> None:
        """Change some bytes inside a file that is long enough to be signed."""
        large = [path for path in self._everything() if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_size > 65_536]
        if large:
            with open(self.random.choice(large), "r+b") as file:
                file.seek(self.random.randrange(60_000))
                file.write(self.random.randbytes(150))

    def truncate(self) -> None:
        path = self._pick(stat.S_ISREG)
        os.truncate(path, self.random.choice([0, 1, 70_000, 400_000]))

    def hole(self) -> None:
        path = self._new_path()
        self._check_writable(path)
        with open(path, "wb") as file:
            file.write(b"begin")
            file.seek(self.random.choice([100_000, 700_000]))
            file.write(b"end")
            file.truncate(file.tell() + self.random.choice([0, 200_000]))

    def save_atomically(self) -> None:
        path = self._pick(stat.S_ISREG)
        temporary = os.path.join(os.path.dirname(path), b".saving")
        self._write(temporary, self._data())
        os.rename(temporary, path)

    def save_with_backup(self) -> None:
        path = self._pick(stat.S_ISREG)
        os.rename(path, path[:250] + b"~")
        self._write(path, self._data())

    def rename(self) -> None:
        os.rename(self._pick(), self._new_path())

    def rename_over(self) -> None:
        os.rename(self._pick(), self._pick())

    def swap(self) -> None:
        one, other, temporary = self._pick(), self._pick(), os.path.join(self.root, b".swapping")
        os.rename(one, temporary)
        try:
            os.rename(other, one)
            os.rename(temporary, other)
        except OSError:
            os.rename(temporary, one if not os.path.lexists(one) else self._new_path())

    def turn_inside_out(self) -> None:
        """A folder's child becomes its parent."""
        folder = self._pick(stat.S_ISDIR)
        child = self.random.choice(list(os.listdir(folder)) or [b"none"])
        temporary = os.path.join(self.root, b".turning")
        os.rename(os.path.join(folder, child), temporary)
        if not os.path.isdir(temporary):
            os.rename(temporary, os.path.join(folder, child))
            return
        os.rename(folder, os.path.join(temporary, os.path.basename(folder)[:200] + b"in"))
        os.rename(temporary, folder)

    def link(self) -> None:
        os.link(self._pick(stat.S_ISREG), self._new_path(), follow_symlinks=False)

    def symlink(self) -> None:
        os.symlink(self.random.choice([b"nowhere", b"../up", b"\xff"]), self._new_path())

    def fifo(self) -> None:
        os.mkfifo(self._new_path())

    def device(self) -> None:
        os.mknod(self._new_path(), stat.S_IFCHR | 0o600, os.makedev(1, self.random.choice([3, 5])))

    def unlink(self) -> None:
        os.unlink(self._pick(lambda mode: not stat.S_ISDIR(mode)))

    def make_folder(self) -> None:
        os.mkdir(self._new_path())

    def remove_tree(self) -> None:
        shutil.rmtree(self._pick(stat.S_ISDIR))

    def replace_kind(self) -> None:
        path = self._pick()
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
            self._write(path, self._data())
        else:
            os.unlink(path)
            os.mkdir(path)
            self._write(os.path.join(path, b"inside"), self._data())

    def chmod(self) -> None:
        path = self._pick(lambda mode: not stat.S_ISLNK(mode))
        os.chmod(path, self.random.choice([0o600, 0o644, 0o755, 0o4711]))

    def chown(self) -> None:
        os.chown(self._pick(), self.random.choice([0, 1, 12345]), self.random.choice([0, 2]), follow_symlinks=False)

    def xattr(self) -> None:
        path = self._pick(lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode))
        os.setxattr(path, self.random.choice([b"user.one", b"trusted.two"]), self.random.randbytes(9))

    def touch(self) -> None:
        when = self.random.choice([0, 10**18 + 123, time.time_ns()])
        os.utime(self._pick(), ns=(when, when), follow_symlinks=False)

    def _data(self) -> bytes:
        size = self.random.choice([0, 1, 100, 5000, 20_000, 90_000, 300_000])
        return self.random.randbytes(size) if self.random.random() < 0.7 else b"same" * (size // 4)

    def _write(self, path: bytes, data: bytes) -> None:
        self._check_writable(path)
        with open(path, "wb") as file:
            file.write(data)

    def _check_writable(self, path: bytes) -> None:
        """Opening a FIFO would wait for its other end for ever."""
        if os.path.lexists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise FileExistsError

    def _everything(self) -> list[bytes]:
        found = []
        for folder, folders, files in os.walk(self.root):
            found += [os.path.join(folder, name) for name in [*folders, *files]]
        return sorted(found)

    def _pick(self, wanted=lambda mode: True) -> bytes:  # type: ignore[no-untyped-def]
        fitting = [path for path in self._everything() if wanted(os.lstat(path).st_mode)]
        if not fitting:
            raise FileNotFoundError
        return self.random.choice(fitting)

    def _new_path(self) -> bytes:
        folders = [self.root, *(path for path in self._everything() if stat.S_ISDIR(os.lstat(path).st_mode))]
        return os.path.join(self.random.choice(folders), self.random.choice(_NAMES))


_VERBS = [name for name in vars(Editor) if not name.startswith("_") and name not in ("edit", "patch_large")]
