"""What an editor shows of a manifest: each key has a description, and examples that can be taken as they are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import yaml

from batchmod.model.loading import load
from batchmod.model.schema import Schema, json_schema

SCHEMA = json_schema()
BASE: dict[str, Any] = {
    "version": 1,
    "name": "job",
    "accounts": {"prod": {"profile": "prod"}},
    "defaults": {"region": "cn-hangzhou"},
    "targets": [{"id": "r-bp1aaaaaaaaaaaaa", "vars": {"team": "pay", "redis_key": "key-1"}}],
    "changes": [{"password": {"generate": {}}}],
}
BESIDE: dict[str, dict[str, Any]] = {  # what a section needs beside the key that is looked at
    "Consumer": {"run": ["./refresh.sh"]},
    "KmsSettings": {"store": "kms", "region": "cn-hangzhou"},
    "OpenBaoSettings": {"store": "openbao"},
    "Rename": {"pattern": "^old-(.*)$", "replace": "b"},
    "RoleAccount": {"role_arn": "acs:ram::1234567890123456:role/redis-operator"},
    "Rollout": {"waves": [1, "100%"]},
    "TargetEntry": {"id": "r-bp1zxszhcgatnx", "vars": {"team": "pay"}},
    "Window": {"start": "02:00", "end": "05:00"},
}
ALONE = {"env", "file", "secret", "generate"}  # a password, and a URL, comes from one of them
ANY_KEY = {"accounts": "prod", "apis": "DescribeInstances", "endpoints": "cn-hangzhou"}


class Place(NamedTuple):
    """Where a key or an entry may stand, and the manifest that a value there makes."""

    path: str
    node: Schema
    whole: Callable[[Any], Any]


def places(node: Schema, path: str, whole: Callable[[Any], Any], name: str = "") -> Iterator[Place]:
    """Every place of the schema, through references and alternatives."""
    yield Place(path, node, whole)
    if reference := node.get("$ref"):
        name = reference.rpartition("/")[2]
        yield from places(SCHEMA["$defs"][name], path, whole, name)
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        if "required" not in alternative or "type" in alternative:
            yield from places(alternative, path, whole)
    for key, below in node.get("properties", {}).items():
        yield from places(below, f"{path}.{key}".strip("."), beside(name, key, whole))
    if "items" in node:
        yield from places(node["items"], f"{path}[]", lambda value: whole([value]))
    if isinstance(node.get("additionalProperties"), dict):
        key = ANY_KEY.get(path.rpartition(".")[2], "some")
        yield from places(node["additionalProperties"], f"{path}.{key}", lambda value: whole({key: value}))


def beside(name: str, key: str, whole: Callable[[Any], Any]) -> Callable[[Any], Any]:
    needed = BESIDE.get(name, {})
    if name == "PasswordChange" and key not in ALONE:
        needed = {"generate": {}}
    if name == "Notify" and key not in ALONE:
        needed = {"env": "DINGTALK_URL"}
    return lambda value: whole({**needed, key: value})


def is_plain(node: Schema) -> bool:
    """An editor offers all that may stand there."""
    node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    if {"enum", "const", "properties"} & node.keys() or node.get("type") in {"boolean", "null"}:
        return True
    alternatives = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    return bool(alternatives) and all(map(is_plain, alternatives))


PLACES = list(places(SCHEMA, "", lambda value: {**BASE, **value}, "Manifest"))
KEYS = [place for place in PLACES if place.path and place.path.rpartition(".")[2] not in {"some", *ANY_KEY.values()}]
KEYS = [place for place in KEYS if not place.path.endswith("[]")]  # an entry is part of its key


def test_every_key_is_explained() -> None:
    """By its own words or by those of the section it opens."""
    explained = {place.path for place in KEYS if place.node.get("description")}
    assert {place.path for place in KEYS} == explained


def test_every_key_has_an_example() -> None:
    """Or a default that says something; but where an editor offers all that there is."""
    told = {place.path for place in KEYS if place.node.get("examples") or place.node.get("default")}
    assert {place.path for place in KEYS if not is_plain(place.node)} <= told


def test_every_example_can_be_taken(tmp_path: Path) -> None:
    """It fits where it is shown, and a manifest that has it there loads, as the schema says too."""
    (tmp_path / "fleet.csv").write_text("id\nr-bp1cccccccccccccc\n")
    path, whole = tmp_path / "job.yaml", jsonschema.Draft202012Validator(SCHEMA)
    seen = 0
    for place in PLACES:
        validator = jsonschema.Draft202012Validator({**place.node, "$defs": SCHEMA["$defs"]})
        for example in place.node.get("examples", ()):
            assert validator.is_valid(example), (place.path, example)
            written = place.whole(example)
            assert whole.is_valid(written), (place.path, written)
            path.write_text(yaml.safe_dump(written))
            load(path)
            seen += 1
    assert seen > 150
