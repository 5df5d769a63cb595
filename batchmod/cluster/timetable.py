"""Campaigns that begin by the clock: their manifests as they were given, when they begin, and what came of it."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import croniter  # type: ignore[import-untyped]  # procrastinate has no stubs of it, and it is procrastinate that uses it
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

FIELDS: Final = 5  # minute, hour, day of the month, month, day of the week
LATE: Final = 3600.0  # seconds after its time in which a campaign may still begin
AGAIN: Final = (5.0, 300.0)  # seconds until a begin that failed is tried again, doubled up to the second
Db = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`files` are the manifest and what it names under `from`, by their paths from `directory`; all times are UTC."""

    name: str
    cron: str
    directory: str
    manifest: str  # which one of the files it is
    files: Mapping[str, bytes] = field(repr=False)
    options: Mapping[str, Any]
    last_run: str | None = None
    last_at: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A time that has come, and nothing has begun yet. `run_id` is the run's that is to begin, however often it is tried."""

    name: str
    at: datetime
    run_id: str
    troubles: int  # how often it was tried in vain
    late: float  # seconds since its time, by the database's clock

    @property
    def again_in(self) -> float | None:
        """Seconds until it is tried again after it has failed once more; None when that would be too late."""
        later = float(min(AGAIN[1], AGAIN[0] * 2 ** min(self.troubles, 16)))
        return later if self.late + later <= LATE else None


def cron_problem(cron: str) -> str | None:
    """Why it is no time that ever comes; None when it is one."""
    if len(cron.split()) != FIELDS:
        return 'must be five fields (minute, hour, day, month, day of the week), such as "0 2 * * sat"'
    try:
        next_at(cron, after=0.0)
    except (ValueError, KeyError) as error:  # croniter's errors are ValueErrors
        return f"is no time that ever comes: {error}"
    return None


def next_at(cron: str, *, after: float) -> float:
    """When it is so next, as a worker's clock counts it; seconds since the epoch. The fields are of UTC."""
    return float(croniter.croniter(cron, start_time=after).get_next(ret_type=float))


async def put(db: Db, schedule: Schedule) -> None:
    """It is there, in the place of an older one of its name."""
    files = {path: b64encode(content).decode() for path, content in schedule.files.items()}
    await db.execute(
        "INSERT INTO schedule (name, cron, directory, files, options) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, directory = excluded.directory, files = excluded.files, "
        "options = excluded.options, created_at = now(), last_error = NULL, state = 'waiting', due_run = NULL",
        (
            schedule.name,
            schedule.cron,
            schedule.directory,
            Jsonb({"manifest": schedule.manifest, "content": files}),
            Jsonb(dict(schedule.options)),
        ),
    )


async def remove(db: Db, name: str) -> bool:
    """Whether there was one."""
    return (await db.execute("DELETE FROM schedule WHERE name = %s", (name,))).rowcount > 0


async def schedules(db: Db, name: str | None = None) -> list[Schedule]:
    """All of them by name; or only this one, if it is there."""
    async with db.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT name, cron, directory, files->>'manifest' AS manifest, files->'content' AS files, options, "
            "last_run, last_at, last_error FROM schedule WHERE name = coalesce(%s, name) ORDER BY name",
            (name,),
        )
        found = await cursor.fetchall()
    return [
        Schedule(**{**one, "files": {path: b64decode(text) for path, text in one["files"].items()}}) for one in found
    ]


async def come(db: Db, name: str, timestamp: int, run_id: str) -> bool:
    """Whether its time has come by this, once; with `run_id` for the run that is to begin. A schedule that was added or
    replaced later does not begin for the time before it. An earlier time, of which nothing came yet, is over.
    """
    done = await db.execute(
        "UPDATE schedule SET state = 'due', due_at = to_timestamp(%(at)s), due_run = %(run)s, job = NULL, "
        "not_before = now(), troubles = 0 WHERE name = %(name)s AND created_at <= to_timestamp(%(at)s) "
        "AND (due_at IS NULL OR due_at < to_timestamp(%(at)s))",
        {"name": name, "at": timestamp, "run": run_id},
    )
    return done.rowcount > 0


async def due_of(db: Db, name: str) -> Due | None:
    """None when nothing is to begin now."""
    async with db.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT name, due_at AS at, due_run AS run_id, troubles, "
            "extract(epoch FROM now() - due_at)::float8 AS late FROM schedule WHERE name = %s AND state = 'due'",
            (name,),
        )
        found = await cursor.fetchone()
    return Due(**found) if found is not None else None


async def begun(db: Db, due: Due, run_id: str | None) -> None:
    """Of this time came a run, or nothing that was to be done; whoever tries it once more finds that so."""
    await db.execute(
        "UPDATE schedule SET state = 'waiting', last_at = now(), last_run = coalesce(%s, last_run), last_error = NULL "
        "WHERE name = %s AND due_at = %s AND state = 'due'",
        (run_id, due.name, due.at),
    )


async def failed(db: Db, due: Due, error: str, *, later: float | None) -> bool:
    """Why nothing began is kept, and in `later` seconds it is tried again, by any worker; None: not any more.

    Whether it was still to begin.
    """
    done = await db.execute(
        "UPDATE schedule SET last_at = now(), last_error = %(error)s, troubles = troubles + 1, "
        "state = CASE WHEN %(later)s::float8 IS NULL THEN 'waiting' ELSE state END, "
        "not_before = now() + make_interval(secs => coalesce(%(later)s::float8, 0)) "
        "WHERE name = %(name)s AND due_at = %(at)s AND state = 'due'",
        {"name": due.name, "at": due.at, "error": error, "later": later},
    )
    return done.rowcount > 0
