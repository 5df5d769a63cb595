"""What a run needs of the service and of the instances, found out by reads alone: one target of each lane stands for all."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

from batchmod.app.accounts import ATTEMPTS, explain
from batchmod.app.chosen import password_change
from batchmod.app.fleet import LaneHands, open_fleet
from batchmod.app.options import Options
from batchmod.cloud.views import Instance
from batchmod.engine.asking import ask
from batchmod.engine.clock import Clock
from batchmod.engine.halt import Halt
from batchmod.engine.judging import NO_ADDRESS
from batchmod.engine.turnstile import Pacer
from batchmod.errors import CallError
from batchmod.model.events import BY_LOGIN, Kind
from batchmod.model.loading import Loaded
from batchmod.model.plan import Lane
from batchmod.secrets.dialogue import Account, form_of
from batchmod.secrets.store import Finding

NOBODY = "no instance of the manifest is there to be looked at"


@dataclass(slots=True)
class Ids:
    """The id of each account that could be asked for it, by name."""

    found: dict[str, str] = field(default_factory=dict)


async def examine_account(
    loaded: Loaded, options: Options, name: str, regions: Collection[str], ids: Ids
) -> tuple[Finding, ...]:
    """Credentials, clock and endpoint of one account, and what may be read in each of its regions.

    Raises UsageError for what keeps all of it from being asked.
    """
    clock, halt = Clock(), Halt()
    opening = open_fleet(
        loaded.manifest,
        {name: set(regions)},
        replace(options, skip_failed_accounts=True),
        halt=halt,
        notify=lambda _: None,
        clock=clock,
        found={},
    )
    async with opening as fleet:
        if fleet.failed:
            return tuple(Finding(what=f"account {name}", ok=False, text=one.reason) for one in fleet.failed)
        ids.found |= fleet.account_ids
        text = f"{fleet.account_ids[name]}; its endpoint answers, and the clocks agree"
        found = [Finding(what=f"account {name}", ok=True, text=text)]
        for lane, hands in fleet.hands.items():
            found += await _Examination(loaded, name, lane, hands, clock, halt).findings()
    return tuple(found)


async def examine_names(ids: Ids) -> tuple[Finding, ...]:
    """Two names of one account are refused by every run."""
    names: dict[str, list[str]] = {}
    for name, account_id in ids.found.items():
        names.setdefault(account_id, []).append(name)
    return tuple(
        Finding(what="accounts", ok=False, text=f"{', '.join(many)} are the same account {one}: use one name for it")
        for one, many in names.items()
        if len(many) > 1
    )


@dataclass(slots=True)
class _Examination:
    """Of one lane."""

    loaded: Loaded
    account: str
    lane: Lane
    hands: LaneHands
    clock: Clock
    halt: Halt

    async def findings(self) -> list[Finding]:
        """The reads that the manifest's changes need, each on its own, and the way to the instance."""
        found: list[Finding] = []
        instance = await self._of("DescribeInstances", self._instance, found)
        if not isinstance(instance, Instance):
            return found
        inventory, kinds = self.hands.inventory, {change.kind for change in self.loaded.manifest.changes}
        if Kind.ATTRIBUTES in kinds:
            await self._of("DescribeInstanceAttribute", lambda: inventory.details(instance.id), found)
        if Kind.TDE in kinds:
            await self._of("DescribeInstanceTDEStatus", lambda: inventory.tde(instance.id), found)
        proof = self.loaded.manifest.proof
        if password_change(self.loaded.manifest) is not None and proof.password in BY_LOGIN:
            address: object = proof.address or instance.address
            if address is None:
                address = await self._of("DescribeDBInstanceNetInfo", lambda: inventory.address(instance.id), found)
            found.append(await self._route(instance, address if isinstance(address, str) else None))
        return found

    async def _of(self, api: str, call: Callable[[], Awaitable[object]], found: list[Finding]) -> object:
        """What the call gave; None when it was refused, or gave nothing. `found` has a finding more."""
        what = f"{api} {self.account} {self.lane.region}"
        try:
            given = await ask(call, attempts=ATTEMPTS, max_delay=self.loaded.manifest.retry.max_delay, clock=self.clock)
        except CallError as error:
            found.append(Finding(what=what, ok=False, text=explain(error)))
            return None
        if isinstance(given, str) and api == "DescribeInstances":
            found.append(Finding(what=what, ok=False, text=given))
            return None
        of = given.id if isinstance(given, Instance) else "the same instance"
        found.append(Finding(what=what, ok=True, text=f"may be called; asked for {of}"))
        return given

    async def _instance(self) -> Instance | str:
        """The first instance that is meant in this lane, or why there is none. Raises CallError."""
        region = self.lane.region
        for target in self.loaded.targets:
            if (target.account, target.region) == (self.account, region):
                one = (await self.hands.inventory.look([target.id]))[target.id]
                if isinstance(one, CallError):
                    raise one
                return one or f"there is no instance {target.id} in {region}: correct {target.where}"
        for selector in self.loaded.selectors:
            if selector.account == self.account and region in selector.regions:
                page = await self.hands.inventory.page(selector, 1)
                if page.instances:
                    return page.instances[0]
        return f"{NOBODY} in {region}: look at its selectors"

    async def _route(self, instance: Instance, address: str | None) -> Finding:
        """One login with a random wrong password, as every run makes it before it sends anything."""
        from batchmod.app.proofs import logins_of  # noqa: PLC0415  few need it, and it costs every start

        what, proof = f"route to {instance.id}", self.loaded.manifest.proof
        if address is None:
            return Finding(what=what, ok=False, text=NO_ADDRESS)
        pacer = Pacer(proof.rate, clock=self.clock, wait=lambda seconds: self.halt.sleep(seconds, sending=False))
        account = Account(address=address, login=instance.id, form=form_of(instance.engine_version))
        reason = await logins_of(proof, pacer).control(account)
        text = "answers, and refuses a wrong password" if reason is None else f"{reason}: nothing would be sent to it"
        return Finding(what=what, ok=reason is None, text=f"{address}: {text}")
