"""Who is told of new passwords, as real programs: at least once, by JSON on stdin, without harm to the run."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rollout_support import ACCEPTED, ROTATE, ended, is_alive, marks, reached, script, sent_to
from whole_support import Bench, bench

from batchmod.app.checking import check
from batchmod.app.consumers import WITHHELD, last_words
from batchmod.engine.halt import Halt
from batchmod.model.secret import Secret

KEEP = 'cat > "told/$BATCHMOD_WAVE-$$"; env > "told/env"; [ $# = 0 ]'


def job(b: Bench, *consumers: dict[str, Any], count: int = 3, **more: Any) -> str:
    (b.folder / "told").mkdir(exist_ok=True)
    body = {"targets": b.targets(count), "changes": [ROTATE], "proof": ACCEPTED, "consumers": consumers, **more}
    return str(b.manifest(**body))


def told(b: Bench) -> list[dict[str, Any]]:
    """What the consumers have read, in no order."""
    return [json.loads(path.read_text()) for path in sorted((b.folder / "told").glob("[0-9]*"))]


def ids(b: Bench) -> list[list[str]]:
    return [[target["instance_id"] for target in one["targets"]] for one in told(b)]


async def logs_in(address: str, login: str, password: str) -> bool:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"AUTH {login} {password}\r\n".encode())
    answer = await reader.readline()
    writer.close()
    return answer == b"+OK\r\n"


async def begun(folder: Path) -> None:
    """A program of the folder has said so."""
    async with asyncio.timeout(20):
        while not (folder / "begun").exists():  # noqa: ASYNC110  a program has no other way to tell
            await asyncio.sleep(0.01)


async def test_each_is_told_what_names_the_password_and_with_reveal_the_password(tmp_path: Path) -> None:
    """Once for each row, or once for each wave; nothing of the environment; what is revealed logs in."""
    async with bench(tmp_path, instances=3) as b:
        script(b, "keep.sh", KEEP)
        script(b, "whole.sh", 'cat > "told/9$BATCHMOD_WAVE"')
        script(b, "use.sh", 'mkdir -p used; cat > "used/$$"')
        consumers = (
            {"run": ["./keep.sh"]},
            {"run": ["./use.sh"], "reveal": True},
            {"run": ["./whole.sh"], "per": "wave"},
        )
        manifest = job(b, *consumers, proof={"password": "login"}, rollout={"waves": [1, "100%"]})
        result = await b.run("run", manifest, "--yes", environ={"APP_TOKEN": "t0ken-of-somebody"})
        assert result.code == 0, result.err
        rows = {row["instance_id"]: row for row in b.report()["rows"]}
        assert all((row["outcome"], row["detail"]) == ("changed", None) for row in rows.values())
        assert sorted(map(len, ids(b))) == [1, 1, 1, 1, 2]  # by target three times, by wave twice
        for document in told(b):
            assert (document["schema"], document["name"]) == ("batchmod.consumer/1", "job")
            assert document["run_id"] == b.report()["run"]["id"]
            for target in document["targets"]:
                row = rows[target["instance_id"]]
                assert document["wave"] == row["wave"]
                assert {key: row[key] for key in ("account", "account_id", "region", "instance_name", "login")} == {
                    key: target[key] for key in ("account", "account_id", "region", "instance_name", "login")
                }
                assert (target["store"], target["generation"], target["secret_ref"]) == (
                    "embedded",
                    1,
                    row["secret_ref"],
                )
                assert "password" not in target
        seen = "".join(path.read_text() for path in (tmp_path / "told").iterdir())
        assert not any(password in seen for password in b.sim.cloud.passwords.values())
        assert "ALIBABA" not in seen
        assert "t0ken" not in seen
        used = [json.loads(path.read_text())["targets"][0] for path in (tmp_path / "used").iterdir()]
        assert {one["instance_id"]: one["password"] for one in used} == b.sim.cloud.passwords
        for one in used:
            assert await logs_in(one["address"], one["login"], one["password"])


async def test_a_failure_is_in_the_report_and_changes_no_outcome(tmp_path: Path) -> None:
    """Beside the row, or in the run's own part; how it ended, and its last words, unless a password is in them."""
    async with bench(tmp_path, instances=2) as b:
        script(b, "fails.sh", "echo first; printf 'no \\033[31mredis\\n' >&2; exit 3")
        script(b, "tells.sh", "cat; exit 4")
        consumers = (
            {"run": ["./fails.sh"]},
            {"run": ["./tells.sh"], "reveal": True},
            {"run": ["./none.sh"], "per": "wave"},
            {"run": ["sleep", "300"], "per": "wave", "timeout": "200ms"},
        )
        result = await b.run("run", job(b, *consumers, count=2), "--yes")
        assert result.code == 0, result.err
        report = b.report()
        for row in report["rows"]:
            assert row["outcome"] == "changed"
            assert row["detail"] == (
                "consumer ./fails.sh ended with 3: first no \\x1b[31mredis; "
                f"consumer ./tells.sh ended with 4: {WITHHELD}"
            )
        texts = [one["text"] for one in report["run"]["consumers_failed"] if one["wave"] == 1]
        assert texts[0].startswith("consumer ./none.sh cannot be run in ")
        assert texts[1] == "consumer sleep was stopped: it had not ended after 0.2 s"
        assert all(text[:40] in result.err for text in texts)


async def test_a_required_one_stops_the_run(tmp_path: Path) -> None:
    """As a failed check does; the row stays changed; `resume` goes on with the others, each told once."""
    async with bench(tmp_path, instances=3) as b:
        script(b, "keep.sh", f"[ ! -e sick ] || {{ echo sick; exit 7; }}\n{KEEP}")
        (tmp_path / "sick").touch()
        manifest = job(b, {"run": ["./keep.sh"], "required": True}, count=3, limits={"connections": 1, "changing": 1})
        result = await b.run("run", manifest, "--yes")
        assert result.code == 3, result.err
        assert "ended with 7: sick" in result.err
        assert b.report()["run"]["stopped_by"] == "check"
        assert b.outcomes() == {"changed": 1, "not_started": 2}
        (one,) = (row for row in b.report()["rows"] if row["outcome"] == "changed")
        assert one["detail"] == "consumer ./keep.sh ended with 7: sick"
        (tmp_path / "sick").unlink()
        assert (await b.run("run", manifest, "--yes", "--resume")).code == 3
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 3}
        others = [row["instance_id"] for row in b.report()["rows"] if row["instance_id"] != one["instance_id"]]
        assert sorted(ids(b)) == [[other] for other in sorted(others)]


async def test_a_required_one_of_a_wave_is_run_again_first(tmp_path: Path) -> None:
    """Before the check and the next wave; also when it is the last wave's, and no row is open."""
    async with bench(tmp_path, instances=4) as b:
        script(b, "keep.sh", f"[ ! -e sick ] || exit 7\n{KEEP}")
        script(b, "check.sh", "ls told | grep -c '^1' >> checks")
        (tmp_path / "sick").touch()
        consumer = {"run": ["./keep.sh"], "per": "wave", "required": True}
        manifest = job(b, consumer, count=4, rollout={"waves": [1, "100%"], "check": ["./check.sh"]})
        result = await b.run("run", manifest, "--yes")
        assert (result.code, b.outcomes()) == (3, {"changed": 1, "not_started": 3}), result.err
        assert len(sent_to(b)) == 1
        assert (await b.run("resume")).code == 3
        assert (len(sent_to(b)), (tmp_path / "checks").exists()) == (1, False)
        script(b, "keep.sh", f"[ ! -e sick ] || [ $BATCHMOD_WAVE = 1 ] || exit 7\n{KEEP}")
        result = await b.run("resume")
        assert (result.code, b.outcomes()) == (3, {"changed": 4}), result.err
        assert (tmp_path / "checks").read_text() == "1\n"
        assert [one["wave"] for one in b.report()["run"]["consumers_failed"]] == [2]
        assert (await b.run("run", manifest, "--yes")).code == 2
        (tmp_path / "sick").unlink()
        sent = b.modifying_calls()
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert (b.report()["run"]["consumers_failed"], b.modifying_calls()) == ([], sent)
        assert sorted(map(len, ids(b))) == [1, 3]
        assert "nothing to resume" in (await b.run("resume")).err


@pytest.mark.parametrize("per", ["target", "wave"])
async def test_a_process_that_is_killed_tells_again(tmp_path: Path, per: str) -> None:
    """Between the promotion and the end of what it is about: at least once, not at most."""
    async with bench(tmp_path, instances=1) as b:
        script(b, "keep.sh", f"{KEEP}; touch begun; [ -e well ] || sleep 300")
        process = await b.start("run", job(b, {"run": ["./keep.sh"], "per": per}, count=1), "--yes")
        await begun(tmp_path)
        process.kill()
        await process.wait()
        assert (await b.stored())["r-sim000000"]["current"] == b.sim.cloud.passwords["r-sim000000"]
        (tmp_path / "well").touch()
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 1}
        assert (ids(b), b.modifying_calls()) == ([["r-sim000000"]] * 2, 1)


@pytest.mark.parametrize("per", ["target", "wave"])
async def test_a_signal_is_honoured(tmp_path: Path, per: str) -> None:
    """A consumer has as long as --drain; then it is gone, and `resume` runs it again."""
    async with bench(tmp_path, instances=1) as b:
        script(b, "keep.sh", "trap '' TERM; echo $$ > begun; [ -e well ] || sleep 300")
        process = await b.start("run", job(b, {"run": ["./keep.sh"], "per": per}, count=1), "--yes", "--drain", "200ms")
        await begun(tmp_path)
        process.send_signal(signal.SIGTERM)
        result = await ended(process)
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "signal"), result.err
        assert not is_alive(int((tmp_path / "begun").read_text()))
        (tmp_path / "well").touch()
        result = await b.run("resume")
        assert (result.code, b.outcomes()) == (0, {"changed": 1}), result.err


async def test_what_is_given_up_is_told_of_what_was_changed(tmp_path: Path) -> None:
    """`abandon` sends nothing, but a wave that will not end is over then."""
    async with bench(tmp_path, instances=4) as b:
        script(b, "keep.sh", KEEP)
        manifest = job(b, {"run": ["./keep.sh"], "per": "wave"}, count=4, limits={"rate": "1/1s"})
        process = await b.start("run", manifest, "--yes")
        await reached(b, 2, process)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 3
        assert not told(b)
        await b.run("abandon", "job")
        changed = sorted(row["instance_id"] for row in b.report()["rows"] if row["outcome"] == "changed")
        assert (sorted(ids(b)[0]), len(ids(b))) == (changed, 1)
        assert [mark["wave"] for mark in marks(b) if mark["type"] == "consumed"] == [1]


MUCH = b"x" * 3_000_000


@pytest.mark.parametrize(
    "text",
    [
        "exit 0",
        "exec <&-; sleep 0.3",
        "head -c 10 > /dev/null; exec <&-; sleep 0.3",
        "yes abcdefgh | head -c 5000000",
        "sleep 300 & exit 0",
        "cat | wc -c | grep -x 3000000",
    ],
)
async def test_a_consumer_that_behaves_badly_harms_nothing(tmp_path: Path, text: str) -> None:
    """It reads nothing, closes its stdin, says too much, leaves a child behind; or reads it all."""
    async with asyncio.timeout(15):
        checked = await check(
            ["/bin/sh", "-c", text],
            directory=tmp_path,
            environ={"PATH": "/usr/bin:/bin"},
            patience=10.0,
            stopped=Halt().gone,
            told=MUCH,
        )
    assert checked.passed, checked


@pytest.mark.parametrize("said", ["so {}", "{} cut", "Aa3-bcdefgh", "mnop-qrs", "{}" + "." * 3000, "-ijklmno"])
def test_no_part_of_a_password_is_among_the_last_words(said: str) -> None:
    """Wherever what was said was cut off, by batchmod or by the consumer."""
    secret = Secret("Aa3-bcdefgh-ijklmnop-qrs")
    assert last_words(said.format(secret.reveal()), [secret]) == WITHHELD
    assert last_words("all is  well\n", [secret]) == "all is well"
