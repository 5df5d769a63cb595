"""What has happened to a campaign since somebody looked last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from batchmod.cluster.campaigns import Campaign, campaign_of
from batchmod.model.plan import Lane

Db = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One look. Numbers of steps are those of the journal; commits may come in another order."""

    campaign: Campaign | None
    moved: Mapping[int, int]  # by seq: the last step of each row that has one after the number asked for
    marks: int  # how many the journal has of the run
    troubles: Sequence[tuple[Lane, str]]  # lanes that no worker could work on, and why
    silence: float | None  # seconds since any worker gave a sign of life; None: there is none


async def news_of(db: Db, run_id: str, after: int) -> News:
    """What there is to tell. The campaign first: when it has ended, all the rest is its end."""
    campaign = await campaign_of(db, run_id)
    moved = "SELECT seq, max(n) FROM step WHERE run = %s AND n > %s GROUP BY seq"
    marks = "SELECT count(*) FROM mark WHERE run = %s"
    troubles = """SELECT DISTINCT account_id, region, trouble FROM chunk
     WHERE run = %s AND trouble IS NOT NULL AND state <> 'done' ORDER BY 1, 2"""
    silence = "SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers"
    found = await (await db.execute(silence)).fetchone()
    counted = await (await db.execute(marks, (run_id,))).fetchone()
    return News(
        campaign=campaign,
        moved=dict(await (await db.execute(moved, (run_id, after))).fetchall()),
        marks=counted[0] if counted else 0,
        troubles=[
            (Lane(account_id, region), trouble)
            for account_id, region, trouble in await (await db.execute(troubles, (run_id,))).fetchall()
        ],
        silence=None if found is None or found[0] is None else float(found[0]),
    )


async def last_step(db: Db, run_id: str) -> int:
    """The number of the run's last step; 0 without any."""
    found = await (await db.execute("SELECT max(n) FROM step WHERE run = %s", (run_id,))).fetchone()
    return (found[0] if found else None) or 0
