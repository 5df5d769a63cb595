"""No secret is in anything that a command leaves, says, sends or passes on: every command, and every kind of trouble."""

import asyncio
import json
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from canary_support import CHOSEN, TOKEN, Canary, canary
from canary_wire import ECHOES, LAST_WORDS
from whole_support import reaches

from batchmod.cli import cli

MODIFY = "ModifyInstanceAttribute"
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
TO_CHOSEN: dict[str, Any] = {"password": {"env": "CHOSEN"}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
ACCEPTED = {"password": "accepted"}
ENDS_SOON = {"settle_timeout": "1s", "busy_timeout": "1s"}
LOSES = {"scripts": [{"api": MODIFY, "play": ["reset_after", "http_500", "html_502", "garbled", "truncated"]}]}


def manifest(c: Canary, *changes: dict[str, Any], **more: Any) -> str:
    return str(c.b.manifest(**{"targets": c.b.targets(3), "changes": changes, "proof": ACCEPTED, **more}))


async def rotated(c: Canary) -> None:
    """Three generated passwords, of a run whose replies were lost."""
    await c.run("run", manifest(c, RENAME, ROTATE), "--yes", "-v", code=None)


async def killed(c: Canary) -> None:
    """A run died with requests under way."""
    c.b.manifest(targets=c.b.targets(3), changes=[TO_CHOSEN], proof=ACCEPTED, limits={"rate": "2/1s"})
    process = await c.b.start("run", "job.yaml", "--yes", "-v")
    await reaches(c.b, MODIFY, 1)
    process.kill()
    await c.ended(process, "run that is killed")


async def demo(c: Canary) -> None:
    """With a scratch directory that stays, for the passwords are in it."""
    keeping = (
        "import sys, tempfile\n"
        "tempfile.TemporaryDirectory.__exit__ = lambda scratch, *_: scratch._finalizer.detach()\n"
        "from batchmod.cli import main\n"
        "sys.exit(main())\n"
    )
    process = await c.b.start_program(keeping, "demo", "-v")
    result = await c.ended(process, "demo")
    assert result.code == 0, result.err
    assert len(await c.generated()) == 60


async def init(c: Canary) -> None:
    await c.run("init")


async def schema(c: Canary) -> None:
    await c.run("schema")


async def validate(c: Canary) -> None:
    await c.run("validate", manifest(c, TO_CHOSEN))
    await c.run("validate", manifest(c, {"password": {"file": str(c.operator / "chosen.txt")}}), code=None)
    c.secrets["weak password"] = "weak but long enough"
    await c.run("validate", manifest(c, TO_CHOSEN), environ={"CHOSEN": c.secrets["weak password"]}, code=2)
    c.secrets["literal password"] = "L1teral=Pass&word"
    written = c.operator / "job.yaml"
    c.b.manifest(changes=[{"password": {"value": c.secrets["literal password"]}}]).rename(written)
    await c.run("validate", str(written), code=2)


async def plan(c: Canary) -> None:
    for form in ("table", "json"):
        await c.run("plan", manifest(c, RENAME, TO_CHOSEN), "--format", form, "-v")
    c.secrets["wrong key"] = "Wr0ng-access-key-secret"
    wrong = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": c.secrets["wrong key"]}
    await c.run("plan", manifest(c, TO_CHOSEN), "-v", environ=wrong, code=2)


async def run(c: Canary) -> None:
    for change in (TO_CHOSEN, {"password": {"file": str(c.operator / "chosen.txt")}}, ROTATE):
        await c.run("run", manifest(c, RENAME, change), "--yes", "-v", code=None)


async def resume(c: Canary) -> None:
    await killed(c)
    await c.run("resume", "-v", code=None)


async def abandon(c: Canary) -> None:
    await killed(c)
    await c.run("abandon", "job", "-v", code=None)


async def runs(c: Canary) -> None:
    await rotated(c)
    await c.run("runs")


async def report(c: Canary) -> None:
    await rotated(c)
    for form in ((), ("--format", "csv"), ("--format", "json")):
        await c.run("report", "job", *form)


async def sim(c: Canary) -> None:
    """Its own keys are for its user; the operator's are not for its Valkey."""
    process = await c.b.start("sim", "--instances", "3")
    ending = asyncio.create_task(c.ended(process, "sim"))
    await asyncio.sleep(2)  # no event of ours says that it was sampled
    process.send_signal(signal.SIGTERM)
    assert (await ending).code == 0
    assert any(name.startswith("child") for name in c.outputs)


async def secrets_list(c: Canary) -> None:
    await rotated(c)
    await c.run("secrets", "list")


async def secrets_get(c: Canary) -> None:
    await rotated(c)
    await c.run("secrets", "get", "r-sim000001", code=None)
    await c.run("secrets", "get", "r-sim000009", code=2)


async def secrets_export(c: Canary) -> None:
    await rotated(c)
    for form in ("json", "csv"):
        await c.run("secrets", "export", "--format", form)


async def secrets_import(c: Canary) -> None:
    """Elsewhere; again; with another value; and what is no export at all."""
    await rotated(c)
    records = json.loads((await c.run("secrets", "export")).out)
    for name, text in c.secrets.items():
        records[0]["password"] = text
        path = c.operator / "export.json"
        path.write_text(json.dumps(records))
        await c.run("secrets", "import", str(path), "--state", name.replace(" ", "-"))
        await c.run("secrets", "import", str(path), code=2)
        for spoil in ('{"', "]", "x"):
            path.write_text(json.dumps(records).replace('"stage"', spoil, 1))
            await c.run("secrets", "import", str(path), code=2)
        path.write_text(f"account_id,{text}\n{text},{text}\n")
        await c.run("secrets", "import", str(path), "--format", "csv", code=2)
        break


async def secrets_backup(c: Canary) -> None:
    await rotated(c)
    await c.run("secrets", "backup", "copy.db")


SCENARIOS: Mapping[tuple[str, ...], Callable[[Canary], Awaitable[None]]] = {
    ("demo",): demo,
    ("init",): init,
    ("schema",): schema,
    ("validate",): validate,
    ("plan",): plan,
    ("run",): run,
    ("resume",): resume,
    ("abandon",): abandon,
    ("runs",): runs,
    ("report",): report,
    ("sim",): sim,
    ("secrets", "list"): secrets_list,
    ("secrets", "get"): secrets_get,
    ("secrets", "export"): secrets_export,
    ("secrets", "import"): secrets_import,
    ("secrets", "backup"): secrets_backup,
}


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name)


def test_every_command_has_a_scenario() -> None:
    """A new command is not forgotten."""
    assert set(commands(cli)) == set(SCENARIOS)


@pytest.mark.parametrize("command", sorted(SCENARIOS), ids=" ".join)
async def test_no_command_lets_a_secret_out(tmp_path: Path, command: tuple[str, ...]) -> None:
    """At -v, with replies that are lost; and none of them could be dumped to a core file."""
    async with canary(tmp_path, faults=LOSES) as c:
        await SCENARIOS[command](c)
        await c.check()
        assert c.limits[-1] == "0 0", c.limits


@pytest.mark.parametrize("echo", ECHOES)
async def test_an_answer_that_repeats_the_request_is_not_repeated(tmp_path: Path, echo: str) -> None:
    """The string to sign of the older signature, a page, a redirect, bytes that are no HTTP: to a write and to reads."""
    async with canary(tmp_path, instances=1, faults={"session_token": TOKEN}) as c:
        c.wire.plays[MODIFY] = deque([ECHOES[echo]] * 8)
        retry = {"max_delay": "100ms", "settle_quiet": "100ms", "fence": "1s", "attempts": 1} | ENDS_SOON
        await c.run("run", manifest(c, TO_CHOSEN, targets=c.b.targets(1), retry=retry), "--yes", "-v", code=None)
        assert any(dict(sent.form).get("NewPassword") == CHOSEN for sent in c.wire.sent)
        if echo in LAST_WORDS:
            assert "withheld" in json.dumps(c.b.report())
        for api in ("DescribeInstances", "GetCallerIdentity"):
            c.wire.plays[api] = deque([ECHOES[echo]] * 8)
            await c.run("plan", manifest(c, TO_CHOSEN, targets=c.b.targets(1), retry=retry), "-v", code=None)
        await c.check()
