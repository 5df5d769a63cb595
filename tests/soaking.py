"""How much is tried: a bounded number in every run of the tests, SOAK times as many when that is set."""

import os
from typing import Any

import pytest
from hypothesis import settings

FACTOR = int(os.environ.get("SOAK", "1"))
SOAKS = pytest.mark.skipif(FACTOR == 1, reason="in `make soak`: it takes long, and what it has of its own is a detail")


def examples(count: int, **more: Any) -> settings:
    """Settings of a Hypothesis test that tries `count` examples, or FACTOR times as many."""
    return settings(max_examples=count * FACTOR, deadline=None, **more)
