"""What must hold after every schedule, against the simulator's truth. Each rule returns what breaks it, in words."""

from collections.abc import Callable, Iterator, Sequence

from breaking_play import World
from breaking_process import EPOCH, LATENCY
from breaking_schedule import is_open
from breaking_truth import FIRST_PASSWORD, THEIR_PASSWORD, THEM, Accepted, Sent

from batchmod.model.events import TERMINAL, Kind, Outcome, Phase, Proof
from batchmod.model.plan import PlannedRow
from batchmod.model.record import RowState
from batchmod.model.settings import FENCE

BUSY = frozenset({"TaskExists", "IncorrectDBInstanceState", "InstanceNotNormal"})
Known = tuple[str, PlannedRow, RowState]


def broken_rules(world: World) -> list[str]:
    """All that is broken, nothing when all is well."""
    known = [(run, row, state) for run, rows in world.states().items() for row, state in rows]
    found = list(world.problems)
    for rule in RULES:
        found += [f"{rule.__name__.strip('_')}: {problem}" for problem in rule(world, known)]
    return found


def _nothing_is_lost(world: World, _: Sequence[Known]) -> Iterator[str]:
    """(a) What is live is in the store, unless it is the first password or somebody else's."""
    for name, live in world.cloud.passwords.items():
        stored = {value for (key, _), value in world.values.items() if key.instance_id == name}
        if live not in stored | {FIRST_PASSWORD, THEIR_PASSWORD}:
            yield f"{name} has {live}, which is not stored"


def _nothing_is_mis_stated(world: World, known: Sequence[Known]) -> Iterator[str]:
    """(b) The outcome of each row is what happened."""
    for run, row, state in known:
        ours = [each for each in _accepted(world, row) if each.run == run]
        place = f"{run} {row.instance_id} {row.kind.value} is {state.outcome.value} ({state.phase.value})"
        match state.outcome:
            case Outcome.CHANGED:
                if not ours and not _there_before(world, row):
                    yield f"{place}, and was never accepted"
            case Outcome.UNRESOLVED:
                if not _could_not_be_known(world, run, row, state, ours):
                    yield f"{place}, though it could be known: {state.detail}"
            case Outcome.FAILED if state.code in BUSY and "busy for" not in (state.detail or ""):
                yield f"{place}: {state.code} is waited for, and no failure"
            case _:
                if ours:
                    yield f"{place}, and was accepted at {ours[0].at:.1f}"


def _values_are_there(world: World, known: Sequence[Known]) -> Iterator[str]:
    """(b) The last row that changed a field says what is there now, unless somebody else changed it."""
    last: dict[tuple[str, Kind], Known] = {}
    for run, row, state in known:
        touched = state.outcome in {Outcome.CHANGED, Outcome.UNRESOLVED} or state.is_open
        if touched:
            last[row.instance_id, row.kind] = (run, row, state)
    for (name, kind), (run, row, state) in last.items():
        instance = world.cloud.instances[name]
        if state.outcome is not Outcome.CHANGED or _meddled(world, name, kind):
            continue
        match kind:
            case Kind.ATTRIBUTES:
                there = row.after.get("name") in {None, instance.name}
                there &= row.after.get("release_protection") in {None, instance.release_protection}
            case Kind.TDE:
                there = instance.encryption is not None
            case Kind.PASSWORD:
                there = world.values.get((row.key, state.generation or 0)) == world.cloud.passwords[name]
        if not there:
            yield f"{run} {name} {kind.value} is changed, and the value is not there"


def _one_value_a_generation(world: World, known: Sequence[Known]) -> Iterator[str]:
    """(c) Every password that was sent is the one of the generation of its row."""
    for run, row, state in known:
        if row.kind is not Kind.PASSWORD:
            continue
        sent = {
            each.value
            for each in world.sent
            if each.run == run and each.instance == row.instance_id and each.kind is Kind.PASSWORD
        }
        if len(sent) > 1:
            yield f"{run} {row.instance_id} was sent {len(sent)} passwords"
        if sent and sent != {world.values.get((row.key, state.generation or 0))}:
            yield f"{run} {row.instance_id} was sent another password than generation {state.generation}"


def _tde_once(world: World, _: Sequence[Known]) -> Iterator[str]:
    """(d) Never where it had been accepted, never while an earlier request could land."""
    tde = [each for each in world.sent if each.kind is Kind.TDE]
    for at, later in enumerate(tde):
        done = [
            a for a in world.cloud.accepted if a.instance == later.instance and a.kind is Kind.TDE and a.at < later.at
        ]
        if done:
            yield f"{later.instance} was sent TDE at {later.at:.1f}, accepted at {done[0].at:.1f}"
        for earlier in tde[:at]:
            if earlier.instance == later.instance and not earlier.answered and later.at < earlier.until:
                yield f"{later.instance} was sent TDE at {earlier.at:.1f} without an answer, and at {later.at:.1f}"


def _fenced(world: World, _: Sequence[Known]) -> Iterator[str]:
    """(e) No other value while an older one may land."""
    for at, later in enumerate(world.sent):
        if later.kind is Kind.TDE:
            continue
        for earlier in world.sent[:at]:
            same = (earlier.instance, earlier.kind) == (later.instance, later.kind)
            if same and earlier.value != later.value and not earlier.answered and later.at < earlier.until:
                yield (
                    f"{later.instance} was sent {later.value!r} by {later.run} at {later.at:.1f}, "
                    f"{earlier.value!r} by {earlier.run} at {earlier.at:.1f} without an answer"
                )


def _one_after_the_other(_: World, known: Sequence[Known]) -> Iterator[str]:
    """After a kind that ended badly nothing more is done with that instance in that run."""
    bad: set[tuple[str, str]] = set()
    for run, row, state in known:
        place = (run, row.instance_id)
        if place in bad and row.will_send and state.outcome is not Outcome.NOT_STARTED:
            yield f"{run} {row.instance_id} {row.kind.value} is {state.outcome.value} after what ended badly"
        if state.phase in {Phase.FAILED, Phase.UNRESOLVED}:
            bad.add(place)


def _budgeted(world: World, _: Sequence[Known]) -> Iterator[str]:
    """No more rows ended badly than were allowed, in the run and in each wave, until an operator said so."""
    if world.schedule.max_failures is None:
        return
    for run, rows in world.states().items():
        if run in world.abandoned:
            continue
        sent = {row.seq: row.wave for row, _ in rows if row.will_send}
        until = world.reset.get(run)
        bad = [
            sent[seq]
            for n, seq, phase in world.steps(run)
            if phase in {Phase.FAILED, Phase.UNRESOLVED} and seq in sent and (until is None or n <= until)
        ]
        for wave in (None, *sorted(set(bad), key=str)):
            mine = bad if wave is None else [each for each in bad if each == wave]
            size = len(sent) if wave is None else sum(each == wave for each in sent.values())
            if len(mine) > (limit := _limit(world.schedule.max_failures, size)):
                yield f"{run} ended {len(mine)} rows badly in wave {wave or 'any'}, {limit} were allowed"


def _limit(share: int | str, rows: int) -> int:
    """Of so many rows that are sent, by hand: not as the product has it."""
    if isinstance(share, int):
        return share
    return max(1, rows * int(share.removesuffix("%")) // 100)


def _wave_after_wave(world: World, _: Sequence[Known]) -> Iterator[str]:
    """Nothing of a wave is armed before every row of the ones before has its final outcome, nor when the budget of one
    was spent, until an operator says so.
    """
    for run, rows in world.states().items():
        waves = {row.seq: row.wave or 0 for row, _ in rows if row.will_send}
        to_come = {wave: {seq for seq, its in waves.items() if its == wave} for wave in sorted(set(waves.values()))}
        left = {wave: _limit(world.schedule.max_failures or 10**6, len(seqs)) for wave, seqs in to_come.items()}
        for n, seq, phase in world.steps(run):
            if phase in TERMINAL:
                to_come[waves[seq]].discard(seq)
                left[waves[seq]] -= phase in {Phase.FAILED, Phase.UNRESOLVED}
            elif phase in {Phase.ARMED, Phase.REARMED}:
                earlier = [wave for wave in to_come if wave < waves[seq]]
                early = [wave for wave in earlier if to_come[wave]]
                if early:
                    yield f"{run}: row {seq} of wave {waves[seq]} was armed, and wave {early[0]} had not ended"
                spent = [wave for wave in earlier if left[wave] <= 0 and n <= world.reset.get(run, n)]
                if spent:
                    yield f"{run}: row {seq} of wave {waves[seq]} was armed, and the budget of wave {spent[0]} was spent"


def _inside_the_window(world: World, _: Sequence[Known]) -> Iterator[str]:
    """Nothing is sent outside of it; what was on its way when it closed arrives a moment later."""
    window = world.schedule.window
    for each in world.sent if window else ():
        if window and not is_open(window, EPOCH + each.at - LATENCY):
            yield f"{each.run}: {each.instance} was sent {each.kind.value} at {each.at:.1f}, outside the window"


def _all_is_over(world: World, known: Sequence[Known]) -> Iterator[str]:
    """(g) Nothing is open, the report counts every row, and what is changed is current."""
    journal_counts: dict[str, int] = {}
    newest: dict[str, Known] = {}
    for run, row, state in known:
        if state.is_open and run not in world.abandoned:
            yield f"{run} {row.instance_id} {row.kind.value} is open: {state.phase.value}: {state.detail}"
        if run == known[-1][0]:
            journal_counts[state.outcome.value] = journal_counts.get(state.outcome.value, 0) + 1
        if row.kind is Kind.PASSWORD and state.outcome is Outcome.CHANGED:
            newest[row.instance_id] = (run, row, state)
    if known:
        report = world.report(known[-1][0])
        counts = {name: count for name, count in report["run"]["counts"].items() if count}
        if counts != journal_counts or sum(counts.values()) != len(report["rows"]):
            yield f"the report counts {counts}, the journal {journal_counts}"
    for name, (run, row, state) in newest.items():
        stages = world.stages.get((row.key, state.generation or 0))
        younger = any(
            key == row.key and generation > (state.generation or 0) and stage in {"current", "previous"}
            for (key, generation), stage in world.stages.items()
        )
        if stages != "current" and not younger:
            yield f"{run} {name} is changed, and its generation {state.generation} is {stages}"


RULES: tuple[Callable[[World, Sequence[Known]], Iterator[str]], ...] = (
    _nothing_is_lost,
    _nothing_is_mis_stated,
    _values_are_there,
    _one_value_a_generation,
    _tde_once,
    _fenced,
    _one_after_the_other,
    _budgeted,
    _wave_after_wave,
    _inside_the_window,
    _all_is_over,
)


def _accepted(world: World, row: PlannedRow) -> list[Accepted]:
    return [each for each in world.cloud.accepted if each.instance == row.instance_id and each.kind is row.kind]


def _there_before(world: World, row: PlannedRow) -> bool:
    """An older run's copy of the same value landed."""
    return row.kind is not Kind.PASSWORD and any(
        row.kind is Kind.TDE or each.change.name == row.after.get("name") for each in _accepted(world, row)
    )


def _meddled(world: World, name: str, kind: Kind) -> bool:
    return any(each.run == THEM and each.instance == name and each.kind is kind for each in world.cloud.accepted)


def _sends(world: World, run: str, row: PlannedRow) -> list[Sent]:
    return [each for each in world.sent if (each.run, each.instance, each.kind) == (run, row.instance_id, row.kind)]


def _could_not_be_known(world: World, run: str, row: PlannedRow, state: RowState, ours: Sequence[Accepted]) -> bool:
    """The run was given up, somebody else interfered, or no answer was all there was and no evidence can be had."""
    schedule = world.schedule
    if run in world.abandoned or _meddled(world, row.instance_id, row.kind):
        return True
    if state.code in {"InvalidTimeStamp.Expired", "StoreConflict"}:  # our clock jumped: the account was stopped
        return any(life.jump for life in schedule.lives)
    doubted = any(not each.answered for each in _sends(world, run, row)) or world.crashes > 0 or _port_failed(world)
    if row.kind is not Kind.PASSWORD:  # the deadline came while the last attempt could still land
        return doubted and (state.finished_at or 0.0) < (state.last_armed or 0.0) + FENCE
    if schedule.level is Proof.LOGIN and ours and state.finished_at is not None:
        live_since = min(each.ends for each in ours)
        return live_since > state.finished_at - 60.0
    return doubted


def _port_failed(world: World) -> bool:
    return any(life.broken for life in world.schedule.lives)
