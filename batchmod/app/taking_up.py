"""Rows that were planned earlier meet the accounts as they are now."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from batchmod.app.fleet import Fleet, StoppedHands
from batchmod.errors import UsageError
from batchmod.model.plan import PlannedRow


def same_accounts(whose: str, rows: Iterable[PlannedRow], account_ids: Mapping[str, str]) -> None:
    """Every account that can be used is the one that the rows were planned for. Raises UsageError, else."""
    planned = {(row.account, row.account_id) for row in rows}
    others = [
        f"{name} is {account_ids[name]} now, and was {one}"
        for name, one in sorted(planned)
        if account_ids.get(name, one) != one
    ]
    if others:
        raise UsageError(f"{whose} belongs to other accounts: {'; '.join(others)}: these credentials are another's")


def with_stopped(fleet: Fleet, rows: Iterable[PlannedRow]) -> Fleet:
    """The fleet with the lanes of accounts that cannot be used any more and are left out.

    Their rows will end: UsageError for an account that only did not answer, it may be there again soon.
    """
    passing = [f"account {one.account}: {one.reason}" for one in fleet.failed if one.passing]
    if passing:
        raise UsageError(*passing)
    failed = {one.account: StoppedHands(one) for one in fleet.failed}
    return replace(fleet, stopped={row.lane: failed[row.account] for row in rows if row.account in failed})
