"""The window of a manifest, and how long changes took so far: when something may start."""

from collections.abc import Iterable
from functools import partial

from batchmod.app.speech import say
from batchmod.engine.clock import Clock
from batchmod.engine.opening import REMEMBERED, Opening
from batchmod.journal.sqlite import SqliteJournal
from batchmod.model.events import Kind
from batchmod.model.manifest import Manifest
from batchmod.model.window import length, span
from batchmod.report.layout import duration


def opening_of(manifest: Manifest, journal: SqliteJournal, clock: Clock) -> Opening:
    """Of the window, estimated by every run that the journal knows; always open without one."""
    window = manifest.rollout.window
    if window is None:
        return Opening()
    return Opening(partial(span, window), wall=clock.wall, took=journal.recent_seconds(REMEMBERED))


def tell_too_short(manifest: Manifest, opening: Opening, kinds: Iterable[Kind], clock: Clock) -> None:
    """Says of which kinds no change will ever start in the window: else each night would end like this one."""
    window = manifest.rollout.window
    if window is None:
        return
    longest = length(window, clock.wall())
    for kind in sorted(kinds):
        if (seconds := opening.estimate(kind)) >= longest:
            say(
                f"rollout.window: a change of {kind} may take {duration(seconds)}, and the window is open for "
                f"{duration(longest)}: none of them ever starts"
            )
