"""How a service uses Python's interpreter: who waits for it, and when its garbage is looked for."""

import gc
import sys

THREADS_WAIT_US = 100
"""For the interpreter, which the loop has: an append waits for it five times or so, at Python's 5 ms each."""
YOUNG_OBJECTS = 700
"""Made since the last collection, and not gone: Python's own figure."""
YOUNG_COLLECTIONS = 1
"""Before those that outlived one are looked at, too.  What stands in a full line outlives any: at Python's 10 a
CServer stood still for 2.6 ms seven times a second."""
OLD_COLLECTIONS = 5_000
"""Of those before all objects are looked at: at Python's 10, a flooded CServer stood still for 30 ms every three
seconds, and its calm partitions' callers had 1.77 times the quiet p99."""


def settle() -> None:
    """To be called once all is loaded: what is there now stays, and the collector need not look at it again.

    A thread that comes back from the disk gets the interpreter soon, although the loop is busy.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, OLD_COLLECTIONS)
    sys.setswitchinterval(THREADS_WAIT_US / 1_000_000)
