"""How hard chunks are packed follows what the line takes."""

from pathlib import Path

import pytest

import branch
from branch.effort import Effort
from branch.uploader import pack_loose
from core.digest import ZERO_DIGEST, digest_of
from staging.chunk_format import unpack_chunk
from tests.appliance.settable_clock import SettableClock

SOURCES = Path(branch.__file__).parent.glob("*.py")
TEXT = b"".join(path.read_bytes() for path in sorted(SOURCES))[:100_000]


def told(*rates: float) -> Effort:
    clock = SettableClock()
    effort = Effort(clock)
    for rate in rates:
        with effort.timed(1_000_000):
            clock.move(1_000_000 / rate)
    return effort


@pytest.mark.parametrize(("rate", "level"), [(100e6, 1), (10.1e6, 1), (9e6, 3), (1.1e6, 3), (0.9e6, 6), (1e4, 6)])
def test_a_slow_line_is_worth_more_effort(rate: float, level: int) -> None:
    assert told(rate).level() == level


def test_one_odd_body_does_not_change_the_mind_and_a_lasting_change_does() -> None:
    assert told(*[50e6] * 5, 2e6).level() == 1
    assert told(*[50e6] * 5, *[2e6] * 12).level() == 3


def test_short_bodies_and_failures_tell_nothing() -> None:
    clock = SettableClock()
    effort = Effort(clock)
    with effort.timed(1000):
        clock.move(60)
    with pytest.raises(ConnectionError), effort.timed(1_000_000):
        clock.move(60)
        raise ConnectionError
    assert effort.level() == 3


def test_more_effort_gives_fewer_bytes_of_the_same_content() -> None:
    packed = [pack_loose([(digest_of(TEXT), TEXT, ZERO_DIGEST)], level)[0] for level in (1, 3, 6)]
    assert len(packed[0].data) > len(packed[1].data) > len(packed[2].data)
    assert {bytes(unpack_chunk(chunk.form, chunk.size, chunk.data)) for chunk in packed} == {TEXT}
