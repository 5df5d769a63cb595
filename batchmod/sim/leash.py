"""A script that becomes another program, which the kernel then kills as soon as the parent is gone, however it went.

Run as `python -I -S leash.py PARENT_PID PROGRAM ARGUMENT…`. Linux only has the means; elsewhere the program is on no leash
and only an orderly exit of the parent ends it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def become(parent: int, program: str, *arguments: str) -> None:
    """Never returns: this process is the program now, or has ended because the parent was gone already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), *sys.argv[2:])
