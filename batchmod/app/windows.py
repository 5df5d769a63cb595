"""The window of a manifest, and how long changes took so far: when something may start."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from batchmod.app.speech import say
from batchmod.engine.clock import Clock
from batchmod.engine.opening import REMEMBERED, Opening
from batchmod.model.events import Kind
from batchmod.model.manifest import Manifest
from batchmod.model.window import length, next_opening, span
from batchmod.report.layout import duration


def opening_of(manifest: Manifest, took: Callable[[int], Mapping[Kind, Sequence[float]]], clock: Clock) -> Opening:
    """Of the window; always open without one. `took` tells how long the last changes of each kind took, at most so many."""
    window = manifest.rollout.window
    if window is None:
        return Opening()
    return Opening(partial(span, window), wall=clock.wall, took=took(REMEMBERED))


def tell_too_short(manifest: Manifest, opening: Opening, kinds: Iterable[Kind], now: float) -> None:
    """Says of which kinds no change will ever start in the window: else each night would end like this one."""
    window = manifest.rollout.window
    if window is None:
        return
    longest = length(window, now)
    for kind in sorted(kinds):
        if (seconds := opening.estimate(kind)) >= longest:
            say(
                f"rollout.window: a change of {kind} is expected to take {duration(seconds)}, and the window is open for "
                f"{duration(longest)} at most: none of them starts"
            )


def tell_next(manifest: Manifest, now: float) -> None:
    """Says when something may start again."""
    window = manifest.rollout.window
    opening = None if window is None else next_opening(window, now)
    if window is not None and opening is not None:
        at = datetime.fromtimestamp(opening, window.timezone).isoformat(timespec="minutes")
        say(f"rollout.window: it opens again at {at}")
