"""The peers from Debian, driven the way their manuals say: restic, borg, rsync."""

import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from bench.measure import Measured, allocated_bytes, timed


class Candidate(Protocol):
    """Something that protects a folder and gives it back."""

    name: str

    def begin(self, work: Path) -> None:
        """Make an empty store below `work`."""

    def protect(self, source: Path) -> Measured:
        """Bring the store up to date with the folder."""

    def stored_bytes(self) -> int:
        """Return what the store takes."""

    def restore(self, target: Path) -> Measured:
        """Give the newest state back into an empty folder."""

    def end(self) -> None:
        """Stop what runs."""


class Restic:
    """restic, with its defaults."""

    name = "restic"

    def begin(self, work: Path) -> None:
        """Make an empty repository."""
        self._store = work / "repository"
        self._environment = {
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(self._store),
            "RESTIC_CACHE_DIR": str(work / "c"),
        }
        timed(["restic", "init"], self._environment)

    def protect(self, source: Path) -> Measured:
        """Back the folder up."""
        self._source = source
        return timed(["restic", "backup", "--quiet", str(source)], self._environment)

    def stored_bytes(self) -> int:
        """Return what the repository takes."""
        return allocated_bytes(self._store)

    def restore(self, target: Path) -> Measured:
        """Restore the newest snapshot."""
        return timed(["restic", "restore", "latest", "--quiet", "--target", str(target)], self._environment)

    def end(self) -> None:
        """Nothing runs."""


class Borg:
    """borg, unencrypted (as the others write to a local disk), with its default compression."""

    name = "borg"

    def begin(self, work: Path) -> None:
        """Make an empty repository."""
        self._store, self._count = work / "repository", 0
        self._environment = {"BORG_BASE_DIR": str(work / "base"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        timed(["borg", "init", "-e", "none", str(self._store)], self._environment)

    def protect(self, source: Path) -> Measured:
        """Back the folder up."""
        self._count += 1
        return timed(["borg", "create", f"{self._store}::a{self._count}", str(source)], self._environment)

    def stored_bytes(self) -> int:
        """Return what the repository takes."""
        return allocated_bytes(self._store)

    def restore(self, target: Path) -> Measured:
        """Extract the newest archive."""
        return timed(["borg", "extract", f"{self._store}::a{self._count}"], self._environment, target)

    def end(self) -> None:
        """Nothing runs."""


class Rsync:
    """rsync to another folder: one copy, no versions, no compression; the floor for time."""

    name = "rsync"

    def begin(self, work: Path) -> None:
        """Make an empty folder."""
        self._store = work / "copy"
        self._store.mkdir()

    def protect(self, source: Path) -> Measured:
        """Bring the copy up to date."""
        return timed(["rsync", "-aHAX", "--delete", f"{source}/", str(self._store)])

    def stored_bytes(self) -> int:
        """Return what the copy takes."""
        return allocated_bytes(self._store)

    def restore(self, target: Path) -> Measured:
        """Copy back."""
        return timed(["rsync", "-aHAX", f"{self._store}/", str(target)])

    def end(self) -> None:
        """Nothing runs."""


def install_peers() -> None:
    """Install the peers from Debian when they are missing; needs root."""
    packages = {"restic": "restic", "borg": "borgbackup", "rsync": "rsync"}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "-q", *missing], check=True, capture_output=True)
