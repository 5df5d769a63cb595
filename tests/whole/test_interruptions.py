"""Signals, broken streams and other runs, at the worst moments."""

import asyncio
import json
import os
import pty
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from whole_support import Bench, bench, reaches

RENAME = {"attributes": {"name": "{region}-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
LOGIN = {"password": "login"}
MODIFY = "ModifyInstanceAttribute"


async def a_run_id(b: Bench) -> str:
    return (await b.run("runs")).out.splitlines()[1].split()[0]


async def test_killed_before_its_report_is_there_a_run_is_unfinished(tmp_path: Path) -> None:
    """All rows ended, the report did not: resume writes it, and then there is nothing to resume."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME])
        program = (
            "import os, signal, sys\n"
            "replace = os.replace\n"
            "os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
            "from batchmod.cli import main\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        process = await b.start_program(program, "run", str(manifest), "--yes")
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
        sent = b.modifying_calls()
        assert (await b.run("run", str(manifest), "--yes")).code == 2
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 2}
        assert b.modifying_calls() == sent
        assert "nothing to resume" in (await b.run("resume")).err


async def test_a_signal_while_a_changed_manifest_closes_the_old_run_sends_nothing(tmp_path: Path) -> None:
    """`run --resume` does not begin a new campaign after SIGTERM: exit 3, and the old run can still be resumed."""
    async with bench(tmp_path, instances=8, faults={"durations": {"password": 8.0}}) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[ROTATE], proof=LOGIN)
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 4)
        process.kill()
        await process.communicate()
        sent, looks = b.modifying_calls(), b.calls("DescribeInstances")
        manifest = b.manifest(targets=b.targets(8), changes=[RENAME], proof=LOGIN)
        process = await b.start("run", str(manifest), "--yes", "--resume", "--drain", "100ms")
        await reaches(b, "DescribeInstances", looks + 2)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 3, err.decode()
        assert b.modifying_calls() == sent
        assert "unfinished" in (await b.run("runs")).out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_planning_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """130, and that nothing was sent; no run was opened."""
    faults = {"scripts": [{"api": "DescribeInstances", "play": [{"fault": "hang", "seconds": 60}]}]}
    async with bench(tmp_path, instances=2, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME])
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, "GetCallerIdentity", 1)
        await asyncio.sleep(0.3)  # into the hanging read: no call of it is counted yet
        process.send_signal(number)
        _, err = await process.communicate()
        assert process.returncode == 130
        assert b"nothing was sent" in err
        assert b"Traceback" not in err
        assert "no runs" in (await b.run("runs")).out


@pytest.mark.parametrize(("answer", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (b"y\n", 2), (b"yes\n", 0)])
async def test_the_prompt(tmp_path: Path, answer: signal.Signals | bytes, code: int) -> None:
    """Only `yes` is a yes; a signal leaves at once; else nothing was sent and no run was opened."""
    async with bench(tmp_path, instances=2) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME])
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            b.python, "-m", "batchmod", "run", str(manifest), cwd=tmp_path, env=b.environ,
            stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)

        def reply(_: bytes) -> None:
            if isinstance(answer, bytes):
                os.write(master, answer)
            else:
                process.send_signal(answer)

        shown = await answered(master, b"taken as yes: ", reply)
        assert await process.wait() == code, shown.decode()
        assert (b"nothing was sent" in shown) == (code != 0)
        assert (b.modifying_calls() == 0) == (code != 0)
        assert ("no runs" in (await b.run("runs")).out) == (code != 0)


async def answered(master: int, question: bytes, answer: Callable[[bytes], None]) -> bytes:
    """All that a terminal showed; the answer is given when the question came."""
    shown, asked, gone = b"", False, asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        nonlocal shown, asked
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is gone
            piece = b""
        shown += piece
        if not piece:
            loop.remove_reader(master)
            gone.set()
        elif not asked and question in shown:
            asked = True
            answer(question)

    loop.add_reader(master, listen)
    async with asyncio.timeout(60):
        await gone.wait()
    os.close(master)
    return shown


async def test_a_reader_that_has_gone_does_not_stop_the_run(tmp_path: Path) -> None:
    """stderr is a broken pipe: every row is changed, the report is there, and a signal still stops."""
    async with bench(tmp_path, instances=20) as b:
        manifest = b.manifest(targets=b.targets(20), changes=[RENAME], limits={"rate": "10/1s"})
        process = await b.start("run", str(manifest), "--yes", "-v")
        await reaches(b, MODIFY, 1)
        process._transport.get_pipe_transport(2).close()  # type: ignore[attr-defined]
        await reaches(b, MODIFY, 6)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 3
        assert b.outcomes()["not_started"] > 0
        assert (await b.run("resume")).code == 0
        assert b.outcomes() == {"changed": 20}


async def test_closed_streams_and_full_ones_are_no_bugs(tmp_path: Path) -> None:
    """One line and a code of the contract; no traceback."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        for redirect, code in (("<&-", 2), ("--yes 2>&-", 0), ("--yes >&-", 0)):
            process = await b.start_shell(f'"$PYTHON" -m batchmod run {manifest} {redirect}')
            _, err = await process.communicate()
            assert process.returncode == code, (redirect, err.decode())
            assert b"Traceback" not in err
        for command in ("runs", f"plan {manifest}", "schema", "report job --format csv"):
            process = await b.start_shell(f'"$PYTHON" -m batchmod {command} >/dev/full')
            _, err = await process.communicate()
            assert process.returncode == 74, (command, err.decode())
            assert b"Traceback" not in err
        process = await b.start_shell('set -o pipefail; "$PYTHON" -m batchmod schema | head -c 10')
        await process.communicate()
        assert process.returncode == 0


async def test_what_is_printed_as_next_works_from_where_the_user_is(tmp_path: Path) -> None:
    """The state is beside the manifest, elsewhere: the command says so."""
    async with bench(tmp_path, instances=4) as b:
        (tmp_path / "jobs").mkdir()
        b.manifest(targets=b.targets(4), changes=[RENAME], limits={"rate": "1/1s"}).rename(tmp_path / "jobs/job.yaml")
        process = await b.start("run", "jobs/job.yaml", "--yes")
        await reaches(b, MODIFY, 1)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 3
        line = next(line for line in err.decode().splitlines() if "batchmod resume" in line)
        arguments = line.partition("batchmod ")[2].partition(" (")[0].split()
        result = await b.run(*arguments)
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 4}


async def test_a_younger_password_than_the_proved_one_is_not_called_unchanged(tmp_path: Path) -> None:
    """The first value is current, the second may be live: going back to the first is a change."""
    play = [{"fault": "ok"}, {"fault": "reset_after", "times": 6}]
    async with bench(tmp_path, instances=1, faults={"scripts": [{"api": MODIFY, "play": play}]}) as b:
        retry = {"attempts": 2, "settle_timeout": "2s", "fence": "100ms", "max_delay": "1s"}
        manifest = b.manifest(
            targets=b.targets(1), changes=[{"password": {"env": "PW"}}], retry=retry, proof={"password": "accepted"}
        )
        first, second = {"PW": "First-Passw0rd"}, {"PW": "Second-Passw0rd"}
        assert (await b.run("run", str(manifest), "--yes", environ=first)).code == 0
        assert (await b.run("run", str(manifest), "--yes", environ=second)).code == 4
        assert b.sim.cloud.passwords["r-sim000000"] == second["PW"]
        again = await b.run("plan", str(manifest), "--format", "json", environ=first)
        assert [row["verdict"] for row in json.loads(again.out)["rows"]] == ["planned"]


async def test_a_spent_budget_is_reset_by_an_operator_only(tmp_path: Path) -> None:
    """`resume` alone goes nowhere and says what does."""
    faults = {"refuse": [{"match": "r-sim00000[0-2]", "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=8, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(8), changes=[RENAME], rollout={"max_failures": 2})
        assert (await b.run("run", str(manifest), "--yes")).code == 3
        for arguments in (("resume",), ("run", str(manifest), "--yes", "--resume")):
            result = await b.run(*arguments)
            assert result.code == 3
            assert "--reset-budget" in result.err
        result = await b.run("resume", await a_run_id(b), "--reset-budget")
        assert result.code == 1, result.err
        assert b.outcomes() == {"changed": 5, "failed": 3}


async def test_run_resume_continues_what_is_the_same_and_closes_what_is_not(tmp_path: Path) -> None:
    """A cron line that needs nobody: killed, continued; killed, changed, closed and begun anew."""
    async with bench(tmp_path, instances=12) as b:
        for changed in (False, True):
            name = "{id}-b" if changed else "{id}-a"
            manifest = b.manifest(
                targets=b.targets(12), changes=[{"attributes": {"name": name}}], limits={"rate": "10/1s"}
            )
            sent = b.modifying_calls()
            process = await b.start("run", str(manifest), "--yes", "--resume")
            await reaches(b, MODIFY, sent + 3)
            process.kill()
            await process.communicate()
            if changed:
                manifest = b.manifest(targets=b.targets(12), changes=[{"attributes": {"name": "{id}-c"}}])
            result = await b.run("run", str(manifest), "--yes", "--resume")
            held = [row for row in b.report()["rows"] if row["outcome"] == "skipped"]
            assert result.code == 0 or (result.code == 4 and held), result.err  # 4: the old run's row is unresolved
            for row in b.report()["rows"]:
                if row in held:  # it was in flight when the old run died, and may still land
                    assert changed
                    assert "fence until" in row["detail"]
                else:
                    assert row["outcome"] == "changed"
                    assert b.truth(row["instance_id"])["name"] == f"{row['instance_id']}-{'c' if changed else 'a'}"


async def test_a_campaign_without_passwords_needs_no_key(tmp_path: Path) -> None:
    """No store and no age key are made for a rename."""
    async with bench(tmp_path, instances=1) as b:
        manifest = b.manifest(targets=b.targets(1), changes=[RENAME])
        assert (await b.run("run", str(manifest), "--yes")).code == 0
        assert not (tmp_path / ".batchmod/secrets.db").exists()
        assert not (Path(os.environ["HOME"]) / ".config/batchmod").exists()
