"""`batchmod completion …`, and what a shell is offered. The shells' part of it is click's."""

import os
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from batchmod.app.speech import emit

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BATCHMOD_COMPLETE"
ACTIONS = {
    "pause": "send nothing new",
    "continue": "go on",
    "stop": "end as by a signal",
    "rate=auto": "find the quota; or rate=200/60s",
    "changing=none": "no limit of instances in change; or changing=20",
}
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]


def some_run(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem[Any]]:
    """Runs of the state directory that the line names so far, else of the usual one."""
    from batchmod.app.completing import runs_offered  # noqa: PLC0415

    offered = runs_offered(context.params.get("state"), os.environ)
    return [CompletionItem(word, help=told) for word, told in offered if word.startswith(begun)]


def some_action(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem[Any]]:
    return [CompletionItem(word, help=told) for word, told in ACTIONS.items() if word.startswith(begun)]


def some_directory(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem[Any]]:
    return [CompletionItem(begun, type="dir")]


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script."""
    made = get_completion_class(shell)
    assert made is not None  # click knows each of them
    script = made(context.find_root().command, {}, "batchmod", VARIABLE)
    emit([ShellComplete.source(script)])  # not bash's own, which starts a bash to learn its version
