"""Settings for all tests: property tests are judged by what they find, never by how fast the machine is.

What a test opened and did not close is closed behind it: thousands of tests run in one process, and what the first ones leave
open (descriptors, the memory of what was read, disks that cannot be unmounted) is taken from the last ones.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from snapshots.chunk_store import ChunkStore
from snapshots.view_db import CatalogueReader
from staging.journal import Journal
from tests.in_memory import folder_in_memory

settings.register_profile("stagekeeper", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("stagekeeper")

_CLOSED = (Journal, ChunkStore, CatalogueReader)  # closing these again does nothing


@pytest.fixture
def folders() -> Iterator[ExitStack]:
    """Hold folders in memory until everything in them is closed."""
    with ExitStack() as held:
        yield held


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path, folders: ExitStack) -> Path:
    """Give a test that is marked `in_memory` a folder there, any other its folder on the disk."""
    if request.node.get_closest_marker("in_memory"):
        return folders.enter_context(folder_in_memory())
    return tmp_path


@pytest.fixture(autouse=True)
def what_was_opened_is_closed(monkeypatch: pytest.MonkeyPatch, folders: ExitStack) -> Iterator[None]:
    """Close every journal, store and reader that the test made, the newest first."""
    opened: list[weakref.ref[Any]] = []  # a test may go through thousands of stores: what nothing refers to any more is let go

    def remembering(plain: Callable[..., None]) -> Callable[..., None]:
        def made(self: Any, *arguments: Any, **named: Any) -> None:
            plain(self, *arguments, **named)
            opened.append(weakref.ref(self))

        return made

    for kind in _CLOSED:
        monkeypatch.setattr(kind, "__init__", remembering(kind.__init__))  # type: ignore[misc]
    yield
    for reference in reversed(opened):
        one = reference()
        if one is not None:
            one.close()
