"""The collector of cycles looks seldom, and still finds what is left behind."""

import subprocess
import sys

SCRIPT = """
import gc, sys, weakref
from core.collector import collect_seldom
class Ring:
    def __init__(self): self.me = self
def looks_while_making(count):
    before = sum(generation["collections"] for generation in gc.get_stats())
    kept = [[number] for number in range(count)]
    return sum(generation["collections"] for generation in gc.get_stats()) - before
often = looks_while_making(200_000)
collect_seldom()
seldom = looks_while_making(200_000)
left = weakref.ref(Ring())
rings = sum(1 for _ in iter(lambda: Ring() and left() is not None, False))
print(often, seldom, gc.get_freeze_count() > 0, rings)
"""


def test_it_looks_seldom_and_still_frees_cycles() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True)
    often, seldom, frozen, rings = done.stdout.split()
    assert int(often) > 20 * int(seldom) > 0
    assert frozen == "True"
    assert int(rings) <= 20_000  # so many were made until the first one was found
