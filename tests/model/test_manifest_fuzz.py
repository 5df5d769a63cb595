"""Whatever stands in a manifest or a fleet file: it is loaded, or refused with the place of what is wrong."""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from soaking import examples

from batchmod.errors import UsageError
from batchmod.model.loading import Loaded, load

HIDDEN = "Hidden&Value=That+Nobody/Sees1"
STRANGE = st.sampled_from(
    [
        "\0",
        "a\0b",
        "\x1b[31m",
        "\u2028",
        "9" * 5000,
        "1e999",
        "0x1F",
        "1_000",
        "12:30",
        "2024-02-31",
        "<<",
        "~",
        "=",
        "*",
        "&a",
        "!x",
    ]
)
ATOM = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | STRANGE
ANY = st.recursive(
    ATOM,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
VALID: dict[str, Any] = {
    "version": 1,
    "name": "rotate",
    "accounts": {"prod": {"profile": "prod"}, "eu": {"role_arn": "acs:ram::1234567890123456:role/op", "via": "prod"}},
    "defaults": {"account": "prod", "region": "cn-hangzhou"},
    "targets": [
        {"id": "r-bp1aaaaaaaa", "vars": {"team": "pay"}},
        {"from": "fleet.csv"},
        {"from": "fleet.jsonl"},
        {"select": {"account": "eu", "regions": ["cn-beijing"], "tags": {"env": "prod"}, "engine_versions": ["6.0"]}},
    ],
    "exclude": ["r-bp1zzz", "r-test*"],
    "changes": [
        {"attributes": {"name": "{team}-{region}", "release_protection": True}},
        {"password": {"generate": {"length": 24}}},
        {"tde": {"key_id": None, "role_arn": None, "algorithm": "AES-CTR-256"}},
    ],
    "secrets": {"store": "embedded", "recipients": []},
    "proof": {"password": "settled"},
    "limits": {"rate": "200/60s", "apis": {"DescribeInstanceAttribute": "1000/1s"}, "connections": 64, "changing": 50},
    "timeouts": {"connect": "5s", "read": "10s", "check": "5m"},
    "retry": {"attempts": 6, "max_delay": "60s", "busy_timeout": "30m", "settle_timeout": "60m", "fence": "16m"},
    "rollout": {
        "waves": [1, "10%", "100%"],
        "pause": "10m",
        "not_with": "team",
        "max_failures": "2%",
        "max_targets": 500,
        "check": ["./health.sh", "-v"],
        "window": {"days": ["sat", "sun"], "start": "02:00", "end": "05:00", "timezone": "Asia/Shanghai"},
    },
    "report": {"dir": "reports", "formats": ["csv", "json"]},
}
CSV = "id,region,account,team\nr-bp1bbbbbbbb,cn-shanghai,prod,shop\n"
JSONL = '{"id": "r-bp1cccccccc", "region": "cn-shanghai", "account": "eu", "team": "x"}\n'
Steps = tuple[str | int, ...]


def paths(value: Any, *above: str | int) -> Iterator[Steps]:
    if above:
        yield above
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(each, *above, key)


def place_of(body: Any, path: Steps) -> Any:
    for key in path[:-1]:
        body = body[key]
    return body


def changed(body: Any, path: Steps, value: Any, verb: str) -> None:
    """The value in place of another one, beside it under a strange key, or the other one is gone."""
    try:
        place = place_of(body, path)
        if verb == "delete":
            del place[path[-1]]
        elif verb == "add" and isinstance(place, dict):
            place[str(value)[:8]] = value
        else:
            place[path[-1]] = value
    except (KeyError, IndexError, TypeError):
        pass  # what it was a part of is another thing already


CHANGE = st.tuples(
    st.sampled_from([*paths(VALID)]), ATOM | ANY, st.sampled_from(["replace", "replace", "add", "delete"])
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    body = json.loads(json.dumps(VALID))
    for change in draw(st.lists(CHANGE, min_size=0, max_size=3)):
        changed(body, *change)
    text = json.dumps(body) if draw(st.booleans()) else yaml.safe_dump(body, allow_unicode=True)
    return torn(draw, text)


def torn(draw: st.DrawFn, text: str) -> str:
    """The text, or one with a piece of it gone or something else in its place."""
    if draw(st.integers(0, 2)):
        return text
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(st.text(max_size=4) | STRANGE) + text[start + draw(st.integers(0, 9)) :]


@st.composite
def fleets(draw: st.DrawFn) -> tuple[bytes, bytes]:
    row = st.dictionaries(
        st.sampled_from(["id", "region", "account", "team", "x y", ""]) | st.text(max_size=3), ATOM | ANY
    )
    lines = [JSONL, *(json.dumps(each) + "\n" for each in draw(st.lists(row, max_size=2)))]
    texts = (torn(draw, CSV), torn(draw, "".join(lines)))
    broken = draw(st.sampled_from([b"", b"", b"\xff", b"\xef\xbb\xbf", b"\0", b'"']))
    return texts[0].encode("utf-8", "replace") + broken, broken + texts[1].encode("utf-8", "replace")


def loaded_or_refused(
    content: bytes, fleet: tuple[bytes, bytes] = (CSV.encode(), JSONL.encode())
) -> Loaded | UsageError:
    """What came of it; every problem names a file and, in what is text, a place of it."""
    with tempfile.TemporaryDirectory(prefix="manifest-fuzz-") as folder:
        path = Path(folder) / "job.yaml"
        path.write_bytes(content)
        for name, text in zip(("fleet.csv", "fleet.jsonl"), fleet, strict=True):
            (path.parent / name).write_bytes(text)
        try:
            return load(path)
        except UsageError as error:
            for problem in error.problems:
                assert re.match(
                    rf"{re.escape(folder)}/[^:]+(:\d+)+: |and \d+ more$|{re.escape(folder)}/.+: cannot be read: ",
                    problem,
                ), problem
                assert problem.isprintable()
            return error


@examples(200)
@given(text=mutated(), fleet=st.just((CSV.encode(), JSONL.encode())) | fleets())
def test_a_mutated_manifest_is_loaded_or_refused_with_places(text: str, fleet: tuple[bytes, bytes]) -> None:
    """A valid one with other values, other keys, pieces missing; and fleet files likewise."""
    loaded_or_refused(text.encode("utf-8", "replace"), fleet)


@examples(150)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_refused_with_a_place(content: bytes) -> None:
    """No manifest comes of noise."""
    assert isinstance(loaded_or_refused(content), UsageError)


def test_the_manifest_that_is_mutated_is_a_right_one() -> None:
    """Else nothing behind its first mistake would be tried."""
    assert isinstance(loaded_or_refused(json.dumps(VALID).encode()), Loaded)


SECRETIVE = ["password", "NewPassword", "secret", "token", "access_key_secret", "pwd", "passphrase", "security_token"]


@examples(150)
@given(
    path=st.sampled_from([*paths(VALID)]),
    key=st.sampled_from(SECRETIVE),
    shape=st.sampled_from([lambda: HIDDEN, lambda: [HIDDEN], lambda: {"value": HIDDEN}, lambda: {HIDDEN: 1}]),
    replaced=st.booleans(),
)
def test_no_message_shows_the_value_of_a_key_that_looks_secret(
    path: Steps, key: str, shape: Callable[[], Any], replaced: bool
) -> None:
    """Wherever it was written, in whatever shape."""
    body = json.loads(json.dumps(VALID))
    place = place_of(body, path)
    if replaced:
        place[path[-1]] = {key: shape()}
    elif isinstance(place, dict):
        place[key] = shape()
    result = loaded_or_refused(json.dumps(body).encode())
    if isinstance(result, UsageError):
        assert HIDDEN not in str(result)


@pytest.mark.parametrize("where", ["from", "file"])
def test_a_path_that_no_file_can_have_is_refused_with_its_place(where: str) -> None:
    """A NUL in it, which YAML can spell."""
    body = json.loads(json.dumps(VALID))
    if where == "from":
        body["targets"] = [{"from": "a\0b.csv"}]
    else:
        body["changes"] = [{"password": {"file": "a\0b"}}]
    assert isinstance(loaded_or_refused(json.dumps(body).encode()), UsageError)
