"""The rows of one target, from what was read of it. Pure."""

from collections.abc import Iterator

from batchmod.engine.judging import NORMAL_STATUS, Change, Judgement, Observed, judge
from batchmod.model.events import Phase
from batchmod.model.plan import FailedAccount, PlannedRow
from batchmod.model.targets import Target


def rows_of(
    observed: Observed,
    changes: tuple[Change, ...],
    *,
    address: str | None,
    login: bool,
    first: int,
    not_with: str | None = None,
) -> Iterator[PlannedRow]:
    """One row per kind, in order, numbered from `first`; `login`: a password is proved by one. `not_with`: a var that
    the target has.

    Raises UsageError for a name that breaks the vendor's rules.
    """
    target, instance = observed.target, observed.instance
    failed: str | None = None
    for seq, change in enumerate(changes, first):
        verdict = judge(observed, change, login=login, routed=address is not None)
        if failed is not None and verdict.phase in {Phase.PLANNED, Phase.FAILED}:
            verdict = Judgement(phase=Phase.NOT_STARTED, reason=f"{failed} did not end well on this instance")
        yield PlannedRow(
            seq=seq,
            account=target.account,
            account_id=observed.account_id,
            region=target.region,
            instance_id=target.id,
            instance_name=instance.name if instance else None,
            login=target.id,
            kind=change.kind,
            wave=None,  # the rollout gives it
            before=verdict.before,
            after=verdict.after,
            verdict=verdict.phase,
            reason=verdict.reason,
            error_code=verdict.code,
            address=address or (instance.address if instance else None) or observed.address,
            engine_version=instance.engine_version if instance else None,
            status=instance.status if instance and instance.status != NORMAL_STATUS else None,
            group=None if not_with is None else target.vars[not_with],
        )
        if verdict.phase is Phase.FAILED:
            failed = change.kind.value


def rows_of_failed(
    target: Target, changes: tuple[Change, ...], failure: FailedAccount, *, account_id: str, first: int
) -> Iterator[PlannedRow]:
    """One row per kind of a target whose account could not be used: not started, with the account's error.

    `account_id` is empty when nobody could tell it.
    """
    for seq, change in enumerate(changes, first):
        yield PlannedRow(
            seq=seq,
            account=target.account,
            account_id=account_id,
            region=target.region,
            instance_id=target.id,
            instance_name=None,
            login=target.id,
            kind=change.kind,
            wave=None,
            before={},
            after={},
            verdict=Phase.NOT_STARTED,
            reason=f"account {failure.account}: {failure.reason}",
            error_code=failure.code,
        )
