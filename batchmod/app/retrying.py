"""`run --retry failed`: which rows ended failed in the last run, and a plan of nothing else. No network, no clock."""

from dataclasses import dataclass, replace

from batchmod.app.speech import insist, say
from batchmod.journal.store import Journal
from batchmod.model.events import Kind, Phase
from batchmod.model.loading import Loaded
from batchmod.model.plan import Plan, PlannedRow
from batchmod.model.secret import InstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The rows of a run that ended failed, whether the plan or the run said so."""

    run_id: str
    rows: frozenset[tuple[InstanceKey, Kind]]

    @classmethod
    def of_last(cls, journal: Journal, name: str) -> "Retry | None":
        """Of the last run of this name; None when there is none."""
        run = journal.latest(name)
        if run is None:
            return None
        rows = frozenset((row.key, row.kind) for row, state in journal.states(run.id) if state.phase is Phase.FAILED)
        return cls(run_id=run.id, rows=rows)

    def narrowed(self, loaded: Loaded) -> Loaded:
        """The manifest with only those instances: no other one that it names or selects is looked at.

        A selector may find none of them. The digest stays the manifest's own.
        """
        wanted = {(key.region, key.instance_id) for key, _ in self.rows}
        return replace(
            loaded,
            targets=tuple(target for target in loaded.targets if (target.region, target.id) in wanted),
            selectors=tuple(replace(selector, allow_empty=True) for selector in loaded.selectors),
            only=frozenset(instance_id for _, instance_id in wanted),
        )

    def only_failed(self, plan: Plan) -> Plan:
        """The plan without any other row, numbered anew."""
        kept = (row for row in plan.rows if self._means(row))
        return replace(plan, rows=tuple(replace(row, seq=seq) for seq, row in enumerate(kept)))

    def _means(self, row: PlannedRow) -> bool:
        if row.account_id:
            return (row.key, row.kind) in self.rows
        return any(  # nobody could tell whose it is
            (key.region, key.instance_id, kind) == (row.region, row.instance_id, row.kind) for key, kind in self.rows
        )


def worth_it(retry: Retry, plan: Plan) -> bool:
    """Whether any row is left to be retried; how many are not in the manifest any more is said."""
    gone = len(retry.rows) - len(plan.rows)
    if not plan.rows:
        insist(f"nothing to retry: no row that failed in run {retry.run_id} is in the manifest any more")
    elif gone:
        say(f"{gone} of {len(retry.rows)} rows that failed in run {retry.run_id} are not in the manifest any more")
    return bool(plan.rows)
