"""The page of figures says what the results say, and keeps what a person wrote around them."""

import json

import pytest
from bench_book import Called, most_in_window, throttled_share, used_share
from bench_page import BEGIN, END, figures, renewed
from bench_part import Bars, Check, Part

PART = Part(
    title="Throughput",
    size="5 rounds",
    columns=("client", "changes/s"),
    rows=[("a | b", "1,234")],
    checks=[
        Check(what="ours ÷ theirs", value=0.61234, limit=0.6, at_most=False, bound="a lower bound"),
        Check(what="share", value=0.03, limit=0.01, at_most=True),
    ],
    notes=["the simulator was the bottleneck"],
    bars=[Bars(title="Speed", axis="changes/s", labels=("a", "b"), values=(1234, 5.5))],
    rounds=[{"raw": 1}],
)
RESULTS = json.loads(json.dumps({"throughput": PART.kept() | {"at": "2026-03-04T05:06:07Z"}}))


def test_figures_tell_everything() -> None:
    """Table, chart, limits and notes; a missed limit is said to be one."""
    text = figures(RESULTS)
    assert "### Throughput\n\n2026-03-04T05:06:07Z, 5 rounds; " in text
    assert "| client | changes/s |\n| --- | --- |\n| a / b | 1,234 |" in text
    assert '  x-axis ["a", "b"]\n  y-axis "changes/s"\n  bar [1234, 5.5]' in text
    assert "| ours ÷ theirs | ≥ 0.6 | 0.6123 | met | a lower bound |" in text
    assert "| share | ≤ 0.01 | 0.03 | **missed** |  |" in text
    assert "- the simulator was the bottleneck" in text


def test_only_what_is_between_the_marks_is_renewed() -> None:
    """Twice is once; a page without marks is refused."""
    page = renewed(f"before\n{BEGIN}\nold\n{END}\nafter\n", RESULTS)
    assert page.startswith(f"before\n{BEGIN}\n\n### Throughput")
    assert page.endswith(f"\n{END}\nafter\n")
    assert "old" not in page
    assert renewed(page, RESULTS) == page
    with pytest.raises(ValueError, match="lacks"):
        renewed("before", RESULTS)


def test_a_window_is_half_open() -> None:
    """Calls exactly one period apart are in two windows, and use the quota exactly."""
    assert most_in_window([0.0, 0.5, 1.0, 1.5], 1.0) == 2
    assert most_in_window([0.0, 0.0, 0.99], 1.0) == 3
    assert used_share([0.0, 0.5, 1.0], calls=2, seconds=1.0) == 1.0
    book = [Called(at=0.0, api="Modify", code=code) for code in ("OK", "Throttling.User", "OK", "OK")]
    assert throttled_share(book) == 0.25
