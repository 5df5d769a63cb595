"""Whatever stands in a fault file: a scenario, or one SimError."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from soaking import examples

from batchmod.sim.errors import SimError
from batchmod.sim.faultfile import parse
from batchmod.sim.scenario import Scenario

VALID: dict[str, Any] = {
    "regions": ["cn-hangzhou", "cn-shanghai"],
    "accounts": {"1000000000000001": {}, "1000000000000002": {"revoke_key_after": 3}},
    "roles": [{"account": "1000000000000002", "name": "op", "trusts": ["1000000000000001"]}],
    "scripts": [
        {
            "api": "Modify*",
            "match": "r-*",
            "play": ["ok", {"fault": "hang", "seconds": 1, "times": 2}, "refuse:Some.Code"],
        }
    ],
    "rates": [{"api": "*", "fault": "http_500", "rate": 0.1, "landed": True}],
    "busy": [{"fraction": 0.5, "seconds": 2, "status": "Changing"}],
    "refuse": [{"match": "r-*", "code": "Some.Code", "status": 403, "message": "no"}],
    "instances": {"r-sim000000": {"name": "x", "engine_version": "6.0"}},
    "durations": {"password": 1.5},
    "quotas": {"default": "200/60s"},
    "lag": 0.1,
    "clock_offset": -3,
    "token_seconds": 5,
    "tde_status": "TDEModifying",
}
STRANGE = st.sampled_from(["\0", "9" * 5000, "1e999", "0x1F", "12:30", "²", "٣/60s", "[", "r-[", "refuse:", ":", "*"])
ATOM = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=6) | STRANGE
ANY = st.recursive(
    ATOM,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(value: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    if above:
        yield above
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(each, *above, key)


def read(text: str) -> None:
    with suppress(SimError):
        assert isinstance(parse(text, "faults.yaml"), Scenario)


@examples(125)
@given(changes=st.lists(st.tuples(st.sampled_from([*paths(VALID)]), ATOM | ANY), max_size=2), as_json=st.booleans())
def test_a_mutated_fault_file_is_a_scenario_or_an_error(
    changes: list[tuple[tuple[str | int, ...], Any]], as_json: bool
) -> None:
    """Any other value at any place."""
    body = json.loads(json.dumps(VALID))
    for path, value in changes:
        place = body
        with suppress(KeyError, IndexError, TypeError):
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
    read(json.dumps(body) if as_json else yaml.safe_dump(body))


@examples(150)
@given(text=st.text(max_size=40) | st.text(alphabet="!&*|>-?:{}[],'\"# \n\tab12.~<=", max_size=30))
def test_any_text_is_a_scenario_or_an_error(text: str) -> None:
    """YAML's own marks, in any order."""
    read(text)


@pytest.mark.parametrize(
    "text",
    [
        "lag: !!int x",
        "lag: !!float x",
        "lag: !!bool x",
        "lag: !!timestamp x",
        "lag: 2024-02-31",
        "lag: 2024-01-01T99:00:00Z",
        f"lag: {'9' * 5000}",
        f"lag: {10**400}",
        "? [a]\n: 1",
        "? {a: b}\n: 1",
        "&a [*a]",
        "lag: &a {x: *a}",
        "[" * 3000,
        "{a: " * 3000,
        "<<: 1",
        "!!python/object:os.system {}",
        "!!set {a}",
        "!!omap [a: 1]",
        "!!binary x",
    ],
)
def test_what_yaml_itself_trips_over_is_an_error(text: str) -> None:
    """A value that is none of its tag's, numbers without end, nesting without end."""
    with pytest.raises(SimError, match=r"faults\.yaml"):
        parse(text, "faults.yaml")
