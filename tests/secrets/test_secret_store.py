"""What every secret store promises; run over each one that there is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bao_server import BaoServer
from bao_support import opened
from kms_support import Kms
from postgres import Database

from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.postgres import PostgresStore
from batchmod.secrets.store import SecretStore

KEY = InstanceKey(account_id="1234567890123456", region="cn-hangzhou", instance_id="r-bp1aaaaaaaaaaaaa")
OTHER = replace(KEY, region="cn-shanghai")
P, C, V, X = Stage.PENDING, Stage.CURRENT, Stage.PREVIOUS, Stage.CANDIDATE


@pytest.fixture(params=["embedded", "openbao", "kms", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SecretStore]:
    ticks = iter(range(1000, 2000))
    made = await OPEN[request.param](request, tmp_path, lambda: float(next(ticks)))
    yield made
    await made.close()


async def open_embedded(_: pytest.FixtureRequest, folder: Path, clock: Callable[[], float]) -> SecretStore:
    return EmbeddedStore.open(folder / "state", environ={"HOME": str(folder)}, say=lambda _: None, clock=clock)


async def open_openbao(request: pytest.FixtureRequest, folder: Path, clock: Callable[[], float]) -> SecretStore:
    bao: BaoServer = request.getfixturevalue("bao")
    return await opened(bao, folder.name, clock=clock)


async def open_kms(_: pytest.FixtureRequest, __: Path, ___: Callable[[], float]) -> SecretStore:
    return Kms().store()


async def open_postgres(request: pytest.FixtureRequest, folder: Path, clock: Callable[[], float]) -> SecretStore:
    database: Database = request.getfixturevalue("database")
    return PostgresStore.open(database.place, environ={"HOME": str(folder)}, say=lambda _: None, clock=clock)


OPEN = {"embedded": open_embedded, "openbao": open_openbao, "kms": open_kms, "postgres": open_postgres}


def password(number: int) -> Secret:
    return Secret(f"Password_number-{number}")


async def escrow(store: SecretStore, number: int, key: InstanceKey = KEY, run: str = "run-1") -> Generation:
    return await store.escrow(key, login=key.instance_id, secret=password(number), run_id=run)


async def look(store: SecretStore, key: InstanceKey = KEY) -> list[Stage]:
    """The stage of each generation, checked to be numbered from 1 and to hold the password that was put in."""
    found = await store.stages(key)
    assert [each.generation for each in found] == list(range(1, len(found) + 1))
    assert [await store.reveal(key, each.generation) for each in found] == [password(each.generation) for each in found]
    return [each.stage for each in found]


async def test_nothing_is_known_of_an_instance_at_first(store: SecretStore) -> None:
    """Empty answers, not errors; but there is no value to reveal."""
    assert await store.stages(KEY) == ()
    assert await store.pending(KEY) is None
    assert await store.current(KEY) is None
    assert await store.all() == ()
    with pytest.raises(StoreError, match="no generation 1"):
        await store.reveal(KEY, 1)


async def test_an_escrowed_password_is_pending_and_can_be_read(store: SecretStore) -> None:
    """The record says whose it is and who made it when."""
    record = await escrow(store, 1)
    assert record == Generation(
        key=KEY, generation=1, stage=P, login=KEY.instance_id, run_id="run-1", created_at=1000.0, updated_at=1000.0
    )
    assert await store.pending(KEY) == record
    assert await store.current(KEY) is None
    assert await store.reveal(KEY, 1) == password(1)


async def test_a_second_escrow_is_refused_and_names_the_holder(store: SecretStore) -> None:
    """Two runs never hold the same instance; the first one's value stays."""
    await escrow(store, 1, run="run-1")
    with pytest.raises(StoreConflict, match="run-1") as caught:
        await escrow(store, 2, run="run-2")
    assert caught.value.holder == "run-1"
    assert await look(store) == [P]


async def test_of_many_escrows_at_once_one_wins(store: SecretStore) -> None:
    """The compare-and-set holds under concurrency, and other instances are not disturbed."""

    async def attempt(run: str) -> bool:
        try:
            await escrow(store, 1, run=run)
        except StoreConflict:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        rivals = [group.create_task(attempt(f"run-{number}")) for number in range(20)]
        others = [group.create_task(escrow(store, 1, replace(KEY, instance_id=f"r-{each}"))) for each in range(20)]
    assert [each.result() for each in rivals].count(True) == 1
    assert all(each.result().generation == 1 for each in others)
    assert len(await store.all()) == 21


async def test_stages_move_with_each_proof_and_nothing_disappears(store: SecretStore) -> None:
    """Current, previous, and every older one a candidate: all of them readable."""
    expected = [[C], [V, C], [X, V, C], [X, X, V, C]]
    for number, stages in enumerate(expected, 1):
        await escrow(store, number)
        promoted = await store.promote(KEY, number)
        assert (promoted.generation, promoted.stage) == (number, C)
        assert promoted.updated_at >= promoted.created_at  # KMS keeps no time of a stage
        assert await look(store) == stages
        assert await store.current(KEY) == promoted


async def test_promotion_of_the_current_one_changes_nothing(store: SecretStore) -> None:
    """A promotion that was repeated after a crash is harmless, also beside a new pending one."""
    await escrow(store, 1)
    once = await store.promote(KEY, 1)
    assert await store.promote(KEY, 1) == once
    await escrow(store, 2)
    assert await store.promote(KEY, 1) == once
    assert await look(store) == [C, P]


@pytest.mark.parametrize(
    ("live", "expected"), [(1, [C, X, V, P]), (2, [X, C, V, P]), (3, [X, V, C, P]), (4, [X, X, V, C])]
)
async def test_what_was_proved_live_is_adopted_from_any_stage(
    store: SecretStore, live: int, expected: list[Stage]
) -> None:
    """It is current, the old current one previous; what else is pending stays so, and nothing disappears."""
    for number in range(1, 4):
        await escrow(store, number)
        await store.promote(KEY, number)
    await escrow(store, 4)
    adopted = await store.adopt(KEY, live)
    assert (adopted.generation, adopted.stage) == (live, C)
    assert await look(store) == expected
    assert await store.adopt(KEY, live) == adopted
    with pytest.raises(StoreConflict, match="generation 9"):
        await store.adopt(KEY, 9)


async def test_demotion_frees_the_place_and_keeps_the_value(store: SecretStore) -> None:
    """What could not be settled becomes a candidate; twice is as good as once."""
    await escrow(store, 1)
    demoted = await store.demote(KEY, 1)
    assert demoted.stage is X
    assert await store.demote(KEY, 1) == demoted
    await escrow(store, 2)
    assert await look(store) == [X, P]


async def test_only_a_pending_one_is_promoted_or_demoted(store: SecretStore) -> None:
    """Whoever was overtaken is told, and by whom; nothing moves."""
    for number in (1, 2, 3):
        await escrow(store, number)
        await store.promote(KEY, number)
    await escrow(store, 4, run="run-4")
    for generation in (1, 2, 9):
        with pytest.raises(StoreConflict) as caught:
            await store.promote(KEY, generation)
        assert caught.value.holder == "run-4"
    for generation in (2, 3, 9):
        with pytest.raises(StoreConflict):
            await store.demote(KEY, generation)
    assert await look(store) == [X, V, C, P]


async def test_a_conflict_without_a_pending_one_names_no_holder(store: SecretStore) -> None:
    """Nobody holds an instance that has nothing pending."""
    with pytest.raises(StoreConflict, match="not in the store") as caught:
        await store.promote(KEY, 1)
    assert caught.value.holder is None


async def test_accounts_and_regions_are_kept_apart(store: SecretStore) -> None:
    """The same id elsewhere is another instance; `all` lists them in order."""
    await escrow(store, 1, OTHER)
    await escrow(store, 1)
    await store.promote(KEY, 1)
    assert [(each.key, each.stage) for each in await store.all()] == [(KEY, C), (OTHER, P)]


async def test_an_import_keeps_record_and_value(store: SecretStore) -> None:
    """The same import again changes nothing, and the next escrow takes the next number."""
    record = Generation(
        key=KEY, generation=7, stage=C, login="someone", run_id="import", created_at=1.0, updated_at=2.0
    )
    await store.insert(record, password(7))
    await store.insert(record, password(7))
    assert await store.stages(KEY) == (record,)
    assert await store.reveal(KEY, 7) == password(7)
    assert (await escrow(store, 8)).generation == 8


@pytest.mark.parametrize(("generation", "stage", "number"), [(1, C, 2), (1, X, 1), (1, P, 1), (2, C, 2)])
async def test_an_import_never_replaces(store: SecretStore, generation: int, stage: Stage, number: int) -> None:
    """Another value, another stage, or a stage that is taken: the store stays as it was."""
    await escrow(store, 1)
    record = await store.promote(KEY, 1)
    with pytest.raises(StoreConflict):
        await store.insert(replace(record, generation=generation, stage=stage), password(number))
    assert await store.stages(KEY) == (record,)
    assert await store.reveal(KEY, 1) == password(1)


async def test_fingerprints_compare_secrets_without_showing_them(store: SecretStore) -> None:
    """Equal for equal values only."""
    assert store.fingerprint(password(1)) == store.fingerprint(password(1)) != store.fingerprint(password(2))
    assert password(1).reveal() not in store.fingerprint(password(1))


async def test_a_store_that_works_has_no_complaint(store: SecretStore) -> None:
    """It is looked at without a change, whether something is stored or not."""
    before: tuple[Generation, ...] = ()
    for _ in range(2):
        found = await store.diagnose()
        found = tuple(
            each for each in found if each.what != "clock" and "fsync is off" not in each.text
        )  # the tests' own
        assert found
        assert all(finding.ok and finding.text for finding in found)
        assert await store.stages(KEY) == before
        await escrow(store, 1) if not before else None
        before = await store.stages(KEY)
