"""From a manifest to a plan: the live state of every target is read, nothing is changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf

from batchmod.app.accounts import explain
from batchmod.app.ages import IsYoung
from batchmod.app.fleet import Fleet
from batchmod.app.retrying import Retry
from batchmod.engine.accounts import Accounts
from batchmod.engine.ages import never_young
from batchmod.engine.asking import ATTEMPTS
from batchmod.engine.clock import Clock
from batchmod.engine.old import NO_OLD, old_secret
from batchmod.engine.permissions import Document, policy
from batchmod.engine.planner import Planner
from batchmod.engine.reading import Reader
from batchmod.engine.rollout import in_waves, wave_count
from batchmod.engine.works import Wanted
from batchmod.errors import PolicyError
from batchmod.model.accounts import RoleAccount
from batchmod.model.events import BY_LOGIN, Kind, Proof
from batchmod.model.loading import Loaded
from batchmod.model.manifest import Manifest
from batchmod.model.plan import Lane, Plan, PlannedRow
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.store import SecretStore


async def make_plan(
    loaded: Loaded,
    fleet: Fleet,
    store: SecretStore | None,
    chosen: Secret | None,
    clock: Clock,
    *,
    skip_failed: bool,
    is_young: IsYoung = never_young,
    retry: Retry | None = None,
) -> Plan:
    """The plan of this moment. Raises UsageError when something cannot be read, or more would change than allowed.

    `skip_failed`: accounts that cannot be read are left out of it instead. `is_young` tells why a password stays.
    `retry`: only these rows are in it.
    """
    manifest, observed_at = loaded.manifest, clock.wall()

    async def is_current(key: InstanceKey) -> bool:
        if store is None or chosen is None:
            return False
        stages = await store.stages(key)
        # A younger generation than the proved one may be live: then nobody knows what the instance has.
        if not stages or stages[-1].stage is not Stage.CURRENT:
            return False
        return await store.reveal(key, stages[-1].generation) == chosen

    level = manifest.proof.password

    async def lacks_old(key: InstanceKey) -> str | None:
        if level is not Proof.LOGIN_AND_OLD_REFUSED:
            return None
        if store is not None and await old_secret(store, key, chosen) is not None:
            return None
        return f"proof {level}: {NO_OLD}: `batchmod secrets import` it, or write proof: {{password: {Proof.LOGIN}}}"

    wanted = Wanted(
        name=manifest.name,
        manifest_digest=loaded.digest,
        targets=loaded.targets,
        selectors=loaded.selectors,
        excluded=loaded.excluded,
        changes=manifest.changes,
        address=manifest.proof.address,
        login=level in BY_LOGIN,
        not_with=manifest.rollout.not_with,
    )
    stopped = Accounts()
    readers = {
        lane: Reader(
            hands.inventory,
            lane,
            changes=manifest.changes,
            is_young=is_young,
            is_current=is_current,
            lacks_old=lacks_old,
            addresses=level in BY_LOGIN and manifest.proof.address is None,
            accounts=stopped,
            attempts=ATTEMPTS,
            max_delay=manifest.retry.max_delay,
            clock=clock,
        )
        for lane, hands in fleet.hands.items()
    }
    planner = Planner(
        account_ids=fleet.account_ids, failed=fleet.failed, readers=readers, skip_failed=skip_failed, explain=explain
    )
    plan = replace(await planner.plan(wanted), observed_at=observed_at)
    if retry is not None:
        plan = retry.only_failed(plan)
    _check_size(plan, manifest)
    unlisted = {key for reader in readers.values() for key in reader.unlisted}
    rows = in_waves(plan.rows, manifest.rollout.waves)
    return replace(plan, rows=rows, policies=_policies(plan, loaded, fleet, unlisted))


def _policies(plan: Plan, loaded: Loaded, fleet: Fleet, unlisted: set[InstanceKey]) -> dict[str, Document]:
    """By account name: what the run needs of each that has instances here or is the way to one that has."""
    roles: dict[str, list[str]] = {}
    for name in fleet.account_ids:
        account = loaded.manifest.accounts.get(name)
        while isinstance(account, RoleAccount):
            through = roles.setdefault(account.via, [])
            if account.role_arn not in through:
                through.append(account.role_arn)
            account = loaded.manifest.accounts.get(account.via)
    rows: dict[str, list[PlannedRow]] = {}
    for row in plan.rows:
        rows.setdefault(row.account, []).append(row)
    left_out = {one.account for one in plan.accounts_failed}
    names = [name for name in dict.fromkeys((*fleet.account_ids, *roles)) if name not in left_out]
    return {
        name: policy(
            rows.get(name, ()),
            loaded.manifest.changes,
            _listed(loaded, fleet, name),
            roles.get(name, ()),
            unlisted,
        )
        for name in names
    }


def _listed(loaded: Loaded, fleet: Fleet, name: str) -> set[Lane]:
    """The lanes of an account in which something is selected: to list is to read all of them."""
    return {
        Lane(fleet.account_ids[name], region)
        for selector in loaded.selectors
        if selector.account == name
        for region in selector.regions
    }


def instances_to_change(rows: Sequence[PlannedRow], kind: Kind | None = None) -> int:
    """How many instances the plan would change, by any kind or by this one."""
    return len({row.key for row in rows if row.will_send and kind in {None, row.kind}})


def _check_size(plan: Plan, manifest: Manifest) -> None:
    count, most = instances_to_change(plan.rows), manifest.rollout.max_targets
    if most is not None and count > most:
        raise PolicyError(f"rollout.max_targets: the plan would change {count} instances, {most} are allowed")


def failure_limit(manifest: Manifest, rows: Iterable[PlannedRow]) -> int | None:
    """How many rows that the plan will send may end failed or unresolved; None: any number."""
    share = manifest.rollout.max_failures
    return None if share is None else share.of(sum(row.will_send for row in rows))


def pace_line(manifest: Manifest, rows: Sequence[PlannedRow]) -> str | None:
    """A sentence when the budget, not the quota, sets the pace, in any wave; None when it does not."""
    whole = failure_limit(manifest, rows)
    if whole is None:
        return None
    slow: list[tuple[int, int]] = []  # wave, rows at once
    for wave in range(1, wave_count(rows) + 1):
        mine = [row for row in rows if row.wave == wave]
        limit = min(whole, failure_limit(manifest, mine) or whole)
        if limit < min(manifest.limits.changing or inf, instances_to_change(mine), manifest.limits.connections):
            slow.append((wave, limit))
    if not slow:
        return None
    if wave_count(rows) == 1:
        return f"rollout.max_failures sets the pace: at most {slow[0][1]} rows are in change or in doubt at once"
    told = ", ".join(f"{limit} of wave {wave}" for wave, limit in slow)
    return f"rollout.max_failures sets the pace: rows in change or in doubt at once, at most: {told}"
