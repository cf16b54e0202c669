"""What all shares of a running agent have in common, passed in."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from random import Random

from branch.limits import WallTime
from branch.reserve import Reserve
from branch.settings import Settings, StateDirectory
from branch.share_line import LinePool
from core.clock import Clock
from core.durable import FileLayer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """State directory, settings, time and wall clock, chance, files, connections to the appliance, threads for uploads, and
    the room kept on the disk.
    """

    state: StateDirectory
    settings: Settings
    clock: Clock
    wall_time: WallTime
    files: FileLayer
    pool: LinePool
    threads: Executor
    new_random: Callable[[], Random]
    reserve: Reserve
