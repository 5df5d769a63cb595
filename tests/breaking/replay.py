"""Plays one schedule again and tells its story: `.venv/bin/python tests/breaking/replay.py NAME [INSTANCE]`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from breaking_kms import KMS, kms_world
from breaking_play import World, make_world, play
from breaking_process import EPOCH
from breaking_rules import broken_rules
from breaking_schedule import Schedule, named
from breaking_time import run_skipping
from breaking_truth import Accepted, Sent

from batchmod.journal import schema
from batchmod.journal.encoding import row_of, step_of


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")


def main(name: str, instance: str | None = None) -> int:
    schedule, made = named(name.removeprefix(KMS)), kms_world if name.startswith(KMS) else make_world
    with TemporaryDirectory() as folder:
        world = run_skipping(play(schedule, Path(folder), made))
        problems = broken_rules(world)
        _tell(schedule, world, instance)
    for problem in problems:
        say(f"BROKEN {problem}")
    return bool(problems)


def _tell(schedule: Schedule, world: World, instance: str | None) -> None:
    say(schedule)
    with schema.reader(world.folder / "journal.db") as db:
        rows = {(run, seq): row_of(body) for run, seq, body in db.execute("SELECT run, seq, body FROM row")}
        for run, seq, body in db.execute("SELECT run, seq, body FROM step ORDER BY n"):
            row, step = rows[run, seq], step_of(body)
            if instance in {None, row.instance_id}:
                said = " ".join(str(each) for each in (step.code, step.generation, step.proof, step.detail) if each)
                say(f"{step.at - EPOCH:10.2f} {run} {row.instance_id} {row.kind:10} {step.phase} {said}")
    told: list[Sent | Accepted] = [*world.sent, *world.cloud.accepted]
    for each in told:
        if instance in {None, each.instance}:
            say(each)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
