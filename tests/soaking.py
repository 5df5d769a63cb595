"""How much is tried: a bounded number in every run of the tests, SOAK times as many when that is set."""

import os
from typing import Any

from hypothesis import settings

FACTOR = int(os.environ.get("SOAK", "1"))


def examples(count: int, **more: Any) -> settings:
    """Settings of a Hypothesis test that tries `count` examples, or FACTOR times as many."""
    return settings(max_examples=count * FACTOR, deadline=None, **more)
