"""A share under the filter capture: the installed agent serves the mount, the tests are the programs that use it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.rig import Rig, until
from tests.tree_compare import differences

needs_fuse = pytest.mark.skipif(
    not os.path.exists("/dev/fuse") or os.geteuid() != 0,
    reason="NOT TESTED: the filter capture needs /dev/fuse and root, and this machine has not both",
)


class FilterRig(Rig):
    """One share "data", protected with `--capture filter`."""

    def begin(self) -> None:
        self.init()
        self.serve()
        code = self.appliance("branch", "add", "leeds").json["code"]
        self.agent("enroll", self.url, code)
        self.agent("protect", str(self.share), "--as", "data", "--capture", "filter")

    def capture(self) -> None:
        """Start the agent and wait until every change is written down."""
        self.start_agent()
        self.await_filtering()

    def await_filtering(self) -> None:
        until(lambda: self.status()["filtering"] and self.status()["state"] == "good", 60)

    def status(self) -> Any:
        (share,) = self.agent("status", "--json").json["shares"]
        return share

    def await_durable(self) -> None:
        """Wait until nothing waits any more, twice: times follow their writes a moment later."""
        for _ in range(2):
            until(lambda: self._is_idle(), 60)

    def _is_idle(self) -> bool:
        before = self.status()
        subprocess.run(["sleep", "1.2"], check=True)
        after = self.status()
        is_same = before["durable_sequence"] == after["durable_sequence"]
        return bool(is_same and after["outbox_bytes"] == 0 and after["lag_seconds"] == 0)

    def restored(self, name: str = "restored") -> Path:
        target = self.folder / name
        report = self.appliance("restore", "leeds/data", "--to", str(target)).json
        assert report["not_applied"] == []
        return target

    def check(self, name: str = "restored") -> None:
        """Compare what can be restored with the folder, as programs see it."""
        self.await_durable()
        status = self.appliance("share", "status", "leeds/data").json
        assert (status["state"], status["reason"]) == ("good", "")
        assert differences(self.share, self.restored(name)) == []

    def close(self) -> None:
        super().close()
        if self.is_mounted():
            subprocess.run(["umount", "-l", str(self.share)], check=False)

    def is_mounted(self) -> bool:
        return f" {self.share} fuse.stagekeeper " in Path("/proc/mounts").read_text()
