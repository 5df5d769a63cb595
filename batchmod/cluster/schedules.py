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
        "options = excluded.options, created_at = now(), last_error = NULL",
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


async def note(db: Db, name: str, *, run_id: str | None, error: str | None) -> None:
    """What came of its time, which was just now: a run, or why there is none."""
    await db.execute(
        "UPDATE schedule SET last_at = now(), last_run = coalesce(%s, last_run), last_error = %s WHERE name = %s",
        (run_id, error, name),
    )
