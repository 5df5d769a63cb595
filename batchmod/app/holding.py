"""The first thing that a command which writes does: the state directory is its own, or it says whose it is.

Imports little: the second of two processes ends here, and does not first load all that it would have needed.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from batchmod.app.options import Options
from batchmod.journal.state import VARIABLE, StateDir, state_path
from batchmod.model.planstart import is_plan_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a command has before it knows more: the id of a run that it may begin, and maybe the state directory."""

    run_id: str
    held: bool  # False: nobody ever held it, or only the plan that is given knows where it is


def new_run_id(now: float) -> str:
    """Sorts by time, and two runs that start in the same second differ. `now` is seconds since the epoch."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@contextmanager
def claimed(options: Options, *, path: Path | None = None, who: str | None = None) -> Iterator[Claim]:
    """The state directory is held inside the block where it can be by now; nothing is made.

    `path` is the manifest or plan of a new run, `who` what is known of an older one. Raises HeldError when another
    process holds it, and UsageError when it cannot be locked.
    """
    now = time.time()
    run_id = new_run_id(now)
    state = StateDir(
        path=state_path(option=options.state, environ=options.environ, manifest=path, cwd=Path.cwd()),
    )
    named = options.state is not None or bool(options.environ.get(VARIABLE))
    later = not named and path is not None and is_plan_file(path)
    with nullcontext(False) if later else state.hold_if_used(run_id=who or run_id, now=now) as held:
        yield Claim(run_id=run_id, held=held)
