"""Settings: one TOML file in the appliance's folder, and the environment. Nothing else reads either.

Every value has a default that suits a small appliance; an unknown name or a value out of bounds is refused by name, so
that a mistyped line never passes for the default.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.errors import Refused

DEFAULT_LISTEN = "0.0.0.0:8443"
MIN_PASSWORD_CHARACTERS = 12  # the interface's promise; shorter ones fall to guessing even when hashed

Threads = Annotated[int, Meta(ge=2, le=1024)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Bytes = Annotated[int, Meta(ge=0, le=2**50)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class SettingsUnreadable(Refused):
    """The settings file is missing, no TOML, or says something that is not a setting."""


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the serving process listens, and what it grants to one connection or address."""

    listen: str = DEFAULT_LISTEN
    certificate: str = ""  # PEM files to use instead of the self-signed pair in tls/
    key: str = ""
    threads: Threads = 32  # requests answered at once; a streamed download holds one for its length
    threads_per_address: Threads = 24  # so that one address never holds all of them
    connections: Count = 10_000  # open at once, idle ones included; they hold a descriptor, no thread
    connections_per_address: Count = 1_000
    idle_seconds: Seconds = 60.0  # a kept-alive connection without a request, and one wait for the peer, may last
    header_seconds: Seconds = 15.0  # TLS handshake, request line and headers together
    body_grace_seconds: Seconds = 30.0  # before the smallest rate of a body counts
    body_bytes_per_second: Count = 1_000  # smallest mean rate of a body; the slowest line in use is about 64 kbit/s
    stop_seconds: Seconds = 10.0  # for requests under way at the end


class WebPages(Struct, frozen=True, forbid_unknown_fields=True):
    """What the pages and the API grant."""

    metrics_need_token: bool = False


class DirectorySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Directories that exports asked for over the network may write to; empty = any outside the appliance's folder."""

    exports: list[str] = []


class BackupSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """When the appliance's own files are backed up."""

    time_zone: str = "UTC"  # whose night it is


class SpaceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept free on the disks of the store; of a small disk at most a sixteenth each."""

    ballast_bytes: Bytes = 64 * 1024 * 1024  # given up when a disk is full: one pack can then be written anew
    reserve_bytes: Bytes = 256 * 1024 * 1024  # with less free no new data is taken; WAL files, folds and seals have it


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of an appliance."""

    server: ServerSettings = ServerSettings()
    web: WebPages = WebPages()
    directories: DirectorySettings = DirectorySettings()
    backup: BackupSettings = BackupSettings()
    space: SpaceSettings = SpaceSettings()


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says."""

    root: str | None
    listen: str | None


def read_environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """Return what the environment says about the appliance; empty variables count as unset."""
    return Environment(variables.get("STAGEKEEPER_ROOT") or None, variables.get("STAGEKEEPER_LISTEN") or None)


def load_settings(file: Path, environment: Environment) -> Settings:
    """Read the settings file and lay the environment over it; raise `SettingsUnreadable` saying what is wrong."""
    try:
        settings = msgspec.toml.decode(file.read_bytes(), type=Settings)
    except OSError as error:
        raise SettingsUnreadable(f"cannot read {file}: {error.strerror}", remedy="restore the file") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsUnreadable(f"{file}: {error}", remedy="correct the line, or remove it for the default") from error
    if environment.listen:
        return msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, listen=environment.listen))
    return settings


DEFAULT_FILE = f"""\
# Settings of this appliance. A line that begins with # shows the default; a name that is not here is refused.

[server]
listen = "{DEFAULT_LISTEN}"
# certificate = ""               PEM file to use instead of tls/certificate.pem
# key = ""                       its key, when it is not in the same file
# threads = 32                   requests answered at once
# threads_per_address = 24       of these, for one address
# connections = 10000            open at once, idle ones included
# connections_per_address = 1000
# idle_seconds = 60.0            a connection without a request, and one wait for the other side
# header_seconds = 15.0          TLS handshake, request line and headers together
# body_grace_seconds = 30.0      before the smallest rate of a body counts
# body_bytes_per_second = 1000
# stop_seconds = 10.0            for requests under way when the appliance is stopped

[web]
# metrics_need_token = false

[directories]
# exports = []                   where exports over the network may write; empty = anywhere outside this folder

[backup]
# time_zone = "UTC"              the appliance's own files are backed up at 02:00 there

[space]
# ballast_bytes = 67108864       preallocated on each disk of the store, given up when it is full; 0 = none
# reserve_bytes = 268435456      with less free, no new data is taken
"""
