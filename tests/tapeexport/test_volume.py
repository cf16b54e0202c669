"""Volumes: bytes in order, failures that stay."""

import io
from collections.abc import Sequence

import pytest

from core.durable import Buffer
from tapeexport.background import InOrder
from tapeexport.medium_errors import CartridgeNotWritten
from tapeexport.volume import StreamSink, Volume


class BrokenSink:
    """A sink whose second write fails."""

    def __init__(self) -> None:
        self.writes = 0
        self.is_finished = False

    def write(self, buffers: Sequence[Buffer]) -> None:
        self.writes += 1
        if self.writes == 2:
            raise CartridgeNotWritten("the medium broke")

    def finish(self) -> None:
        self.is_finished = True

    def close(self) -> None:
        pass


class SlowStream(io.RawIOBase):
    """Takes at most 1000 bytes at a time, as pipes may."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:  # type: ignore[override]
        self.taken += data[:1000]
        return min(len(data), 1000)


def test_bytes_arrive_in_order_in_pieces_of_any_size() -> None:
    stream = SlowStream()
    volume = Volume(1, StreamSink(stream))  # type: ignore[arg-type]
    expected = bytearray()
    for number in range(3000):
        piece = bytes([number % 251]) * (number * 7 % 4000)
        assert volume.offset == len(expected)
        volume.append(piece)
        expected += piece
    volume.finish()
    volume.close()
    assert stream.taken == expected


def test_a_failed_volume_stays_failed_and_writes_no_more() -> None:
    sink = BrokenSink()
    volume = Volume(1, sink)
    with pytest.raises(CartridgeNotWritten):
        for _ in range(100):
            volume.append(bytes(600_000))
    for _ in range(3):
        with pytest.raises(CartridgeNotWritten):
            volume.finish()
    volume.close()
    volume.close()
    assert (sink.writes, sink.is_finished) == (2, False)


def test_calls_run_in_order_and_stop_at_the_first_error() -> None:
    seen: list[int] = []

    def call(number: int) -> None:
        if number == 3:
            raise CartridgeNotWritten("three")
        seen.append(number)

    calls = InOrder(depth=10)
    for number in range(5):
        calls.submit(call, number)
    with pytest.raises(CartridgeNotWritten, match="three"):
        calls.drain()
    with pytest.raises(CartridgeNotWritten, match="three"):
        calls.drain()
    calls.close()
    assert seen == [0, 1, 2]
