"""Waves, the gate between them, and who may not be in change at the same time, as processes against the simulator."""

import asyncio
import signal
import time
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from rollout_support import (
    ACCEPTED,
    RENAME,
    ROTATE,
    busy_times,
    by_id,
    changing_calls,
    ended,
    in_waves,
    is_alive,
    marked,
    marks,
    reached,
    require_order,
    run_at,
    script,
    sent_to,
    spent,
)
from whole_support import Bench, bench

CANARY: dict[str, Any] = {"waves": [1, "100%"]}
LOCKED = {"code": "IncorrectDBInstanceLockMode", "status": 403}


def uneven(count: int) -> list[dict[str, str]]:
    """Two thirds of them in one region, so that the other runs out first."""
    return [{"id": f"r-sim{n:06d}", "region": "cn-shanghai" if n % 3 == 1 else "cn-hangzhou"} for n in range(count)]


def regions_of(targets: list[dict[str, str]]) -> dict[str, Any]:
    """A fault file's part that puts them there."""
    return {each["id"]: {"region": each["region"]} for each in targets}


def kinds(b: Bench) -> list[tuple[str, int | None]]:
    """The marks of the gates, in order."""
    wanted = {"wave ended", "pause over", "checked", "wave opened"}
    return [(mark["type"], mark.get("wave")) for mark in marks(b) if mark["type"] in wanted]


async def test_a_wave_begins_when_the_one_before_it_is_over(tmp_path: Path) -> None:
    """Order and sizes are as documented; what is already so counts for nothing; the check runs between waves only."""
    targets = uneven(24)
    places = regions_of(targets)
    places["r-sim000000"]["name"] = "new-r-sim000000"  # already so: in no wave
    async with bench(tmp_path, instances=24, faults={"instances": places}) as b:
        script(b, "check.sh", 'echo "all is well" && echo "$#" >> checks')
        entries: list[int | str] = [1, "10%", "100%"]
        manifest = b.manifest(targets=targets, changes=[RENAME], rollout={"waves": entries, "check": ["./check.sh"]})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 0, result.err
        waves = in_waves(targets[1:], entries)
        assert [len(wave) for wave in waves] == [1, 2, 20]
        rows = by_id(b.report())
        assert {name: row["wave"] for name, row in rows.items()} == {
            "r-sim000000": None,
            **{name: number for number, wave in enumerate(waves, 1) for name in wave},
        }
        assert len({rows[name]["region"] for name in (*waves[0], *waves[1])}) == 2  # canaries in both
        require_order(b, waves)
        assert (tmp_path / "checks").read_text() == "0\n0\n"
        assert [kind for kind in kinds(b) if kind[0] in {"checked", "wave opened"}] == [
            ("checked", 1),
            ("wave opened", 2),
            ("checked", 2),
            ("wave opened", 3),
        ]
        checked = [mark for mark in marks(b) if mark["type"] == "checked"]
        assert [mark.get("exit_code") for mark in checked] == [0, 0]
        assert all("all is well" in mark["reason"] for mark in checked)


async def test_all_kinds_of_a_wave_are_over_before_the_next(tmp_path: Path) -> None:
    """A row without a word of its own (not started, after a failed one) has its outcome too."""
    waves = in_waves([{"id": f"r-sim{n:06d}", "region": ("cn-hangzhou", "cn-shanghai")[n % 2]} for n in range(6)], [2])
    refuse = [{"match": waves[0][0], **LOCKED}]
    async with bench(tmp_path, instances=6, faults={"refuse": refuse, "durations": {"password": 0.4}}) as b:
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME, ROTATE], proof=ACCEPTED, rollout={"waves": [2]})
        result = await b.run("run", str(manifest), "--yes")
        assert result.code == 1, result.err
        require_order(b, waves, 0.0)  # `accepted` ends with the answer
        assert b.outcomes() == {"changed": 10, "failed": 1, "not_started": 1}
        assert {row["wave"] for row in b.report()["rows"]} == {1, 2}


async def test_a_failing_check_stops_before_the_next_wave(tmp_path: Path) -> None:
    """Exit 3; `run --resume` touches nothing; `resume` runs the check again first, and goes on when it passes."""
    async with bench(tmp_path, instances=6) as b:
        script(b, "check.sh", 'echo run >> checks\necho "redis is sick"\n[ ! -e sick ] || exit 7')
        (tmp_path / "sick").touch()
        manifest = b.manifest(targets=b.targets(6), changes=[RENAME], rollout={**CANARY, "check": ["./check.sh"]})
        first = await b.run("run", str(manifest), "--yes")
        assert first.code == 3, first.err
        assert "redis is sick" in first.err
        assert "batchmod resume" in first.err
        assert (b.report()["run"]["stopped_by"], b.outcomes()) == ("check", {"changed": 1, "not_started": 5})
        canary = in_waves(b.targets(6), [1])[0]
        assert sent_to(b) == set(canary)
        (checked,) = [mark for mark in marks(b) if mark["type"] == "checked"]
        assert (checked["exit_code"], checked["wave"]) == (7, 1)
        assert "redis is sick" in checked["reason"]
        untouched = await b.run("run", str(manifest), "--yes", "--resume")
        assert (untouched.code, (tmp_path / "checks").read_text()) == (3, "run\n"), untouched.err
        assert "batchmod resume" in untouched.err
        again = await b.run("resume")
        assert (again.code, (tmp_path / "checks").read_text()) == (3, "run\nrun\n"), again.err
        assert sent_to(b) == set(canary)
        (tmp_path / "sick").unlink()
        last = await b.run("resume")
        assert (last.code, b.outcomes()) == (0, {"changed": 6}), last.err
        assert (tmp_path / "checks").read_text() == "run\nrun\nrun\n"
        assert len(changing_calls(b)) == 6


async def test_a_check_knows_no_secret(tmp_path: Path) -> None:
    """Not in its environment, not in an argument of any process; PATH is there; it lies beside the manifest."""
    async with bench(tmp_path, instances=2) as b:
        (tmp_path / "jobs").mkdir()
        script(b, "jobs/check.sh", 'cd "$(dirname "$0")"; env > env.txt; cat /proc/$PPID/cmdline > parent; ls > ran')
        manifest = b.manifest(
            targets=b.targets(2),
            changes=[{"password": {"env": "NEW_PASSWORD"}}],
            proof=ACCEPTED,
            rollout={**CANARY, "check": ["./check.sh", "--deep"]},
        ).rename(tmp_path / "jobs" / "job.yaml")
        secrets = {
            "NEW_PASSWORD": "Chosen-Passw0rd-1",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": b.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        }
        result = await b.run("run", str(manifest), "--yes", environ=secrets)
        assert result.code == 0, result.err
        known = (tmp_path / "jobs/env.txt").read_text()
        for value in (*secrets.values(), b.sim.access_key_id):
            assert value not in known
            assert value not in (tmp_path / "jobs/parent").read_text()
        assert "PATH=" in known
        assert "ALIBABA_CLOUD_ACCESS_KEY" not in known


async def test_a_check_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    """After timeouts.check, also when they ignore SIGTERM and hold its output open; the run stops as after a no."""
    async with bench(tmp_path, instances=3) as b:
        script(b, "check.sh", "trap '' TERM\necho thinking\n(trap '' TERM; sleep 300) & echo $! > child\nsleep 300")
        manifest = b.manifest(
            targets=b.targets(3),
            changes=[RENAME],
            timeouts={"check": "1s"},
            rollout={**CANARY, "check": ["./check.sh"]},
        )
        started = time.monotonic()
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "check"), result.err
        assert time.monotonic() - started < 30  # and not 300
        assert not is_alive(int((tmp_path / "child").read_text()))
        (checked,) = [mark for mark in marks(b) if mark["type"] == "checked"]
        assert checked.get("exit_code") != 0
        assert "thinking" in checked["reason"]
        assert sent_to(b) == set(in_waves(b.targets(3), [1])[0])


async def test_a_check_that_is_not_there_stops_with_the_reason(tmp_path: Path) -> None:
    """It cannot say yes; after it is put there, `resume` goes on."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], rollout={**CANARY, "check": ["./check.sh"]})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "check"), result.err
        assert "check.sh" in result.err
        assert "Traceback" not in result.err
        assert len(changing_calls(b)) == 1
        script(b, "check.sh", "exit 0")
        assert (await b.run("resume")).code == 0
        assert b.outcomes() == {"changed": 3}


async def test_a_gate_that_an_operator_opens(tmp_path: Path) -> None:
    """`pause: manual`: exit 3 after each wave, `run --resume` leaves it shut, `resume` opens one; then the check."""
    async with bench(tmp_path, instances=5) as b:
        script(b, "check.sh", "echo run >> checks")
        rollout = {"waves": [1, 2, "100%"], "pause": "manual", "check": ["./check.sh"]}
        manifest = b.manifest(targets=b.targets(5), changes=[RENAME], rollout=rollout)
        first = await b.run("run", str(manifest), "--yes")
        assert (first.code, b.report()["run"]["stopped_by"]) == (3, "manual"), first.err
        assert "batchmod resume" in first.err
        assert not (tmp_path / "checks").exists()
        assert (await b.run("run", str(manifest), "--yes", "--resume")).code == 3
        assert len(changing_calls(b)) == 1
        second = await b.run("resume")
        assert (second.code, len(changing_calls(b))) == (3, 2), second.err
        assert (tmp_path / "checks").read_text() == "run\n"
        last = await b.run("resume")
        assert (last.code, b.outcomes()) == (0, {"changed": 5}), last.err
        require_order(b, in_waves(b.targets(5), [1, 2]))


async def test_a_pause_is_honoured_by_whoever_continues(tmp_path: Path) -> None:
    """It is timed from the end of the wave: kill -9 in it does not end it."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], rollout={**CANARY, "pause": "3s"})
        process = await b.start("run", str(manifest), "--yes")
        await marked(b, "wave ended", process)
        process.kill()
        await process.communicate()
        result = await b.run("resume")
        assert (result.code, b.outcomes()) == (0, {"changed": 3}), result.err
        (_, over, _), *later = busy_times(b)
        assert min(at for at, _, _ in later) >= over + 3.0


async def test_a_signal_in_a_pause_ends_the_process_at_once(tmp_path: Path) -> None:
    """Exit 3 and nothing in doubt; a pause that has passed meanwhile is not waited for again."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], rollout={**CANARY, "pause": "50s"})
        process = await b.start("run", str(manifest), "--yes")
        await marked(b, "wave ended", process)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        first = await ended(process)
        assert (first.code, b.report()["run"]["stopped_by"]) == (3, "signal"), first.err
        assert b.outcomes() == {"changed": 1, "not_started": 2}
        result = await run_at(b, 50.0, "resume")  # within what the clocks may differ
        assert (result.code, b.outcomes()) == (0, {"changed": 3}), result.err
        assert time.monotonic() - started < 45  # less than the pause


async def test_a_canary_of_one_passes_with_a_budget_in_percent(tmp_path: Path) -> None:
    """2 % of one row is one: no deadlock, in the first wave or in the second."""
    async with bench(tmp_path, instances=5) as b:
        manifest = b.manifest(targets=b.targets(5), changes=[RENAME], rollout={**CANARY, "max_failures": "2%"})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.outcomes()) == (0, {"changed": 5}), result.err


async def test_a_canary_of_one_that_fails_stops_the_run(tmp_path: Path) -> None:
    """Its wave's budget is spent while the run's is not: nothing of the second is sent, until an operator says so."""
    ((canary,), _) = in_waves(
        [{"id": f"r-sim{n:06d}", "region": ("cn-hangzhou", "cn-shanghai")[n % 2]} for n in range(100)], [1]
    )
    async with bench(tmp_path, instances=100, faults={"refuse": [{"match": canary, **LOCKED}]}) as b:
        manifest = b.manifest(targets=b.targets(100), changes=[RENAME], rollout={**CANARY, "max_failures": "2%"})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "max_failures"), result.err
        assert (b.outcomes(), sent_to(b)) == ({"failed": 1, "not_started": 99}, {canary})
        untouched = await b.run("run", str(manifest), "--yes", "--resume")
        assert (untouched.code, sent_to(b)) == (3, {canary}), untouched.err
        sent = b.modifying_calls()
        process = await b.start("resume", "--reset-budget")
        await reached(b, sent + 3, process)
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 3
        assert b.outcomes()["failed"] == 1


async def test_the_budget_of_the_run_goes_over_its_waves(tmp_path: Path) -> None:
    """What failed in the first wave is spent for the second."""
    first, second = in_waves(
        [{"id": f"r-sim{n:06d}", "region": ("cn-hangzhou", "cn-shanghai")[n % 2]} for n in range(30)], [8]
    )
    bad = [*first[:2], *second[:10]]
    faults = {"refuse": [{"match": name, **LOCKED} for name in bad]}
    async with bench(tmp_path, instances=30, faults=faults) as b:
        manifest = b.manifest(targets=b.targets(30), changes=[RENAME], rollout={"waves": [8], "max_failures": 3})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "max_failures"), result.err
        assert spent(b.report()) == {1: 2, 2: 1}
        assert (await b.run("resume")).code == 3
        assert spent(b.report()) == {1: 2, 2: 1}


async def test_two_of_one_group_are_never_in_change_at_once(tmp_path: Path) -> None:
    """Whatever the limits allow; others are, at the same time."""
    seconds, count, teams = 0.3, 9, ("pay", "cart", "search")
    async with bench(tmp_path, instances=count, faults={"durations": {"attributes": seconds}}) as b:
        team = {each["id"]: teams[n % 3] for n, each in enumerate(b.targets(count))}
        targets = [{**each, "vars": {"team": team[each["id"]]}} for each in b.targets(count)]
        manifest = b.manifest(targets=targets, changes=[RENAME], rollout={"not_with": "team"})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.outcomes()) == (0, {"changed": count}), result.err
        pairs = [
            (one[2], other[2])
            for one, other in combinations(busy_times(b, seconds), 2)
            if one[0] < other[1] and other[0] < one[1]
        ]
        assert [pair for pair in pairs if team[pair[0]] == team[pair[1]]] == []
        assert pairs  # else it went one by one


async def test_the_next_of_a_group_waits_for_the_word_on_a_lost_call(tmp_path: Path) -> None:
    """In doubt is in change."""
    faults = {
        "scripts": [{"api": "ModifyInstanceAttribute", "match": "*", "play": ["reset_after"]}],
        "durations": {"attributes": 0.4},
    }
    async with bench(tmp_path, instances=3, faults=faults) as b:
        targets = [{**each, "vars": {"team": "pay"}} for each in b.targets(3)]
        manifest = b.manifest(targets=targets, changes=[RENAME], rollout={"not_with": "team"})
        result = await b.run("run", str(manifest), "--yes")
        assert (result.code, b.outcomes()) == (0, {"changed": 3}), result.err
        times = sorted(busy_times(b, 0.4))
        assert [(one, other) for one, other in pairwise(times) if other[0] < one[1]] == []


async def test_a_target_without_the_var_is_an_error(tmp_path: Path) -> None:
    """Of `validate`, with its place; nobody knows whom it may not be changed with."""
    async with bench(tmp_path, instances=2) as b:
        targets = [{**b.targets(2)[0], "vars": {"team": "pay"}}, b.targets(2)[1]]
        manifest = b.manifest(targets=targets, changes=[RENAME], rollout={"not_with": "team"})
        for command in (("validate",), ("run", "--yes")):
            result = await b.run(command[0], str(manifest), *command[1:])
            assert result.code == 2
            assert "job.yaml:1:" in result.err
            assert "team" in result.err
        assert b.modifying_calls() == 0


async def test_an_operator_stops_it_from_another_shell(tmp_path: Path) -> None:
    """`control RUN stop` during a pause: exit 3, stopped_by control, and `run --resume` goes on."""
    async with bench(tmp_path, instances=3) as b:
        manifest = b.manifest(targets=b.targets(3), changes=[RENAME], rollout={**CANARY, "pause": "50s"})
        process = await b.start("run", str(manifest), "--yes")
        await marked(b, "wave ended", process)
        said, result = await asyncio.gather(b.run("control", "job", "stop"), ended(process))
        assert said.code == 0, said.err
        assert (result.code, b.report()["run"]["stopped_by"]) == (3, "control"), result.err
        assert b.outcomes() == {"changed": 1, "not_started": 2}
        last = await run_at(b, 50.0, "run", str(manifest), "--yes", "--resume")
        assert (last.code, b.outcomes()) == (0, {"changed": 3}), last.err
