"""What goes wrong is told for what it is: nothing lost, nothing guessed."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from whole_support import RETRY, bench, reaches

RENAME = {"attributes": {"name": "{region}-{id}"}}
ROTATE = {"password": {"generate": {"length": 24}}}
ENCRYPT: dict[str, Any] = {"tde": {}}
LOGIN = {"password": "login"}
MODIFY = "ModifyInstanceAttribute"


async def test_a_wrong_secret_stops_at_once(tmp_path: Path) -> None:
    """One call, one line, exit 2."""
    async with bench(tmp_path) as b:
        manifest = b.manifest(targets=b.targets(20), changes=[RENAME])
        result = await b.run("run", str(manifest), "--yes", environ={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"})
        assert result.code == 2
        assert "SignatureDoesNotMatch" in result.err
        assert "Traceback" not in result.err
        assert sum(sum(codes.values()) for codes in b.sim.cloud.state()["calls"].values()) == 1


async def test_a_key_revoked_in_mid_run_stops_its_account(tmp_path: Path) -> None:
    """Rows refused for it or not sent are not_started, the account is named; exit 1, or 4 with rows in doubt."""
    async with bench(tmp_path, faults={"revoke_key_after": 20}) as b:
        manifest = b.manifest(targets=b.targets(20), changes=[ROTATE], proof={"password": "accepted"})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        report = b.report()
        assert [failed["account"] for failed in report["run"]["accounts_failed"]] == ["default"]
        outcomes = b.outcomes()
        assert outcomes["changed"] + outcomes["not_started"] == 20
        assert outcomes["not_started"] >= 1


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "http_500", "html_502", "truncated"])
async def test_a_lost_reply_is_looked_at_before_anything_is_sent_again(tmp_path: Path, fault: str) -> None:
    """Landed or not: every row ends changed, and what landed was not sent twice where it can be read."""
    faults = {"scripts": [{"api": "Modify*", "match": "r-sim00000[0-3]", "play": [fault]}]}
    async with bench(tmp_path, instances=6, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME, ROTATE], proof=LOGIN)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 12}
        stored = await b.stored()
        for name, password in b.sim.cloud.passwords.items():
            assert stored[name]["current"] == password
            assert b.truth(name)["distinct_passwords_sent"] == 1


async def test_tde_in_doubt_is_not_sent_again_when_it_landed(tmp_path: Path) -> None:
    """A lost reply to what cannot be undone: looked at until it reads Enabled."""
    faults = {"scripts": [{"api": "ModifyInstanceTDE", "play": [{"fault": "reset_after", "times": 4}]}]}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[ENCRYPT])
        result = await b.run("run", str(manifest), "--yes", "--accept-irreversible", "4")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 4}
        assert b.calls("ModifyInstanceTDE") == 4


async def test_thirty_percent_refused_stay_within_the_budget(tmp_path: Path) -> None:
    """failed + unresolved never exceed max_failures, at 64 connections; exit 3 and who stopped it."""
    faults = {"refuse": [{"fraction": 0.3, "code": "IncorrectDBInstanceLockMode", "status": 403}]}
    async with bench(tmp_path, instances=100, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(100), changes=[RENAME], rollout={"max_failures": 5})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 3, result.err
        outcomes = b.outcomes()
        assert outcomes["failed"] + outcomes.get("unresolved", 0) == 5
        assert outcomes["not_started"] > 0
        assert b.report()["run"]["stopped_by"] == "max_failures"
        assert (await b.run("run", str(manifest), "--yes")).code == 2  # unfinished
        resumed = await b.run("resume")
        assert resumed.code == 3
        assert b.outcomes()["failed"] == 5  # failures before a resume count


async def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    """kill -9, resume: exit 0, a complete report, and each password that logs in is current in the store."""
    faults = {"durations": {"password": 0.5}, "busy": [{"fraction": 0.2, "seconds": 3}]}
    async with bench(tmp_path, instances=40, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(40), changes=[ROTATE], proof=LOGIN, limits={"rate": "20/1s"})
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 15)
        process.kill()
        await process.communicate()
        refused = await b.run("run", str(manifest), "--yes")
        assert refused.code == 2
        assert "batchmod resume" in refused.err
        assert "batchmod abandon" in refused.err
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 40}
        stored = await b.stored()
        for name, password in b.sim.cloud.passwords.items():
            assert stored[name]["current"] == password
            assert b.truth(name)["distinct_passwords_sent"] == 1
        nothing = await b.run("resume")
        assert nothing.code == 0
        assert "nothing to resume" in nothing.err


async def test_the_first_signal_drains_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    """SIGTERM: nothing new is sent, what is open settles, a report, exit 3; two at once: the second is told, 75."""
    faults = {"durations": {"password": 0.5}}
    async with bench(tmp_path, instances=70, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(70), changes=[ROTATE], proof=LOGIN, limits={"rate": "4/1s"})
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 5)
        second = await b.run("run", str(manifest), "--yes")
        assert second.code == 75
        assert str(process.pid) in second.err
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert process.returncode == 3, err.decode()
        report = b.report()
        assert report["run"]["stopped_by"] == "signal"
        assert report["run"]["exit_code"] == 3
        outcomes = b.outcomes()
        assert outcomes["changed"] >= 5
        assert outcomes["not_started"] >= 1
        assert "unresolved" not in outcomes  # it had time to settle
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 70}


async def test_the_second_signal_leaves_at_once(tmp_path: Path) -> None:
    """130; the journal knows what was open, and resume takes it up."""
    faults = {"durations": {"password": 4.0}}
    async with bench(tmp_path, instances=6, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[ROTATE], proof=LOGIN)
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 6)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while b"stopping" not in await process.stderr.readline():
                pass
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 130, err.decode()
        assert b"Traceback" not in err
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 6}


async def test_a_drain_that_is_too_short_leaves_rows_in_doubt_open(tmp_path: Path) -> None:
    """They are unresolved in the report and taken up by resume; exit 3, not 4."""
    faults = {"durations": {"password": 4.0}}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[ROTATE], proof=LOGIN)
        process = await b.start("run", str(manifest), "--yes", "--drain", "100ms")
        await reaches(b, MODIFY, 4)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 3
        assert b.outcomes() == {"unresolved": 4}
        assert (await b.run("resume")).code == 0
        assert b.outcomes() == {"changed": 4}


async def test_an_abandoned_run_is_settled_and_closed(tmp_path: Path) -> None:
    """Nothing is sent; what landed is proved, the rest is not started, and a new run may begin."""
    faults = {"durations": {"password": 0.5}}
    async with bench(tmp_path, instances=20, faults=faults) as b:
        formats = {"formats": ["csv", "json", "html"]}
        manifest = b.manifest(
            targets=b.targets(20), changes=[ROTATE], proof=LOGIN, limits={"rate": "10/1s"}, report=formats
        )
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 5)
        process.kill()
        await process.communicate()
        sent = b.calls(MODIFY)
        run_id = (await b.run("runs")).out.splitlines()[1].split()[0]
        result = await b.run("abandon", run_id, "--metrics", "job.prom")
        assert result.code in {0, 4}, result.err
        told = (tmp_path / "job.prom").read_text(encoding="utf-8")
        assert 'batchmod_rows_open{name="job"} 0.0' in told
        assert 'batchmod_run_stopped{name="job",reason="control"} 1.0' in told
        assert b.calls(MODIFY) == sent
        outcomes = b.outcomes()
        assert outcomes["changed"] >= 4
        assert outcomes["not_started"] >= 1
        (page,) = (tmp_path / "reports").glob("*.html")
        assert '"given_up": true' in page.read_text(encoding="utf-8")
        assert (await b.run("abandon", run_id)).code == 0
        again = await b.run("run", str(manifest), "--yes")
        assert again.code == 0, again.err
        stored = await b.stored()
        assert {name: known["current"] for name, known in stored.items()} == b.sim.cloud.passwords


async def test_a_report_that_cannot_be_written_is_rebuilt(tmp_path: Path) -> None:
    """A report directory that turns unwritable in mid-run: 74, and `report RUN` writes it once it can."""
    faults = {"durations": {"attributes": 1.0}}
    async with bench(tmp_path, instances=4, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(4), changes=[RENAME])
        process = await b.start("run", str(manifest), "--yes")
        await reaches(b, MODIFY, 1)
        reports = tmp_path / "reports"
        reports.rmdir()
        reports.write_text("a file in its place")
        _, err = await process.communicate()
        assert process.returncode == 74, err.decode()
        assert b"batchmod report" in err
        run_id = (await b.run("runs")).out.splitlines()[1].split()[0]
        assert (await b.run("report", run_id)).code == 74
        reports.unlink()
        assert (await b.run("report", run_id)).code == 0
        assert b.outcomes() == {"changed": 4}
        printed = json.loads((await b.run("report", run_id, "--format", "json")).out)
        assert printed == b.report()
        assert printed["run"]["exit_code"] == 74


@pytest.mark.parametrize(
    ("status", "code", "sent"), [("Normal", "TaskExists", True), ("Changing", "InstanceNotNormal", False)]
)
async def test_busy_to_the_deadline_is_failed(tmp_path: Path, status: str, code: str, sent: bool) -> None:
    """Somebody else's task that does not end: nothing was changed, and nothing sent if the plan saw it."""
    busy = {"match": "r-sim000001", "seconds": 600, "status": status}
    async with bench(tmp_path, instances=3, faults={"busy": [busy]}) as b:
        retry = {"busy_timeout": "1s", "fence": "2s"}
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], retry=retry)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        row = b.report()["rows"][1]
        assert (row["outcome"], row["error_code"], row["attempts"] > 0) == ("failed", code, sent)
        assert b.calls(MODIFY) == 2 + row["attempts"]


async def test_a_password_in_doubt_to_the_deadline_is_unresolved(tmp_path: Path) -> None:
    """Lost again and again without a login: unresolved, exit 4, and the value stays readable as pending."""
    faults = {"scripts": [{"api": MODIFY, "match": "r-sim000001", "play": [{"fault": "reset_after", "times": 50}]}]}
    async with bench(tmp_path, instances=2, faults=faults) as b:
        retry = {"attempts": 2, "settle_timeout": "3s", "settle_quiet": "500ms", "fence": "30m", "max_delay": "1s"}
        manifest = b.manifest(targets=b.targets(2), changes=[ROTATE], retry=retry)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 4, result.err
        assert [row["outcome"] for row in b.report()["rows"]] == ["changed", "unresolved"]
        stored = await b.stored()
        assert stored["r-sim000001"]["pending"] == b.sim.cloud.passwords["r-sim000001"]
        assert b.truth("r-sim000001")["distinct_passwords_sent"] == 1
        again = await b.run("run", str(manifest), "--yes")
        assert again.code == 0, again.err
        row = b.report()["rows"][1]
        assert row["outcome"] == "skipped"
        assert "fence until" in row["detail"]
        assert b.truth("r-sim000001")["distinct_passwords_sent"] == 1


async def test_attempt_one_lost_and_landed_attempt_two_refused_is_never_failed(tmp_path: Path) -> None:
    """A refusal settles only its own attempt."""
    play = ["reset_after", {"fault": "refuse", "code": "Some.NewRefusal", "status": 400, "times": 50}]
    faults = {"scripts": [{"api": MODIFY, "match": "r-sim000000", "play": play}]}
    async with bench(tmp_path, instances=1, faults=faults) as b:
        retry = {"settle_timeout": "3s", "settle_quiet": "500ms", "fence": "1s", "max_delay": "1s"}
        manifest = b.manifest(targets=b.targets(1), changes=[ROTATE], retry=retry)
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 4, result.err
        assert b.outcomes() == {"unresolved": 1}
        stored = await b.stored()
        assert stored["r-sim000000"]["pending"] == b.sim.cloud.passwords["r-sim000000"]


DATA = (
    ["plan", "job.yaml"],
    ["validate", "job.yaml"],
    ["runs"],
    ["secrets", "list"],
    ["secrets", "export"],
    ["schema"],
)


@pytest.mark.parametrize("words", DATA, ids=" ".join)
async def test_data_that_cannot_be_written_is_an_error(tmp_path: Path, words: list[str]) -> None:
    """A full disk or a closed stdout: 74 and one line, never success."""
    async with bench(tmp_path, instances=1) as b:
        b.manifest(targets=b.targets(1), changes=[ROTATE], proof={"password": "accepted"})
        assert (await b.run("run", "job.yaml", "--yes")).code == 0
        for where in (">/dev/full", ">&-"):
            process = await b.start_shell(f'exec "$PYTHON" -m batchmod {" ".join(words)} {where}')
            _, err = await process.communicate()
            lines = [
                line for line in err.decode().splitlines() if line.startswith(("stdout:", "Traceback", "Exception"))
            ]
            assert (process.returncode, len(lines)) == (74, 1), (where, err)


async def test_a_full_stderr_changes_no_exit_code(tmp_path: Path) -> None:
    """Nobody reads it, the work is done, and the report says so."""
    async with bench(tmp_path, instances=1) as b:
        b.manifest(targets=b.targets(1), changes=[RENAME])
        process = await b.start_shell('exec "$PYTHON" -m batchmod run job.yaml --yes 2>/dev/full')
        await process.communicate()
        assert (process.returncode, b.outcomes()) == (0, {"changed": 1})
        process = await b.start_shell('exec "$PYTHON" -m batchmod run nothing.yaml --yes 2>/dev/full')
        await process.communicate()
        assert process.returncode == 2


async def test_an_empty_endpoint_is_refused(tmp_path: Path) -> None:
    """A rehearsal whose variable is not set does not go to the real cloud."""
    async with bench(tmp_path, instances=1) as b:
        result = await b.run("plan", str(b.manifest(targets=b.targets(1), changes=[RENAME])), "--endpoint", "")
        assert (result.code, result.err.strip()) == (
            2,
            "--endpoint is empty: leave it out for the vendor's own endpoints",
        )


async def test_a_read_is_asked_again_however_few_writes_are_allowed(tmp_path: Path) -> None:
    """`retry.attempts` is about writes: one bad answer while the plan is made does not refuse the night."""
    faults = {"scripts": [{"api": "DescribeInstances", "play": ["http_500"]}]}
    async with bench(tmp_path, instances=2, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(2), changes=[RENAME], retry={**RETRY, "attempts": 1})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 2}
