"""What `run` is given: a manifest, of which it makes a plan, or a plan file, which it applies as it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from batchmod.app.ages import young_in
from batchmod.app.chosen import chosen_password, password_change, referred_password
from batchmod.app.fleet import Fleet, Regions, regions_of
from batchmod.app.options import Options
from batchmod.app.planfiles import check_directory, check_fingerprint, check_password
from batchmod.app.planned import make_plan
from batchmod.app.retrying import Retry
from batchmod.app.session import Session, state_of
from batchmod.app.taking_up import same_accounts, with_stopped
from batchmod.engine.clock import Clock
from batchmod.errors import UsageError
from batchmod.model.loading import Loaded, load
from batchmod.model.manifest import Manifest
from batchmod.model.plan import Plan
from batchmod.model.planfile import PlanFile, read_plan_file
from batchmod.model.planstart import is_plan_file
from batchmod.model.runs import Run
from batchmod.model.secret import Secret
from batchmod.model.stores import EmbeddedSettings
from batchmod.secrets.store import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestJob:
    """What is to be changed, of which each run makes its plan."""

    loaded: Loaded
    options: Options
    retry: Retry | None = None
    seal: None = None

    @property
    def manifest(self) -> Manifest:
        return self.loaded.manifest

    @property
    def manifest_digest(self) -> str:
        return self.loaded.digest

    @property
    def normalised(self) -> str:
        return self.loaded.normalised

    @property
    def directory(self) -> Path:
        return self.loaded.directory

    @property
    def state(self) -> Path:
        return state_of(self.options, self.loaded.path)

    @property
    def regions(self) -> Regions:
        return regions_of(self.loaded)

    @property
    def notify_places(self) -> Sequence[str]:
        return self.loaded.notify_places

    def chosen(self) -> Secret | None:
        """The chosen password, if it is not in the secret store. Raises UsageError."""
        change, place = password_change(self.manifest), self.loaded.password_place
        return chosen_password(change, self.options.environ, self.directory, place=place)

    async def settled(self, chosen: Secret | None, store: SecretStore | None) -> Secret | None:
        """The chosen password, in the secret store or not. Raises UsageError."""
        change, place = password_change(self.manifest), self.loaded.password_place
        return chosen or await referred_password(change, store, place=place)

    def is_of(self, run: Run) -> bool:
        """The run means the same."""
        return run.manifest_digest == self.manifest_digest

    async def planned(
        self, fleet: Fleet, session: Session, chosen: Secret | None, clock: Clock, *, began: float
    ) -> tuple[Plan, Fleet]:
        """The plan of this moment, and the fleet that it is for. Raises UsageError as make_plan does.

        `began` is when this process did: ages are counted to there.
        """
        store = session.store
        plan = await make_plan(
            self.loaded,
            fleet,
            store,
            chosen,
            clock,
            skip_failed=self.options.skip_failed_accounts,
            is_young=young_in(self.manifest, store, session.journal, now=began),
            retry=self.retry,
        )
        return plan, fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanJob:
    """A plan that was made earlier, and is applied exactly."""

    path: Path
    file: PlanFile
    seal: str
    manifest: Manifest
    options: Options
    retry: None = None
    notify_places: None = None  # the manifest's text may be another by now

    @property
    def manifest_digest(self) -> str:
        return self.file.plan.manifest_digest

    @property
    def normalised(self) -> str:
        return self.file.manifest

    @property
    def directory(self) -> Path:
        return self.file.directory

    @property
    def state(self) -> Path:
        return state_of(self.options, self.directory / self.path.name)

    @property
    def regions(self) -> Regions:
        """Those in which something would be sent, by account."""
        regions: dict[str, set[str]] = {}
        for row in self.file.plan.rows:
            if row.will_send:
                regions.setdefault(row.account, set()).add(row.region)
        return regions

    def chosen(self) -> Secret | None:
        """The password that the plan was made with, if it is not in the secret store. Raises UsageError for another one."""
        chosen = chosen_password(password_change(self.manifest), self.options.environ, self.directory, place=None)
        if isinstance(self.manifest.secrets, EmbeddedSettings):  # its key is at hand before it is open
            check_password(self.path, self.file, chosen, self.options)
        return chosen

    async def settled(self, chosen: Secret | None, store: SecretStore | None) -> Secret | None:
        """The password that the plan was made with, in the secret store or not. Raises UsageError for another one."""
        settled = chosen or await referred_password(password_change(self.manifest), store, place=None)
        if store is not None and settled is not None:
            check_fingerprint(self.path, self.file, store.fingerprint(settled))
        return settled

    def is_of(self, run: Run) -> bool:
        """The run applies this very plan."""
        return run.plan_seal == self.seal

    async def planned(
        self,
        fleet: Fleet,
        _: Session,
        __: Secret | None,
        ___: Clock,
        *,
        began: float,  # noqa: ARG002  as ManifestJob has it
    ) -> tuple[Plan, Fleet]:
        """The plan as it was made, and the fleet with the lanes of accounts that are left out meanwhile.

        Raises UsageError when an account is another one than it was, or none of those in the plan can be used.
        """
        plan = self.file.plan
        rows = [row for row in plan.rows if row.will_send]
        same_accounts(str(self.path), rows, fleet.account_ids)
        fleet = with_stopped(fleet, rows)
        if fleet.failed and not fleet.account_ids:
            raise UsageError(*(f"account {one.account}: {one.reason}" for one in fleet.failed))
        return replace(plan, accounts_failed=(*plan.accounts_failed, *fleet.failed)), fleet


Job = ManifestJob | PlanJob


def job_of(path: Path, options: Options) -> Job:
    """What is in this file. Raises UsageError with everything that is wrong with it."""
    if not is_plan_file(path):
        return ManifestJob(loaded=load(path), options=options)
    if options.retry_failed:
        raise UsageError(f"{path}: a plan is applied as it is: --retry failed needs the manifest")
    file, seal = read_plan_file(path)
    manifest = file.restored()
    check_directory(path, file, manifest, options)
    return PlanJob(path=path, file=file, seal=seal, manifest=manifest, options=options)
