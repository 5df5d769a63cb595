"""What is told of how a run ended to those who do not watch it: a short message. Pure.

No text of the service or of a command is repeated in it: chats take such text for markup.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batchmod.model.events import Outcome
from batchmod.model.exits import DONE, FAILED, MEANINGS, REFUSED, UNRESOLVED
from batchmod.model.notify import Event
from batchmod.model.runs import Run
from batchmod.report.layout import moment, printable
from batchmod.report.summary import steps

_WHERE: Final = frozenset({"next", "reports"})  # depends on where the command was given
_EVENTS: Final = {DONE: Event.FINISHED, FAILED: Event.FINISHED, UNRESOLVED: Event.UNRESOLVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`fields` is the same for a machine, as JSON has it."""

    event: Event
    title: str
    body: str
    fields: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Two messages that say the same have the same one."""
        said = {name: value for name, value in self.fields.items() if name not in _WHERE}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def event_of(code: int) -> Event:
    """What an exit code is for those who are told; a report that could not be written is left to be done, too."""
    return _EVENTS.get(code, Event.STOPPED)


def not_begun_message(name: str, at: float, shows: str) -> Message:
    """Of a schedule whose time was `at`, seconds since the epoch, and of which no run came. `shows`: the command
    that says why.
    """
    when = moment(at, timespec="seconds")
    lines = [f"nothing began at {when}", f"next: {shows} (it says why)"]
    return Message(
        event=event_of(REFUSED),
        title=f"batchmod: {name} did not begin",
        body="\n".join(map(printable, lines)),
        fields={
            "event": event_of(REFUSED),
            "name": name,
            "run_id": None,
            "exit_code": REFUSED,
            "meaning": MEANINGS[REFUSED],
            "due_at": when,
            "next": [shows],
        },
    )


def message_of(
    run: Run,
    counts: Mapping[Outcome, int],
    paths: Sequence[Path],
    open_rows: int,
    resume: str | None,
    rebuild: str | None = None,
) -> Message:
    """Of a run whose process has ended; `resume` is the command that takes up what is open, `rebuild` the one that writes
    a report which could not be written.
    """
    assert run.exit_code is not None
    event, code = event_of(run.exit_code), run.exit_code
    left = [f"{rebuild} (it writes the report, which could not be written)"] if rebuild else []
    left += steps(run, counts, open_rows, resume)
    reports = [str(path.absolute()) for path in paths]
    meaning = MEANINGS.get(code, "unknown")
    shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts.get(outcome)) or "no rows"
    lines = [f"run {run.id}: {shown}", f"exit {code}: {meaning}"]
    lines += [f"stopped by: {run.stopped_by}"] if run.stopped_by else []
    lines += [f"account stopped: {account}" for account, _ in run.accounts_failed]
    lines += [f"next: {step}" for step in left]
    lines += [f"report: {path}" for path in reports]
    return Message(
        event=event,
        title=f"batchmod: {run.name} {event}",
        body="\n".join(map(printable, lines)),
        fields={
            "event": event,
            "name": run.name,
            "run_id": run.id,
            "exit_code": code,
            "meaning": meaning,
            "stopped_by": run.stopped_by,
            "accounts_failed": [account for account, _ in run.accounts_failed],
            "counts": {outcome: counts.get(outcome, 0) for outcome in Outcome},
            "open_rows": open_rows,
            "next": left,
            "reports": reports,
        },
    )
