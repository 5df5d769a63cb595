"""The engine put together for one run: budgets, accounts, leftovers, proof, store and journal."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from batchmod.app.ages import young_in
from batchmod.app.chosen import maker_of, password_change
from batchmod.app.fleet import LaneHands, StoppedHands
from batchmod.app.planned import failure_limit
from batchmod.app.session import Session
from batchmod.engine.accounts import Accounts
from batchmod.engine.asking import ask
from batchmod.engine.budget import Budget
from batchmod.engine.clock import Clock
from batchmod.engine.context import SPENDS, Context, Limits
from batchmod.engine.groups import Groups
from batchmod.engine.halt import Halt
from batchmod.engine.leftovers import leftovers_of
from batchmod.engine.opening import Opening
from batchmod.engine.ports import Prover, Slots, Turns
from batchmod.engine.turnstile import Pacer
from batchmod.journal.store import Journal
from batchmod.model.events import BY_LOGIN, NO_DOUBT, TERMINAL, Kind, Phase, StoppedBy
from batchmod.model.manifest import Manifest
from batchmod.model.notices import Notice, RunStopping
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.record import RowState
from batchmod.model.runs import Run
from batchmod.model.secret import InstanceKey, Secret

LaneOf = LaneHands | StoppedHands
Known = Sequence[tuple[PlannedRow, RowState]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What the rows of a run have in common, beside the failure budget."""

    changing: Slots
    groups: Turns


def own_shares(manifest: Manifest, known: Known) -> Shares:
    """Of a run that has one process. `known` are its rows, as they stand."""
    in_change = [row for row, state in known if is_held(state)]
    return Shares(changing=Budget(manifest.limits.changing, held=len(in_change)), groups=Groups(in_change))


def make_context(
    *,
    session: Session,
    hands: Mapping[Lane, LaneOf],
    run: Run,
    manifest: Manifest,
    known: Known,
    halt: Halt,
    clock: Clock,
    chosen: Secret | None,
    notify: Callable[[Notice], None],
    trouble: Callable[[Exception], None],
    shares: Shares,
    doubtful: Iterable[tuple[Run, PlannedRow, RowState]],
    opening: Opening,
    observed_at: float,
    tell: Callable[[PlannedRow, int, Secret], Awaitable[str | None]],
) -> Context:
    """What the run's rows share; `doubtful` are rows of any run of which something may land. Of the failure budget, which each wave has of its own, none counts yet."""
    journal = session.journal
    halt.on_stop(lambda reason: notify(RunStopping(stopped_by=reason)))
    closing(halt, shares.changing, shares.groups)
    unfinished = {each.id for each in journal.unfinished()}
    return Context(
        run_id=run.id,
        hands=hands,
        ledger=journal,
        vault=session.store,
        prover=_prover(manifest, hands, halt, clock),
        new_password=maker_of(password_change(manifest), chosen),
        level=manifest.proof.password,
        limits=_limits(manifest),
        budget=Budget(None, held=sum(is_held(state) for _, state in known)),
        changing=shares.changing,
        accounts=Accounts(),
        leftovers=leftovers_of(doubtful, this_run=run.id, unfinished=unfinished),
        halt=halt,
        clock=clock,
        notify=notify,
        ended=ended_in(journal, unfinished),
        trouble=trouble,
        groups=shares.groups,
        opening=opening,
        observed_at=observed_at,
        is_young=young_in(manifest, session.store, journal, now=run.began_before(clock.wall())),
        tell=tell,
    )


def closing(halt: Halt, *budgets: Slots | Turns) -> None:
    """Whoever waits for a slot leaves when the run stops."""
    for each in budgets:
        halt.on_stop(lambda _, each=each: each.close())  # type: ignore[misc]  # a default binds it now
        if halt.reason is not None:
            each.close()


def budget_of_wave(manifest: Manifest, run: Run, known: Known, halt: Halt, wave: int) -> Budget:
    """The failure budget of this wave: its own share, and never more than what the run's has left.

    `known` are all rows of the run, as they stand.
    """
    limit, spent = share_of_wave(manifest, run, known, wave)
    budget = Budget(
        limit,
        spent=spent,
        held=sum(is_held(state) for row, state in known if row.wave == wave),
        exhausted=lambda: halt.stop(StoppedBy.MAX_FAILURES),
    )
    closing(halt, budget)
    return budget


def share_of_wave(manifest: Manifest, run: Run, known: Known, wave: int) -> tuple[int | None, int]:
    """How many rows of this wave may end badly before the run stops, and how many have."""
    mine = [(row, state) for row, state in known if row.wave == wave]
    (whole, spent), (limit, spent_here) = spending(manifest, run, known), spending(manifest, run, mine)
    if whole is not None and limit is not None:
        limit = min(limit, whole - (spent - spent_here))
    return limit, spent_here


def is_spent_before(manifest: Manifest, run: Run, known: Known, wave: int) -> bool:
    """Whether the budget of an earlier wave, or of the run, was spent: then this wave does not begin."""
    earlier = ([(row, state) for row, state in known if row.wave == each] for each in range(1, wave))
    shares = (spending(manifest, run, rows) for rows in (known, *earlier))
    return any(limit is not None and spent >= limit for limit, spent in shares)


def spending(manifest: Manifest, run: Run, known: Known) -> tuple[int | None, int]:
    """How many of these rows may end badly (None: any number), and how many have: the plan's own failures do not count,
    nor do those from before a reset.
    """
    since = run.budget_reset_at or 0.0
    spent = sum(row.will_send and state.phase in SPENDS and (state.finished_at or 0.0) > since for row, state in known)
    return failure_limit(manifest, [row for row, _ in known]), spent


def is_held(state: RowState) -> bool:
    return state.is_open and state.phase not in NO_DOUBT


def _limits(manifest: Manifest) -> Limits:
    retry = manifest.retry
    return Limits(
        attempts=retry.attempts,
        max_delay=retry.max_delay,
        busy_timeout=retry.busy_timeout,
        settle_timeout=retry.settle_timeout,
        settle_quiet=retry.settle_quiet,
        fence=retry.fence,
    )


def _prover(manifest: Manifest, hands: Mapping[Lane, LaneOf], halt: Halt, clock: Clock) -> Prover | None:
    proof = manifest.proof
    if proof.password not in BY_LOGIN or password_change(manifest) is None:
        return None
    pacer = Pacer(proof.rate, clock=clock, wait=lambda seconds: halt.sleep(seconds, sending=False))

    async def find(row: PlannedRow) -> str | None:
        retry = manifest.retry
        return await ask(
            lambda: hands[row.lane].address(row.instance_id),
            max_delay=retry.max_delay,
            clock=clock,
        )

    from batchmod.app.proofs import LoginProver, logins_of  # noqa: PLC0415  few runs need it, and it costs every start

    return LoginProver(logins=logins_of(proof, pacer), find=find)


def ended_in(journal: Journal, unfinished: set[str]) -> Callable[[str, InstanceKey], bool]:
    """Tells whether a run's password row of an instance is known to have ended without anything of it being live."""
    cache: dict[str, dict[InstanceKey, bool]] = {}

    def ended(run_id: str, key: InstanceKey) -> bool:
        if run_id not in cache:
            rows = journal.states(run_id) if journal.run(run_id) is not None else ()
            cache[run_id] = {
                row.key: _is_over(state, over=run_id not in unfinished)
                for row, state in rows
                if row.kind is Kind.PASSWORD
            }
        return cache[run_id].get(key, False)

    return ended


def _is_over(state: RowState, *, over: bool) -> bool:
    if state.phase in TERMINAL:
        return state.phase is not Phase.UNRESOLVED
    return over and state.phase in NO_DOUBT
