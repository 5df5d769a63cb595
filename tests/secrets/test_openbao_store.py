"""What the OpenBao store adds to the contract: what applications read, what it refuses, and what a bad network does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from bao_proxy import Proxy, between
from bao_server import BaoServer
from bao_support import opened

from batchmod.errors import NoPlaceError, StoreConflict, StoreError, UsageError
from batchmod.model.secret import InstanceKey, Secret, Stage
from batchmod.secrets.bao_wire import PATIENCE
from batchmod.secrets.document import LARGEST
from batchmod.secrets.openbao import OpenBaoStore

KEY = InstanceKey(account_id="1234567890123456", region="cn-hangzhou", instance_id="r-bp1aaaaaaaaaaaaa")
OTHER = InstanceKey(account_id="1234567890123456", region="cn-hangzhou", instance_id="r-bp1bbbbbbbbbbbbb")


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return tmp_path.name


@pytest.fixture
def path(prefix: str) -> str:
    return f"{prefix}/{KEY}"


@pytest.fixture
async def store(bao: BaoServer, prefix: str) -> AsyncIterator[OpenBaoStore]:
    made = await opened(bao, prefix)
    async with aclosing(Closing(made)):
        yield made


class Closing:
    def __init__(self, store: OpenBaoStore) -> None:
        self.aclose = store.close


def password(number: int) -> Secret:
    return Secret(f"Password_number-{number}")


async def escrow(store: OpenBaoStore, number: int, key: InstanceKey = KEY, run: str = "run-1") -> int:
    made = await store.escrow(key, login=key.instance_id, secret=password(number), run_id=run)
    return made.generation


async def test_an_application_reads_the_current_password_and_never_a_pending_one(
    bao: BaoServer, store: OpenBaoStore, path: str
) -> None:
    """The latest version at every moment; keys that somebody else put beside stay as they are."""
    await escrow(store, 1)
    assert "password" not in bao.read(path)
    await store.promote(KEY, 1)
    shown = bao.read(path)
    assert (shown["password"], shown["login"], shown["generation"]) == (password(1).reveal(), KEY.instance_id, 1)
    bao.call("POST", f"secret/data/{path}", {"data": {**shown, "port": 6379}})
    await escrow(store, 2)
    assert bao.read(path)["password"] == password(1).reveal()
    await store.promote(KEY, 2)
    shown = bao.read(path)
    assert (shown["password"], shown["generation"], shown["port"]) == (password(2).reveal(), 2, 6379)


async def test_a_version_that_the_engine_drops_takes_nothing_with_it(
    bao: BaoServer, store: OpenBaoStore, path: str
) -> None:
    """Two versions are kept, six are written: every generation is still there."""
    bao.call("POST", f"secret/metadata/{path}", {"max_versions": 2})
    for number in (1, 2, 3):
        await escrow(store, number)
        await store.promote(KEY, number)
    assert [each.stage for each in await store.stages(KEY)] == [Stage.CANDIDATE, Stage.PREVIOUS, Stage.CURRENT]
    assert [await store.reveal(KEY, number) for number in (1, 2, 3)] == [password(number) for number in (1, 2, 3)]


@pytest.mark.parametrize("how", ["DELETE data", "PUT destroy"])
async def test_a_deleted_document_is_not_begun_anew(how: str, bao: BaoServer, store: OpenBaoStore, path: str) -> None:
    """It held what may be live: the operator is told to bring it back."""
    await escrow(store, 1)
    method, place = how.split()
    bao.call(method, f"secret/{place}/{path}", {"versions": [1]})
    for work in (escrow(store, 2), store.promote(KEY, 1), store.stages(KEY)):
        with pytest.raises(NoPlaceError, match=rf"{path}: version 1 was deleted or destroyed.*undelete"):
            await work


async def test_a_strangers_secret_is_left_alone(bao: BaoServer, store: OpenBaoStore, path: str) -> None:
    """Not one of ours, or a copy of another instance's: refused, and neither told nor changed."""
    bao.call("POST", f"secret/data/{path}", {"data": {"password": "theirs"}})
    with pytest.raises(NoPlaceError, match="batchmod did not write") as caught:
        await escrow(store, 1)
    assert "theirs" not in str(caught.value)
    await escrow(store, 1, OTHER)
    copied = bao.read(f"{path.rpartition('/')[0]}/{OTHER.instance_id}")
    bao.call("POST", f"secret/data/{path}", {"data": copied})
    with pytest.raises(NoPlaceError, match=f"is the document of {OTHER}"):
        await store.pending(KEY)
    assert [each.key for each in await store.all()] == [OTHER]


async def test_damage_is_said_and_not_told(bao: BaoServer, store: OpenBaoStore, path: str) -> None:
    """What is no document any more stops the store, and no part of it is in the message."""
    await escrow(store, 1)
    own = bao.read(path)["batchmod"]
    own["generations"][0]["stage"] = "Password_at-the-wrong-place"
    bao.call("POST", f"secret/data/{path}", {"data": {"batchmod": own}})
    for work in (store.stages(KEY), store.all()):
        with pytest.raises(NoPlaceError, match=f"secret/data/{path}: is damaged") as caught:
            await work
        assert "Password" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_versions_that_vanish_by_themselves_are_refused(bao: BaoServer, prefix: str, path: str) -> None:
    """By the path's metadata at the first escrow, by the mount's at opening; nothing is written."""
    bao.call("POST", f"secret/metadata/{path}", {"delete_version_after": "24h"})
    async with aclosing(Closing(store := await opened(bao, prefix))):
        with pytest.raises(NoPlaceError, match=f"secret/metadata/{path}: delete_version_after is set"):
            await escrow(store, 1)
        assert await store.stages(KEY) == ()
    bao.call("POST", "sys/mounts/passing", {"type": "kv", "options": {"version": "2"}})
    bao.eventually("passing/config")
    bao.call("POST", "passing/config", {"delete_version_after": "24h"})
    with pytest.raises(UsageError, match="passing/config: delete_version_after is set"):
        await opened(bao, prefix, mount="passing")


async def test_a_document_does_not_grow_without_end(store: OpenBaoStore) -> None:
    """Long before the server would refuse it; what is stored stays readable."""
    await store.escrow(KEY, login="x", secret=Secret("x" * (LARGEST // 2)), run_id="run-1")
    await store.demote(KEY, 1)
    with pytest.raises(NoPlaceError, match="would grow beyond 512 KiB"):
        await store.escrow(KEY, login="x", secret=Secret("x" * (LARGEST // 2)), run_id="run-1")
    assert [each.stage for each in await store.stages(KEY)] == [Stage.CANDIDATE]


async def test_what_lies_beside_is_no_instances(bao: BaoServer, store: OpenBaoStore, prefix: str) -> None:
    """`all` looks where instances can be, and leaves out what is none."""
    await escrow(store, 1)
    for place in ("1234567890123456/cn-hangzhou/theirs", "1234567890123456/note", "note"):
        bao.call("POST", f"secret/data/{prefix}/{place}", {"data": {"password": "theirs"}})
    assert [each.key for each in await store.all()] == [KEY]


async def test_a_reference_is_a_path_and_a_field(bao: BaoServer, store: OpenBaoStore, prefix: str) -> None:
    """Any secret of the mount; the message names what is missing."""
    bao.call("POST", f"secret/data/{prefix}/chosen", {"data": {"password": "one", "other": "two", "number": 3}})
    assert await store.lookup(f"{prefix}/chosen") == Secret("one")
    assert await store.lookup(f"{prefix}/chosen#other") == Secret("two")
    for reference, problem in {
        f"{prefix}/nothing": "there is no secret in",
        f"{prefix}/chosen#number": "there is no text at 'number'",
        f"{prefix}/../chosen": "is no reference",
    }.items():
        with pytest.raises(UsageError, match=problem):
            await store.lookup(reference)


class Watch:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def proxy(bao: BaoServer) -> Iterator[Proxy]:
    with between(bao.address) as proxy:
        yield proxy


@pytest.fixture
async def far(bao: BaoServer, proxy: Proxy, prefix: str) -> AsyncIterator[OpenBaoStore]:
    """A store whose requests go through the proxy, and whose waiting takes no time."""
    watch = Watch()
    made = await opened(bao, prefix, address=proxy.address, now=lambda: watch.now, sleep=watch.sleep)
    async with aclosing(Closing(made)):
        yield made


def once(how: str, method: str = "POST") -> Any:
    """The first such request of a document goes wrong."""
    left = [how]
    return lambda asked, path: left.pop() if left and asked == method and "/data/" in path else None


@pytest.mark.parametrize("how", ["cut before", "cut after", "500", "429", "503"])
async def test_a_write_without_an_answer_is_done_once(how: str, far: OpenBaoStore, proxy: Proxy) -> None:
    """Escrow, promotion and import: whether it had landed or not, the store is as if it had been answered."""
    proxy.spoil = once(how)
    assert await escrow(far, 1) == 1
    proxy.spoil = once(how)
    assert (await far.promote(KEY, 1)).stage is Stage.CURRENT
    record = (await far.stages(KEY))[0]
    proxy.spoil = once(how)
    await far.insert(record, password(1))
    assert await far.stages(KEY) == (record,)


async def test_another_runs_escrow_is_not_taken_for_our_own(bao: BaoServer, far: OpenBaoStore, prefix: str) -> None:
    """Between our read and our write another run was quicker: it holds the instance."""
    rival = await opened(bao, prefix)
    async with aclosing(Closing(rival)):
        attempts = await asyncio.gather(
            escrow(far, 1, run="run-1"), escrow(rival, 2, run="run-2"), return_exceptions=True
        )
    lost = [each for each in attempts if isinstance(each, StoreConflict)]
    held = await far.pending(KEY)
    assert held is not None
    assert [each.holder for each in lost] == [held.run_id]


async def test_a_value_that_comes_back_otherwise_is_not_pending(far: OpenBaoStore, proxy: Proxy) -> None:
    """It was never sent, and is gone."""
    reads = iter([None, "other value"])
    proxy.spoil = lambda method, path: next(reads, None) if method == "GET" and "/data/" in path else None
    with pytest.raises(StoreError, match="another value than was written"):
        await escrow(far, 1)
    assert await far.stages(KEY) == ()
    assert await escrow(far, 2) == 1


@pytest.mark.parametrize(
    ("how", "problem"),
    [("cut before", "no answer, for 10 s"), ("503", "answered 503, for 10 s"), ("307", "a redirect"), ("404", "404")],
)
async def test_a_server_that_does_not_recover_is_given_up(
    how: str, problem: str, far: OpenBaoStore, proxy: Proxy
) -> None:
    """After ten seconds, or at once where waiting does not help; the token goes nowhere else."""
    proxy.spoil = lambda method, path: how  # noqa: ARG005
    proxy.asked.clear()
    with pytest.raises(StoreError, match=problem):
        await far.stages(KEY)
    assert len(proxy.asked) == (1 if how in {"307", "404"} else 9)
    assert PATIENCE == 10


async def test_diagnosis(bao: BaoServer, prefix: str) -> None:
    """All is well for a token that may do what is needed; what it lacks and what is wrong is named."""
    good = await opened(bao, prefix, environ={"BAO_TOKEN": bao.limited_token(prefix)})
    async with aclosing(Closing(good)):
        findings = await good.diagnose()
    assert [(each.what, each.ok) for each in findings] == [
        ("reachable", True),
        ("allowed", True),
        ("versions", True),
        ("clock", True),
    ]
    bao.call("POST", f"sys/policies/acl/{prefix}-poor", {"policy": f'path "secret/data/{prefix}/*" {{capabilities = ["read"]}} path "secret/config" {{capabilities = ["read"]}}'})  # fmt: skip
    token = bao.call("POST", "auth/token/create", {"policies": [f"{prefix}-poor"]})["auth"]["client_token"]
    poor = await opened(bao, prefix, environ={"VAULT_TOKEN": token}, clock=lambda: 1000.0)
    async with aclosing(Closing(poor)):
        findings = await poor.diagnose()
        with pytest.raises(StoreError, match=f"secret/metadata/{prefix}.*not allowed"):
            await escrow(poor, 1)
    assert [each.ok for each in findings] == [True, False, True, False]
    assert f"create, update on secret/data/{prefix}/0/region/instance; read on secret/metadata" in findings[1].text
