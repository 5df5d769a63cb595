"""Any sequence of calls, with restarts between them, keeps the store's invariants."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from postgres import Database

from batchmod.errors import StoreConflict
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.postgres import PostgresStore
from batchmod.secrets.store import SecretStore

KEYS = st.sampled_from([InstanceKey(account_id="1", region="cn", instance_id=name) for name in ("r-1", "r-2")])
GENERATIONS = st.integers(1, 6)
Known = dict[int, tuple[Stage, str]]


class StoreMachine(RuleBasedStateMachine):
    """The store beside a plain dictionary that says what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.known: dict[InstanceKey, Known] = {}
        self.serial = 0
        self.open()

    def open(self) -> None:
        home = Path(self.folder.name)
        self.store: SecretStore = EmbeddedStore.open(home / "state", environ={"HOME": str(home)}, say=lambda _: None)

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def at(self, key: InstanceKey, stage: Stage) -> int | None:
        return next((number for number, (each, _) in self.known.get(key, {}).items() if each is stage), None)

    def put(self, key: InstanceKey, generation: int, stage: Stage) -> None:
        self.known[key][generation] = (stage, self.known[key][generation][1])

    def conflicts(self, call: object) -> bool:
        assert asyncio.iscoroutine(call)
        try:
            self.runner.run(call)
        except StoreConflict:
            return True
        return False

    @rule(key=KEYS)
    def escrow(self, key: InstanceKey) -> None:
        self.serial += 1
        value = f"Password-{self.serial}"
        held = self.at(key, Stage.PENDING)
        conflict = self.conflicts(self.store.escrow(key, login="x", secret=Secret(value), run_id="run"))
        assert conflict == (held is not None)
        if not conflict:
            mine = self.known.setdefault(key, {})
            mine[max(mine, default=0) + 1] = (Stage.PENDING, value)

    @rule(key=KEYS, generation=GENERATIONS)
    def promote(self, key: InstanceKey, generation: int) -> None:
        conflict = self.conflicts(self.store.promote(key, generation))
        current, previous = self.at(key, Stage.CURRENT), self.at(key, Stage.PREVIOUS)
        if current == generation:
            assert not conflict
            return
        assert conflict == (self.at(key, Stage.PENDING) != generation)
        if not conflict:
            if previous:
                self.put(key, previous, Stage.CANDIDATE)
            if current:
                self.put(key, current, Stage.PREVIOUS)
            self.put(key, generation, Stage.CURRENT)

    @rule(key=KEYS)
    def promote_pending(self, key: InstanceKey) -> None:
        self.promote(key, self.at(key, Stage.PENDING) or 1)

    @rule(key=KEYS, generation=GENERATIONS)
    def demote(self, key: InstanceKey, generation: int) -> None:
        conflict = self.conflicts(self.store.demote(key, generation))
        stage = self.known.get(key, {}).get(generation, (None, ""))[0]
        assert conflict == (stage not in {Stage.PENDING, Stage.CANDIDATE})
        if not conflict:
            self.put(key, generation, Stage.CANDIDATE)

    @rule(key=KEYS, generation=GENERATIONS, stage=st.sampled_from(Stage))
    def insert(self, key: InstanceKey, generation: int, stage: Stage) -> None:
        value = f"Imported-{generation}"
        record = Generation(
            key=key, generation=generation, stage=stage, login="x", run_id="import", created_at=0, updated_at=0
        )
        mine = self.known.get(key, {})
        single = stage is not Stage.CANDIDATE and self.at(key, stage) not in {None, generation}
        taken = generation in mine and mine[generation] != (stage, value)
        assert self.conflicts(self.store.insert(record, Secret(value))) == (single or taken)
        if not (single or taken):
            self.known.setdefault(key, {})[generation] = (stage, value)

    @precondition(lambda self: self.serial % 3 == 0)
    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.open()

    @invariant()
    def each_stage_is_single_and_nothing_disappears(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        found: dict[InstanceKey, Known] = {}
        for each in await self.store.all():
            value = (await self.store.reveal(each.key, each.generation)).reveal()
            found.setdefault(each.key, {})[each.generation] = (each.stage, value)
        assert found == self.known
        for mine in found.values():
            stages = [stage for stage, _ in mine.values() if stage is not Stage.CANDIDATE]
            assert len(stages) == len(set(stages))


TestAnySequenceOfCalls = StoreMachine.TestCase
TestAnySequenceOfCalls.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def test_any_sequence_of_calls_on_postgresql(database: Database) -> None:
    """The same, where other SQL does it."""

    class OnPostgres(StoreMachine):
        def __init__(self) -> None:
            database.execute("DELETE FROM secret")
            database.execute("DELETE FROM seal")
            super().__init__()

        def open(self) -> None:
            environ = {"HOME": self.folder.name}
            self.store = PostgresStore.open(database.place, environ=environ, say=lambda _: None)

    run_state_machine_as_test(OnPostgres, settings=TestAnySequenceOfCalls.settings)
