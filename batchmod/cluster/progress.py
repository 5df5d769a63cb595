"""How those who work on a run tell each other how far it is. What only the holder of a lease may say names its fence."""

# ruff: noqa: S608  SQL is put together of this module's constants only

from typing import Final

from batchmod.cluster.campaigns import Chunk, Db, State
from batchmod.journal.postgres import Fence

_MINE: Final = "EXISTS (SELECT FROM lease WHERE lease.key = %(key)s AND lease.epoch = %(epoch)s)"
HOLDS: Final = "EXISTS (SELECT FROM slot WHERE slot.run = {0}.run AND slot.seq = ANY({0}.rows) AND NOT slot.spent)"
"""Whether the chunk that is called so in the statement holds places."""
_TO_RESCUE: Final = f"""EXISTS (SELECT FROM chunk AS held JOIN campaign AS theirs ON theirs.run = held.run
  JOIN campaign AS ours ON ours.run = chunk.run AND ours.endpoint IS NOT DISTINCT FROM theirs.endpoint
 WHERE held.account_id = chunk.account_id AND held.region = chunk.region AND held.state = 'ready'
   AND theirs.state = 'open' AND {HOLDS.format("held")})"""


async def heard(db: Db, run_id: str, fence: Fence, said: int) -> None:
    """Who works on the run under this lease goes by all that was said up to there; it begins to be one of them so."""
    await db.execute(
        "INSERT INTO heard (run, key, epoch, said) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (run, key) DO UPDATE SET epoch = excluded.epoch, said = excluded.said",
        (run_id, fence.key, fence.epoch, said),
    )


async def gone(db: Db, run_id: str, key: str) -> None:
    """Nobody works on the run under this lease any more."""
    await db.execute("DELETE FROM heard WHERE run = %s AND key = %s", (run_id, key))


async def take_up(db: Db, chunk: Chunk, fence: Fence, *, rescue: bool) -> bool:
    """Whether the chunk is still to be worked on, by who holds the lease; that it was begun is counted.

    Unless it is a `rescue`, no ready chunk of the lane may hold places, neither this one nor another: that is settled first.
    """
    done = await db.execute(
        f"UPDATE chunk SET attempts = attempts + 1, trouble = NULL WHERE run = %(run)s AND n = %(n)s AND state = 'ready' "
        f"AND {_MINE} AND (%(rescue)s OR NOT {_TO_RESCUE})".encode(),
        {"run": chunk.run, "n": chunk.n, "key": fence.key, "epoch": fence.epoch, "rescue": rescue},
    )
    return done.rowcount > 0


async def conclude(db: Db, chunk: Chunk, fence: Fence, state: State, *, trouble: str | None = None) -> None:
    """The chunk is in this state, if the lease is still held; nobody has refused it now."""
    await db.execute(
        "UPDATE chunk SET state = %(state)s, trouble = %(trouble)s, troubles = 0, troubled_at = NULL, refused = '{}', "
        f"not_before = now() WHERE run = %(run)s AND n = %(n)s AND {_MINE}".encode(),
        {
            "run": chunk.run,
            "n": chunk.n,
            "key": fence.key,
            "epoch": fence.epoch,
            "state": state,
            "trouble": trouble,
        },
    )


async def conducted(db: Db, run_id: str, fence: Fence) -> bool:
    """Whether the campaign is still open, for who holds the lease; that somebody began to conduct it is counted."""
    done = await db.execute(
        f"UPDATE campaign SET attempts = attempts + 1, trouble = NULL WHERE run = %(run)s AND state = 'open' AND {_MINE}".encode(),
        {"run": run_id, "key": fence.key, "epoch": fence.epoch},
    )
    return done.rowcount > 0


async def end(db: Db, run_id: str, fence: Fence) -> None:
    """Workers have nothing to do with the run any more, if the lease is still held."""
    await db.execute(
        f"UPDATE campaign SET state = 'ended' WHERE run = %(run)s AND {_MINE}".encode(),
        {"run": run_id, "key": fence.key, "epoch": fence.epoch},
    )


async def open_wave(
    db: Db, run_id: str, wave: int, fence: Fence, *, max_failures: int | None, wave_failures: int | None
) -> None:
    """The chunks of the wave may be taken up; so many of the run's rows may end badly, and of the wave's."""
    await db.execute(
        "UPDATE campaign SET max_failures = %(max_failures)s, wave_failures = %(wave_failures)s "
        f"WHERE run = %(run)s AND {_MINE}".encode(),
        {
            "run": run_id,
            "max_failures": max_failures,
            "wave_failures": wave_failures,
            "key": fence.key,
            "epoch": fence.epoch,
        },
    )
    await db.execute(
        f"UPDATE chunk SET state = 'ready', not_before = now() WHERE run = %(run)s AND wave = %(wave)s "
        f"AND state = 'waiting' AND {_MINE}".encode(),
        {"run": run_id, "wave": wave, "key": fence.key, "epoch": fence.epoch},
    )


async def leave_idle(db: Db, run_id: str) -> None:
    """The chunks on which nobody works are left: the run stops."""
    await db.execute(
        "UPDATE chunk SET state = 'left' WHERE run = %s AND state = 'ready' AND NOT EXISTS "
        "(SELECT FROM procrastinate_jobs AS live WHERE live.id = chunk.job AND live.status = 'doing')",
        (run_id,),
    )


async def busy(db: Db, run_id: str, wave: int) -> int:
    """How many chunks of the wave have not come to their end."""
    query = "SELECT count(*) FROM chunk WHERE run = %s AND wave = %s AND state = 'ready'"
    found = await (await db.execute(query, (run_id, wave))).fetchone()
    return int(found[0]) if found else 0


async def unnoted(db: Db, run_id: str) -> list[tuple[int, str]]:
    """What operators said that the journal does not know yet: number and action, oldest first."""
    query = "SELECT n, action FROM request WHERE run = %s AND NOT noted ORDER BY n"
    return [(int(n), str(action)) for n, action in await (await db.execute(query, (run_id,))).fetchall()]


async def note(db: Db, n: int) -> None:
    """The journal knows what was said."""
    await db.execute("UPDATE request SET noted = true WHERE n = %s", (n,))


async def say_more(db: Db, run_id: str) -> None:
    """Who works on the run looks again at what the journal says of it."""
    await db.execute("UPDATE campaign SET said = said + 1 WHERE run = %s", (run_id,))
