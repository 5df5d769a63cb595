"""Random lives of one row, told by the table and by engine/doubt.py, against what really happened to the instance."""

from dataclasses import dataclass
from enum import StrEnum

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journal_records import a_row
from soaking import examples

from batchmod.engine.doubt import Evidence, evidence_of, settle_doubt, watch
from batchmod.engine.machine import TABLE, Seen, resume_phase, step
from batchmod.engine.retry import SEEN
from batchmod.model.events import NO_DOUBT, TERMINAL, Kind, Phase
from batchmod.model.plan import PlannedRow

OLD, NEW, FOREIGN = "old", "new", "somebody else's"
FIELD = {Kind.ATTRIBUTES: "name", Kind.TDE: "status", Kind.PASSWORD: "password"}
SENDING = frozenset({Phase.ARMED, Phase.REARMED})


class Fate(StrEnum):
    """What becomes of a request that gets no usable answer."""

    LANDED = "landed"
    UNDER_WAY = "under way"  # it may land until the fence has passed
    GONE = "gone"


@dataclass
class Instance:
    value: str = OLD
    under_way: int = 0  # copies that may land yet
    accepted: bool = False

    def land(self) -> None:
        self.value = NEW


def read(row: PlannedRow, instance: Instance) -> Evidence:
    """What a look says of the instance, status Normal; a password is not told."""
    if row.kind is Kind.PASSWORD:
        return Evidence.NONE
    return evidence_of(row, {FIELD[row.kind]: instance.value})


USUALLY_ARMED = st.sampled_from([*[Seen.ARMED] * 9, *sorted({*TABLE[Phase.WAITING], Seen.PRECEDED})])
ANSWERS = st.tuples(
    st.sampled_from([*[Seen.LOST] * 4, Seen.ACCEPTED, Seen.SAID_AGAIN, *sorted(set(SEEN.values()))]),
    st.sampled_from(Fate),
    st.sampled_from([False, False, False, True]),
)
USUALLY_LOOKED = st.sampled_from([*[None] * 12, Seen.TIMED_OUT, Seen.GONE, Seen.ACCOUNT_STOPPED])


class Life(RuleBasedStateMachine):
    """Every rule is something that the driver does or that the world does to it."""

    @initialize(kind=st.sampled_from(Kind))
    def begin(self, kind: Kind) -> None:
        field = FIELD[kind]
        told = kind is not Kind.PASSWORD
        self.row = a_row(kind=kind, before={field: OLD} if told else {}, after={field: NEW} if told else {})
        self.instance = Instance()
        self.phase = Phase.PLANNED
        self.phases = [self.phase]
        self.last_seen: Seen | None = None
        self.fenced = False  # a copy may be under way, as far as the driver can know
        self.value_when_proved: str | None = None

    def learn(self, seen: Seen) -> None:
        before, self.phase = self.phase, step(self.phase, seen)
        self.phases.append(self.phase)
        self.last_seen = seen
        if self.phase in SENDING:
            assert before in NO_DOUBT | SENDING or seen is Seen.CLEARED
            if self.row.kind is Kind.TDE and seen is not Seen.SAID_AGAIN:
                assert self.instance.value != NEW, "TDE is sent to what it had taken effect on"
                assert not self.instance.under_way, "TDE is sent while a copy of it could land"
        if seen in {Seen.PROVED, Seen.READ_BACK}:
            self.value_when_proved = self.instance.value

    @rule(draw=st.data())
    def do(self, draw: st.DataObject) -> None:
        """What the driver does in this phase, the usual more often than what ends a row; an ended row gives way."""
        match self.phase:
            case _ if self.phase in TERMINAL:
                self.begin(draw.draw(st.sampled_from(Kind)))
            case _ if self.phase in NO_DOUBT:
                self.unsent(draw.draw(USUALLY_ARMED))
            case Phase.ARMED | Phase.REARMED:
                self.answered(*draw.draw(ANSWERS))
            case Phase.IN_DOUBT | Phase.WATCHING | Phase.SETTLING:
                self.looked(draw.draw(USUALLY_LOOKED), tries_left=draw.draw(st.booleans()))
            case Phase.PROVED:
                self.learn(draw.draw(st.sampled_from([Seen.PROMOTED, Seen.REFUSED, Seen.TIMED_OUT])))

    def unsent(self, seen: Seen) -> None:
        if self.phase is Phase.PLANNED and self.row.kind is Kind.PASSWORD:
            self.learn(Seen.ESCROWED)
        elif seen in TABLE[self.phase]:
            self.learn(seen)

    def answered(self, seen: Seen, fate: Fate, crash: bool) -> None:
        """By the service, or not at all; the process may be gone when it is."""
        if seen is Seen.ACCEPTED:
            self.instance.land()
            self.instance.accepted = True
        if seen is Seen.LOST or crash:
            self.fenced = True
        if seen is Seen.LOST:
            self.instance.under_way += fate is Fate.UNDER_WAY
            if fate is Fate.LANDED:
                self.instance.land()
        if crash:
            self.phase = resume_phase(self.phase)
            self.phases.append(self.phase)
        else:
            self.learn(seen)

    def looked(self, ending: Seen | None, *, tries_left: bool) -> None:
        if ending is not None:
            if ending in TABLE[self.phase]:
                self.learn(ending)
            return
        seen = self.sight(tries_left=tries_left)
        if seen is not None:
            read_back = seen is Seen.PROVED and self.row.kind is not Kind.PASSWORD
            self.learn(Seen.READ_BACK if read_back else seen)

    def sight(self, *, tries_left: bool) -> Seen | None:
        evidence = read(self.row, self.instance)
        match self.phase:
            case Phase.IN_DOUBT:
                return settle_doubt(self.row.kind, evidence, fenced=self.fenced, tries_left=tries_left)
            case Phase.WATCHING:
                return watch(evidence, fenced=self.fenced)
            case _ if self.row.kind is Kind.PASSWORD:
                return Seen.PROVED  # by the answer
            case _:
                return watch(evidence, fenced=self.fenced)

    @precondition(lambda self: self.phase not in SENDING)
    @rule()
    def crash(self) -> None:
        """A process that dies while nothing is under way takes nothing with it."""
        self.phase = resume_phase(self.phase)

    @precondition(lambda self: self.instance.under_way)
    @rule()
    def land_late(self) -> None:
        self.instance.under_way -= 1
        self.instance.land()

    @precondition(lambda self: self.phase not in TERMINAL and self.row.kind is not Kind.TDE)
    @rule(value=st.sampled_from([OLD, FOREIGN]))
    def overwritten(self, value: str) -> None:
        """Somebody else changes the instance, perhaps back; TDE cannot be taken back."""
        self.instance.value = value

    @precondition(lambda self: self.fenced)
    @rule()
    def fence_passes(self) -> None:
        self.instance.under_way = 0
        self.fenced = False

    @invariant()
    def what_has_ended_stays_so(self) -> None:
        assert not any(phase in TERMINAL for phase in self.phases[:-1])
        assert (self.phase in TERMINAL) == (not TABLE[self.phase])

    @invariant()
    def nothing_is_misstated(self) -> None:
        """What a report would say is what happened, whoever else changed the instance meanwhile."""
        nothing_of_ours = {Phase.FAILED, Phase.SKIPPED, Phase.UNCHANGED, Phase.NOT_STARTED} | NO_DOUBT
        if self.phase in nothing_of_ours:
            assert self.instance.value != NEW
            assert not self.instance.under_way
        if self.phase is Phase.CHANGED:
            assert self.value_when_proved == NEW or (self.row.kind is Kind.PASSWORD and self.instance.accepted)

    @invariant()
    def doubt_is_only_ended_by_evidence(self) -> None:
        once_in_doubt = any(phase not in NO_DOUBT | SENDING | TERMINAL for phase in self.phases)
        if once_in_doubt and self.phase is Phase.FAILED:
            assert self.last_seen is Seen.DENIED
        if once_in_doubt:
            assert self.phase not in NO_DOUBT | {Phase.ARMED, Phase.NOT_STARTED, Phase.SKIPPED}


TestLife = Life.TestCase
TestLife.settings = examples(200, stateful_step_count=60)
