"""The filter capture with real programs on its mount."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.filter_rig import FilterRig, needs_fuse

pytestmark = needs_fuse


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FilterRig]:
    made = FilterRig(tmp_path)
    yield made
    made.close()


def test_everything_that_programs_do_can_be_restored(rig: FilterRig) -> None:
    rig.begin()
    (rig.share / "before").mkdir()
    (rig.share / "before" / "file").write_bytes(os.urandom(300_000))
    rig.capture()
    script = """
    echo one > a; echo two >> a; mkdir d d/e; mv a d/b; ln d/b c; ln -s c s; mkfifo f; mknod n c 1 3
    cp before/file copy; mv copy before/file; chmod 640 c; chown 12:34 d; touch -d 2001-02-03 d/e
    setfattr -n user.colour -v red c; setfacl -m u:12:rwx d; truncate -s 1M big; truncate -s 10 before/file
    ln c c2; rm c; mv -T d/e e; mkdir gone; rmdir gone; : > empty; python3 -c "
import os
fd = os.open('unlinked', os.O_RDWR | os.O_CREAT); os.unlink('unlinked'); os.write(fd, b'x' * 9000); os.close(fd)
os.mkdir(b'\\\\xff'); os.symlink(b'\\\\xfe', b'\\\\xff/l')"
    """
    subprocess.run(["sh", "-euc", script], cwd=rig.share, check=True)
    rig.check()
