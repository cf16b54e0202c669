"""Loads what makes an appliance work in this process, when a command comes to need it: that takes most of a second.

A command that only asks a serving process does without. Nothing else is loaded late (docs/decisions/0006).
"""

import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance.settings import Environment
from appliance.transport import Transport


def load(place: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def load_all() -> None:
    """Load what a serving process has loaded: then the class of every error that it can answer is known."""
    load("appliance.server:run_service")


def open_locally(path: Path, environment: Environment, stack: ExitStack) -> Transport:
    """Open the appliance for this process alone; `stack` closes it."""
    transport: Transport = load("appliance.local_transport:open_locally")(path, environment, stack)
    return transport
