"""Runs, rows and steps for the tests of journal and report; only what a test is about is named in it."""

from collections.abc import Sequence
from typing import Any

from batchmod.journal.store import Journal
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow
from batchmod.model.record import Step
from batchmod.model.runs import Mark, MarkType, Run

START = 1_772_600_767.25  # 2026-03-04T05:06:07.250Z


def a_run(run_id: str = "20260304T050607Z-1a2b", **other: Any) -> Run:
    known: dict[str, Any] = {
        "id": run_id,
        "name": "rotate-prod",
        "manifest_digest": "d1",
        "manifest": '{"version":1}',
        "directory": "/srv/fleet",
        "started_at": START,
    }
    return Run(**known | other)


def a_row(seq: int = 0, **other: Any) -> PlannedRow:
    known: dict[str, Any] = {
        "seq": seq,
        "account": "prod",
        "account_id": "1234567890123456",
        "region": "cn-hangzhou",
        "instance_id": f"r-bp{seq:04}",
        "instance_name": f"cache-{seq}",
        "login": f"r-bp{seq:04}",
        "kind": Kind.PASSWORD,
        "wave": 1,
        "before": {},
        "after": {},
    }
    return PlannedRow(**known | other)


def rows(count: int) -> list[PlannedRow]:
    return [a_row(seq) for seq in range(count)]


def a_step(phase: Phase, seq: int = 0, at: float = START, **other: Any) -> Step:
    return Step(seq=seq, phase=phase, at=at, **other)


async def walk(journal: Journal, run_id: str, seq: int, phases: Sequence[Phase]) -> None:
    for number, phase in enumerate(phases):
        await journal.step(run_id, a_step(phase, seq, START + number))


async def finish(journal: Journal, run_id: str, *, closed: bool = False) -> None:
    await journal.mark(run_id, Mark(type=MarkType.FINISHED, at=START + 60, exit_code=0))
    if closed:
        await journal.mark(run_id, Mark(type=MarkType.CLOSED, at=START + 60))
