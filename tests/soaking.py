"""How much is tried: a bounded number in every run of the tests, many times that when BATCHMOD_SOAK is set."""

import os
from typing import Any

from hypothesis import settings

FACTOR = 30 if os.environ.get("BATCHMOD_SOAK") else 1


def examples(count: int, **more: Any) -> settings:
    """Settings of a Hypothesis test that tries `count` examples, or FACTOR times as many."""
    return settings(max_examples=count * FACTOR, deadline=None, **more)
