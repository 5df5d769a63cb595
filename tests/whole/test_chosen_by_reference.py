"""A chosen password that the secret store keeps already: named by a reference, fixed when the run begins."""

from pathlib import Path
from typing import Any

from whole_support import Bench, bench, reaches

ROTATE: dict[str, Any] = {"password": {"generate": {"length": 24}}}
ACCEPTED = {"password": "accepted"}
MODIFY = "ModifyInstanceAttribute"


def to_secret(b: Bench, reference: str, count: int = 3, **more: Any) -> str:
    changes = [{"password": {"secret": reference}}]
    return str(b.manifest(**{"targets": b.targets(count), "changes": changes, "proof": ACCEPTED, **more}))


async def first_rotated(b: Bench) -> str:
    """One instance has a password of its own; the reference to it."""
    result = await b.run(
        "run", str(b.manifest(targets=b.targets(1), changes=[ROTATE], proof=ACCEPTED)), "--yes", "--quiet"
    )
    assert result.code == 0, result.err
    ref: str = b.report()["rows"][0]["secret_ref"]
    return ref.removeprefix("embedded:").partition("#")[0]


async def test_what_a_reference_names_is_set_everywhere(tmp_path: Path) -> None:
    """By a run, and by a plan file; where it is current already nothing is sent; another one since the plan is refused."""
    async with bench(tmp_path, instances=3) as b:
        reference = await first_rotated(b)
        job = to_secret(b, reference)
        assert (await b.run("validate", job)).code == 0
        planned = await b.run("plan", job, "-o", "plan.json")
        assert planned.code == 0, planned.err
        assert b.sim.cloud.passwords["r-sim000000"] not in planned.out + (tmp_path / "plan.json").read_text()
        result = await b.run("run", "plan.json", "--yes")
        assert result.code == 0, result.err
        assert b.outcomes() == {"changed": 2, "unchanged": 1}
        assert len(set(b.sim.cloud.passwords.values())) == 1
        job = to_secret(b, reference)
        assert (await b.run("plan", job, "-o", "plan.json")).code == 0
        assert (await first_rotated(b)) == reference
        refused = await b.run("run", "plan.json", "--yes")
        assert refused.code == 2
        assert "not the password that this plan was made with" in refused.err
        result = await b.run("run", to_secret(b, f"{reference}#1"), "--yes")
        assert result.code == 0, result.err
        assert len(set(b.sim.cloud.passwords.values())) == 1


async def test_a_reference_that_names_nothing_sends_nothing(tmp_path: Path) -> None:
    """Exit 2 with its place; `validate` looks at its form only, and repeats none: it may be a password."""
    async with bench(tmp_path, instances=3) as b:
        place = "job.yaml:1:"
        job = to_secret(b, "12345/cn-hangzhou/r-sim000000")
        for command in (("plan", job), ("run", job, "--yes")):
            result = await b.run(*command)
            assert result.code == 2, result.err
            assert place in result.err
            assert "changes[0].password.secret: " in result.err
        assert (await b.run("validate", job)).code == 0
        job = to_secret(b, "Hunter2-Hunter2")
        for command in (("validate", job), ("plan", job), ("run", job, "--yes")):
            result = await b.run(*command)
            assert (result.code, place in result.err, "Hunter2" in result.err) == (2, True, False), result.err
        assert b.modifying_calls() == 0


async def test_a_resumed_run_sends_what_it_began_with(tmp_path: Path) -> None:
    """The escrowed value where there is one; the reference has to name the same one still for the others."""
    async with bench(tmp_path, instances=3) as b:
        reference = await first_rotated(b)
        job = to_secret(b, reference, limits={"rate": "1/1s"})
        process = await b.start("run", job, "--yes")
        await reaches(b, MODIFY, 2)
        process.kill()
        await process.wait()
        result = await b.run("resume")
        assert result.code == 0, result.err
        assert len(set(b.sim.cloud.passwords.values())) == 1
