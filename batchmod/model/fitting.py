"""Whether every target has the vars that a manifest uses, and what comes of its templates. Pure."""

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
NOT_WITH: Path = ("rollout", "not_with")


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
    known = _vars(targets) | (variables if more else set())
    nobodys = sorted(variables - known)
    for name in nobodys:
        yield None, f"unknown placeholder {{{name}}}{did_you_mean(name, PLACEHOLDERS | known)}"
    for target in targets:
        if missing := sorted(variables & known - target.vars.keys()):
            yield target, _lacks(missing[0])
        elif not nobodys and used <= {*EARLY, *target.vars} and (problem := rule(render(template, target.facts))):
            yield target, problem


def lacking(name: str, targets: Sequence[Target], *, more: bool = False) -> Iterator[tuple[Target | None, str]]:
    """Each target without this var; None: no target has it, unless `more` are to come that may."""
    without = [target for target in targets if name not in target.vars]
    if targets and len(without) == len(targets) and not more:
        yield None, f'none of the targets has a var "{name}"{did_you_mean(name, _vars(targets))}'
        return
    for target in without:
        yield target, _lacks(name)


def misfits(changes: Iterable[Change], targets: Sequence[Target], *, not_with: str | None = None) -> Iterator[str]:
    """`where: path: id: what is wrong` of each of the targets, or without an id when it is so for all of them.

    For targets whose vars are known since the service was asked: what `load` says of those that a manifest names.
    """
    wrong = [
        (path, one)
        for path, template, rule in templates_of(enumerate(changes) if targets else ())
        for one in unfit(template, rule, targets)
    ]
    if not_with is not None:
        wrong += [(NOT_WITH, one) for one in lacking(not_with, targets)]
    for path, (target, problem) in wrong:
        who = f"{target.id}: " if target else ""
        yield f"{(target or targets[0]).where}: {show_path(path)}: {who}{problem}"


def _vars(targets: Iterable[Target]) -> set[str]:
    return {name for target in targets for name in target.vars}


def _lacks(name: str) -> str:
    return f'this target has no var "{name}"'
