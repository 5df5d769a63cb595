"""Reservations as rows of one table, counted over all processes. Everything here is done inside a transaction: the
journal's, for what must stand or fall with a fence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import Cursor

from batchmod.journal.pgreads import held as as_text
from batchmod.model.events import StoppedBy
from batchmod.pg.link import Row

FAILURES: Final = "failures"  # rows that may end badly
CHANGING: Final = "changing"  # instances in change
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
    """Who has a place now, in the order in which they asked, and whether none will ever be free again."""

    seqs: Sequence[int]
    exhausted: bool


_USED: Final = """SELECT count(*), count(*) FILTER (WHERE wave = %(wave)s),
  count(*) FILTER (WHERE spent), count(*) FILTER (WHERE spent AND wave = %(wave)s),
  coalesce(array_agg(seq) FILTER (WHERE seq = ANY(%(seqs)s::integer[])), '{}')
  FROM slot WHERE run = %(run)s AND pool = %(pool)s"""
_PUT: Final = """INSERT INTO slot (run, pool, seq, wave, spent)
  SELECT %s, %s, seq, %s, %s FROM unnest(%s::integer[]) AS seq
  ON CONFLICT (run, pool, seq) DO UPDATE SET spent = slot.spent OR excluded.spent"""
_STOPPED: Final = """UPDATE campaign SET stopping = %s, said = said + 1
  WHERE run = %s AND state = 'open' AND stopping IS NULL"""


def take_turn(cursor: Cursor[Row]) -> None:
    """Up to the end of the transaction nobody else counts places or gets one: there is one such lock for all runs, since a
    transaction of the journal is done for several, in any order. Who locks campaigns or chunks in a transaction of the
    journal calls this before, so that none waits for the other.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (TURN,))


def reserve(cursor: Cursor[Row], pool: Pool, seqs: Sequence[int]) -> Reserved:
    """As many of these rows as there are places have one, first come first served; who had one already keeps it."""
    take_turn(cursor)
    run, wave, spent, spent_in_wave, there = _used(cursor, pool, seqs)
    left, holding = pool.caps.left(run, wave), set(there)
    new: list[int] = []
    for seq in seqs:
        if seq not in holding and len(new) < left:
            new.append(seq)
    put(cursor, pool, new)
    holding.update(new)
    exhausted = pool.caps.left(spent, spent_in_wave) <= 0
    return Reserved([seq for seq in seqs if seq in holding], exhausted)


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
