"""However many targets a manifest has: what it costs to load them, and that it is the same as loading few."""

import gc
import re
import tempfile
import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from soaking import examples

from batchmod.errors import UsageError
from batchmod.model.entries import Named
from batchmod.model.loading import Loaded, load
from batchmod.model.manifest import TargetEntry
from batchmod.model.yamlstream import read_yaml
from batchmod.model.yamltext import MAX_DEPTH, Node, plain, plain_text, tree

MANY = 1500
HEAD = "version: 1\nname: x\nchanges: [{tde: {}}]\ndefaults: {region: cn-x}\n"
ROW = "- {{id: r-bp1{:012}, region: cn-hangzhou, account: default, vars: {{team: team{}, owner: owner-{}}}}}\n"


def written(path: Path, *parts: str) -> Path:
    path.write_text("".join(parts), encoding="utf-8")
    return path


def attempt(path: Path) -> Loaded | tuple[str, ...]:
    try:
        return load(path)
    except UsageError as error:
        return error.problems


def cost(path: Path) -> tuple[Loaded | tuple[str, ...], float, float]:
    """What came of it; bytes for each of the many at most, and of what is left."""
    attempt(path)  # what is made once is there
    tracemalloc.start()
    try:
        found = attempt(path)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return found, peak / MANY, left / MANY


def on_the_way() -> int:
    """How many things there are that targets are made of, and that none should be left of."""
    return sum(isinstance(one, Node | TargetEntry | Named | yaml.Event) for one in gc.get_objects())


def rows() -> list[str]:
    return [ROW.format(number, number % 7, number) for number in range(MANY)]


def fleet(path: Path, form: str) -> list[str]:
    names = ["id", "region", "account", "team", "owner"]
    cells = [(f"r-bp1{n:012}", "cn-hangzhou", "default", f"team{n % 7}", f"owner-{n}") for n in range(MANY)]
    if form == "csv":
        lines = [",".join(row) for row in (names, *cells)]
    else:
        lines = [str(dict(zip(names, row, strict=True))).replace("'", '"') for row in cells]
    written(path / f"fleet.{form}", *(f"{line}\n" for line in lines))
    return [f"- from: fleet.{form}\n"]


@pytest.mark.parametrize("form", ["yaml", "csv", "jsonl"])
def test_a_target_costs_what_it_says_and_no_more(tmp_path: Path, form: str) -> None:
    """No tree, no model, no plain data of it: at the most in between, and after; nor a line of what is stored."""
    before = on_the_way()
    entries = rows() if form == "yaml" else fleet(tmp_path, form)
    found, peak, left = cost(written(tmp_path / "m.yaml", HEAD, "targets:\n", *entries))
    assert isinstance(found, Loaded)
    assert len(found.targets) == MANY
    assert peak < 2 * 560
    assert left < 2 * 510
    assert len(found.normalised) < 5000
    assert on_the_way() <= before


@pytest.mark.parametrize(
    ("wrong", "count"),
    [
        (lambda row: row.replace("region", "regon"), MANY),
        (lambda row: row.replace("owner", "zone"), MANY),
        (lambda row: re.sub("r-bp1[0-9]+", "r-123", row), MANY - 1),
        (lambda row: row.replace("default", "prod"), MANY),
    ],
    ids=["unknown key", "wrong var", "id twice", "unknown account"],
)
def test_many_wrong_targets_are_counted_and_not_kept(tmp_path: Path, wrong: Any, count: int) -> None:
    """The first of them are told, in the order of the text; the others cost no more than a right one does."""
    found, peak, left = cost(written(tmp_path / "m.yaml", HEAD, "targets:\n", *(wrong(row) for row in rows())))
    assert isinstance(found, tuple)
    assert found[-1] == f"and {count - 200} more"
    lines = [int(line.split(":")[1]) for line in found[:-1]]
    assert lines == list(range(lines[0], lines[0] + 200))
    assert peak < 2 * 580
    assert left * MANY < 500_000


def test_the_first_unknown_accounts_are_told_whichever_they_are(tmp_path: Path) -> None:
    """Two names in turn, neither of them told before the other's turn; the accounts themselves stand last."""
    entries = [f"- {{id: r-{n:03}, account: {'ab'[n % 2]}}}\n" for n in range(500)]
    found = attempt(written(tmp_path / "m.yaml", HEAD, "targets:\n", *entries, "accounts: {c: {profile: x}}\n"))
    assert isinstance(found, tuple)
    assert [line.split(": ")[1] for line in found[:-1]] == [f"targets[{n}].account" for n in range(200)]
    assert found[-1] == "and 300 more"


SECTIONS = [
    "version: 1\n",
    "name: x\n",
    "accounts: {prod: {profile: p}}\n",
    "defaults: {region: cn-y, account: prod}\n",
    "changes: [{attributes: {name: 'a-{team}'}}]\n",
    "exclude: ['r-9*']\n",
    "limits: {rate: 1}\n",
]
TARGETS = [
    "r-100",
    "r-999",
    "{id: r-101, region: cn-x, account: default, vars: {team: a}}",
    "{vars: {team: 'o', 'no': '1', 2024-01-01: 2024-01-01}, id: &a 'r-102'}",
    "{id: r-103, account: prd, region: ~, vars: {}}",
    "{id: r-104, vars: {team: 5}}",
    "{id: r-105, id: r-106}",
    "{id: r-107, regon: cn-x, vars: {name: x}}",
    "{id: !t r-108, region: *a}",
    "{<<: {id: r-109}}",
    "{select: {account: prd, names: ['*']}}",
    "{from: none.csv}",
    "[r-110]",
    "no",
    "~",
]


@examples(150)
@given(
    sections=st.permutations(SECTIONS).flatmap(
        lambda parts: st.sampled_from([parts, [one for one in parts if "limits" not in one]])
    ),
    targets=st.lists(st.sampled_from(TARGETS[:4]), min_size=1, max_size=3)
    | st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4),
    place=st.integers(0, len(SECTIONS)),
)
def test_what_stands_before_the_targets_may_stand_behind_them(
    sections: list[str], targets: list[str], place: int
) -> None:
    """Wherever the list is: the same targets in the same words, or the same problems."""
    block = "targets:\n" + "".join(f"- {one}\n" for one in targets)
    flow = f"targets: [{', '.join(targets)}]\n"
    orders = [[*sections[:place], block, *sections[place:]], [*sections, block], [flow, *sections]]
    with tempfile.TemporaryDirectory(prefix="manifest-scale-") as folder:
        found = [attempt(written(Path(folder) / "m.yaml", *order)) for order in orders]
    if isinstance(found[0], Loaded):
        said = [
            (one.digest, one.normalised, [(each.id, each.region, each.account, each.vars) for each in one.targets])
            for one in found
            if isinstance(one, Loaded)
        ]
        assert said == [said[0]] * len(found)
    else:
        told = [
            sorted(re.sub(r":\d+:\d+|line \d+", "", line) for line in one) for one in found if isinstance(one, tuple)
        ]
        assert told == [told[0]] * len(found)


TEXTS = ["a", "a b", "yes", "~", "''", "5", "1.5", "0x1", "=", "<<", "2024-01-01", "'no'", "!t x", "&x a", "*x", "é"]
BUILT = st.recursive(
    st.sampled_from(TEXTS),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(st.tuples(inner, inner), max_size=3).map(
            lambda pairs: f"{{{', '.join(f'? {key} : {value}' for key, value in pairs)}}}"
        )
    ),
    max_leaves=8,
)


@examples(300)
@given(BUILT)
def test_what_is_quickly_read_is_what_is_read_closely(text: str) -> None:
    """Plain text and mappings of it mean the same both ways; about anything else the quick way says nothing."""
    items: list[list[yaml.Event]] = []
    read_yaml(BytesIO(f"a: [{text}]".encode()), "m.yaml", "a", items.append)
    for events in items:
        quick = plain_text(events)
        assert quick is None or (quick, []) == plain(tree(events), ())


@pytest.mark.parametrize("wrong", ["\0", "\x93", b"\xff"], ids=["NUL", "C1", "UTF-8"])
@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 40_001, 200_000])
def test_a_wrong_character_is_found_wherever_the_pieces_end(tmp_path: Path, wrong: str | bytes, size: int) -> None:
    """Line and column of it, counted in characters: ones of two, three and four bytes stand before it."""
    before = ("é支𠮷x" * (size // 8))[: size // 2] + "\n" + "支" * (size - size // 2)
    path = tmp_path / "m.yaml"
    path.write_bytes(f"name: '{before}".encode() + (wrong.encode() if isinstance(wrong, str) else wrong) + b"'\n")
    found = attempt(path)
    assert isinstance(found, tuple)
    (line,) = found
    assert line.startswith(f"{path}:2:{size - size // 2 + 1}: is no"), line


def test_an_item_may_be_as_deep_as_anything(tmp_path: Path) -> None:
    """And no deeper."""
    for depth, told in ((MAX_DEPTH - 3, "must be an instance id"), (MAX_DEPTH - 2, "nested more than")):
        found = attempt(written(tmp_path / "m.yaml", HEAD, f"targets: [{'[' * depth}{']' * depth}]\n"))
        assert isinstance(found, tuple)
        assert told in found[0]
