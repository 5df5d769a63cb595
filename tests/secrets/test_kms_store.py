"""What the store in KMS keeps to when calls are lost, rivals write, or its process ends between any two calls."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from kms_support import EndedError, Kms

from batchmod.errors import NoPlaceError, StoreConflict, StoreError, UsageError
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.kms import KmsStore
from batchmod.secrets.kmscalls import Answer, Param

KEY = InstanceKey(account_id="1234567890123456", region="cn-hangzhou", instance_id="r-bp1aaaaaaaaaaaaa")
NAME = f"batchmod/{KEY}"
P, C, V, X = Stage.PENDING, Stage.CURRENT, Stage.PREVIOUS, Stage.CANDIDATE
Step = Callable[[KmsStore], Awaitable[object]]


def password(number: int) -> Secret:
    return Secret(f"Password_number-{number}")


async def escrow(store: KmsStore, number: int, run: str = "run-1") -> None:
    record = await store.escrow(KEY, login=KEY.instance_id, secret=password(number), run_id=run)
    assert record.generation == number


async def proved(kms: Kms, count: int) -> KmsStore:
    """A store with so many generations, each promoted."""
    store = kms.store()
    for number in range(1, count + 1):
        await escrow(store, number)
        await store.promote(KEY, number)
    return store


async def stages(kms: Kms) -> list[Stage]:
    """As a process sees them that has just begun; every value is there."""
    kms.die = None
    store = kms.store()
    found = await store.stages(KEY)
    assert [await store.reveal(KEY, each.generation) for each in found] == [password(each.generation) for each in found]
    return [each.stage for each in found]


async def escrow_4(store: KmsStore) -> None:
    await escrow(store, 4)


SITUATIONS: dict[str, tuple[Step, list[Stage], list[Stage]]] = {  # what is done beside [X, V, C, P], before and after
    "promote": (lambda store: store.promote(KEY, 4), [X, V, C, P], [X, X, V, C]),
    "demote": (lambda store: store.demote(KEY, 4), [X, V, C, P], [X, V, C, X]),
    "adopt previous": (lambda store: store.adopt(KEY, 2), [X, V, C, P], [X, C, V, P]),
    "adopt candidate": (lambda store: store.adopt(KEY, 1), [X, V, C, P], [C, X, V, P]),
}


@pytest.mark.parametrize("follows", [False, True], ids=["alone", "follows"])
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_change_that_is_cut_short_at_any_call_is_ended_by_the_next(situation: str, follows: bool) -> None:
    """Killed before each call: the stages are those from before or after, and doing it again, or the next escrow, ends
    it with no label left over. Whether the service moves ACSPrevious by itself makes no difference.
    """
    step, before, after = SITUATIONS[situation]
    for nth in itertools.count():
        kms = Kms(follows=follows)
        store = await proved(kms, 3)
        await escrow(store, 4)
        kms.die = len(kms.calls) + nth
        try:
            await step(kms.store())
        except EndedError:
            assert await stages(kms) in (before, after), nth
        else:
            assert nth > 3
            break
        await step(kms.store())
        assert await stages(kms) == after
        left = {"promote": set(), "demote": {"batchmod-candidate-4"}}.get(situation, {"batchmod-pending"})
        assert set().union(*kms.labels(NAME).values()) == {"ACSCurrent", "ACSPrevious"} | left


@pytest.mark.parametrize("landed", [True, False])
async def test_lost_replies_are_settled_by_reading(landed: bool) -> None:
    """Each call of a rotation once, before and after it landed: the same as if nothing had been lost."""
    for nth in range(14):
        kms = Kms()
        kms.lose = {nth: landed}
        store = await proved(kms, 2)
        await escrow(store, 3)
        await store.demote(KEY, 3)
        assert await stages(kms) == [V, C, X]
        assert kms.labels(NAME) == {
            "batchmod-0": set(),
            "batchmod-1": {"ACSPrevious"},
            "batchmod-2": {"ACSCurrent"},
            "batchmod-3": {"batchmod-candidate-3"},
        }


async def test_a_service_that_loses_everything_is_a_store_error() -> None:
    """After so many rounds, and nothing is there."""
    kms = Kms()
    kms.lose = dict.fromkeys(range(100), False)
    with pytest.raises(StoreError, match="KMS, a change: ConnectionLost"):
        await escrow(kms.store(), 1)
    assert len(kms.calls) < 20


async def test_an_escrow_cut_short_leaves_a_pending_one_or_none() -> None:
    """Killed before each call, the first time that an instance has a secret: nothing unproved is ever current."""
    for nth in itertools.count():
        kms = Kms()
        kms.die = nth
        try:
            await escrow(kms.store(), 1)
        except EndedError:
            found = await stages(kms)
            assert found in ([], [P])
            if found == [P]:
                with pytest.raises(StoreConflict, match="run-1"):
                    await escrow(kms.store(), 2)
                continue
            await escrow(kms.store(), 1)
        else:
            break
    kms.die = None
    with pytest.raises(UsageError, match="no password of it has been proved"):
        await kms.store().lookup(NAME)


async def test_of_two_rivals_at_each_step_one_wins() -> None:
    """Two runs that take turns call by call: one is pending, the other is told by whom."""
    for lead in range(6):
        kms = Kms()
        outcomes: list[str | None] = []

        async def rival(number: int, kms: Kms = kms, lead: int = lead, outcomes: list[str | None] = outcomes) -> None:
            calls = itertools.count()

            async def call(api: str, params: Mapping[str, Param]) -> Answer:
                if next(calls) >= lead * number:
                    await asyncio.sleep(0)
                return await kms.call(api, params)

            try:
                await kms.store(call).escrow(KEY, login="x", secret=password(number), run_id=f"run-{number}")
            except StoreConflict as conflict:
                outcomes.append(conflict.holder)
            else:
                outcomes.append(None)

        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(rival(number))
        pending = await kms.store().pending(KEY)
        assert pending is not None
        assert sorted(outcomes, key=str) == sorted([None, pending.run_id], key=str)
        assert len(kms.labels(NAME)) == 2


async def test_nothing_that_may_be_live_is_dropped() -> None:
    """Ten versions: what was superseded by two proofs may go; a labelled one never does, escrow says what to do."""
    kms = Kms()
    store = await proved(kms, 14)
    assert [each.generation for each in await store.stages(KEY)] == list(range(5, 15))
    await store.adopt(KEY, 5)
    with pytest.raises(NoPlaceError, match=r"would drop batchmod-5, which is ACSCurrent.*make it current first"):
        await escrow(store, 15)
    await store.adopt(KEY, 14)
    with pytest.raises(NoPlaceError, match=r"would drop batchmod-5, which is ACSPrevious"):
        await escrow(store, 15)


async def test_unproved_ones_are_kept_until_the_labels_are_used_up() -> None:
    """Each has its own label; the escrow that could not be put aside any more is refused before anything is written."""
    kms = Kms()
    store = await proved(kms, 2)
    for number in range(3, 8):
        await escrow(store, number)
        await store.demote(KEY, number)
    before, calls = kms.labels(NAME), len(kms.calls)
    with pytest.raises(NoPlaceError, match=r"8 version stages.*batchmod-candidate-3.*take"):
        await escrow(store, 8)
    assert (kms.labels(NAME), kms.calls[calls:]) == (before, ["ListSecretVersionIds"])
    assert [each.ok for each in await store.diagnose()] == [True, False, True]


async def test_a_secret_that_is_to_be_deleted_is_a_matter_of_its_own_instance() -> None:
    """Neither read nor written, by whatever call; the store itself is as good as before."""
    kms = Kms()
    store = await proved(kms, 1)
    kms.secrets.delete(NAME, now=kms.now(), at=kms.now() + 1e6)
    for asked in (escrow(store, 2), store.stages(KEY), store.reveal(KEY, 1)):
        with pytest.raises(NoPlaceError, match="is planned to be deleted"):
            await asked
    assert [each.ok for each in await store.diagnose()] == [True, True, True]


async def test_a_stage_that_was_not_asked_for_stops_at_once() -> None:
    """A service that makes the new version current says so in its reply: nothing of it is taken for escrowed."""
    kms = Kms()

    async def call(api: str, params: Mapping[str, Param]) -> Answer:
        return await kms.call(api, {name: value for name, value in params.items() if name != "VersionStages"})

    with pytest.raises(StoreError, match=r"gave batchmod-1 the stages \['ACSCurrent'\], not batchmod-pending"):
        await escrow(kms.store(call), 1)


async def test_a_diagnosis_reads_and_changes_nothing() -> None:
    """Reachable, room in each secret, a clock that agrees; or the one thing that keeps it from being known."""
    kms = Kms()
    store = await proved(kms, 2)
    before, calls = kms.labels(NAME), len(kms.calls)
    for skew, agrees in ((-59.0, True), (61.0, False), (None, False)):
        kms.skew = skew
        found = await store.diagnose()
        assert [(each.what, each.ok) for each in found] == [("reachable", True), ("versions", True), ("clock", agrees)]
    assert set(kms.calls[calls:]) == {"ListSecrets", "ListSecretVersionIds"}
    assert kms.labels(NAME) == before
    kms.refuse = "Forbidden.RAM"
    (finding,) = await store.diagnose()
    assert (finding.ok, finding.text) == (False, "KMS, ListSecrets: Forbidden.RAM: no")


async def test_lookup_means_what_applications_read() -> None:
    """The current version: the password of a JSON that has one, a field, or the whole text."""
    kms = Kms()
    store = await proved(kms, 1)
    await escrow(store, 2)
    await kms.call("CreateSecret", {"SecretName": "plain", "VersionId": "v1", "SecretData": Secret("just text")})
    await kms.call(
        "CreateSecret", {"SecretName": "json", "VersionId": "v1", "SecretData": Secret('{"a": "b", "n": 1}')}
    )
    assert await store.lookup(NAME) == password(1)
    assert await store.lookup(f"{NAME}#AccountName") == Secret(KEY.instance_id)
    assert await store.lookup("plain") == Secret("just text")
    assert await store.lookup("json#a") == Secret("b")
    for reference in ("none", "plain#a", "json#c", "json#n", "a b", ""):
        with pytest.raises(UsageError):
            await store.lookup(reference)


async def test_what_is_not_batchmods_own_is_left_alone() -> None:
    """A secret that was there before keeps its versions, its current one until the first proof; broken ones are named."""
    kms = Kms()
    store = kms.store()
    await kms.call("CreateSecret", {"SecretName": NAME, "VersionId": "v1", "SecretData": Secret("theirs")})
    await escrow(store, 1)
    assert await store.current(KEY) is None
    await store.promote(KEY, 1)
    assert kms.labels(NAME) == {"v1": {"ACSPrevious"}, "batchmod-1": {"ACSCurrent"}}
    broken = json.dumps({"AccountPassword": "hidden-1234"})
    await kms.call("PutSecretValue", {"SecretName": NAME, "VersionId": "batchmod-2", "SecretData": Secret(broken)})
    with pytest.raises(StoreError, match="version batchmod-2: holds something else") as caught:
        await kms.store().stages(KEY)
    assert "hidden" not in str(caught.value)


async def test_a_secret_of_another_instance_is_not_taken_for_ours() -> None:
    """Its name says one instance, its value another."""
    kms = Kms()
    store = await proved(kms, 1)
    other = replace(KEY, instance_id="r-other")
    text = (await kms.call("GetSecretValue", {"SecretName": NAME})).body["SecretData"]
    await kms.call("CreateSecret", {"SecretName": f"batchmod/{other}", "VersionId": "batchmod-1", "SecretData": text})
    with pytest.raises(StoreError, match=f"is a password of {KEY}"):
        await store.stages(other)


async def test_an_import_that_was_cut_short_goes_on() -> None:
    """Killed before each call: a protected candidate at the worst; the same import again ends it."""
    template = (await (await proved(Kms(), 1)).stages(KEY))[0]
    for stage in (C, V):
        record = replace(template, generation=7, stage=stage, updated_at=2.0)
        for nth in itertools.count():
            kms = Kms()
            kms.die = nth
            try:
                await kms.store().insert(record, password(7))
            except EndedError:
                kms.die = None
                await kms.store().insert(record, password(7))
            else:
                break
            assert await kms.store().stages(KEY) == (record,)
