"""Placeholders and renaming."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.model.templates import (
    PLACEHOLDERS,
    Rename,
    desired_name,
    placeholders,
    render,
    template_problem,
    var_problem,
)

words = st.text("abcxyz_-é缓 ", min_size=1, max_size=6).filter(lambda text: text == text.strip() and text != "name")


@given(st.text("ab{}\\n 缓", max_size=30), words, words)
def test_braces_written_twice_are_braces(literal: str, name: str, value: str) -> None:
    """Any text can be written, and stands beside a placeholder unharmed."""
    written = literal.replace("{", "{{").replace("}", "}}")
    assert template_problem(written) is None
    assert render(written, {}) == literal
    assert render(f"{written} {{{name}}}", {name: value}) == f"{literal} {value}"


@given(st.dictionaries(words, st.text(max_size=8), min_size=1))
def test_each_fact_stands_where_its_placeholder_stood(facts: dict[str, str]) -> None:
    """In order and as it is: a fact with braces is not filled in again."""
    template = "|".join(f"{{{name}}}" for name in facts)
    assert tuple(placeholders(template)) == tuple(facts)
    assert render(template, facts) == "|".join(facts.values())


@given(st.text("a{}!:.[]", max_size=12), st.just({"a": "x"}))
def test_a_template_is_filled_or_refused(template: str, facts: dict[str, str]) -> None:
    """No template, however broken, ends in another error than UsageError."""
    try:
        rendered = render(template, facts)
    except UsageError:
        assert template_problem(template) or set(placeholders(template)) - facts.keys()
    else:
        assert template_problem(template) is None
        assert rendered.count("a") + rendered.count("x") == template.count("a")


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{name}", "pattern: "),
        ("a{", 'a single "{"'),
        ("a}", 'a single "}"'),
        ("{}", "without a name"),
        ("{ }", "without a name"),
        ("{a{b}}", 'a single "{"'),
    ],
)
def test_broken_templates_are_explained(template: str, part: str) -> None:
    """The message says how to write it."""
    assert part in str(template_problem(template))
    with pytest.raises(UsageError, match=re.escape(part)):
        render(template, {"name": "x", "": "x", " ": "x"})


@pytest.mark.parametrize("template", ["{id!r}", "{id:>3}", "{id.x}", "{id[0]}"])
def test_no_template_reaches_into_a_fact(template: str) -> None:
    """Python's format language is not available: what it would mean is an unknown placeholder."""
    with pytest.raises(UsageError, match="nothing is known for"):
        render(template, {"id": "r-123"})


def test_a_lacking_fact_is_named() -> None:
    """The error says which placeholder nothing is known for."""
    with pytest.raises(UsageError, match=re.escape("nothing is known for {zone}")):
        desired_name("{id}-{zone}", "old", {"id": "r-123"})


def test_a_template_is_the_desired_name() -> None:
    """The present name plays no part."""
    assert desired_name("{team}-{region}", "old", {"team": "pay", "region": "cn-hangzhou"}) == "pay-cn-hangzhou"


@pytest.mark.parametrize(
    ("pattern", "replace", "current", "wanted"),
    [
        ("^old-(.*)$", r"new-\1", "old-cache", "new-cache"),
        ("^old-(.*)$", r"new-\1", "new-cache", None),
        ("a", "b", "aaa", "baa"),
        ("(?P<x>c+)", r"<\g<x>>", "accb", "a<cc>b"),
        ("x|(y)", r"[\1]", "x", "[]"),
        ("a", "a", "a", "a"),
    ],
)
def test_renaming_replaces_the_first_match(pattern: str, replace: str, current: str, wanted: str | None) -> None:
    """As Python's re.sub does, once; without a match the name stays, which is None."""
    assert desired_name(Rename(pattern=pattern, replace=replace), current, {}) == wanted


def test_renaming_twice_changes_nothing_more() -> None:
    """The usual rename is done once: the new name does not match."""
    rename = Rename(pattern="^old-(.*)$", replace=r"new-\1")
    assert desired_name(rename, desired_name(rename, "old-a", {}) or "", {}) is None


@pytest.mark.parametrize(
    "name", [*sorted(PLACEHOLDERS), "password", "New Password", "new_password", "PASSWD", "", " a", "a ", "a}", "a\n"]
)
def test_names_that_no_var_may_have(name: str) -> None:
    """Built-in placeholders, passwords, and what no template could name."""
    assert var_problem(name) is not None


@pytest.mark.parametrize("name", ["team", "Team Name", "实例", "name", "cost-center", "passage"])
def test_names_that_a_var_may_have(name: str) -> None:
    """Columns of an export stay as they are."""
    assert var_problem(name) is None
