"""Python's collector of cycles, as a process that holds much and makes many short-lived objects needs it.

By default it looks at the youngest objects after each 700 new ones, and now and then at everything, modules included: that
took a fifth of an appliance's CPU during a baseline. Hardly anything here is part of a cycle; reference counts free the rest.
"""

import gc

_NEW_OBJECTS = 20_000  # between two looks; a few megabytes of cycles at most wait that long
_YOUNG_LOOKS, _MIDDLE_LOOKS = 10, 10  # as by default: what a request leaves behind must not grow old here


def collect_seldom() -> None:
    """Look at what was made so far no more, and at what comes seldom. To be called when a process has started up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_LOOKS, _MIDDLE_LOOKS)
