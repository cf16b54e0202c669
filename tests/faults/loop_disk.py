"""A small ext4 of its own on a loop device, whose power can be cut: nothing that was not synced is there afterwards."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)  # not even the file system's own journal is written
_SIZE_MIB = 64
_OPTIONS = "loop,commit=300"  # what nobody syncs stays in memory, and is lost


class LoopDisk:
    """The disk, mounted at `folder`."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self.folder = image, folder

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "ext4", "-o", _OPTIONS, str(self._image), str(self.folder)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)

    def cut(self) -> None:
        """Cut the power: from now on the disk answers nothing, and what was not synced is lost."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def power_on(self) -> None:
        """Mount again, as after a start of the machine; nobody may use the disk at this time."""
        self.unmount()
        self.mount()


def unmount(folder: Path) -> None:
    """Unmount a test's disk; one that is still in use is taken away all the same, and the test fails that left files open."""
    done = subprocess.run(["umount", str(folder)], capture_output=True, text=True)
    if done.returncode:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        pytest.fail(f"the disk was still in use when the test was over: {done.stderr.strip()}")


@contextmanager
def loop_disk(folder: Path, size_mib: int = _SIZE_MIB) -> Iterator[LoopDisk]:
    """Make such a disk; skip loudly where none can be made, but as root, where there are loop devices, fail."""
    if os.geteuid() != 0:
        pytest.skip("POWER CUTS ARE NOT TESTED HERE: only root can mount a loop device")
    if not Path("/dev/loop-control").exists():
        pytest.skip("POWER CUTS ARE NOT TESTED HERE: THIS MACHINE HAS NO LOOP DEVICES")
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size_mib * 1024 * 1024)
    disk = LoopDisk(image, mounted)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=4", str(image)], check=True, capture_output=True)
        disk.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.fail(f"POWER CUTS ARE NOT TESTED HERE: root cannot mount an ext4 on a loop device ({error})")
    try:
        yield disk
    finally:
        unmount(mounted)
        held = subprocess.run(["losetup", "--associated", str(image)], check=True, capture_output=True, text=True).stdout
        image.unlink()
        assert not held, f"a loop device outlived its disk: {held}"
