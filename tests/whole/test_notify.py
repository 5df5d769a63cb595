"""Who does not watch is told how a run ended: a real webhook, real processes."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from webhook import Webhook, webhook
from whole_support import Bench, bench

from batchmod import install

RENAME = {"attributes": {"name": "new-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
LOSES = {"scripts": [{"api": "ModifyInstanceAttribute", "play": ["reset_after"]}]}
WAVES = {"waves": [1, "100%"], "check": ["test", "-e", "well"]}
NO_EXTRAS = (
    "import sys\nsys.modules['apprise'] = sys.modules['prometheus_client'] = None\n"
    "from batchmod.cli import main\nsys.exit(main())\n"
)
HANGS_AT_LAST = """
import asyncio, sys
from batchmod.secrets.embedded import EmbeddedStore as Store
calls = []
async def all(self):
    calls.append(1)
    if len(calls) > 1:
        await asyncio.Event().wait()
    return []
Store.all = all
from batchmod.cli import main
sys.exit(main())
"""
TOKEN = "t0ken&%=+of-a-hook"


def job(b: Bench, change: dict[str, Any], **more: Any) -> str:
    notify = [
        {"env": "HOOK"},
        {"file": "broken.txt", "on": ["stopped"]},
        {"env": "HANGS", "timeout": "200ms", "on": ["stopped"]},
        {"env": "HOOK_OF_TROUBLE", "on": ["unresolved"]},
    ]
    body = {"targets": b.targets(2), "changes": [change], "proof": {"password": "accepted"}, "notify": notify}
    body |= {"report": {"formats": ["csv", "json", "html", "junit", "md"]}, **more}
    return str(b.manifest(**body))


async def rebuilt(b: Bench) -> str:
    """The newest run's page; every file of that run is written again by `report`, byte for byte."""
    run_id = b.report()["run"]["id"]
    held = {path: path.read_bytes() for path in (b.folder / "reports").glob(f"*{run_id}*")}
    result = await b.run("report", run_id)
    assert (result.code, len(held)) == (0, 5), result.err
    assert {path: path.read_bytes() for path in held} == held
    return next(held[path] for path in held if path.suffix == ".html").decode()


def hooks(b: Bench, hook: Webhook) -> dict[str, str]:
    (b.folder / "broken.txt").write_text(hook.url("broken") + "\n")
    return {"HOOK": hook.url("fine", "?:team=pay"), "HANGS": hook.url("hang"), "HOOK_OF_TROUBLE": hook.url("trouble")}


async def test_each_end_is_told_once_and_who_fails_is_named(tmp_path: Path) -> None:
    """Unresolved; stopped, with a notifier that refuses and one that never answers; resumed in vain; finished."""
    async with bench(tmp_path, instances=2, faults=LOSES) as b, webhook() as hook:
        environ = hooks(b, hook)
        last = {"targets": b.targets(1), "retry": {"attempts": 1, "settle_quiet": "100ms", "fence": "1s"}}
        result = await b.run("run", job(b, ROTATE, **last), "--yes", environ=environ)
        assert result.code == 4, result.err
        (told,) = hook.of("fine")
        assert hook.of("trouble") == [{name: text for name, text in told.items() if name != "team"}]
        report = b.report()["run"]
        assert (told["event"], told["exit_code"], told["name"], told["type"]) == ("unresolved", 4, "job", "failure")
        assert (told["run_id"], told["counts"], told["team"]) == (report["id"], report["counts"], "pay")
        assert told["title"] == "batchmod: job unresolved"
        assert "exit 4: ended with unresolved rows: a human must look" in told["message"]
        assert "look at the 1 unresolved rows" in told["message"]
        assert {Path(path) for path in told["reports"]} <= set(b.files())
        page = await rebuilt(b)
        assert '"given_up": false' in page  # it is closed, for every row has ended
        assert '"text": "ended, exit 4"' in page
        hook.heard.clear()

        result = await b.run("run", job(b, RENAME, rollout=WAVES), "--yes", environ=environ)
        assert result.code == 3, result.err
        assert result.err.splitlines().count("notification 2 was answered with 500") == 1
        assert result.err.splitlines().count("notification 3 no answer within 200ms") == 1
        (told,) = hook.of("fine")
        assert (told["event"], told["stopped_by"], told["open_rows"]) == ("stopped", "check", 1)
        assert f"next: batchmod resume {told['run_id']}" in told["message"]
        assert (len(hook.of("broken")), len(hook.of("hang")), hook.of("trouble")) == (1, 1, [])
        failed = [{"notify": 2, "reason": "was answered with 500"}, {"notify": 3, "reason": "no answer within 200ms"}]
        report = b.report()["run"]
        assert (report["notifiers_failed"], report["exit_code"], report["counts"]["not_started"]) == (failed, 3, 1)
        assert (await rebuilt(b)).count('"text": "ended, exit 3"') == 1
        hook.heard.clear()

        result = await b.run("resume", environ=environ)
        assert (result.code, hook.heard) == (3, []), result.err
        assert b.report()["run"]["notifiers_failed"] == failed
        (b.folder / "well").touch()
        result = await b.run("resume", environ=environ)
        assert result.code == 0, result.err
        ((path, told),) = hook.heard
        assert (path, told["event"], told["exit_code"]) == ("/fine", "finished", 0)
        assert "2 changed" in told["message"]
        assert b.report()["run"]["notifiers_failed"] == []


async def test_a_signal_while_others_are_told_only_gives_that_up(tmp_path: Path) -> None:
    """The last words were said and the exit code stays: of a report that could not be written, which the message names a
    command for; and of one that could, which says who was not told. Nor is a store waited for.
    """
    async with bench(tmp_path, instances=2) as b, webhook() as hook:
        (b.folder / "hook.txt").write_text(hook.url("hang"))
        body = {
            "targets": b.targets(2),
            "proof": {"password": "accepted"},
            "notify": [{"file": "hook.txt", "timeout": "10m"}],
        }
        spoils = {"waves": [1, "100%"], "check": ["sh", "-c", "rm -rf reports; touch reports"]}
        for more, code in (({"rollout": spoils}, 74), ({}, 0)):
            manifest = b.manifest(changes=[ROTATE], **body, **more)
            process = await b.start_program(HANGS_AT_LAST, "run", str(manifest), "--yes", "--metrics", "job.prom")
            async with asyncio.timeout(60):
                await hook.hears("hang")
            process.send_signal(signal.SIGTERM)
            lines = (await process.communicate())[1].decode().splitlines()
            assert process.returncode == code, lines
            assert lines[-2:] == [
                "notification 1 was given up: a signal came",
                "--metrics: nothing of the oldest proof: a signal came",
            ]
            assert any(line.startswith(f"exit {code}: ") for line in lines[:-2])
            assert f'batchmod_run_exit_code{{name="job"}} {code}.0' in (b.folder / "job.prom").read_text()
            (told,) = hook.of("hang")
            hook.heard.clear()
            if code:
                assert told["next"][0].startswith(f"batchmod report {told['run_id']} (")
                (b.folder / "reports").unlink()
        report = b.report()["run"]
        assert report["notifiers_failed"] == [{"notify": 1, "reason": "was given up: a signal came"}]
        assert report["exit_code"] == 0


async def test_a_url_that_cannot_be_used_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """All of them at once, each by its place, none by its text; `doctor` says the same."""
    async with bench(tmp_path, instances=2) as b:
        manifest = job(b, RENAME)
        environ = {"HOOK": f"slack://{TOKEN}", "HANGS": f"json://x/{TOKEN} json://y", "HOOK_OF_TROUBLE": ""}
        result = await b.run("run", manifest, "--yes", environ=environ)
        assert result.code == 2
        place = f"{manifest}:1:"
        lines = result.err.splitlines()
        assert [line.startswith(place) for line in lines] == [True] * 4
        assert "notify[0].env: environment variable HOOK is no URL that apprise understands" in lines[0]
        assert lines[1].endswith(f"notify[1].file: {b.folder / 'broken.txt'}: No such file or directory")
        assert "notify[2].env: environment variable HANGS is no URL" in lines[2]
        assert lines[3].endswith("notify[3].env: environment variable HOOK_OF_TROUBLE is empty or not set")
        assert b.calls("GetCallerIdentity") == 0
        looked = await b.run("doctor", manifest, environ={**environ, "HOOK": "json://127.0.0.1:9"})
        assert looked.code == 2
        assert "ok    notify[0]: its URL is at hand, and apprise understands it" in looked.out
        assert "FAIL  notify[3]: " in looked.out
        without = await b.start_program(NO_EXTRAS, "run", manifest, "--yes")
        told = f"notify: needs an extra: {install('notify')}\n"
        assert (await without.communicate())[1].decode() == told
        alone = await b.start_program(NO_EXTRAS, "doctor", manifest)
        assert b"notify[0].env: needs an extra: pip install" in (await alone.communicate())[0]
        known = b.calls("GetCallerIdentity")
        b.manifest(targets=b.targets(1), changes=[RENAME])
        unmeasured = await b.start_program(NO_EXTRAS, "run", manifest, "--yes", "--metrics", "job.prom")
        told = f"--metrics needs an extra: {install('metrics')}\n"
        assert (await unmeasured.communicate())[1].decode() == told
        assert (without.returncode, unmeasured.returncode, b.calls("GetCallerIdentity")) == (2, 2, known)
        for said in (result.err, result.out, looked.out, looked.err):
            assert "t0ken" not in said
