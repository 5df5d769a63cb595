"""What docs/cluster/grants.sql grants is enough for a campaign: each command with its role."""

import json
import signal
from pathlib import Path

from grants_support import Roled, roled
from postgres import Database
from submit_support import RENAME, ROTATE, says, until
from whole_support import Bench, bench


async def said(b: Bench, made: Roled, role: str, *arguments: str, code: int = 0) -> str:
    """What the command printed, with that role."""
    result = await b.run(*arguments, "--store", made.url(role))
    assert result.code == code, result.err
    return result.out


async def test_they_are_enough_for_a_campaign(tmp_path: Path, database: Database) -> None:
    """Submitted, controlled, resumed, given up, scheduled and shown by their roles; names and passwords are changed."""
    operator, reader = "batchmod_operator", "batchmod_reader"
    with roled(database) as made:
        async with bench(tmp_path, instances=8) as b:
            job = b.manifest(
                targets=b.targets(6),
                changes=[RENAME, ROTATE],
                proof={"password": "accepted"},
                limits={"rate": "3000/1s", "changing": 3},
                rollout={"waves": [1, "100%"], "pause": "manual", "max_failures": "50%"},
            )
            run = (await said(b, made, operator, "submit", str(job), "--yes")).strip()
            worker = await b.start("worker", "--store", made.url("batchmod_worker"))
            try:
                await said(b, made, operator, "resume", run, "--follow", code=3)  # at the gate between the waves
                await said(b, made, operator, "resume", run)
                await says(worker, "wave 2")
                await b.run(
                    "control", run, "rate=2000/1s", "--store", made.url(operator)
                )  # it may have ended meanwhile
                await said(b, made, operator, "resume", run, "--follow")
                assert run in await said(b, made, reader, "runs")
                report = json.loads(await said(b, made, reader, "report", run, "--format", "json"))
                assert report["run"]["counts"]["changed"] == 12
                assert {b.truth(each["id"])["password_generation"] for each in b.targets(6)} == {1}
                await said(b, made, operator, "secrets", "list")
                other = b.manifest(name="other", targets=b.targets(2), changes=[{"attributes": {"name": "again-{id}"}}])
                await said(b, made, operator, "schedule", str(other), "--cron", "* * * * *", "--yes")
                begun = "SELECT last_run FROM schedule WHERE last_run IS NOT NULL"
                made.execute(operator, "UPDATE schedule SET created_at = created_at - interval '2 minutes'")
                await until(lambda: bool(made.execute(reader, begun)))
                assert "other" in await said(b, made, reader, "schedule", "--list")
                await said(b, made, operator, "schedule", "--remove", "other")
            finally:
                worker.send_signal(signal.SIGTERM)
                _, err = await worker.communicate()
            assert (worker.returncode, "permission" in err.decode()) == (0, False), err.decode()
