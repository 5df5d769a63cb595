"""What `--store` needs is loaded so that nothing of this process reaches another one."""

import importlib
import os
import sys
from typing import Final

CRON: Final = "croniter"  # procrastinate's; on import it runs `file`, to learn how wide an address is


def load() -> None:
    """Procrastinate may be imported from here on: the child process that its cron starts gets no environment of ours.

    To be called before other threads look at the environment.
    """
    if CRON in sys.modules:
        return
    kept = dict(os.environ)
    os.environ.clear()
    try:
        importlib.import_module(CRON)
    finally:
        os.environ.update(kept)
