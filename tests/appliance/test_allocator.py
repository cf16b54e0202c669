"""What threads used is not kept for good."""

import subprocess
import sys

SCRIPT = """
import sys, threading
from appliance.allocator import share_heaps
if sys.argv[1] == "shared":
    share_heaps()
kept, count = [], 24
lock, barrier = threading.Lock(), threading.Barrier(count)
def work():
    barrier.wait()
    with lock:  # at no time is more than one thread's memory in use
        pieces = [bytes(100_000) for _ in range(100)]  # each below the size that malloc maps by itself
        kept.append(bytes(1000))  # stands behind them, so that the heap cannot shrink
        del pieces
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024)
"""


def peak_mb(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_threads_share_what_they_used() -> None:
    assert peak_mb("shared") * 2 < peak_mb("apart")
