"""The instances that a manifest means, and what is stored of each: where `verify` and `reconcile` begin."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from batchmod.app.accounts import explain
from batchmod.app.fleet import Fleet, check_fence, open_fleet, regions_of
from batchmod.app.options import Options
from batchmod.app.session import check_report_dir, report_dir, state_of
from batchmod.app.speech import speak_of
from batchmod.app.stores import opened_store
from batchmod.app.storing import shared_place
from batchmod.app.watching import Watching
from batchmod.engine.accounts import Accounts
from batchmod.engine.asking import ATTEMPTS
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.planner import Planner
from batchmod.engine.reading import Reader
from batchmod.engine.reconciling import NOTHING_STORED, Stages
from batchmod.engine.works import Wanted
from batchmod.errors import StoreError, UsageError
from batchmod.model.changes import Generate, PasswordChange
from batchmod.model.loading import Loaded, load
from batchmod.model.pace import Pace
from batchmod.model.plan import FailedAccount, PlannedRow
from batchmod.model.planstart import is_plan_file
from batchmod.model.secret import InstanceKey
from batchmod.secrets.store import SecretStore

READS = (PasswordChange(generate=Generate()),)  # what a login needs to know of an instance is read, whatever is changed
Asked = Callable[[InstanceKey], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Every instance that the manifest means, one row each, and what is stored of it."""

    rows: tuple[PlannedRow, ...]
    stages: Mapping[InstanceKey, Stages]  # of those with any
    failed: tuple[FailedAccount, ...]
    paces: tuple[Pace, ...]

    def of(self, row: PlannedRow) -> Stages:
        return self.stages.get(row.key, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One look at the stored passwords of a manifest's instances."""

    command: str
    loaded: Loaded
    options: Options
    reports: Path
    run_id: str
    clock: Clock

    @classmethod
    def of(cls, command: str, path: Path, options: Options, run_id: str, clock: Clock) -> "Examination":
        """Raises UsageError for a manifest with a fault, a plan file, and a report directory that takes no files."""
        if options.store is not None:
            shared_place(options)
        if is_plan_file(path):
            raise UsageError(f"{path}: a plan: `batchmod {command}` needs the manifest")
        loaded = load(path)
        speak_of(run_id)
        check_fence(loaded.manifest, set().union(*regions_of(loaded).values()), options.endpoint)
        reports = report_dir(options, loaded.manifest, loaded.directory)
        check_report_dir(reports)
        return cls(command=command, loaded=loaded, options=options, reports=reports, run_id=run_id, clock=clock)

    @property
    def state(self) -> Path:
        return state_of(self.options, self.loaded.path)

    @asynccontextmanager
    async def store(self, *, create: bool) -> AsyncIterator[SecretStore]:
        """Open for as long as the block; only to be read unless `create`."""
        loaded = self.loaded
        async with opened_store(
            loaded.manifest, state=self.state, directory=loaded.directory, options=self.options, create=create
        ) as store:
            yield store

    async def read(self, store: SecretStore) -> Stored:
        """The fleet as it is now. Raises UsageError when it cannot be read."""
        manifest, options, stages = self.loaded.manifest, self.options, dict[InstanceKey, Stages]()

        async def nothing_stored(key: InstanceKey) -> str | None:
            """Why no more need be read of an instance."""
            found = await store.stages(key)
            if found:
                stages[key] = found
            return None if found else NOTHING_STORED

        async with open_fleet(
            manifest,
            regions_of(self.loaded),
            options,
            halt=Halt(),
            notify=Watching(options).notify,
            clock=self.clock,
            found={},
        ) as fleet:
            try:
                plan = await self._planner(fleet, nothing_stored).plan(self._wanted())
            except StoreError as error:
                raise UsageError(str(error)) from error
            return Stored(rows=plan.rows, stages=stages, failed=plan.accounts_failed, paces=tuple(fleet.paced()))

    def _wanted(self) -> Wanted:
        loaded = self.loaded
        return Wanted(
            name=loaded.manifest.name,
            manifest_digest=loaded.digest,
            targets=loaded.targets,
            selectors=loaded.selectors,
            excluded=loaded.excluded,
            changes=READS,
            address=loaded.manifest.proof.address,
            login=True,
        )

    def _planner(self, fleet: Fleet, nothing_stored: Asked) -> Planner:
        async def no(_: InstanceKey) -> bool:
            return False

        async def none(_: InstanceKey) -> str | None:
            return None

        manifest, accounts = self.loaded.manifest, Accounts()
        readers = {
            lane: Reader(
                hands.inventory,
                lane,
                changes=READS,
                is_young=nothing_stored,
                is_current=no,
                lacks_old=none,
                addresses=manifest.proof.address is None,
                accounts=accounts,
                attempts=ATTEMPTS,
                max_delay=manifest.retry.max_delay,
                clock=self.clock,
            )
            for lane, hands in fleet.hands.items()
        }
        skip_failed = self.options.skip_failed_accounts
        return Planner(
            account_ids=fleet.account_ids,
            failed=fleet.failed,
            readers=readers,
            skip_failed=skip_failed,
            explain=explain,
        )
