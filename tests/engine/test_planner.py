"""A plan is made of what every lane told, or of nothing; who is meant twice is in it once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from listed_support import One, Page
from selector_records import a_selector

from batchmod.engine.accounts import FORBIDDEN_IN_A_ROW, Accounts
from batchmod.engine.ages import never_young
from batchmod.engine.clock import Clock
from batchmod.engine.judging import NO_ADDRESS
from batchmod.engine.planner import Planner
from batchmod.engine.reading import Reader
from batchmod.engine.works import Wanted
from batchmod.errors import CallError, NoPlaceError, UsageError, Verdict
from batchmod.model.events import Kind, Phase
from batchmod.model.manifest import Manifest
from batchmod.model.plan import FailedAccount, Lane, Plan
from batchmod.model.secret import InstanceKey
from batchmod.model.selectors import Selector
from batchmod.model.targets import Target

IDS = {"prod": "1", "eu": "2"}
NAME = {"attributes": {"name": "{id}-x"}}
REVOKED = CallError(Verdict.ACCOUNT_STOP, code="InvalidAccessKeyId.Inactive", message="disabled")
FORBIDDEN = CallError(Verdict.FORBIDDEN, code="Forbidden.RAM", message="no")


@dataclass(frozen=True)
class Protection:
    release_protection: bool | None = False


@dataclass(frozen=True)
class Tde:
    supported: bool = True
    enabled: bool = False


@dataclass(frozen=True)
class Key:
    key_id: str | None = None


@dataclass
class Region:
    """One lane of a cloud: what is there, and what is refused of it."""

    instances: dict[str, One] = field(default_factory=dict)
    fails: CallError | None = None
    forbidden: frozenset[str] = frozenset()
    net_forbidden: frozenset[str] = frozenset()
    net_info: Mapping[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def _read(self, api: str) -> None:
        self.reads.append(api)
        if self.fails is not None:
            raise self.fails

    async def look(self, ids: Sequence[str]) -> Mapping[str, One | CallError | None]:
        self._read("look")
        return {name: FORBIDDEN if name in self.forbidden else self.instances.get(name) for name in ids}

    async def page(self, selector: Selector, number: int) -> Page:  # noqa: ARG002  the planner looks again itself
        self._read("page")
        whole = list(self.instances.values())
        return Page(len(whole), whole[(number - 1) * 50 : number * 50])

    async def details(self, instance_id: str) -> Protection:
        self._read("details")
        if instance_id in self.forbidden:
            raise FORBIDDEN
        return Protection()

    async def tde(self, instance_id: str) -> Tde:  # noqa: ARG002  all are alike
        self._read("tde")
        return Tde()

    async def encryption_key(self, instance_id: str) -> Key:  # noqa: ARG002  all are alike
        self._read("key")
        return Key()

    async def address(self, instance_id: str) -> str | None:
        self._read("address")
        if instance_id in self.net_forbidden:
            raise FORBIDDEN
        return self.net_info.get(instance_id)


def region(*instances: One | str, **more: Any) -> Region:
    ones = [One(id=one) if isinstance(one, str) else one for one in instances]
    return Region(instances={one.id: one for one in ones}, **more)


def target(name: str, account: str = "prod", place: str = "cn-hangzhou") -> Target:
    return Target(id=name, region=place, account=account, vars={}, source="job.yaml:9:5")


async def not_current(_: InstanceKey) -> bool:
    return False


async def nothing_lacks(_: InstanceKey) -> None:
    return None


async def plan(
    cloud: Mapping[tuple[str, str], Region],
    *,
    targets: Sequence[Target] = (),
    selectors: Sequence[Selector] = (),
    changes: Sequence[dict[str, Any]] = (NAME,),
    exclude: frozenset[str] = frozenset(),
    failed: Sequence[FailedAccount] = (),
    skip_failed: bool = False,
    addresses: bool = False,
    not_with: str | None = None,
    is_young: Callable[[InstanceKey], Awaitable[str | None]] = never_young,
) -> Plan:
    accounts = Accounts()
    manifest = Manifest.model_validate({"version": 1, "name": "job", "targets": ["r-1"], "changes": list(changes)})
    readers = {
        Lane(IDS[account], place): Reader(
            there,
            Lane(IDS[account], place),
            changes=manifest.changes,
            is_young=is_young,
            is_current=not_current,
            lacks_old=nothing_lacks,
            addresses=addresses,
            accounts=accounts,
            attempts=1,
            max_delay=1.0,
            clock=Clock(),
        )
        for (account, place), there in cloud.items()
    }
    left = {name: one for name, one in IDS.items() if name not in {each.account for each in failed}}
    planner = Planner(
        account_ids=left, failed=failed, readers=readers, skip_failed=skip_failed, explain=lambda error: f"{error}!"
    )
    return await planner.plan(
        Wanted(
            name="job",
            manifest_digest="",
            targets=targets,
            selectors=selectors,
            excluded=lambda name: name in exclude,
            changes=manifest.changes,
            address=None,
            login=addresses,
            not_with=not_with,
        )
    )


def ids(made: Plan) -> list[str]:
    return [row.instance_id for row in made.rows]


async def test_explicit_targets_come_first_and_win() -> None:
    """A selected instance that is named too is once in the plan, at its explicit place and with its explicit vars."""
    cloud = {("prod", "cn-hangzhou"): region(*(f"r-{n}" for n in range(5)))}
    made = await plan(
        cloud, targets=[target("r-3"), target("r-9")], selectors=[a_selector()], exclude=frozenset({"r-0"})
    )
    assert ids(made) == ["r-3", "r-9", "r-1", "r-2", "r-4"]
    assert [row.seq for row in made.rows] == list(range(5))
    assert [row.verdict for row in made.rows][:2] == [Phase.PLANNED, Phase.FAILED]


async def test_what_two_selectors_mean_is_once_in_the_plan() -> None:
    """In the order of the selectors, then of regions and ids."""
    cloud = {
        ("prod", "cn-hangzhou"): region(One(id="r-1", name="a-1"), One(id="r-2", name="b-2")),
        ("prod", "cn-beijing"): region(One(id="r-0", name="b-0")),
        ("eu", "eu-west-1"): region("r-8"),
    }
    both = ("cn-hangzhou", "cn-beijing")
    wanted = [a_selector(regions=both, names=("b-*",)), a_selector("eu", ("eu-west-1",)), a_selector(regions=both)]
    made = await plan(cloud, selectors=wanted)
    assert ids(made) == ["r-2", "r-0", "r-8", "r-1"]
    assert [(row.account, row.account_id, row.region) for row in made.rows][2] == ("eu", "2", "eu-west-1")


async def test_one_id_in_two_places_is_an_error() -> None:
    """Two selectors that do not agree where it is."""
    cloud = {("prod", "cn-hangzhou"): region("r-1"), ("eu", "cn-hangzhou"): region("r-1")}
    with pytest.raises(UsageError, match=r"r-1 is in account prod, region cn-hangzhou and in account eu, region cn-h"):
        await plan(cloud, selectors=[a_selector(), a_selector("eu")])
    assert ids(await plan(cloud, targets=[target("r-1")], selectors=[a_selector(), a_selector("eu")])) == ["r-1"]


async def test_a_listed_instance_is_not_read_again() -> None:
    """A hundred and twenty names to change: three pages, the first once more, and nothing else."""
    there = region(*(f"r-{n:03d}" for n in range(120)))
    made = await plan({("prod", "cn-hangzhou"): there}, selectors=[a_selector()])
    assert (len(made.rows), there.reads) == (120, ["page"] * 4)


async def test_an_empty_selection_is_an_error_unless_it_may_be() -> None:
    """What is excluded, too, is not there; the place is the selector's."""
    cloud = {("prod", "cn-hangzhou"): region("r-1")}
    nobody = a_selector(names=("x",))
    with pytest.raises(
        UsageError, match=r"job\.yaml:4:5: targets\[0\]\.select: no instance in account prod, cn-hangzhou"
    ):
        await plan(cloud, selectors=[nobody, a_selector()])
    with pytest.raises(UsageError, match="allow_empty"):
        await plan(cloud, selectors=[a_selector()], exclude=frozenset({"r-1"}))
    assert (await plan(cloud, selectors=[a_selector(names=("x",), allow_empty=True)])).rows == ()


async def test_what_only_repeats_explicit_targets_is_not_empty() -> None:
    """The selector found something."""
    cloud = {("prod", "cn-hangzhou"): region("r-1")}
    assert ids(await plan(cloud, targets=[target("r-1")], selectors=[a_selector()])) == ["r-1"]


async def test_tags_are_the_vars_of_what_is_selected() -> None:
    """Who lacks a tag that a template uses is an error of the plan, with the selector's place and the id."""
    entry = {"attributes": {"name": "{team}-cache"}}
    pay = One(id="r-1", tags={"team": "pay"})
    made = await plan({("prod", "cn-hangzhou"): region(pay)}, selectors=[a_selector()], changes=[entry])
    assert made.rows[0].after == {"name": "pay-cache"}
    with pytest.raises(
        UsageError, match=r'job\.yaml:4:5: changes\[0\]\.attributes\.name: r-2: this target has no var "team"'
    ):
        await plan({("prod", "cn-hangzhou"): region(pay, "r-2")}, selectors=[a_selector()], changes=[entry])
    with pytest.raises(
        UsageError, match=r"job\.yaml:4:5: changes\[0\]\.attributes\.name: unknown placeholder \{team\}"
    ):
        await plan({("prod", "cn-hangzhou"): region("r-2")}, selectors=[a_selector()], changes=[entry])


async def test_a_region_that_fails_is_an_error_of_the_plan() -> None:
    """Each with account, region and what to do; a stopped account is told once, and asked no more than it was."""
    short = CallError(Verdict.LOST, code="UnreadableReply", message="page 1 has 0 instances where 3 are due")
    cloud = {("prod", "cn-hangzhou"): region("r-1"), ("prod", "cn-beijing"): region(fails=short)}
    with pytest.raises(UsageError, match=r"^account prod, region cn-beijing: cannot be read: UnreadableReply: .*due!$"):
        await plan(cloud, selectors=[a_selector(regions=("cn-hangzhou", "cn-beijing"))])
    revoked = {("eu", place): region(fails=REVOKED) for place in ("a-1", "b-1", "c-1")}
    with pytest.raises(UsageError) as caught:
        await plan(revoked, selectors=[a_selector("eu", ("a-1", "b-1", "c-1"))])
    assert caught.value.problems == ("account eu: InvalidAccessKeyId.Inactive: disabled!",)
    assert sum(len(there.reads) for there in revoked.values()) == 1


async def test_an_account_that_cannot_be_read_is_left_out_if_it_may_be() -> None:
    """Its explicit targets are not started, with its error; what it would have selected nobody knows."""
    cloud = {("prod", "cn-hangzhou"): region("r-1"), ("eu", "eu-west-1"): region("r-8", fails=REVOKED)}
    wanted = [target("r-7", "eu", "eu-west-1"), target("r-1")]
    changes: list[dict[str, Any]] = [NAME, {"password": {"generate": {}}}]
    made = await plan(
        cloud, targets=wanted, selectors=[a_selector("eu", ("eu-west-1",))], changes=changes, skip_failed=True
    )
    assert [(row.instance_id, row.kind, row.verdict) for row in made.rows] == [
        ("r-7", Kind.ATTRIBUTES, Phase.NOT_STARTED),
        ("r-7", Kind.PASSWORD, Phase.NOT_STARTED),
        ("r-1", Kind.ATTRIBUTES, Phase.PLANNED),
        ("r-1", Kind.PASSWORD, Phase.PLANNED),
    ]
    reason = "InvalidAccessKeyId.Inactive: disabled!"
    assert made.accounts_failed == (FailedAccount(account="eu", code="InvalidAccessKeyId.Inactive", reason=reason),)
    assert (made.rows[0].error_code, made.rows[0].reason) == (REVOKED.code, f"account eu: {reason}")
    with pytest.raises(UsageError, match="account eu"):
        await plan(cloud, targets=wanted, changes=changes)


async def test_an_account_that_nobody_could_be_is_left_out_too() -> None:
    """Its id is not known; with no other account there is no plan."""
    gone = FailedAccount(account="eu", code="NoCredentials", reason="none")
    cloud = {("prod", "cn-hangzhou"): region("r-1")}
    made = await plan(cloud, targets=[target("r-1"), target("r-7", "eu")], failed=[gone], skip_failed=True)
    assert [(row.instance_id, row.account_id, row.verdict) for row in made.rows] == [
        ("r-1", "1", Phase.PLANNED),
        ("r-7", "", Phase.NOT_STARTED),
    ]
    down = {("prod", "cn-hangzhou"): region("r-1", fails=REVOKED)}
    with pytest.raises(UsageError, match="account prod"):
        await plan(down, targets=[target("r-1")], failed=[gone], skip_failed=True)


async def test_an_instance_that_nobody_may_read_fails_alone() -> None:
    """Of a batch, and of the details; the others are planned."""
    cloud = {("prod", "cn-hangzhou"): region("r-1", "r-2", "r-3", forbidden=frozenset({"r-2"}))}
    made = await plan(cloud, targets=[target("r-1"), target("r-2"), target("r-3")])
    assert [(row.verdict, row.error_code) for row in made.rows] == [
        (Phase.PLANNED, None),
        (Phase.FAILED, "Forbidden.RAM"),
        (Phase.PLANNED, None),
    ]


async def test_an_instance_of_which_nothing_usable_is_stored_is_skipped_alone() -> None:
    """With what the store says of it; the others' passwords, and its own other changes, are planned."""

    async def is_young(key: InstanceKey) -> str | None:
        if key.instance_id == "r-1":
            raise NoPlaceError(f"{key}: its document was deleted")
        return None

    made = await plan(
        {("prod", "cn-hangzhou"): region("r-1", "r-2")},
        targets=[target("r-1"), target("r-2")],
        changes=[NAME, {"password": {"generate": {}}}],
        is_young=is_young,
    )
    assert [(row.instance_id, row.kind, row.verdict, row.error_code) for row in made.rows] == [
        ("r-1", Kind.ATTRIBUTES, Phase.PLANNED, None),
        ("r-1", Kind.PASSWORD, Phase.SKIPPED, "NoPlace"),
        ("r-2", Kind.ATTRIBUTES, Phase.PLANNED, None),
        ("r-2", Kind.PASSWORD, Phase.PLANNED, None),
    ]
    assert "its document was deleted" in (made.rows[1].reason or "")


async def test_refusals_in_a_row_are_the_accounts() -> None:
    """Not a row each: the plan is refused."""
    names = [f"r-{n}" for n in range(FORBIDDEN_IN_A_ROW)]
    there = region(*names, forbidden=frozenset(names))
    entry = {"attributes": {"release_protection": True}}
    with pytest.raises(UsageError, match="account prod, region cn-hangzhou: cannot be read: Forbidden"):
        await plan({("prod", "cn-hangzhou"): there}, selectors=[a_selector()], changes=[entry])


ROTATE: dict[str, Any] = {"password": {"generate": {}}}


async def test_an_address_that_is_not_listed_is_asked_for_once() -> None:
    """Only for a password that a login proves, of an instance that is Normal."""
    bare = [One(id="r-1", address=None), One(id="r-2"), One(id="r-3", address=None, status="Creating")]
    there = region(*bare, One(id="r-4", address=None), net_info={"r-1": "10.0.0.7:6379"})
    targets = [target(f"r-{number}") for number in range(1, 5)]
    made = await plan({("prod", "cn-hangzhou"): there}, targets=targets, changes=[ROTATE], addresses=True)
    assert [row.address for row in made.rows] == ["10.0.0.7:6379", "10.0.0.1:6379", None, None]
    assert [row.will_send for row in made.rows] == [True, True, True, False]
    assert made.rows[3].reason == NO_ADDRESS
    assert there.reads.count("address") == 2
    for changes, addresses in (([NAME], True), ([ROTATE], False)):
        there.reads.clear()
        await plan({("prod", "cn-hangzhou"): there}, targets=targets, changes=changes, addresses=addresses)
        assert "address" not in there.reads


async def test_an_address_that_is_refused_fails_its_row() -> None:
    """With the service's code, and no other row."""
    there = region(One(id="r-1", address=None), One(id="r-2"), net_forbidden=frozenset({"r-1"}))
    targets = [target("r-1"), target("r-2")]
    made = await plan({("prod", "cn-hangzhou"): there}, targets=targets, changes=[ROTATE], addresses=True)
    assert [(row.verdict, row.error_code) for row in made.rows] == [
        (Phase.FAILED, FORBIDDEN.code),
        (Phase.PLANNED, None),
    ]


async def test_a_selected_instance_without_the_tag_of_not_with_is_an_error_of_the_plan() -> None:
    """It could not be told which others it must not be changed with; those that have it are grouped by it."""
    there = [One(id="r-1", tags={"team": "pay"}), One(id="r-2", tags={"team": "shop"})]
    made = await plan({("prod", "cn-hangzhou"): region(*there)}, selectors=[a_selector()], not_with="team")
    assert [row.group for row in made.rows] == ["pay", "shop"]
    cloud = {("prod", "cn-hangzhou"): region(*there, "r-3")}
    with pytest.raises(UsageError, match=r'rollout\.not_with: r-3: this target has no var "team"'):
        await plan(cloud, selectors=[a_selector()], not_with="team")
