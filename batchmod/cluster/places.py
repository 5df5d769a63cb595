"""Reservations as rows of one table, counted over all processes. Everything here is done inside a transaction: the
journal's, for what must stand or fall with a fence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import Cursor

from batchmod.journal.pgreads import held as as_text
from batchmod.model.events import StoppedBy
from batchmod.pg.link import Row

FAILURES: Final = "failures"  # rows that may end badly
CHANGING: Final = "changing"  # instances in change
STALE: Final = 2.0  # seconds without asking, after which who waited does not wait any more
TURN: Final = 0x736C6F74  # "slot": who counts places is alone with it


def group_pool(group: str) -> str:
    """The pool of one place for the instances that stand in for each other."""
    return as_text(f"group:{group}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many places there are, for the run and for one wave of it; None: any number."""

    run: int | None
    wave: int | None = None

    @property
    def least(self) -> int | None:
        return min((cap for cap in (self.run, self.wave) if cap is not None), default=None)

    def left(self, run: int, wave: int) -> float:
        """What remains when so many are used, which may be less than none."""
        used = ((self.run, run), (self.wave, wave))
        return min((cap - count for cap, count in used if cap is not None), default=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Places that the rows of one wave of a run ask for."""

    run: str
    name: str
    wave: int
    caps: Caps


@dataclass(frozen=True, slots=True)
class Reserved:
    """Who has a place now, in the order in which they asked, whether none will ever be free again, and whether those that
    become free are others' first.
    """

    seqs: Sequence[int]
    exhausted: bool
    is_behind: bool


_USED: Final = """SELECT count(*), count(*) FILTER (WHERE wave = %(wave)s),
  count(*) FILTER (WHERE spent), count(*) FILTER (WHERE spent AND wave = %(wave)s),
  coalesce(array_agg(seq) FILTER (WHERE seq = ANY(%(seqs)s::integer[])), '{}')
  FROM slot WHERE run = %(run)s AND pool = %(pool)s"""
# How many places those want who have waited for longer, and whether `who` waits at all.
_QUEUE: Final = """SELECT
  coalesce(sum(wants) FILTER (WHERE who <> %(who)s AND asked_at > clock_timestamp() - make_interval(secs => %(stale)s)
    AND since < coalesce(mine, 'infinity')), 0), coalesce(bool_or(who = %(who)s), false)
  FROM (SELECT *, max(since) FILTER (WHERE who = %(who)s) OVER () AS mine FROM waiter
    WHERE run = %(run)s AND pool = %(pool)s AND wave = %(wave)s) AS queue"""
_PUT: Final = """INSERT INTO slot (run, pool, seq, wave, spent)
  SELECT %s, %s, seq, %s, %s FROM unnest(%s::integer[]) AS seq
  ON CONFLICT (run, pool, seq) DO UPDATE SET spent = slot.spent OR excluded.spent"""
# Who gets some of what it asked for begins to wait anew: so places go round, though some are given back all the time by
# those who would have them again at once.
_WAITS: Final = """INSERT INTO waiter (run, pool, wave, who, wants, since, asked_at)
  VALUES (%(run)s, %(pool)s, %(wave)s, %(who)s, %(wants)s, clock_timestamp(), clock_timestamp())
  ON CONFLICT (run, pool, wave, who) DO UPDATE SET wants = excluded.wants, asked_at = excluded.asked_at,
  since = CASE WHEN %(anew)s THEN excluded.since ELSE waiter.since END"""
_SERVED: Final = """DELETE FROM waiter WHERE run = %(run)s AND pool = %(pool)s AND wave = %(wave)s
  AND (who = %(who)s OR asked_at <= clock_timestamp() - make_interval(secs => %(stale)s))"""
_STOPPED: Final = """UPDATE campaign SET stopping = %s, said = said + 1
  WHERE run = %s AND state = 'open' AND stopping IS NULL"""


def take_turn(cursor: Cursor[Row]) -> None:
    """Up to the end of the transaction nobody else counts places or gets one: there is one such lock for all runs, since a
    transaction of the journal is done for several, in any order. Who locks campaigns or chunks in a transaction of the
    journal calls this before, so that none waits for the other.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (TURN,))


def reserve(cursor: Cursor[Row], pool: Pool, seqs: Sequence[int], *, who: str | None = None) -> Reserved:
    """As many of these rows as there are places have one, first come first served; who had one already keeps it.

    What others than `who` have asked for in vain earlier, and still do, is left to them; not without a `who`.
    """
    take_turn(cursor)
    run, wave, spent, spent_in_wave, there = _used(cursor, pool, seqs)
    queue = {"run": pool.run, "pool": pool.name, "wave": pool.wave, "who": who, "stale": STALE}
    theirs, waited = (0, False) if who is None else _place_in(cursor, queue)
    left, holding = pool.caps.left(run, wave) - theirs, set(there)
    new: list[int] = []
    for seq in seqs:
        if seq not in holding and len(new) < left:
            new.append(seq)
    put(cursor, pool, new)
    holding.update(new)
    if who is not None and (wants := len(seqs) - len(holding)) > 0:
        cursor.execute(_WAITS, {**queue, "wants": wants, "anew": bool(new)})
    elif waited:
        cursor.execute(_SERVED, queue)
    exhausted = pool.caps.left(spent, spent_in_wave) <= 0
    return Reserved([seq for seq in seqs if seq in holding], exhausted, is_behind=theirs > 0)


def leave(cursor: Cursor[Row], pool: Pool, who: str) -> None:
    """Who waited does not any more."""
    take_turn(cursor)
    cursor.execute(_SERVED, {"run": pool.run, "pool": pool.name, "wave": pool.wave, "who": who, "stale": STALE})


def _place_in(cursor: Cursor[Row], queue: Mapping[str, object]) -> tuple[int, bool]:
    """How many places those want who come before `who`, and whether that waits already."""
    found = cursor.execute(_QUEUE, queue).fetchone()
    assert found is not None
    return int(found[0]), bool(found[1])


def put(cursor: Cursor[Row], pool: Pool, seqs: Iterable[int], *, spent: bool = False) -> None:
    """These rows have their places, whatever the limit says."""
    if seqs := list(seqs):
        cursor.execute(_PUT, (pool.run, pool.name, pool.wave, spent, seqs))


def give_back(cursor: Cursor[Row], pool: Pool, seq: int) -> None:
    """The row has none, unless it has spent it."""
    cursor.execute(
        "DELETE FROM slot WHERE run = %s AND pool = %s AND seq = %s AND NOT spent", (pool.run, pool.name, seq)
    )


def spend(cursor: Cursor[Row], pool: Pool, seq: int) -> bool:
    """The row's place is gone for good; whether that was the last one, of the run or the wave: everybody who works on the
    run will hear that it stops.
    """
    take_turn(cursor)
    put(cursor, pool, [seq], spent=True)
    return stop_if_spent(cursor, pool)


def stop_if_spent(cursor: Cursor[Row], pool: Pool) -> bool:
    """Whether everything is spent that may be, of the run or the wave; the campaign knows it then."""
    _, _, spent, spent_in_wave, _ = _used(cursor, pool, ())
    if pool.caps.left(spent, spent_in_wave) > 0:
        return False
    cursor.execute(_STOPPED, (StoppedBy.MAX_FAILURES, pool.run))
    return True


def clear(cursor: Cursor[Row], run_id: str, seqs: Sequence[int]) -> None:
    """These rows have no place of any pool."""
    cursor.execute("DELETE FROM slot WHERE run = %s AND seq = ANY(%s::integer[])", (run_id, list(seqs)))


def _used(cursor: Cursor[Row], pool: Pool, seqs: Sequence[int]) -> tuple[int, int, int, int, Sequence[int]]:
    """Places in use and spent, of run and wave each, and which of these rows have one."""
    asked = {"run": pool.run, "pool": pool.name, "wave": pool.wave, "seqs": list(seqs)}
    found = cursor.execute(_USED, asked).fetchone()
    assert found is not None
    run, wave, spent, spent_in_wave, there = found
    return run, wave, spent, spent_in_wave, there
