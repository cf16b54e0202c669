"""The agent's settings and the layout of its state directory; the only look at the environment.

Settings are `settings.toml` in the state directory; every one has a default, an unknown one is refused.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.errors import Refused

DEFAULT_STATE = "/var/lib/stagekeeper-agent"
STATE_VARIABLE = "STAGEKEEPER_AGENT_STATE"

_Seconds = Annotated[float, Meta(ge=0.01, le=30 * 86_400)]


class SettingsUnreadable(Refused):
    """`settings.toml` cannot be understood."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator can tune."""

    settle_seconds: _Seconds = 0.25  # quiet time after a change before a look: an atomic save is over by then
    settle_limit_seconds: _Seconds = 1.0  # a share that never rests is looked at this often all the same
    reconcile_seconds: _Seconds = 3600.0  # a full look, whatever the events said
    rescan_seconds: _Seconds = 60.0  # a full look, when events cannot be had for the whole share
    outbox_limit_bytes: Annotated[int, Meta(ge=1024 * 1024)] = 10 * 1024**3
    upload_threads: Annotated[int, Meta(ge=1, le=16)] = 2
    request_timeout_seconds: _Seconds = 60.0
    retry_limit_seconds: _Seconds = 30.0  # the longest pause between two attempts to reach the appliance


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where the agent keeps what it must remember."""

    path: Path

    @property
    def database(self) -> Path:
        """Return the file with enrolment and shares."""
        return self.path / "agent.db"

    @property
    def lock(self) -> Path:
        """Return the file that a running agent holds locked."""
        return self.path / "agent.lock"

    @property
    def status(self) -> Path:
        """Return the file in which a running agent tells how it is."""
        return self.path / "status.json"

    @property
    def reserve(self) -> Path:
        """Return the file that keeps some room."""
        return self.path / "reserve"

    @property
    def hooks(self) -> Path:
        """Return the file that names the commands around marks."""
        return self.path / "hooks.toml"

    @property
    def shares(self) -> Path:
        """Return the folder that holds one folder a share."""
        return self.path / "shares"

    def share(self, share_id: bytes) -> Path:
        """Return a share's folder."""
        return self.shares / share_id.hex()

    def memory(self, share_id: bytes, life: int) -> Path:
        """Return a share's memory; each time that the folder is protected anew it begins with an empty one."""
        return self.share(share_id) / (f"known-{life}.db" if life else "known.db")

    def dirty(self, share_id: bytes, life: int) -> Path:
        """Return the marks of files that the filter capture may have changed, kept beside the memory."""
        return self.share(share_id) / (f"dirty-{life}.db" if life else "dirty.db")


def state_directory(given: str | None) -> StateDirectory:
    """Return the state directory: as given, from the environment, or the default."""
    return StateDirectory(Path(given or os.environ.get(STATE_VARIABLE) or DEFAULT_STATE).absolute())


def read_settings(state: StateDirectory) -> Settings:
    """Read `settings.toml`; raise `SettingsUnreadable` naming what is wrong in it."""
    path = state.path / "settings.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Settings)
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise SettingsUnreadable(f"{path} cannot be read: {error}", remedy="correct or remove it") from error
