"""Which rows are sent in which wave. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain, zip_longest

from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.secret import InstanceKey
from batchmod.model.values import Share


def in_waves(rows: Sequence[PlannedRow], waves: Sequence[Share]) -> tuple[PlannedRow, ...]:
    """The same rows in the same order, each that will be sent with its wave, from 1; the others have none.

    Each entry of `waves` is a share (a percentage rounded up) of the instances that would be changed, counted from the
    first one; one that adds none is dropped, and the last wave ends with all of them. All rows of an instance are in one
    wave. The same instances give the same waves, in whatever order their rows stand.
    """
    ordered = _ordered({row.key for row in rows if row.will_send})
    ends = _ends(waves, len(ordered))
    wave_of = {key: bisect_left(ends, place) + 1 for place, key in enumerate(ordered, 1)}
    return tuple(replace(row, wave=wave_of[row.key] if row.will_send else None) for row in rows)


def wave_count(rows: Iterable[PlannedRow]) -> int:
    """How many waves the rows are sent in; 0 when none is sent."""
    return max((row.wave for row in rows if row.wave is not None), default=0)


def _ordered(keys: Iterable[InstanceKey]) -> list[InstanceKey]:
    """One instance of each lane in turn, so that the first wave meets as many lanes as it can. In a lane by a digest of
    the id: neither names nor ages decide who is the canary, and it is the same one in every run.
    """
    lanes: dict[Lane, list[InstanceKey]] = {}
    for key in keys:
        lanes.setdefault(Lane(key.account_id, key.region), []).append(key)
    queues = [sorted(lanes[lane], key=_digest) for lane in sorted(lanes)]
    return [key for key in chain.from_iterable(zip_longest(*queues)) if key is not None]


def _digest(key: InstanceKey) -> bytes:
    return sha256(key.instance_id.encode()).digest()


def _ends(waves: Sequence[Share], total: int) -> list[int]:
    """How many instances are changed at the end of each wave, growing."""
    ends: list[int] = []
    for count in (*(share.up_of(total) for share in waves), total):
        if count > (ends[-1] if ends else 0):
            ends.append(min(count, total))
        if ends and ends[-1] == total:
            break
    return ends
