"""No secret is in anything that a command leaves, says, sends or passes on: every command, and every kind of trouble."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import canary_cluster
import click
import pytest
from canary_forms import Searcher, forms
from canary_support import OPERATORS, PROXY_PASSWORD, TOKEN, Canary, canary
from canary_wire import ECHOES, LAST_WORDS, SIGNATURE, refusal, reply
from fleet_support import THREE, A, B, every, write_profiles
from webhook import webhook
from whole_support import reaches

from batchmod.cli import cli
from batchmod.report.sheets import Format

MODIFY = "ModifyInstanceAttribute"
ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
TO_CHOSEN: dict[str, Any] = {"password": {"env": "CHOSEN"}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}
ACCEPTED = {"password": "accepted"}
QUICK = {"max_delay": "100ms", "settle_quiet": "100ms", "fence": "1s"}
LOSES = {"scripts": [{"api": MODIFY, "play": ["reset_after", "http_500", "html_502", "garbled", "truncated"]}]}


def manifest(c: Canary, *changes: dict[str, Any], **more: Any) -> str:
    return str(c.b.manifest(**{"targets": c.b.targets(3), "changes": changes, "proof": ACCEPTED, **more}))


async def rotated(c: Canary) -> None:
    """Three generated passwords, of a run whose replies were lost; of one run, for all who ask."""
    job = manifest(c, RENAME, ROTATE)
    if not (c.b.folder / "reports").exists():
        await c.run("run", job, "--yes", "-v", code=None)


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


async def completion(c: Canary) -> None:
    """The script of each shell, and what one is offered then."""
    await rotated(c)
    for shell in ("bash", "zsh", "fish"):
        await c.run("completion", shell)
        words = {"bash": "2", "zsh": "2", "fish": ""}[shell]
        asking = {"_BATCHMOD_COMPLETE": f"{shell}_complete", "COMP_WORDS": "batchmod report ", "COMP_CWORD": words}
        assert "job" in (await c.run(environ=asking)).out


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
    await c.run("plan", manifest(c, RENAME, TO_CHOSEN), "-o", "plan.json", "-v")
    c.secrets["wrong key"] = "Wr0ng-access-key-secret"
    wrong = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": c.secrets["wrong key"]}
    await c.run("plan", manifest(c, TO_CHOSEN), "-v", environ=wrong, code=2)


async def run(c: Canary) -> None:
    for change in (TO_CHOSEN, {"password": {"file": str(c.operator / "chosen.txt")}}, ROTATE):
        await c.run("run", manifest(c, RENAME, change), "--yes", "-v", "--metrics", "job.prom", code=None)
    c.secrets["password of a plan"] = "Pl4nned&%=+Pass*word"
    planned = {"CHOSEN": c.secrets["password of a plan"]}
    await c.run("plan", manifest(c, RENAME, TO_CHOSEN), "-o", "plan.json", environ=planned)
    await c.run("run", "plan.json", "--yes", "-v", code=2)
    await c.run("run", "plan.json", "--yes", "-v", code=None, environ=planned)
    await consumed(c)
    await notified(c)


async def consumed(c: Canary) -> None:
    """By programs that get the passwords, fail, and repeat what they were given."""
    loud = c.b.folder / "loud.sh"
    loud.write_text("#!/bin/sh\ntee -a /dev/stderr\nexit 3\n")
    loud.chmod(0o755)
    consumers = [{"run": ["./loud.sh"], "reveal": True, "per": per} for per in ("target", "wave")]
    await c.run("run", manifest(c, TO_CHOSEN, consumers=consumers), "--yes", "-v", code=None)
    result = await c.run("run", manifest(c, ROTATE, consumers=consumers), "--yes", "--log-format", "json", code=None)
    assert "withheld" in result.err


async def notified(c: Canary) -> None:
    """By a webhook that refuses, one that nobody serves, and one that never answers; then by none that is understood."""
    c.secrets |= {"webhook token": "H00k&token=+of*it", "webhook password": "H00k&password=+of*it"}
    token, password = (quote(c.secrets[f"webhook {what}"], safe="") for what in ("token", "password"))
    async with webhook() as hook:
        urls = [hook.url(f"{path}/{token}").replace("//", f"//me:{password}@") for path in ("broken", "hang", "away")]
        urls.append(f"jsons://me:{password}@127.0.0.1:9/{token}?+x-token={token}")
        environ = {f"HOOK{number}": url for number, url in enumerate(urls)}
        notify = [{"env": name, "timeout": "300ms"} for name in environ]
        told = await c.run("run", manifest(c, RENAME, notify=notify), "--yes", "-v", environ=environ)
        assert told.err.count("\nnotification ") == len(hook.heard) + 1 == 4
        environ["HOOK1"] = f"slack://{token}"
        for command in (("run", "--yes"), ("doctor",)):
            await c.run(*command, manifest(c, RENAME, notify=notify), environ=environ, code=2)


async def resume(c: Canary) -> None:
    await killed(c)
    await c.run("resume", "-v", code=None)


async def abandon(c: Canary) -> None:
    await killed(c)
    await c.run("abandon", "job", "-v", code=None)


async def doctor(c: Canary) -> None:
    """After a run; with a password that breaks a rule, with keys that are refused; with a route that must be found."""
    await rotated(c)
    job = manifest(c, RENAME, TO_CHOSEN, proof={"password": "login"})
    await c.run("doctor", job, code=None)
    job = manifest(c, RENAME, TO_CHOSEN)
    for form in ("table", "json"):
        await c.run("doctor", job, "--format", form, code=None)
    c.secrets["weak password"] = "weak but long enough"
    c.secrets["wrong key"] = "Wr0ng-access-key-secret"
    broken = {"CHOSEN": c.secrets["weak password"], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": c.secrets["wrong key"]}
    await c.run("doctor", job, environ=broken, code=2)


async def control(c: Canary) -> None:
    """In what it says, in the requests and their answers, and in a run's log that is JSON."""
    c.b.manifest(targets=c.b.targets(3), changes=[TO_CHOSEN], proof=ACCEPTED, limits={"rate": "1/1s"})
    process = await c.b.start("run", "job.yaml", "--yes", "-v", "--log-format", "json")
    ending = asyncio.create_task(c.ended(process, "run that is controlled"))
    await reaches(c.b, MODIFY, 1)
    await c.run("control", "job", "pause")
    await c.run("control", "job", "stop", "--log-format", "json")
    assert (await ending).code == 3
    await c.run("control", "job", "pause", code=2)


async def runs(c: Canary) -> None:
    await rotated(c)
    await c.run("runs")


async def report(c: Canary) -> None:
    await rotated(c)
    for form in (None, *Format):
        await c.run("report", "job", *(() if form is None else ("--format", form)))


async def verify(c: Canary) -> None:
    """Of passwords that are live, and of one that is not."""
    await rotated(c)
    await c.run("verify", manifest(c, ROTATE), "-v", code=None)
    await c.run("run", manifest(c, TO_CHOSEN, targets=c.b.targets(1)), "--yes", "--state", "elsewhere", code=None)
    await c.run("verify", manifest(c, ROTATE), "-v", "--log-format", "json", code=1)


async def reconcile(c: Canary) -> None:
    """After a journal was lost in the middle of a run; and where it is refused."""
    await killed(c)
    await c.run("reconcile", "job.yaml", "--yes", code=2)
    for lost in c.b.folder.rglob("journal.db*"):
        lost.unlink()
    await c.run("reconcile", "job.yaml", code=2)
    await c.run("reconcile", "job.yaml", "--yes", "-v", code=None)
    await c.run("reconcile", "job.yaml", "--yes", "-v", "--log-format", "json", code=None)


async def sim(c: Canary) -> None:
    """Its own keys are for its user; the operator's are not for its Valkey."""
    process = await c.b.start("sim", "--instances", "3")
    assert process.stdout is not None
    c.took("sim, serving", await process.stdout.readline(), b"")
    ending = asyncio.create_task(c.ended(process, "sim"))
    async with asyncio.timeout(30):
        while not any(name.startswith("child") for name in c.outputs):  # noqa: ASYNC110  no event says it was sampled
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert (await ending).code == 0


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


Scenario = Callable[[Canary], Awaitable[None]]
SCENARIOS: Mapping[str, Mapping[tuple[str, ...], Scenario]] = {  # those that can, share a bench, in this order
    "before a run": {("init",): init, ("schema",): schema, ("validate",): validate, ("plan",): plan},
    "after a run": {
        ("completion",): completion,
        ("runs",): runs,
        ("report",): report,
        ("doctor",): doctor,
        ("verify",): verify,
    },
    "what is stored": {
        ("secrets", "list"): secrets_list,
        ("secrets", "get"): secrets_get,
        ("secrets", "export"): secrets_export,
        ("secrets", "import"): secrets_import,
        ("secrets", "backup"): secrets_backup,
    },
    "run": {("run",): run},
    "resume": {("resume",): resume},
    "abandon": {("abandon",): abandon},
    "reconcile": {("reconcile",): reconcile},
    "control": {("control",): control},
    "demo": {("demo",): demo},
    "sim": {("sim",): sim},
    "many machines": {
        ("submit",): canary_cluster.submit,
        ("worker",): canary_cluster.worker,
        ("schedule",): canary_cluster.schedule,
    },
}


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name)


def test_every_command_has_a_scenario() -> None:
    """A new command is not forgotten."""
    assert sorted(commands(cli)) == sorted(command for together in SCENARIOS.values() for command in together)


@pytest.mark.parametrize("together", SCENARIOS)
async def test_no_command_lets_a_secret_out(tmp_path: Path, together: str) -> None:
    """At -v, with replies that are lost; and none of them could be dumped to a core file."""
    async with canary(tmp_path, faults=LOSES) as c:
        for scenario in SCENARIOS[together].values():
            await scenario(c)
        await c.check()
        seen = {command[0] for command in SCENARIOS[together]} - {"completion"}  # which is sampled with luck
        assert {c.limits[name] for name in seen} == {"0 0"}, c.limits


async def test_a_secret_that_is_repeated_in_part_is_withheld(tmp_path: Path) -> None:
    """A store in KMS sends the password within a longer text; the first half of that is still a password."""
    async with canary(tmp_path, instances=1) as c:
        c.wire.plays["PutSecretValue"] = refusal("InvalidParameter", lambda sent: dict(sent.form)["SecretData"][:100])
        secrets = {"store": "kms", "region": "cn-hangzhou"}
        result = await c.run(
            "run", manifest(c, TO_CHOSEN, targets=c.b.targets(1), secrets=secrets), "--yes", "-v", code=3
        )
        assert "(withheld)" in result.err
        await c.check()


LEAKS = {  # by where it is to be found: what a program does with `secret`
    "stderr": "print(quote(quote(secret)), file=sys.stderr)",
    "stdout": "print(json.dumps({'row': secret}))",
    "reports": "os.mkdir('reports'); open('reports/job.csv', 'w').write(f'a,{secret},b')",
    ".batchmod": "os.mkdir('.batchmod'); open('.batchmod/journal.db', 'wb').write(b64encode(b'journal' + secret.encode()))",
    "canary-": "open(tempfile.mkstemp()[1], 'w').write(secret.encode().hex())",
    "home": "open(os.path.expanduser('~/.cache'), 'w').write(secret[::-1])",
    "child": "subprocess.run(['sleep', '0.5'], env={'PW': secret})",
    "argv": "subprocess.run([sys.executable, '-c', 'import time; time.sleep(0.5)', secret], env={})",
    "headers": "post({'x-note': quote(secret)}, '')",
    "form": "post({}, urlencode({'InstanceName': secret}))",
}
LEAKING = """
import json, os, subprocess, sys, tempfile
from base64 import b64encode
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

def post(headers, form):
    urlopen(Request(os.environ["BATCHMOD_ENDPOINT"] + "/", form.encode(), headers)).read()

secret = os.environ["CHOSEN"]
{leak}
"""


@pytest.mark.parametrize("where", LEAKS)
async def test_a_planted_leak_is_found(tmp_path: Path, where: str) -> None:
    """In every place that is searched, in one form or another."""
    async with canary(tmp_path, instances=1) as c:
        c.wire.plays[""] = lambda _: reply(200, "{}")
        await c.ended(await c.b.start_program(LEAKING.format(leak=LEAKS[where])), "leaking program")
        (leak,) = {leak for leak in await c.leaks() if "chosen password" in leak}
        assert {"argv": "child", "home": "/.cache"}.get(where, where) in leak


@pytest.mark.parametrize("form", forms("Ch0sen&%=+Pass*word"))
@pytest.mark.parametrize("before", [b"", b"x", b"xy"])
def test_every_form_is_found_wherever_it_stands(form: str, before: bytes) -> None:
    """Base64 of a text that a secret is a part of, too."""
    secret = "Ch0sen&%=+Pass*word"
    found = Searcher({"it": secret})
    assert list(found.leaks(before + forms(secret)[form] + before))
    assert list(found.leaks(base64.b64encode(before + secret.encode() + before)))
    assert not list(found.leaks(secret[:-1].encode()))


async def test_an_answer_that_repeats_the_write_is_not_repeated(tmp_path: Path) -> None:
    """The string to sign of the older signature, a page, a redirect, bytes that are no HTTP: one to each instance."""
    async with canary(tmp_path, instances=len(ECHOES), faults={"session_token": TOKEN}) as c:
        targets = c.b.targets(len(ECHOES))
        c.wire.plays |= dict(zip((target["id"] for target in targets), ECHOES.values(), strict=True))
        retry = QUICK | {"attempts": 1, "settle_timeout": "1s", "busy_timeout": "1s"}
        await c.run("run", manifest(c, TO_CHOSEN, targets=targets, retry=retry), "--yes", "-v", code=4)
        withheld = {row["instance_id"] for row in c.b.report()["rows"] if "withheld" in json.dumps(row)}
        assert withheld >= {target["id"] for target in targets[: len(LAST_WORDS)]}
        await c.run("report", "job", "--format", "csv")
        await c.check()


@pytest.mark.parametrize("api", ["GetCallerIdentity", "DescribeInstances", MODIFY])
async def test_an_answer_that_ends_it_all_is_not_repeated(tmp_path: Path, api: str) -> None:
    """A signature error that quotes what was signed, or a read that is answered so."""
    endings = [SIGNATURE, *(ECHOES[name] for name in ("refused, _all", "page", "broken header"))]
    async with canary(tmp_path, instances=len(endings), faults={"session_token": TOKEN}) as c:
        retry = QUICK | {"attempts": 1, "settle_timeout": "1s"}
        for number, (target, echo) in enumerate(zip(c.b.targets(len(endings)), endings, strict=True)):
            c.wire.plays[api] = echo
            c.wire.played.clear()
            job = manifest(c, TO_CHOSEN, name=f"job-{number}", targets=[target], retry=retry)
            await c.run("run", job, "--yes", "-v", code=None)
            assert c.wire.played[api], echo
        assert c.wire.sent[-1].api
        await c.check()


async def test_the_keys_of_profiles_roles_and_files_stay_where_they_are(tmp_path: Path) -> None:
    """The vendor CLI's profiles, a role through one of them whose token expires, the vendor's credentials file."""
    role = f"acs:ram::{B}:role/redis-operator"
    cloud = {**THREE, "roles": [{"account": B, "name": "redis-operator", "trusts": [A]}], "token_seconds": 1.0}
    async with canary(tmp_path, instances=12, faults=cloud) as c:
        write_profiles(c.b)
        for account, keys in c.b.sim.accounts.items():
            c.secrets[f"secret of {account}"] = keys.access_key_secret
        accounts = {"a": {"profile": "a"}, "b": {"role_arn": role, "via": "a"}}
        fleet = every("a", "b")
        changes = manifest(c, RENAME, ROTATE, accounts=accounts, targets=fleet, limits={"rate": "2/1s"})
        await c.run("run", changes, "--yes", "-v", code=None)
        assert len(c.wire.given) >= 2
        c.wire.plays["AssumeRole"] = ECHOES["refused, _all"]
        await c.run("plan", changes, "-v", code=2)
        ini = Path(os.environ["HOME"], *OPERATORS[1].split("/"))
        write_credentials_file(ini, c.b.sim.access_key_id, c.b.sim.access_key_secret)
        none = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""}
        (ini.parents[1] / OPERATORS[0]).unlink()
        await c.run("run", manifest(c, RENAME, targets=c.b.targets(2)), "--yes", "-v", environ=none)
        write_credentials_file(ini, "", f"spoilt {c.b.sim.access_key_secret}\n[")
        await c.run("plan", manifest(c, RENAME), "-v", environ=none, code=None)
        await c.check()


def write_credentials_file(path: Path, key_id: str, secret: str) -> None:
    path.parent.mkdir(exist_ok=True)
    text = f"[default]\nenable = true\ntype = access_key\naccess_key_id = {key_id}\naccess_key_secret = {secret}\n"
    path.write_text(text)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Tell me more\r\n", b"HTTP/1.1 200 OK\r\n\r\nnot TLS", b"\0"])
async def test_the_password_of_a_proxy_is_for_the_proxy(tmp_path: Path, answer: bytes) -> None:
    """One that refuses and repeats what it was sent, one that opens no tunnel, one that speaks something else."""
    heard: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer + heard[-1])
        await writer.drain()
        writer.close()

    async with canary(tmp_path) as c, await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        url = c.b.environ["HTTPS_PROXY"].replace(":9", f":{server.sockets[0].getsockname()[1]}")
        environ = {"HTTPS_PROXY": url, "BATCHMOD_ENDPOINT": "https://cloud.example:8443"}
        await c.run(
            "run", manifest(c, TO_CHOSEN, retry=QUICK | {"fence": "16m"}), "--yes", "-v", code=2, environ=environ
        )
        assert b"authorization: basic" in heard[0].lower()
        await c.check()


async def test_the_password_of_a_proxy_that_is_none_stays_where_it_is(tmp_path: Path) -> None:
    async with canary(tmp_path) as c:
        environ = {"BATCHMOD_ENDPOINT": "https://cloud.example:8443"}
        broken = {**environ, "HTTPS_PROXY": f"ftp://operator:{PROXY_PASSWORD}@127.0.0.1:9"}
        await c.run(
            "run", manifest(c, TO_CHOSEN, retry=QUICK | {"fence": "16m"}), "--yes", "-v", code=2, environ=broken
        )
        await c.check()


BUGS = {  # a function that gets a secret, and a way in which it could go wrong
    "an exception": "raise ValueError(secret)",
    "a chain of them": "try:\n        int(secret)\n    except ValueError as error:\n        raise KeyError(secret) from error",
    "a group": "raise ExceptionGroup(secret, [ValueError(secret), KeyError(secret)])",
    "a forgotten task": "asyncio.ensure_future(fail(secret)); raise RuntimeError",
    "a thread": "import threading; threading.Thread(target=int, args=(secret,)).start(); raise RuntimeError",
    "a destructor": "Dying(secret)",
    "a logger": "import logging; logging.getLogger('x').error('%s', secret, exc_info=ValueError(secret)); raise RuntimeError",
}
BUGGY = """
import asyncio, sys
import batchmod.cloud.client as client

class Dying:
    def __init__(self, secret):
        self.secret = secret
    def __del__(self):
        raise ValueError(self.secret)

async def fail(secret):
    raise ValueError(secret)

def broken(**request):
    secret = dict(request["params"]).get("NewPassword")
    if secret is None:
        return sound(**request)
    {bug}
    return sound(**request)

sound, client.signed_headers = client.signed_headers, broken
from batchmod.cli import main
sys.exit(main())
"""


FORKS = """
import os, sys
import batchmod.app.execute  # once for all

def play(said, program, *arguments):
    if not (pid := os.fork()):
        os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY, 0o600), 2)
        sys.argv[1:] = arguments
        exec(program, {{"__name__": "__main__"}})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

SOUND = "import sys; from batchmod.cli import main; sys.exit(main())"
for number, bug in enumerate({bugs!r}):
    code = play(f"{{number}}.err", bug, "run", f"{{number}}.yaml", "--yes", "-v")
    resumed = play(f"{{number}} resumed.err", SOUND, "resume", "-v")
    print(code, resumed, flush=True)
"""


async def test_a_bug_is_told_without_what_was_in_it(tmp_path: Path) -> None:
    """The traceback names kinds and places; neither texts nor variables. Each in a process of its own."""
    async with canary(tmp_path, instances=len(BUGS)) as c:
        for number, target in enumerate(c.b.targets(len(BUGS))):
            manifest(c, TO_CHOSEN, targets=[target], retry=QUICK)
            (c.b.folder / "job.yaml").rename(c.b.folder / f"{number}.yaml")
        program = FORKS.format(bugs=[BUGGY.format(bug=each) for each in BUGS.values()])
        result = await c.ended(await c.b.start_program(program), "runs with bugs")
        codes = [[int(code) for code in line.split()] for line in result.out.splitlines()]
        assert len(codes) == len(BUGS), result.err
        for number, (bug, (code, resumed)) in enumerate(zip(BUGS, codes, strict=True)):
            told = (c.b.folder / f"{number}.err").read_text()
            assert code == (0 if bug == "a destructor" else 70), (bug, told)
            assert "ValueError" in told or "RuntimeError" in told, (bug, told)
            assert "cloud/client.py" in told or bug in {"a destructor", "a thread"}, (bug, told)
            assert resumed != 70, (bug, (c.b.folder / f"{number} resumed.err").read_text())
        await c.check()


@pytest.mark.parametrize("how", ["term", "int twice", "kill"])
async def test_an_interruption_lets_no_secret_out(tmp_path: Path, how: str) -> None:
    """Nor does what takes the run up again, with another value in the environment."""
    async with canary(tmp_path, instances=6, faults=LOSES) as c:
        slow = manifest(c, RENAME, TO_CHOSEN, targets=c.b.targets(6), limits={"rate": "6/1s"})
        process = await c.b.start("run", slow, "--yes", "-v", "--drain", "2s")
        ending = asyncio.create_task(c.ended(process, "run that is interrupted"))
        await reaches(c.b, MODIFY, 5)
        process.send_signal({"term": signal.SIGTERM, "int twice": signal.SIGINT, "kill": signal.SIGKILL}[how])
        if how == "int twice":
            process.send_signal(signal.SIGINT)
        await ending
        c.secrets["another password"] = "An0ther=Chosen&Word"
        await c.run("resume", "-v", code=None, environ={"CHOSEN": c.secrets["another password"]})
        await c.check()


async def test_a_stdout_that_cannot_be_written_gets_nothing_elsewhere(tmp_path: Path) -> None:
    """A full disk, a reader that has gone, none at all: what was to be printed is not in the complaint."""
    async with canary(tmp_path) as c:
        await rotated(c)
        for command in ("secrets export", "secrets get r-sim000001", "plan job.yaml"):
            for where in (">/dev/full", "| true", ">&-"):
                process = await c.b.start_shell(f"$PYTHON -m batchmod {command} {where}")
                await c.ended(process, f"broken {where} {command}")
        await c.check()
