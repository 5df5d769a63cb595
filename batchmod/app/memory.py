"""What a process holds in memory stays there: keys and passwords are in it from its first moment, by its environment.

And what a run holds is not searched for garbage all the time.
"""

import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from batchmod.errors import UsageError

SELDOM: Final = (50_000, 20, 50)  # objects, and collections of younger ones, between two; measured: a fifth of the time
_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_memory_in() -> None:
    """A crash writes no memory to disk, and on Linux other processes of the user read none of it.

    The limit alone is not enough: the kernel hands a core to a program, as systemd and Ubuntu configure it, whatever the
    limit says (core(5)). A process that is not dumpable has no core at all, and its environment and memory under /proc are
    root's. A child that becomes another program is dumpable again, but inherits the limit.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  only where it is used

        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise UsageError("memory that holds secrets cannot be kept from core dumps: prctl was refused")


def search_seldom() -> None:
    """Garbage is looked for seldom from here on: what is made by the thousand stays, or is gone without a search."""
    gc.set_threshold(*SELDOM)


def leave() -> None:
    """What is left is not searched for garbage when the process ends: the system takes it back at once."""
    gc.freeze()


@contextmanager
def kept() -> Iterator[None]:
    """What is there now is not searched for garbage: a run's rows stay until it ends."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
