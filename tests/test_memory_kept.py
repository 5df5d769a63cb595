"""What a run holds is not searched for garbage all the time, and afterwards everything is as it was."""

import gc

from batchmod.app.memory import SELDOM, seldom_searched


def test_a_runs_rows_are_not_searched_for_garbage() -> None:
    """Seldom, and not among what was there before; then as before."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with seldom_searched():
        assert gc.get_threshold() == SELDOM
        assert gc.get_freeze_count() > frozen
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
