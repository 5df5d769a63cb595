"""Random uses of the embedded store against a model of its contract, closed, killed and opened again at any moment."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from soaking import examples

from batchmod.errors import StoreConflict, StoreError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore

T = TypeVar("T")
KEYS = tuple(InstanceKey(account_id="1", region=region, instance_id="r-1") for region in ("cn-hangzhou", "cn-shanghai"))
KEY = st.sampled_from(KEYS)
GENERATION = st.integers(min_value=1, max_value=6)
TEXT = st.text(alphabet='aB1&%"\\é\U0001f511 \0', min_size=1, max_size=12)
LONELY = frozenset({Stage.PENDING, Stage.CURRENT, Stage.PREVIOUS})


class Model(dict[int, tuple[Stage, str]]):
    """What the contract says of one instance: stage and value by generation."""

    def at(self, stage: Stage) -> int | None:
        return next((number for number, (where, _) in self.items() if where is stage), None)

    def put(self, number: int | None, stage: Stage) -> None:
        if number is not None:
            self[number] = (stage, self[number][1])

    def promote(self, number: int) -> None:
        if self.at(Stage.CURRENT) != number:
            if self.at(Stage.PENDING) != number:
                raise StoreConflict("model")
            self.put(self.at(Stage.PREVIOUS), Stage.CANDIDATE)
            self.put(self.at(Stage.CURRENT), Stage.PREVIOUS)
            self.put(number, Stage.CURRENT)

    def demote(self, number: int) -> None:
        if self.get(number, (None,))[0] is not Stage.CANDIDATE:
            if self.at(Stage.PENDING) != number:
                raise StoreConflict("model")
            self.put(number, Stage.CANDIDATE)

    def insert(self, number: int, stage: Stage, text: str) -> None:
        if self.get(number) == (stage, text):
            return
        if number in self or (stage in LONELY and self.at(stage) is not None):
            raise StoreConflict("model")
        self[number] = (stage, text)


class Uses(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="store-walk-")
        self.loop = asyncio.new_event_loop()
        self.models = {key: Model() for key in KEYS}
        self.left: list[
            EmbeddedStore
        ] = []  # of processes that are thought to be dead: nothing of them is closed in order
        self.ticks = 0.0

    @initialize()
    def begin(self) -> None:
        self.store = self.opened()

    def opened(self) -> EmbeddedStore:
        home = Path(self.folder.name)
        return EmbeddedStore.open(home / "state", environ={"HOME": str(home)}, say=lambda _: None, clock=self.tick)

    def tick(self) -> float:
        self.ticks += 1
        return self.ticks

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def both(self, work: Coroutine[Any, Any, Any], modelled: Callable[..., None], *arguments: Any) -> None:
        """Store and model do it, or both refuse."""
        refused = []
        for attempt in (partial(modelled, *arguments), partial(self.do, work)):
            try:
                attempt()
                refused.append(False)
            except StoreConflict:
                refused.append(True)
        assert refused[0] == refused[1], f"model {refused[0]}, store {refused[1]}"

    @rule(key=KEY, text=TEXT, run=st.sampled_from(["run-1", "run-2"]))
    def escrow(self, key: InstanceKey, text: str, run: str) -> None:
        model = self.models[key]
        work = self.store.escrow(key, login="r-1", secret=Secret(text), run_id=run)
        if model.at(Stage.PENDING) is not None:
            self.both(work, model.insert, max(model) + 1, Stage.PENDING, text)
            return
        made = self.do(work)
        assert made.generation == max(model, default=0) + 1
        model.insert(made.generation, Stage.PENDING, text)

    @rule(key=KEY)
    def promote_pending(self, key: InstanceKey) -> None:
        pending = self.do(self.store.pending(key))
        if pending is not None:
            self.both(self.store.promote(key, pending.generation), self.models[key].promote, pending.generation)

    @rule(key=KEY, number=GENERATION)
    def promote(self, key: InstanceKey, number: int) -> None:
        self.both(self.store.promote(key, number), self.models[key].promote, number)

    @rule(key=KEY, number=GENERATION)
    def demote(self, key: InstanceKey, number: int) -> None:
        self.both(self.store.demote(key, number), self.models[key].demote, number)

    @rule(key=KEY, number=GENERATION, stage=st.sampled_from(Stage), text=TEXT)
    def insert(self, key: InstanceKey, number: int, stage: Stage, text: str) -> None:
        record = Generation(
            key=key, generation=number, stage=stage, login="r-1", run_id="import", created_at=1.0, updated_at=1.0
        )
        self.both(self.store.insert(record, Secret(text)), self.models[key].insert, number, stage, text)

    @rule()
    def close_and_open(self) -> None:
        self.do(self.store.close())
        self.store = self.opened()

    @rule()
    def die_and_open(self) -> None:
        """The next process opens the files as the dead one left them."""
        self.left.append(self.store)
        self.store = self.opened()

    @rule(key=KEY, number=GENERATION)
    def reveal(self, key: InstanceKey, number: int) -> None:
        known = self.models[key].get(number)
        try:
            revealed = self.do(self.store.reveal(key, number))
        except StoreError:
            assert known is None
        else:
            assert known is not None
            assert revealed == Secret(known[1])

    @invariant()
    def the_store_is_as_the_contract_says(self) -> None:
        """Each lonely stage at most once, everything that was ever pending still there, under its number."""
        if not hasattr(self, "store"):
            return
        found = self.do(self.store.all())
        for key, model in self.models.items():
            mine = {one.generation: one.stage for one in found if one.key == key}
            assert mine == {number: stage for number, (stage, _) in model.items()}
            assert all(list(mine.values()).count(stage) <= 1 for stage in LONELY)
            assert [one.generation for one in self.do(self.store.stages(key))] == sorted(mine)

    def teardown(self) -> None:
        for store in [*self.left, self.store] if hasattr(self, "store") else []:
            self.do(store.close())
        fresh = self.opened()
        for key, model in self.models.items():
            for number, (_, text) in model.items():
                assert self.do(fresh.reveal(key, number)) == Secret(text)
        self.do(fresh.close())
        self.loop.close()
        self.folder.cleanup()


TestUses = Uses.TestCase
TestUses.settings = examples(40, stateful_step_count=25)
