"""What workers share of a run: its chunks, what an operator said to it, and what stands in its way."""

# ruff: noqa: S608  SQL is put together of this module's constants only

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from batchmod.model.events import StoppedBy
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.runs import MarkType

SIZE: Final = 500  # instances of a chunk at most: one to five minutes of work
Db = AsyncConnection[Any]


class State(StrEnum):
    """Of a chunk."""

    WAITING = "waiting"  # its wave has not begun
    READY = "ready"  # a worker may take it up, or has
    DONE = "done"  # every row of it has ended
    LEFT = "left"  # the run stops, or what stands in its way is for an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows of one lane in one wave, by their `seq`: whole instances."""

    run: str
    n: int
    account: str
    account_id: str
    region: str
    wave: int
    rows: Sequence[int]
    state: State = State.WAITING
    attempts: int = 0
    troubles: int = 0  # times in a row that a worker could not work on it
    trouble: str | None = None
    refused: Sequence[str] = field(default_factory=list)  # the workers that could not

    @property
    def lane(self) -> Lane:
        return Lane(self.account_id, self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A run that workers bring to its end. `said` counts what operators said: who goes by less has to look again."""

    run: str
    state: str
    attempts: int  # how often somebody began to conduct it
    ends: int  # how often the run had ended when it was given to workers
    closing: bool  # it is given up: what is in doubt is settled, nothing is sent
    endpoint: str | None
    submitted: str
    stopping: StoppedBy | None
    paused: bool
    rate: str | None
    changing: str | None
    said: int
    max_failures: int | None  # of the run
    wave_failures: int | None  # of the wave that is worked on
    troubles: int
    trouble: str | None
    refused: Sequence[str]  # the workers that could not conduct it

    @property
    def is_open(self) -> bool:
        return self.state == "open"


_CAMPAIGN: Final = (
    "run, state, attempts, ends, closing, endpoint, submitted, stopping, paused, rate, changing, said, "
    "max_failures, wave_failures, troubles, trouble, refused"
)
_CHUNK: Final = "run, n, account, account_id, region, wave, rows, state, attempts, troubles, trouble, refused"


def lane_key(lane: Lane) -> str:
    """Of the lease that only one process holds."""
    return f"lane:{lane.account_id}/{lane.region}"


def run_key(run_id: str) -> str:
    """Of the lease of who conducts a run."""
    return f"run:{run_id}"


def chunked(rows: Iterable[PlannedRow], *, run_id: str, first: int = 1, size: int = SIZE) -> list[Chunk]:
    """The rows in chunks of one lane and wave each, at most `size` instances in one, by wave; rows without one are left
    out. Numbers count from `first`. Pure.
    """
    parts: dict[tuple[int, str, Lane], list[list[int]]] = {}
    for _, group in groupby(rows, key=lambda row: row.key):
        instance = list(group)
        mine = [row for row in instance if row.wave is not None]
        if mine:
            wave = mine[0].wave or 1
            parts.setdefault((wave, instance[0].account, instance[0].lane), []).append([row.seq for row in mine])
    cut = [
        (wave, account, lane, instances[start : start + size])
        for (wave, account, lane), instances in sorted(parts.items())
        for start in range(0, len(instances), size)
    ]
    return [
        Chunk(
            run=run_id,
            n=n,
            account=account,
            account_id=lane.account_id,
            region=lane.region,
            wave=wave,
            rows=[seq for instance in instances for seq in instance],
        )
        for n, (wave, account, lane, instances) in enumerate(cut, first)
    ]


async def begin(
    db: Db, run_id: str, chunks: Sequence[Chunk], *, endpoint: str | None, submitted: str, closing: bool = False
) -> None:
    """The campaign is open with these chunks, durably, or nothing of it is there. It may have been ended before: what was
    said to it then does not hold any more. `closing`: nothing of it is to be sent.
    """
    async with db.transaction():
        await db.execute(
            "INSERT INTO campaign (run, state, endpoint, submitted, closing, ends) SELECT %s, 'open', %s, %s, %s, "
            "count(*) FROM mark WHERE run = %s AND body::json ->> 'type' = %s "
            "ON CONFLICT (run) DO UPDATE SET state = 'open', endpoint = excluded.endpoint, submitted = excluded.submitted, "
            "closing = excluded.closing, ends = excluded.ends, stopping = NULL, paused = false, rate = NULL, changing = NULL, said = campaign.said + 1, "
            "job = NULL, not_before = now(), troubles = 0, trouble = NULL, refused = '{}'",
            (run_id, endpoint, submitted, closing, run_id, MarkType.FINISHED),
        )
        await db.execute("DELETE FROM heard WHERE run = %s", (run_id,))
        await db.execute("DELETE FROM chunk WHERE run = %s AND state <> 'done'", (run_id,))
        async with db.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO chunk (run, n, account, account_id, region, wave, rows, state) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (run_id, one.n, one.account, one.account_id, one.region, one.wave, list(one.rows), one.state)
                    for one in chunks
                ],
            )


async def next_number(db: Db, run_id: str) -> int:
    """The first number that no chunk of the run has had."""
    found = await (await db.execute("SELECT max(n) FROM chunk WHERE run = %s", (run_id,))).fetchone()
    return 1 + ((found[0] if found else None) or 0)


async def campaign_of(db: Db, run_id: str) -> Campaign | None:
    """None for a run that no worker ever had to do with."""
    async with db.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(f"SELECT {_CAMPAIGN} FROM campaign WHERE run = %s".encode(), (run_id,))
        found = await cursor.fetchone()
    if found is None:
        return None
    stopping = found["stopping"]
    return Campaign(**{**found, "stopping": StoppedBy(stopping) if stopping else None})


async def chunks_of(db: Db, run_id: str, n: int | None = None) -> list[Chunk]:
    """Every chunk of the run, by number; or only this one, if it is there."""
    async with db.cursor(row_factory=dict_row) as cursor:
        query = f"SELECT {_CHUNK} FROM chunk WHERE run = %s AND n = coalesce(%s, n) ORDER BY n"
        await cursor.execute(query.encode(), (run_id, n))
        return [Chunk(**{**one, "state": State(one["state"])}) for one in await cursor.fetchall()]


async def stop(db: Db, run_id: str, reason: StoppedBy) -> None:
    """Everybody who works on the run will hear that it stops; the first reason stays."""
    await db.execute(
        "UPDATE campaign SET stopping = coalesce(stopping, %s), said = said + 1 WHERE run = %s AND state = 'open'",
        (reason, run_id),
    )
