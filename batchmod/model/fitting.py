"""Whether every target has what the templates of a manifest use, and what comes of it. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from batchmod.model import rules
from batchmod.model.changelist import Change
from batchmod.model.changes import AttributesChange, TdeChange
from batchmod.model.problems import show_path
from batchmod.model.suggest import did_you_mean
from batchmod.model.targets import Target
from batchmod.model.templates import EARLY, PLACEHOLDERS, placeholders, render
from batchmod.model.yamltext import Path

Rule = Callable[[str], str | None]


def templates_of(changes: Iterable[tuple[int, Change]]) -> Iterator[tuple[Path, str, Rule]]:
    """Place, text and rule of every template in the changes, each of which comes with its place in the list."""
    for place, change in changes:
        match change:
            case AttributesChange(name=str(name)):
                yield ("changes", place, "attributes", "name"), name, rules.name_problem
            case TdeChange(key_id=key_id, role_arn=role_arn):
                if key_id is not None:
                    yield ("changes", place, "tde", "key_id"), key_id, rules.key_id_problem
                if role_arn is not None:
                    yield ("changes", place, "tde", "role_arn"), role_arn, rules.role_arn_problem
            case _:
                continue


def unfit(
    template: str, rule: Rule, targets: Sequence[Target], *, more: bool = False
) -> Iterator[tuple[Target | None, str]]:
    """What is wrong, and with which target; None: with the template, whatever the target.

    With `more`, other targets are to come, and a var that none of these has may be theirs.
    """
    used = set(placeholders(template))
    variables = used - PLACEHOLDERS
    if not used:
        if problem := rule(render(template, {})):
            yield None, problem
        return
    known = {name for target in targets for name in target.vars} | (variables if more else set())
    nobodys = sorted(variables - known)
    for name in nobodys:
        yield None, f"unknown placeholder {{{name}}}{did_you_mean(name, PLACEHOLDERS | known)}"
    for target in targets:
        if lacking := sorted(variables & known - target.vars.keys()):
            yield target, f'this target has no var "{lacking[0]}"'
        elif not nobodys and used <= {*EARLY, *target.vars} and (problem := rule(render(template, target.facts))):
            yield target, problem


def misfits(changes: Iterable[Change], targets: Sequence[Target]) -> Iterator[str]:
    """`where: path: id: what is wrong` of each of the targets, or without an id when it is so for all of them.

    For targets whose vars are known since the service was asked: what `load` says of those that a manifest names.
    """
    for path, template, rule in templates_of(enumerate(changes) if targets else ()):
        for target, problem in unfit(template, rule, targets):
            who = f"{target.id}: " if target else ""
            yield f"{(target or targets[0]).where}: {show_path(path)}: {who}{problem}"
