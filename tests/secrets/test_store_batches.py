"""Calls that wait together share a transaction of the embedded store, and nothing else: not an error, not a doubt."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.agekey import AgeKey, load_or_make
from batchmod.secrets.embedded import EmbeddedStore, open_table
from batchmod.secrets.line import Line

KEYS = [InstanceKey(account_id="1", region="cn-hangzhou", instance_id=f"r-{number}") for number in range(8)]
ODD = KEYS[3]  # the one that is different
WRONG = Secret("not what was asked for")


class Forgetful(AgeKey):
    """A cipher that does not keep these secrets."""

    __slots__ = ("forgets",)
    forgets: set[str]

    def encrypt(self, secret: Secret, extra: Sequence[str] = ()) -> bytes:
        return super().encrypt(WRONG if secret.reveal() in self.forgets else secret, extra)


class Held:
    """A store whose thread waits until all that is called at once stands in line: one batch, however busy the machine."""

    def __init__(self, home: Path) -> None:
        self.file = home / "secrets.db"
        self.thread = ThreadPoolExecutor(1)
        opening = partial(open_table, self.file, home / "age.key", (), lambda _: None, create=True)
        table, _, recipients = self.thread.submit(opening).result()
        self.key = Forgetful(
            load_or_make(home / "age.key", may_make=False)[0]._identity
        )  # the same key, in other hands
        self.key.forgets = set()
        self.store = EmbeddedStore(table, self.key, recipients, self.thread, time.time)

    async def together(self, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
        """What each call returned or raised."""
        gate, queued = threading.Event(), asyncio.Event()
        self.thread.submit(gate.wait)
        answers = asyncio.gather(*calls, return_exceptions=True)
        asyncio.get_running_loop().call_soon(queued.set)
        await queued.wait()
        gate.set()
        return await answers

    def escrow(self, key: InstanceKey, run: str = "run-1") -> Coroutine[Any, Any, Generation]:
        return self.store.escrow(key, login="x", secret=password(key), run_id=run)

    def alter(self, sql: str) -> None:
        with closing(sqlite3.connect(self.file)) as db:
            db.executescript(sql)

    async def on_disk(self) -> dict[InstanceKey, Stage]:
        """The stage of each instance's one generation, whose value is the right one, as another process finds it."""
        other = EmbeddedStore.open(
            self.file.parent, environ={"BATCHMOD_AGE_KEY": str(self.file.parent / "age.key")}, say=lambda _: None
        )
        found = await other.all()
        assert all([await other.reveal(each.key, each.generation) == password(each.key) for each in found])
        await other.close()
        assert len({each.key for each in found}) == len(found)
        return {each.key: each.stage for each in found}


def password(key: InstanceKey) -> Secret:
    return Secret(f"Password-of_{key.instance_id}")


def refused(answers: Sequence[Any]) -> dict[InstanceKey, str]:
    """Whose call was refused, in the order of KEYS, and why."""
    return {key: str(answer) for key, answer in zip(KEYS, answers, strict=True) if isinstance(answer, StoreError)}


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    made = Held(tmp_path)
    yield made
    await made.store.close()


async def test_what_waits_shares_a_commit(held: Held) -> None:
    """Eight escrows and then four promotions are two transactions; a read between them costs none."""
    before = held.store.commits
    await held.together(*map(held.escrow, KEYS))
    assert held.store.commits == before + 1
    await held.together(*(held.store.promote(key, 1) for key in KEYS[:4]), held.store.stages(KEYS[7]))
    assert held.store.commits == before + 2
    assert await held.on_disk() == dict.fromkeys(KEYS[:4], Stage.CURRENT) | dict.fromkeys(KEYS[4:], Stage.PENDING)


class Quick(ThreadPoolExecutor):
    """A thread that has done what it is given before the event loop goes on."""

    def submit(self, *what: Any, **how: Any) -> Future[Any]:
        done = super().submit(*what, **how)
        done.result()
        return done


async def test_calls_of_turns_one_after_the_other_are_taken_together() -> None:
    """The thread is not woken for the first of them while the event loop brings more."""
    batches: list[list[InstanceKey | None]] = []
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    calls: list[asyncio.Task[None]] = []
    with Quick(1) as thread:
        line = Line(thread, lambda jobs: batches.append([job.key for job in jobs]))

        def call() -> None:
            calls.append(loop.create_task(line.write(KEYS[len(calls)], lambda: None)))
            if len(calls) < len(KEYS):
                loop.call_soon(call)
            else:
                called.set()

        call()
        await called.wait()
        await asyncio.gather(*calls)
    assert batches == [KEYS]


async def test_calls_of_one_instance_are_done_in_their_order(held: Held) -> None:
    """Also when they wait together: each sees what the one before it left, and a look at everything sees all before."""
    store = held.store
    answers = await held.together(
        store.pending(ODD), held.escrow(ODD), store.pending(ODD), store.promote(ODD, 1), store.all(), held.escrow(ODD)
    )
    pending, first, again, promoted, everything, second = answers
    assert pending is None
    assert again == first
    assert promoted.stage is Stage.CURRENT
    assert everything == (promoted,)
    assert second.generation == 2


async def test_a_conflict_leaves_its_neighbours_durable(held: Held) -> None:
    """The loser hears who holds the instance; the others are on disk."""
    await held.escrow(ODD, run="run-0")
    before = held.store.commits
    answers = await held.together(*map(held.escrow, KEYS))
    assert held.store.commits == before + 1
    assert list(refused(answers)) == [ODD]
    assert isinstance(answers[3], StoreConflict)
    assert answers[3].holder == "run-0"
    assert await held.on_disk() == dict.fromkeys(KEYS, Stage.PENDING)


@pytest.mark.parametrize("how", ["ABORT", "FAIL", "ROLLBACK"])
async def test_a_statement_that_fails_is_its_own_failure(held: Held, how: str) -> None:
    """Whatever SQLite took back because of it is done again without it; nothing of it is half done."""
    held.alter(
        "CREATE TRIGGER fault BEFORE UPDATE ON secret WHEN NEW.stage = 'current' AND NEW.generation = 2"
        f" BEGIN SELECT RAISE({how}, 'broken'); END"
    )
    await held.escrow(ODD)
    await held.store.promote(ODD, 1)
    await held.together(*map(held.escrow, KEYS))
    answers = await held.together(*(held.store.promote(key, 2 if key is ODD else 1) for key in KEYS))
    assert list(refused(answers)) == [ODD]
    assert "cannot be written: broken" in str(answers[3])
    assert [each.stage for each in await held.store.stages(ODD)] == [Stage.CURRENT, Stage.PENDING]
    assert [(await held.store.stages(key))[0].stage for key in KEYS] == [Stage.CURRENT] * 8


@pytest.mark.parametrize("value", ["x'00'", "(SELECT value FROM secret WHERE instance_id = 'r-0')"])
async def test_a_value_that_reads_back_different_is_refused_alone(held: Held, value: str) -> None:
    """A broken one, or a good one of another instance: it is gone, and its neighbours stay."""
    held.alter(
        "CREATE TRIGGER fault AFTER INSERT ON secret WHEN NEW.instance_id = 'r-3'"
        f" BEGIN UPDATE secret SET value = {value} WHERE instance_id = 'r-3'; END"
    )
    answers = await held.together(*map(held.escrow, KEYS))
    assert list(refused(answers)) == [ODD]
    assert "another value than was written" in refused(answers)[ODD]
    assert await held.on_disk() == {key: Stage.PENDING for key in KEYS if key is not ODD}


@pytest.mark.parametrize("lost", [[ODD], KEYS], ids=["one of many", "all"])
async def test_a_secret_that_the_cipher_loses_is_never_believed(held: Held, lost: list[InstanceKey]) -> None:
    """Each value is opened, however many share a commit: its neighbours say nothing of it."""
    held.key.forgets = {password(key).reveal() for key in lost}
    answers = await held.together(*map(held.escrow, KEYS))
    assert list(refused(answers)) == lost
    assert await held.on_disk() == {key: Stage.PENDING for key in KEYS if key not in lost}


async def test_a_secret_that_cannot_be_encrypted_is_no_neighbours_fault(held: Held) -> None:
    """What is no store's error either is raised to who caused it."""
    broken = held.store.escrow(ODD, login="x", secret=Secret("\ud800"), run_id="run-1")
    error, *answers = await held.together(broken, *(held.escrow(key) for key in KEYS if key is not ODD))
    assert isinstance(error, UnicodeEncodeError)
    assert [each.generation for each in answers] == [1] * 7


async def test_a_call_that_was_cancelled_in_line_is_not_done(held: Held) -> None:
    """Its neighbours are; and one that has begun is finished."""

    async def impatient() -> None:
        async with asyncio.timeout(0):
            await held.escrow(ODD)

    answers = await held.together(impatient(), *(held.escrow(key) for key in KEYS if key is not ODD))
    assert isinstance(answers[0], TimeoutError)
    assert await held.on_disk() == {key: Stage.PENDING for key in KEYS if key is not ODD}


async def test_a_bug_is_told_to_all_who_wait() -> None:
    """Nobody waits for ever, and the next call is served."""

    def bug(_: object) -> None:
        raise RuntimeError("bug")

    with ThreadPoolExecutor(1) as thread:
        line = Line(thread, bug)
        with pytest.raises(RuntimeError, match="bug"):
            await line.write(ODD, lambda: 1)
        assert await line.read(ODD, lambda: 1) == 1
