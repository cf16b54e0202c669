"""Many agents at once: each in a process of its own, or hundreds of idle ones that poll as an idle agent does."""

import heapq
import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.fleet import Branch, Sender
from staging.changes import Change, Write

WRITE_BYTES = 150
_FRAME_CHANGES = 10_000
_IDLE_THREADS = 8  # so that a poll that is answered late delays few others
_HOT_FILE_BYTES = 10_000_000


def at_once(works: Sequence[Callable[[Callable[[], object]], Any]]) -> list[Any]:
    """Run each work in a process of its own, return their answers; all go on together once each has called what it is given."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(works))
    answers: Any = context.SimpleQueue()

    def one(number: int) -> None:
        try:
            answers.put((number, works[number](barrier.wait), ""))
        except Exception as error:
            barrier.abort()
            answers.put((number, None, f"{type(error).__name__}: {error}"))

    processes = [context.Process(target=one, args=(number,)) for number in range(len(works))]
    for process in processes:
        process.start()
    found = sorted((answers.get() for _ in processes), key=lambda answer: answer[0])
    for process in processes:
        process.join()
    failures = {why for _, _, why in found if why}
    if failures:
        raise SystemExit(f"agents failed: {'; '.join(sorted(failures))}")
    return [answer for _, answer, _ in found]


def send_writes(branch: Branch, writes: int, size: int, seed: int, ready: Callable[[], object]) -> float:
    """Send small writes at random places of a file, in large frames that were sealed before; return the seconds."""
    chance = random.Random(seed)
    sender = Sender(branch)
    sender.begin(b"file")
    frames = []
    for first in range(0, writes, _FRAME_CHANGES):
        count = min(_FRAME_CHANGES, writes - first)
        changes: list[Change] = [Write(0, chance.randrange(size), chance.randbytes(WRITE_BYTES)) for _ in range(count)]
        frames.append(sender.seal([b"file"], changes))
    ready()
    began = time.perf_counter()
    for frame in frames:
        sender.send(frame)
    return time.perf_counter() - began


def send_now_and_then(branch: Branch, seconds: float, ready: Callable[[], object]) -> list[float]:
    """Send ten writes ten times a second; return how long each acknowledgement took."""
    chance = random.Random(branch.name)
    sender = Sender(branch)
    sender.begin(b"file")
    ready()
    times = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        times.append(timed_send(sender, chance, 10))
        time.sleep(0.1)
    return times


def timed_send(sender: Sender, chance: random.Random, writes: int) -> float:
    """Send one frame of small writes; return how long its acknowledgement took."""
    changes: list[Change] = [Write(0, chance.randrange(_HOT_FILE_BYTES), chance.randbytes(WRITE_BYTES)) for _ in range(writes)]
    frame = sender.seal([b"file"], changes)
    began = time.perf_counter()
    sender.send(frame)
    return time.perf_counter() - began


def poll_idly(branches: list[Branch], seconds: float, ready: Callable[[], object]) -> list[list[float]]:
    """Be so many idle agents: each has a session and keeps its connection, and asks for tasks as often as it was told.

    Returns how long each poll took, by branch. Their first polls are spread over the interval, as if they had begun at any time.
    """
    threads = min(_IDLE_THREADS, len(branches))
    with ThreadPoolExecutor(threads) as pool:
        senders = list(pool.map(_begun, branches))
        ready()
        parts = [senders[number::threads] for number in range(threads)]
        polled = list(pool.map(_poll_some, parts, [time.perf_counter() + seconds] * threads))
    for sender in senders:
        sender.close()
    return [times for part in polled for times in part]


def _begun(branch: Branch) -> Sender:
    sender = Sender(branch)
    sender.begin(b"file")
    return sender


def _poll_some(senders: list[Sender], ends: float) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in senders]
    began = time.perf_counter()
    due = [(began + sender.poll_seconds * at / len(senders), at) for at, sender in enumerate(senders)]
    heapq.heapify(due)
    while due[0][0] < ends:
        when, at = heapq.heappop(due)
        time.sleep(max(when - time.perf_counter(), 0.0))
        asked = time.perf_counter()
        senders[at].poll()
        times[at].append(time.perf_counter() - asked)
        heapq.heappush(due, (time.perf_counter() + senders[at].poll_seconds, at))
    time.sleep(max(ends - time.perf_counter(), 0.0))
    return times
