"""Reads the live state of every target, in batches and paced, and makes the plan of it. Nothing is changed."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from batchmod.engine.accounts import STOPS
from batchmod.engine.judging import Observed
from batchmod.engine.planning import rows_of, rows_of_failed
from batchmod.engine.reading import Instance, Reader
from batchmod.engine.selecting import select, vars_of
from batchmod.engine.watcher import BATCH
from batchmod.engine.works import Wanted, Work, disagreeing, empty, selected
from batchmod.errors import CallError, StoreError, UsageError
from batchmod.model.fitting import misfits
from batchmod.model.plan import FailedAccount, Lane, Plan, PlannedRow
from batchmod.model.problems import at_most
from batchmod.model.selectors import Selector
from batchmod.model.targets import Target

AT_ONCE: Final = 4  # batches of one lane that are read side by side: a round trip is no clock


class Planner:
    """Makes plans of accounts that could be used (`account_ids` by name) and of those that could not.

    `explain` is a CallError in one line, with what to do about it. `skip_failed`: an account of which a region cannot
    be read is left out, else that is an error of the plan.
    """

    def __init__(
        self,
        *,
        account_ids: Mapping[str, str],
        failed: Sequence[FailedAccount],
        readers: Mapping[Lane, Reader],
        skip_failed: bool,
        explain: Callable[[CallError], str],
    ) -> None:
        self._account_ids = account_ids
        self._failed = {one.account: one for one in failed}
        self._readers = readers
        self._skip_failed = skip_failed
        self._explain = explain

    async def plan(self, wanted: Wanted) -> Plan:
        """One row per instance and kind: explicit targets in their order, then the selected ones.

        Raises UsageError when a lane cannot be read, a selector finds nothing, or a new name breaks a rule; StoreError
        when nobody can tell which passwords are current.
        """
        works = self._works(wanted)
        taken = {target.id for target in wanted.targets}
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(self._read(work, wanted, taken))
        for work in works:
            if work.broken is not None:
                raise work.broken
        failed = self._judged(works)
        works = [work for work in works if work.account not in failed]
        targets = [one.target for one in selected(works)]
        problems = [*empty(wanted, works, failed), *disagreeing(wanted, works)]
        problems += misfits(wanted.changes, targets, not_with=wanted.not_with)
        if problems:
            raise UsageError(*at_most(problems))
        return Plan(
            name=wanted.name,
            manifest_digest=wanted.manifest_digest,
            rows=self._rows(wanted, works, failed),
            accounts_failed=tuple(failed[name] for name in sorted(failed)),
        )

    def _works(self, wanted: Wanted) -> list[Work]:
        works: dict[Lane, Work] = {}

        def work(account: str, region: str) -> Work:
            lane = Lane(self._account_ids[account], region)
            return works.setdefault(lane, Work(lane=lane, account=account))

        for target in wanted.targets:
            if target.account not in self._failed:
                work(target.account, target.region).targets.append(target)
        for place, selector in enumerate(wanted.selectors):
            if selector.account not in self._failed:
                for region in selector.regions:
                    work(selector.account, region).selectors.append(place)
        return list(works.values())

    async def _read(self, work: Work, wanted: Wanted, taken: set[str]) -> None:
        """Every target of the lane is observed, or its error says why not."""
        reader = self._readers[work.lane]
        starts = iter(range(0, len(work.targets), BATCH))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(_observe(work, reader, starts))
        if work.error is not None or work.broken is not None:
            return
        try:
            for place in work.selectors:
                await _select(reader, work, place, wanted, taken)
        except CallError as error:
            work.error = error
        except StoreError as error:
            work.broken = error

    def _judged(self, works: Sequence[Work]) -> dict[str, FailedAccount]:
        """The accounts that could not be used, by name. Raises UsageError unless they may be skipped and one is left."""
        failed = dict(self._failed)
        lines: list[str] = []
        for work in works:
            if work.error is not None:
                told, region = self._explain(work.error), work.lane.region
                whole = work.error.verdict in STOPS
                reason = told if whole else f"region {region} cannot be read: {told}"
                lines.append(
                    f"account {work.account}: {told}"
                    if whole
                    else f"account {work.account}, region {region}: cannot be read: {told}"
                )
                failed.setdefault(
                    work.account, FailedAccount(account=work.account, code=work.error.code, reason=reason)
                )
        if lines and not self._skip_failed:
            raise UsageError(*dict.fromkeys(lines))
        if failed.keys() == {*self._account_ids, *self._failed}:
            raise UsageError(*(f"account {one.account}: {one.reason}" for one in failed.values()))
        return failed

    def _rows(
        self, wanted: Wanted, works: Sequence[Work], failed: Mapping[str, FailedAccount]
    ) -> tuple[PlannedRow, ...]:
        """Raises UsageError with every new name that breaks a rule."""
        observed = {name: one for work in works for name, one in work.observed.items()}
        rows: list[PlannedRow] = []
        problems: list[str] = []
        for target in wanted.targets:
            if target.account in failed:
                account_id = self._account_ids.get(target.account, "")
                failure = failed[target.account]
                rows += rows_of_failed(target, wanted.changes, failure, account_id=account_id, first=len(rows))
            else:
                _append(rows, observed[target.id], wanted, problems)
        for one in selected(works):
            _append(rows, one, wanted, problems)
        if problems:
            raise UsageError(*at_most(problems))
        return tuple(rows)


async def _observe(work: Work, reader: Reader, starts: Iterator[int]) -> None:
    """The batches of targets that begin at these places are observed, as long as none has failed."""
    try:
        for start in starts:
            if work.error is not None or work.broken is not None:
                return
            batch = work.targets[start : start + BATCH]
            seen = await reader.look([target.id for target in batch])
            for one in await reader.observe_all([(target, seen[target.id]) for target in batch]):
                work.observed[one.target.id] = one
    except CallError as error:
        work.error = work.error or error
    except StoreError as error:
        work.broken = error


def _append(rows: list[PlannedRow], one: Observed, wanted: Wanted, problems: list[str]) -> None:
    try:
        rows += rows_of(
            one,
            wanted.changes,
            address=wanted.address,
            login=wanted.login,
            first=len(rows),
            not_with=wanted.not_with,
        )
    except UsageError as error:
        problems += error.problems


async def _select(reader: Reader, work: Work, place: int, wanted: Wanted, taken: set[str]) -> None:
    """What the selector means on this lane is selected, unless it is taken by an explicit target or an earlier selector."""
    selector = wanted.selectors[place]
    found = await select(selector, lambda number: reader.page(selector, number))
    meant = [one for one in found if not wanted.excluded(one.id)]
    if meant:
        work.found.add(place)
    fresh = [one for one in meant if one.id not in taken and one.id not in work.selected]
    for start in range(0, len(fresh), BATCH):
        batch = [(_target(selector, work, one), one) for one in fresh[start : start + BATCH]]
        for observed in await reader.observe_all(batch):
            work.selected[observed.target.id] = (place, observed)


def _target(selector: Selector, work: Work, one: Instance) -> Target:
    region = work.lane.region
    return Target(id=one.id, region=region, account=work.account, vars=vars_of(one.tags), source=selector.where)
