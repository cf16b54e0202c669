"""Make an old store: `python -m tests.old_stores.make VERSION`, run once by each release before its formats can change.

Writes VERSION.tar.gz (an appliance's folder after a clean stop) and VERSION.json (what every snapshot shows) beside this file.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from core.digest import digest_of
from tests.end_to_end.rig import Rig
from tests.tree_compare import describe_tree

HERE = Path(__file__).parent


def shown(folder: Path) -> dict[str, object]:
    """Return a restored tree as JSON can hold it."""
    found = {}
    for path, (*attributes, body, first) in describe_tree(folder).items():
        content = digest_of(body).hex() if isinstance(body, bytes) else body
        found[repr(path)] = repr((*attributes, content, first))
    return found


def make(version: str) -> None:
    """Play a short history and keep what it left."""
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(Path(name))
        rig.init()
        rig.serve()
        rig.enroll()
        history = {}
        for number in range(3):
            _edit(rig.share, number)
            rig.look()
            rig.appliance("snapshot", "create", "leeds/data", "--label", f"state {number}")
        for row in rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]:
            target = rig.folder / f"restored-{row['id']}"
            rig.appliance("restore", f"leeds/data@{row['id']}", "--to", str(target))
            history[str(row["id"])] = {"snapshot": row, "tree": shown(target)}
        rig.stop()
        subprocess.run(["tar", "-C", name, "-czf", HERE / f"{version}.tar.gz", "root"], check=True)
        (HERE / f"{version}.json").write_text(json.dumps(history, indent=1, sort_keys=True))


def _edit(share: Path, number: int) -> None:
    (share / "file").write_bytes(b"state %d " % number * 100)
    if number == 0:
        (share / "folder").mkdir()
        (share / "folder" / "large").write_bytes(bytes(range(256)) * 800)
        os.symlink("file", share / "symlink")
        os.link(share / "file", share / "folder" / "link")
        with (share / "sparse").open("wb") as file:
            file.truncate(1_000_000)
            file.write(b"begin")
        Path(os.fsdecode(os.fsencode(share) + b"/\xff\n")).write_bytes(b"odd name")
    if number == 1:
        (share / "folder").rename(share / "renamed")
        with (share / "renamed" / "large").open("r+b") as file:
            file.seek(100_000)
            file.write(b"x" * 150)
    if number == 2:
        (share / "symlink").unlink()


if __name__ == "__main__":
    make(sys.argv[1])
