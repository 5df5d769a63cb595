"""Selectors as they are read, and templates of targets that are not known yet."""

from dataclasses import fields
from pathlib import Path

import pytest

from batchmod.errors import UsageError
from batchmod.model.changes import AttributesChange, TdeChange
from batchmod.model.fitting import misfits
from batchmod.model.loading import Loaded, load
from batchmod.model.selectors import Selection, Selector
from batchmod.model.targets import Target


def write(folder: Path, text: str, changes: str = "tde: {}") -> Path:
    path = folder / "m.yaml"
    path.write_text(f"version: 1\nname: x\nchanges: [{{{changes}}}]\n{text}")
    return path


def loaded(folder: Path, text: str, changes: str = "tde: {}") -> Loaded:
    return load(write(folder, text, changes))


def told(folder: Path, text: str, changes: str = "tde: {}") -> list[str]:
    with pytest.raises(UsageError) as caught:
        loaded(folder, text, changes)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


NAMED = "attributes: {name: '{team}-cache'}"
FULL = """
targets:
- select:
    account: default
    regions: [cn-hangzhou, cn-beijing]
    tags: {env: prod, team name: 支付}
    resource_groups: [rg-1]
    vpcs: [vpc-1, vpc-2]
    engine_versions: ["6.0"]
    editions: [Enterprise]
    architectures: [cluster, rwsplit]
    charge_types: [PostPaid]
    statuses: [Normal]
    names: ["a*"]
    allow_empty: yes
"""


def test_a_selector_is_what_is_written(tmp_path: Path) -> None:
    """Every key arrives, with the place of its entry."""
    found = loaded(tmp_path, FULL)
    assert found.targets == ()
    assert found.selectors == (
        Selector(
            account="default",
            regions=("cn-hangzhou", "cn-beijing"),
            tags={"env": "prod", "team name": "支付"},
            resource_groups=("rg-1",),
            vpcs=("vpc-1", "vpc-2"),
            engine_versions=("6.0",),
            editions=("Enterprise",),
            architectures=("cluster", "rwsplit"),
            charge_types=("PostPaid",),
            statuses=("Normal",),
            names=("a*",),
            allow_empty=True,
            where=f"{tmp_path}/m.yaml:6:3",
            path="targets[0].select",
        ),
    )


def test_no_key_of_a_selection_is_forgotten() -> None:
    """Whatever can be written has its field."""
    assert {field.name for field in fields(Selector)} == {*Selection.model_fields, "where", "path"}


def test_what_is_not_said_asks_for_nothing(tmp_path: Path) -> None:
    """Account and region are the defaults, and finding none is an error."""
    (found,) = loaded(
        tmp_path,
        "accounts: {prod: {profile: p}}\ndefaults: {account: prod, region: cn-x}\ntargets: [{select: {names: ['*']}}]\n",
    ).selectors
    assert (found.account, found.regions, found.names, found.allow_empty) == ("prod", ("cn-x",), ("*",), False)
    assert not any((found.tags, found.resource_groups, found.vpcs, found.engine_versions, found.editions))
    assert not any((found.architectures, found.charge_types, found.statuses))


def test_written_targets_and_selectors_stand_beside_each_other(tmp_path: Path) -> None:
    """Each in the order written; the same selection twice is not an error, and may overlap with what is written."""
    found = loaded(
        tmp_path,
        "defaults: {region: cn-x}\n"
        "targets: [r-100, {select: {tags: {a: b}}}, r-200, {select: {tags: {a: b}}}, {select: {names: ['c*']}}]\n",
    )
    assert [target.id for target in found.targets] == ["r-100", "r-200"]
    assert [selector.names for selector in found.selectors] == [(), (), ("c*",)]


def test_what_is_excluded_is_known_for_every_instance(tmp_path: Path) -> None:
    """Selected ones are asked about one by one: by id and by pattern, case and all."""
    found = loaded(
        tmp_path,
        "defaults: {region: cn-x}\ntargets: [r-100, {select: {tags: {a: b}}}]\nexclude: [r-100, 'r-2*', 'r-[!a]x']\n",
    )
    assert found.targets == ()
    ids = ["r-100", "R-100", "r-1000", "r-2", "r-200", "r-ax", "r-bx"]
    assert [name for name in ids if found.excluded(name)] == ["r-100", "r-2", "r-200", "r-bx"]


@pytest.mark.parametrize(
    ("patterns", "name", "fits"),
    [
        ((), "anything", True),
        ((), "", True),
        (("cache-*",), "cache-1", True),
        (("cache-*",), "my-cache-1", False),
        (("cache-*",), "Cache-1", False),
        (("a", "b?"), "bc", True),
        (("缓存[0-9]",), "缓存7", True),
        (("a.c",), "abc", False),
    ],
)
def test_a_pattern_fits_a_whole_name(tmp_path: Path, patterns: tuple[str, ...], name: str, fits: bool) -> None:
    """Any one pattern will do; a point is a point."""
    (selector,) = loaded(tmp_path, "targets: [{select: {regions: [cn-x]}}]\n").selectors
    named = Selector(**{field.name: getattr(selector, field.name) for field in fields(Selector)} | {"names": patterns})
    assert named.fits_name(name) == fits


def test_a_var_may_come_from_a_tag(tmp_path: Path) -> None:
    """With a selector, a var that no written target has is no fault: a selected instance may have it."""
    assert loaded(tmp_path, "targets: [{select: {regions: [cn-x]}}]\n", NAMED).selectors


def test_a_written_target_needs_its_vars_all_the_same(tmp_path: Path) -> None:
    """What is known to be lacking is told by `validate`, selector or not."""
    text = "defaults: {region: cn-x}\ntargets: [r-100, {id: r-200, vars: {team: a1}}, {select: {names: ['*']}}]\n"
    assert told(tmp_path, text, NAMED) == ['m.yaml:5:11: changes[0].attributes.name: this target has no var "team"']
    none = "defaults: {region: cn-x}\ntargets: [r-100, {select: {names: ['*']}}]\n"
    assert told(tmp_path, none, NAMED) == ['m.yaml:5:11: changes[0].attributes.name: this target has no var "team"']


def test_a_template_that_is_broken_for_all_needs_no_target(tmp_path: Path) -> None:
    """A name without placeholders is checked though nobody knows yet whose it will be."""
    (line,) = told(tmp_path, "targets: [{select: {regions: [cn-x]}}]\n", "tde: {role_arn: 'acs:ram::1:role/a'}")
    assert line.startswith("m.yaml:3:28: changes[0].tde.role_arn: is no role")


def target(name: str, **variables: str) -> Target:
    return Target(id=name, region="cn-x", account="default", vars=variables, source="m.yaml:6:3")


def test_a_selected_target_that_does_not_fit_is_named() -> None:
    """By where it was selected and its id: a var that it lacks, a name that breaks the rules."""
    changes = (TdeChange(), AttributesChange(name="{team}-{region}"))
    assert list(misfits(changes, [target("r-1", team="pay"), target("r-2"), target("r-3", team="1st")])) == [
        'm.yaml:6:3: changes[1].attributes.name: r-2: this target has no var "team"',
        "m.yaml:6:3: changes[1].attributes.name: r-3: a name starts with a letter or a Chinese character",
    ]


def test_a_var_that_none_of_them_has_is_told_once() -> None:
    """Ten thousand targets that lack it are one fault, with the name that may be meant."""
    changes = (AttributesChange(name="{taem}-x"),)
    assert list(misfits(changes, [target(f"r-{number}", team="pay") for number in range(10_000)])) == [
        'm.yaml:6:3: changes[0].attributes.name: unknown placeholder {taem}; did you mean "team"'
    ]
    assert not list(misfits(changes, [target("r-1", taem="pay")]))
    assert not list(misfits(changes, []))


def test_a_selected_target_without_the_var_of_not_with_is_named() -> None:
    """Like one that a template needs: each that lacks it, or once when none has it."""
    some = [target("r-1", team="pay"), target("r-2"), target("r-3", taem="pay")]
    assert list(misfits((TdeChange(),), some, not_with="team")) == [
        'm.yaml:6:3: rollout.not_with: r-2: this target has no var "team"',
        'm.yaml:6:3: rollout.not_with: r-3: this target has no var "team"',
    ]
    assert list(misfits((TdeChange(),), some[1:], not_with="team")) == [
        'm.yaml:6:3: rollout.not_with: none of the targets has a var "team"; did you mean "taem"'
    ]
    assert not list(misfits((TdeChange(),), some[:1], not_with="team"))
    assert not list(misfits((TdeChange(),), [], not_with="team"))
