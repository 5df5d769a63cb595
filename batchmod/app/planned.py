"""From a manifest to a plan: the live state of every target is read, nothing is changed."""

from collections.abc import Sequence
from math import inf

from batchmod.app.fleet import Fleet
from batchmod.engine.clock import Clock
from batchmod.engine.planner import Planner
from batchmod.errors import UsageError
from batchmod.model.events import Kind, Proof
from batchmod.model.loading import Loaded
from batchmod.model.manifest import Manifest
from batchmod.model.plan import Plan, PlannedRow
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore


async def make_plan(
    loaded: Loaded, fleet: Fleet, store: EmbeddedStore | None, chosen: Secret | None, clock: Clock
) -> Plan:
    """The plan of this moment. Raises UsageError when something cannot be read, or more would change than allowed."""
    manifest = loaded.manifest

    async def is_current(key: InstanceKey) -> bool:
        if store is None or chosen is None:
            return False
        stages = await store.stages(key)
        # A younger generation than the proved one may be live: then nobody knows what the instance has.
        if not stages or stages[-1].stage is not Stage.CURRENT:
            return False
        return await store.reveal(key, stages[-1].generation) == chosen

    planner = Planner(
        account_ids=fleet.account_ids,
        inventories=fleet.inventories,
        is_current=is_current,
        changes=manifest.changes,
        address=manifest.proof.address,
        login=manifest.proof.password is Proof.LOGIN,
        attempts=manifest.retry.attempts,
        max_delay=manifest.retry.max_delay,
        clock=clock,
    )
    plan = await planner.plan(loaded.targets, name=manifest.name, manifest_digest=loaded.digest)
    _check_size(plan, manifest)
    return plan


def instances_to_change(rows: Sequence[PlannedRow], kind: Kind | None = None) -> int:
    """How many instances the plan would change, by any kind or by this one."""
    return len({row.key for row in rows if row.will_send and kind in {None, row.kind}})


def _check_size(plan: Plan, manifest: Manifest) -> None:
    count, most = instances_to_change(plan.rows), manifest.rollout.max_targets
    if most is not None and count > most:
        raise UsageError(f"rollout.max_targets: the plan would change {count} instances, {most} are allowed")


def failure_limit(manifest: Manifest, rows: Sequence[PlannedRow]) -> int | None:
    """How many rows that the plan will send may end failed or unresolved; None: any number."""
    share = manifest.rollout.max_failures
    return None if share is None else share.of(sum(row.will_send for row in rows))


def pace_line(manifest: Manifest, rows: Sequence[PlannedRow]) -> str | None:
    """A sentence when the budget, not the quota, sets the pace; None when it does not."""
    limit = failure_limit(manifest, rows)
    ahead = manifest.limits.changing or inf
    if limit is None or limit >= min(ahead, instances_to_change(rows), manifest.limits.connections):
        return None
    return f"rollout.max_failures sets the pace: at most {limit} rows are in change or in doubt at once"
