"""One row's life against a scripted service: what is sent, what is believed, what the journal and the store keep."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_support import BUSY, LIMITS, LOST, NOT_SENT, OK, REFUSED, STOPPED, THROTTLED, Desk, World, phases, row

from batchmod.engine.budget import Budget
from batchmod.engine.driver import drive
from batchmod.engine.halt import Halt
from batchmod.engine.old import NO_OLD, old_secret
from batchmod.engine.runner import Places, run_all
from batchmod.errors import JournalError, NoPlaceError, StoreError
from batchmod.model.events import Kind, Phase, Proof, StoppedBy
from batchmod.model.plan import Lane, PlannedRow, Values
from batchmod.model.record import Step
from batchmod.model.runs import Mark
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage

PASSWORD = row(Kind.PASSWORD)
TDE = row(Kind.TDE)
OFF: Values = {"status": "Disabled"}
ESCROWED = Secret("Escrowed-0ne")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    one = Desk.at(tmp_path)
    yield one
    await one.store.close()


async def test_a_change_that_is_accepted_and_read_back(desk: Desk) -> None:
    """Changed with read-back, one attempt, its RequestId."""
    world = World()
    state = await desk.go(world)
    assert (state.phase, state.proof, state.attempts) == (Phase.CHANGED, Proof.READ_BACK, 1)
    assert state.request_id == "r-1-accepted"


async def test_a_password_is_pending_before_it_is_sent_and_current_after_it_is_proved(desk: Desk) -> None:
    """Escrow, arm, send, settle, prove, promote."""
    seen: list[list[tuple[str, str]]] = []
    world = World()
    context = desk.context(world, "a")
    await desk.begin("a", [PASSWORD])
    original = world.send

    async def send(*args: object, **kwargs: object) -> str:
        seen.append(await desk.stages(PASSWORD))
        assert phases(desk) == [Phase.ESCROWED]
        return await original(*args, **kwargs)  # type: ignore[arg-type]  # passed through

    world.send = send  # type: ignore[method-assign]  # the script of this test
    state = await desk.go(world, PASSWORD, new=False)
    assert context.level is Proof.LOGIN
    assert seen == [[("pending", "Passw0rd-a")]]
    assert world.sent == ["Passw0rd-a"]
    assert (state.phase, state.proof) == (Phase.CHANGED, Proof.LOGIN)
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a")]


async def test_the_old_password_has_to_be_refused(desk: Desk) -> None:
    """Looked at again while it still logs in; nothing is sent again meanwhile, not even in doubt."""
    await desk.go(World(), PASSWORD, run_id="a")
    for reply, run_id, old in ((OK, "b", "Passw0rd-a"), (LOST, "c", "Passw0rd-b")):
        alive = "the old password still logs in"
        world = World(replies=[reply], old_logins=[alive, alive, None])
        state = await desk.go(world, PASSWORD, run_id=run_id, level=Proof.LOGIN_AND_OLD_REFUSED)
        assert (state.phase, state.proof) == (Phase.CHANGED, Proof.LOGIN_AND_OLD_REFUSED)
        assert (len(world.sent), world.old) == (1, [old] * 3)
        assert (await desk.stages(PASSWORD))[-1] == ("current", f"Passw0rd-{run_id}")


async def test_an_old_password_that_lives_to_the_deadline(desk: Desk) -> None:
    """Unresolved with that reason, and both stay readable: the new one is not promoted."""
    await desk.go(World(), PASSWORD, run_id="a")
    world = World(replies=[LOST], old_logins=["the old password still logs in"])
    limits = replace(LIMITS, settle_timeout=0.7)
    state = await desk.go(world, PASSWORD, run_id="b", level=Proof.LOGIN_AND_OLD_REFUSED, limits=limits)
    assert (state.phase, len(world.sent)) == (Phase.UNRESOLVED, 1)
    assert state.detail == "no proof within 1 s: the old password still logs in; the new password logged in"
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a"), ("pending", "Passw0rd-b")]


async def test_without_an_old_password_nothing_can_be_seen_refused(desk: Desk) -> None:
    """Which the plan refuses; should it happen all the same, the row is unresolved."""
    limits = replace(LIMITS, settle_timeout=0.7)
    state = await desk.go(World(), PASSWORD, level=Proof.LOGIN_AND_OLD_REFUSED, limits=limits)
    assert state.phase is Phase.UNRESOLVED
    assert NO_OLD in (state.detail or "")


async def test_an_old_password_that_is_the_new_one_is_not_the_old_one(desk: Desk) -> None:
    """A leftover that was settled may have the value that is sent again: then the one before it has to be refused."""
    await desk.go(World(), PASSWORD, run_id="a")
    await desk.go(World(), PASSWORD, run_id="b")
    again = Secret("Passw0rd-b")
    old = await old_secret(desk.store, PASSWORD.key, again)
    assert old == Secret("Passw0rd-a")
    assert await old_secret(desk.store, PASSWORD.key, None) == again


async def test_a_route_that_the_service_does_not_tell(desk: Desk) -> None:
    """Nothing is sent; an error of the account stops it, any other is the row's own."""
    world = World(preflight_says=REFUSED)
    state = await desk.go(world, PASSWORD)
    assert (state.phase, state.code, world.sent) == (Phase.SKIPPED, "Some.Refusal", [])
    world = World(preflight_says=STOPPED)
    state = await desk.go(world, PASSWORD, run_id="b")
    assert (state.phase, state.code, world.sent) == (Phase.NOT_STARTED, "SignatureDoesNotMatch", [])


async def test_busy_is_waited_out_and_throttling_does_not_count(desk: Desk) -> None:
    """However often: TaskExists before any doubt is somebody else's task."""
    world = World(replies=[BUSY, THROTTLED, THROTTLED, THROTTLED, THROTTLED, BUSY, OK], statuses=["Changing", "Normal"])
    state = await desk.go(world)
    assert (state.phase, state.attempts) == (Phase.CHANGED, 7)
    assert state.code is None


async def test_busy_to_the_deadline_fails(desk: Desk) -> None:
    """Nothing was changed."""
    world = World(replies=[BUSY])
    state = await desk.go(world, limits=replace(LIMITS, busy_timeout=0.5))
    assert (state.phase, state.code) == (Phase.FAILED, "TaskExists")


async def test_what_was_never_sent_fails_after_so_many_attempts(desk: Desk) -> None:
    """No connection, three times: failed, with the reason."""
    world = World(replies=[NOT_SENT])
    state = await desk.go(world)
    assert (state.phase, state.code, state.attempts) == (Phase.FAILED, "ConnectFailed", 3)


async def test_lost_and_landed_is_not_sent_again(desk: Desk) -> None:
    """Looked at first: the value is there."""
    for one, world in ((row(), World(replies=[LOST])), (PASSWORD, World(replies=[LOST]))):
        state = await desk.go(world, one, run_id=one.kind.value)
        assert (state.phase, state.attempts, len(world.sent)) == (Phase.CHANGED, 1, 1)


async def test_lost_and_not_landed_is_sent_again_with_the_same_value(desk: Desk) -> None:
    """After a look that says so."""
    world = World(replies=[LOST, OK], logins=["wrong password", None])
    state = await desk.go(world, PASSWORD)
    assert (state.phase, world.sent) == (Phase.CHANGED, ["Passw0rd-a"] * 2)
    world = World(replies=[LOST, OK], values=[{"name": "old"}, {"name": "new"}])
    state = await desk.go(world, run_id="b")
    assert (state.phase, len(world.sent)) == (Phase.CHANGED, 2)


async def test_a_password_without_login_is_sent_until_one_call_is_answered(desk: Desk) -> None:
    """The absence of an error is never proof: busy after doubt is not an answer."""
    world = World(replies=[LOST, BUSY, LOST, OK])
    state = await desk.go(world, PASSWORD, level=Proof.ACCEPTED)
    assert (state.phase, state.proof) == (Phase.CHANGED, Proof.ACCEPTED)
    assert world.sent == ["Passw0rd-a"] * 4


async def test_settled_needs_a_change_of_status_or_quiet(desk: Desk) -> None:
    """Normal at the first look is not settled; not Normal and then Normal is."""
    quick = World(statuses=["Changing", "Normal"])
    state = await desk.go(quick, PASSWORD, level=Proof.SETTLED, limits=replace(LIMITS, settle_quiet=3600))
    assert (state.phase, state.proof) == (Phase.CHANGED, Proof.SETTLED)
    never = World()
    limits = replace(LIMITS, settle_quiet=3600, settle_timeout=0.7)
    state = await desk.go(never, row(Kind.PASSWORD, instance="r-2"), run_id="b", level=Proof.SETTLED, limits=limits)
    assert state.phase is Phase.UNRESOLVED
    quiet = World()
    limits = replace(LIMITS, settle_quiet=0.4)
    state = await desk.go(quiet, row(Kind.PASSWORD, instance="r-3"), run_id="c", level=Proof.SETTLED, limits=limits)
    assert state.phase is Phase.CHANGED


async def test_a_refusal_after_doubt_is_never_failed(desk: Desk) -> None:
    """It settles its own attempt only; without a proof that can give evidence it ends at once."""
    world = World(replies=[LOST, REFUSED])
    state = await desk.go(world, PASSWORD, level=Proof.SETTLED)
    assert state.phase is Phase.UNRESOLVED
    assert "no evidence can be had" in (state.detail or "")
    assert await desk.stages(PASSWORD) == [("pending", "Passw0rd-a")]


async def test_a_refusal_after_doubt_may_still_be_proved(desk: Desk) -> None:
    """The first attempt landed late: the login finds it."""
    world = World(replies=[LOST, REFUSED], logins=["wrong password", "wrong password", None])
    state = await desk.go(world, PASSWORD)
    assert (state.phase, state.proof) == (Phase.CHANGED, Proof.LOGIN)


async def test_unchanged_after_the_fence_is_failed_and_before_it_is_not(desk: Desk) -> None:
    """The old value read back, status Normal, and nothing can land any more."""
    world = World(replies=[LOST, REFUSED], values=[{"name": "old"}])
    assert (await desk.go(world)).phase is Phase.FAILED
    world = World(replies=[LOST, REFUSED], values=[{"name": "old"}])
    limits = replace(LIMITS, fence=3600, settle_timeout=0.7)
    assert (await desk.go(world, run_id="b", limits=limits)).phase is Phase.UNRESOLVED


async def test_somebody_elses_value_is_not_overwritten(desk: Desk) -> None:
    """A third name after a lost reply: nothing more is sent."""
    world = World(replies=[LOST], values=[{"name": "third"}])
    state = await desk.go(world, limits=replace(LIMITS, settle_timeout=0.7))
    assert (state.phase, len(world.sent)) == (Phase.UNRESOLVED, 1)


async def test_tde_in_doubt_waits_for_the_fence(desk: Desk) -> None:
    """Sent again only when the first copy cannot land any more and it reads off."""
    world = World(replies=[LOST, OK], values=[OFF, OFF, {"status": "Enabled"}])
    state = await desk.go(world, TDE, limits=replace(LIMITS, fence=0.9))
    assert state.phase is Phase.CHANGED
    assert len(world.sent) == 2
    assert world.sent_at[1] - world.sent_at[0] > 0.4  # it is counted from when the first was armed


async def test_attempts_are_bounded(desk: Desk) -> None:
    """Lost again and again: three sends, then only looks."""
    world = World(replies=[LOST], logins=["wrong password"])
    state = await desk.go(world, PASSWORD, limits=replace(LIMITS, settle_timeout=3))
    assert (state.phase, len(world.sent)) == (Phase.UNRESOLVED, 3)
    assert "wrong password" in (state.detail or "")


async def test_a_vanished_instance_is_failed_before_and_unresolved_after_a_send(desk: Desk) -> None:
    """Gone while busy: nothing was changed. Gone after a send: nobody knows."""
    before = await desk.go(World(replies=[BUSY], statuses=[None]))
    assert (before.phase, before.code) == (Phase.FAILED, "InvalidInstanceId.NotFound")
    after = await desk.go(World(statuses=[None]), run_id="b")
    assert after.phase is Phase.UNRESOLVED


async def test_reads_that_are_lost_do_not_outlive_the_deadlines(desk: Desk) -> None:
    """settle_timeout and busy_timeout hold though no look is ever answered; a throttled look is no evidence."""
    state = await desk.go(World(statuses=[LOST]), limits=replace(LIMITS, settle_timeout=0.7))
    assert state.phase is Phase.UNRESOLVED
    state = await desk.go(
        World(replies=[BUSY], statuses=[THROTTLED]), run_id="b", limits=replace(LIMITS, busy_timeout=0.7)
    )
    assert state.phase is Phase.FAILED


async def test_an_account_that_stops_leaves_unsent_rows_not_started(desk: Desk) -> None:
    """With its error, but not another row's RequestId; what was escrowed is no longer pending."""
    world = World(replies=[STOPPED])
    context = desk.context(world, "a")
    state = await desk.go(world, PASSWORD)
    assert (state.phase, state.code) == (Phase.NOT_STARTED, "SignatureDoesNotMatch")
    assert await desk.stages(PASSWORD) == [("candidate", "Passw0rd-a")]
    assert desk.journal.run("a").accounts_failed  # type: ignore[union-attr]  # it is there
    assert context.accounts.stopped("1") is None


async def test_a_failed_password_is_not_pending_any_more(desk: Desk) -> None:
    """Provably never applied: kept as candidate, and the next run may escrow."""
    state = await desk.go(World(replies=[REFUSED]), PASSWORD)
    assert state.phase is Phase.FAILED
    assert await desk.stages(PASSWORD) == [("candidate", "Passw0rd-a")]
    assert (await desk.go(World(), PASSWORD, run_id="b")).phase is Phase.CHANGED


async def test_no_route_is_skipped_before_anything_is_escrowed(desk: Desk) -> None:
    """With the reason; nothing sent, nothing stored."""
    world = World(preflight_says="no route")
    state = await desk.go(world, PASSWORD)
    assert (state.phase, state.detail) == (Phase.SKIPPED, "no route")
    assert await desk.stages(PASSWORD) == []
    assert world.sent == []


async def test_a_stop_between_queue_and_grant_sends_nothing(desk: Desk) -> None:
    """The last moment before an attempt is armed looks once more."""
    halt = Halt()
    world = World(before_send=lambda: halt.stop(StoppedBy.SIGNAL))
    state = await desk.go(world, halt=halt)
    assert (state.phase, world.sent) == (Phase.PLANNED, [])


async def test_a_row_that_ends_badly_needs_a_slot(desk: Desk) -> None:
    """Busy to the deadline with none left: it stays open, and says why."""
    budget = Budget(1)
    world = World(replies=[BUSY], statuses=["Changing"])
    await desk.begin("a", [row()])

    def somebody_else() -> None:
        budget.take()

    world.before_look = somebody_else
    state = await desk.go(world, new=False, budget=budget, limits=replace(LIMITS, busy_timeout=0.5))
    assert (state.phase, state.attempts) == (Phase.WAITING, 1)
    assert "no slot of rollout.max_failures was free" in (state.detail or "")
    assert phases(desk) == [Phase.WAITING]


@pytest.mark.parametrize("broken", ["escrow", "promote"])
async def test_a_store_that_fails_stops_the_run_and_loses_nothing(desk: Desk, broken: str) -> None:
    """At escrow nothing was sent; at promote the proof is in the journal and resume promotes."""
    halt, world, troubles = Halt(), World(), list[Exception]()

    whole = desk.store

    class Broken:
        def __getattr__(self, name: str) -> object:
            if name == broken:

                async def fail(*_: object, **__: object) -> None:
                    raise StoreError("no space left")

                return fail
            return getattr(whole, name)

    await desk.begin("a", [PASSWORD])
    desk.store = Broken()  # type: ignore[assignment]  # a store whose disk fails at one call
    state = await desk.go(World() if broken == "escrow" else world, PASSWORD, new=False, halt=halt, troubles=troubles)
    desk.store = whole
    assert halt.reason is StoppedBy.STORE
    assert str(troubles[0]) == "no space left"
    assert state.phase is (Phase.PLANNED if broken == "escrow" else Phase.PROVED)
    state = await desk.go(World(), PASSWORD, new=False)
    assert state.phase is Phase.CHANGED
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a")]
    assert len(world.sent) == (0 if broken == "escrow" else 1)


async def test_a_journal_that_fails_sends_nothing(desk: Desk) -> None:
    """Armed before sent, or not sent."""

    class Full:
        async def step(self, run_id: str, step: Step) -> None:
            raise JournalError(f"{run_id}: no space left for {step.phase}")

        def note(self, run_id: str, step: Step) -> None:
            raise JournalError(f"{run_id}: no space left for {step.phase}")

        async def mark(self, run_id: str, mark: Mark) -> None:
            raise JournalError(f"{run_id}: no space left for {mark.type}")

        async def flush(self) -> None:
            raise JournalError("no space left")

    halt, world = Halt(), World()
    await desk.begin("a", [row()])
    journal = desk.journal
    context = replace(desk.context(world, "a", halt=halt), ledger=Full())
    state = await drive(context, row(), next(journal.states("a"))[1], parked=lambda: None)
    assert (state.phase, world.sent, halt.reason) == (Phase.PLANNED, [], StoppedBy.STORE)


@pytest.mark.parametrize("level", [Proof.LOGIN, Proof.SETTLED])
async def test_an_interrupted_row_is_taken_up_with_its_escrowed_value(desk: Desk, level: Proof) -> None:
    """Armed without an outcome is in doubt; the value is the store's; the generation is one."""
    await desk.begin("a", [PASSWORD])
    pending = await desk.store.escrow(PASSWORD.key, login="r-1", secret=ESCROWED, run_id="a")
    await desk.journal.step("a", Step(seq=0, phase=Phase.ESCROWED, at=1.0, generation=pending.generation))
    await desk.journal.step("a", Step(seq=0, phase=Phase.ARMED, at=2.0))
    world = World(logins=["wrong password", None], statuses=["Changing", "Normal"])
    state = await desk.go(world, PASSWORD, new=False, level=level)
    assert state.phase is Phase.CHANGED
    assert world.sent == ["Escrowed-0ne"]
    assert await desk.stages(PASSWORD) == [("current", "Escrowed-0ne")]


async def test_a_crash_between_store_and_journal_adopts_the_pending_value(desk: Desk) -> None:
    """The journal says planned, the store has it: no second value."""
    await desk.begin("a", [PASSWORD])
    await desk.store.escrow(PASSWORD.key, login="r-1", secret=ESCROWED, run_id="a")
    world = World()
    assert (await desk.go(world, PASSWORD, new=False)).phase is Phase.CHANGED
    assert world.sent == ["Escrowed-0ne"]


@pytest.mark.parametrize(
    ("kind", "same", "fence", "held"),
    [
        (Kind.ATTRIBUTES, True, 3600.0, False),
        (Kind.ATTRIBUTES, False, 3600.0, True),
        (Kind.ATTRIBUTES, False, 0.0, False),
        (Kind.TDE, True, 3600.0, True),
        (Kind.TDE, True, 0.0, False),
    ],
)
async def test_what_another_run_left_in_doubt_is_fenced(
    desk: Desk, kind: Kind, same: bool, fence: float, held: bool
) -> None:
    """No different value, and no TDE at all, while the older one may still land; in any phase before a first send."""
    off: Values = {"status": "Disabled"} if kind is Kind.TDE else {"name": "third"}
    limits = replace(LIMITS, settle_timeout=0.5, fence=3600.0)
    assert (await desk.go(World(replies=[LOST], values=[off]), row(kind), limits=limits)).phase is Phase.UNRESOLVED
    later = row(kind) if same else replace(row(kind), after={"name": "another"})
    values: Values = later.after
    for phase in (Phase.PLANNED, Phase.WAITING):
        run_id = f"b-{phase}"
        await desk.begin(run_id, [later])
        if phase is Phase.WAITING:
            await desk.journal.step(run_id, Step(seq=0, phase=Phase.ARMED, at=1.0))
            await desk.journal.step(run_id, Step(seq=0, phase=Phase.WAITING, at=1.0, code="TaskExists"))
        world = World(values=[off, values] if kind is Kind.TDE else [values])
        state = await desk.go(world, later, run_id=run_id, new=False, limits=replace(LIMITS, fence=fence))
        assert state.phase is (Phase.SKIPPED if held else Phase.CHANGED)
        assert len(world.sent) == (0 if held else 1)
        assert ("fence until" in (state.detail or "")) == held


async def test_an_open_run_holds_its_instances(desk: Desk) -> None:
    """Whatever the fence: that run will take its row up again."""
    halt = Halt()
    world = World(replies=[LOST], values=[{"name": "old"}], before_look=lambda: halt.stop(StoppedBy.SIGNAL))
    assert (await desk.go(world, halt=halt)).is_open
    state = await desk.go(World(), run_id="b")
    assert (state.phase, state.detail) == (Phase.SKIPPED, "held by run a")


async def test_a_password_left_in_doubt_is_settled_before_another_is_made(desk: Desk) -> None:
    """It logs in: current, and the row waits for the fence; past the fence a new generation follows."""
    limits = replace(LIMITS, settle_timeout=0.5, fence=3600.0)
    lost = World(replies=[LOST], logins=["no route"])
    assert (await desk.go(lost, PASSWORD, limits=limits)).phase is Phase.UNRESOLVED
    held = await desk.go(World(), PASSWORD, run_id="b", limits=limits)
    assert held.phase is Phase.SKIPPED
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a")]
    assert (await desk.go(World(), PASSWORD, run_id="c")).phase is Phase.CHANGED
    assert await desk.stages(PASSWORD) == [("previous", "Passw0rd-a"), ("current", "Passw0rd-c")]


def young_if_current(desk: Desk) -> Callable[[InstanceKey], Awaitable[str | None]]:
    async def is_young(key: InstanceKey) -> str | None:
        stages = await desk.store.stages(key)
        return "rotated 1d ago; max_age 3d" if stages and stages[-1].stage is Stage.CURRENT else None

    return is_young


async def test_a_leftover_that_is_proved_and_young_is_not_rotated_again(desk: Desk) -> None:
    """It logs in: current, and not due yet. Inside the fence too: nothing is sent."""
    is_young = young_if_current(desk)
    limits = replace(LIMITS, settle_timeout=0.5, fence=3600.0)
    lost = World(replies=[LOST], logins=["no route"])
    assert (await desk.go(lost, PASSWORD, limits=limits, is_young=is_young)).phase is Phase.UNRESOLVED
    world = World()
    state = await desk.go(world, PASSWORD, run_id="b", limits=limits, is_young=is_young)
    assert (state.phase, state.detail) == (Phase.UNCHANGED, "rotated 1d ago; max_age 3d")
    assert world.sent == []
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a")]


async def test_a_leftover_that_nothing_proves_is_of_no_known_age(desk: Desk) -> None:
    """A younger one than the proved may be live: the row is held while the fence is up, then rotated."""
    is_young = young_if_current(desk)
    limits = replace(LIMITS, settle_timeout=0.5, fence=3600.0)
    lost = World(replies=[LOST], logins=["no route"])
    assert (await desk.go(lost, PASSWORD, limits=limits, is_young=is_young)).phase is Phase.UNRESOLVED
    held = await desk.go(World(logins=["no"]), PASSWORD, run_id="b", limits=limits, is_young=is_young)
    assert held.phase is Phase.SKIPPED
    state = await desk.go(World(logins=["no", None]), PASSWORD, run_id="c", is_young=is_young)
    assert state.phase is Phase.CHANGED
    assert await desk.stages(PASSWORD) == [("candidate", "Passw0rd-a"), ("current", "Passw0rd-c")]


async def test_a_password_that_was_rotated_since_the_plan_is_not_due_any_more(desk: Desk) -> None:
    """Another run was there between a killed run and its resume."""

    async def is_young(_: InstanceKey) -> str | None:
        return "rotated 1h ago; max_age 3d"

    assert (await desk.go(World(), PASSWORD)).phase is Phase.CHANGED
    state = await desk.go(World(), PASSWORD, run_id="b", is_young=is_young)
    assert state.phase is Phase.UNCHANGED
    assert await desk.stages(PASSWORD) == [("current", "Passw0rd-a")]


async def test_a_password_that_cannot_be_settled_becomes_a_candidate_after_the_fence(desk: Desk) -> None:
    """Never deleted, and no longer in the way."""
    limits = replace(LIMITS, settle_timeout=0.5)
    assert (await desk.go(World(replies=[LOST], logins=["no"]), PASSWORD, limits=limits)).phase is Phase.UNRESOLVED
    world = World(logins=["the old one does not log in", None])
    assert (await desk.go(world, PASSWORD, run_id="b")).phase is Phase.CHANGED
    assert await desk.stages(PASSWORD) == [("candidate", "Passw0rd-a"), ("current", "Passw0rd-b")]


async def test_a_password_of_a_run_that_nobody_knows_is_left_alone(desk: Desk) -> None:
    """Held by it: the store guards across machines."""
    await desk.store.escrow(PASSWORD.key, login="r-1", secret=ESCROWED, run_id="elsewhere")
    world = World()
    state = await desk.go(world, PASSWORD)
    assert (state.phase, state.detail, world.sent) == (Phase.SKIPPED, "held by run elsewhere", [])


async def test_an_instance_without_a_place_for_another_password_is_skipped(desk: Desk) -> None:
    """With what the store says of it; nothing is sent, and no other instance is concerned."""
    world, context = World(), desk.context(World(), "a")

    class Full(type(desk.store)):  # type: ignore[misc]  # the store of this test, but for one answer
        async def escrow(self, key: InstanceKey, **_: object) -> Generation:
            raise NoPlaceError(f"{key}: ten versions, and each may be live")

    desk.store.__class__ = Full
    await desk.begin("a", [PASSWORD])
    state = await desk.go(world, PASSWORD, new=False)
    assert context.halt.reason is None
    assert (state.phase, world.sent) == (Phase.SKIPPED, [])
    assert state.detail == f"{PASSWORD.key}: ten versions, and each may be live"


async def test_a_document_that_is_lost_in_mid_run_stops_its_own_row_alone(desk: Desk) -> None:
    """The password may be live: the row stays open, with its generation, and nothing else stops."""

    class Gone(type(desk.store)):  # type: ignore[misc]  # the store of this test, but for one answer
        async def promote(self, key: InstanceKey, generation: int) -> Generation:
            raise NoPlaceError(f"{key}: generation {generation}: its document was deleted")

    desk.store.__class__ = Gone
    troubles, context = [], desk.context(World(), "a")
    context = replace(context, trouble=lambda error: troubles.append(str(error)))
    await desk.begin("a", [PASSWORD])
    ((known, state),) = desk.journal.states("a")
    state = await drive(context, known, state, parked=lambda: None)
    assert (state.phase, state.generation, context.halt.reason) == (Phase.PROVED, 1, None)
    assert troubles == [f"{PASSWORD.key}: generation 1: its document was deleted"]


async def test_slots_of_rows_in_doubt_are_theirs_before_anybody_waits(desk: Desk) -> None:
    """After a resume: three in doubt and a budget of three leave none for the others, in any lane."""
    rows = [row(instance=f"r-{seq}", seq=seq) for seq in range(6)]
    await desk.begin("a", rows)
    for seq in (3, 4, 5):
        await desk.journal.step("a", Step(seq=seq, phase=Phase.ARMED, at=1.0))
    halt, world = Halt(), World(replies=[REFUSED], values=[{"name": "third"}])
    budget = Budget(3, held=3, exhausted=lambda: halt.stop(StoppedBy.MAX_FAILURES))
    halt.on_stop(lambda _: budget.close())
    context = desk.context(world, "a", budget=budget, halt=halt, limits=replace(LIMITS, settle_timeout=0.5))
    await run_all(context, list(desk.journal.states("a")), ahead=64, watchers=[])
    assert phases(desk) == [Phase.PLANNED] * 3 + [Phase.UNRESOLVED] * 3
    assert world.sent == []


async def test_after_a_row_that_ended_badly_the_next_on_its_instance_is_not_started(desk: Desk) -> None:
    """Terminal; another instance goes on; after a skipped one the next kind goes on."""
    rows = [row(seq=0), row(Kind.TDE, seq=1), row(instance="r-2", seq=2)]
    await desk.begin("a", rows)
    world = World(replies=[REFUSED, OK])
    await run_all(desk.context(world, "a"), list(desk.journal.states("a")), ahead=1, watchers=[])
    assert phases(desk) == [Phase.FAILED, Phase.NOT_STARTED, Phase.CHANGED]
    mixed = [row(Kind.PASSWORD, seq=0), row(seq=1)]
    await desk.begin("b", mixed)
    context = desk.context(World(preflight_says="no route"), "b")
    await run_all(context, list(desk.journal.states("b")), ahead=1, watchers=[])
    assert phases(desk, "b") == [Phase.SKIPPED, Phase.CHANGED]


async def test_while_the_endpoint_cannot_be_reached_no_more_instances_start(desk: Desk) -> None:
    """What waits for it is as much as may be on the move, not the whole fleet; then all of it is changed."""
    rows = [row(instance=f"r-{seq}", seq=seq) for seq in range(20)]
    await desk.begin("a", rows)
    world, begun = World(replies=[NOT_SENT] * 6 + [OK]), list[int]()
    world.before_send = lambda: begun.append(sum(phase is not Phase.PLANNED for phase in phases(desk)))
    context = desk.context(world, "a")
    patient = replace(
        context, limits=replace(context.limits, attempts=7)
    )  # which row gets those replies is left to chance
    await run_all(patient, list(desk.journal.states("a")), ahead=3, watchers=[])
    assert max(begun[:6]) <= 3
    assert phases(desk) == [Phase.CHANGED] * 20


async def test_the_disruption_budget_holds_at_every_moment(desk: Desk) -> None:
    """`changing: 2`: never a third instance in change, and all of them in the end."""
    rows = [row(instance=f"r-{seq}", seq=seq) for seq in range(8)]
    await desk.begin("a", rows)
    world = World(replies=[OK, BUSY, LOST, OK])
    changing = Budget(2)
    held: list[int] = []
    world.before_send = lambda: held.append(changing.held)
    context = replace(desk.context(world, "a"), changing=changing)
    await run_all(context, list(desk.journal.states("a")), ahead=64, watchers=[])
    assert phases(desk) == [Phase.CHANGED] * 8
    assert max(held) == 2
    assert changing.held == 0


async def test_a_row_that_was_never_sent_has_no_request_id(desk: Desk) -> None:
    """The error that stopped its account is told; the RequestId was another row's."""
    rows = [row(instance=f"r-{seq}", seq=seq) for seq in range(2)]
    await desk.begin("a", rows)
    world = World(replies=[STOPPED])
    await run_all(desk.context(world, "a"), list(desk.journal.states("a")), ahead=1, watchers=[])
    told = [(state.phase, state.code, state.request_id) for _, state in desk.journal.states("a")]
    assert told == [
        (Phase.NOT_STARTED, "SignatureDoesNotMatch", "of another"),
        (Phase.NOT_STARTED, "SignatureDoesNotMatch", None),
    ]
    assert len(world.sent) == 1


BUSY_PASSWORD = replace(PASSWORD, status="Rebooting")
INACTIVE = "the instance is locked: disabled or expired (Inactive)"


async def test_a_status_that_the_plan_saw_is_waited_out_before_anything_is_tried(desk: Desk) -> None:
    """Not even the route of the login proof: an instance that restarts has none."""
    world = World(statuses=["Rebooting", "Normal"])

    def reachable() -> None:
        world.preflight_says = None if len(world.statuses) == 1 else "no route"

    world.preflight_says = "no route"
    world.before_look = reachable
    state = await desk.go(world, BUSY_PASSWORD)
    assert (state.phase, state.attempts, state.code) == (Phase.CHANGED, 1, None)


async def test_a_route_that_is_missing_after_the_wait_is_a_reason_to_skip(desk: Desk) -> None:
    """Nothing was sent, and the escrowed value is no longer pending."""
    world = World(statuses=["Rebooting", "Normal"], preflight_says="no route")
    state = await desk.go(world, BUSY_PASSWORD)
    assert (state.phase, state.detail, state.code, world.sent) == (Phase.SKIPPED, "no route", None, [])
    assert await desk.stages(PASSWORD) == [("candidate", "Passw0rd-a")]


async def test_what_ends_while_it_is_waited_for(desk: Desk) -> None:
    """Skipped when nothing was ever sent; after an attempt that was refused it is failed, for something was."""
    state = await desk.go(World(statuses=["Changing", "Inactive"]), replace(row(), status="Changing"))
    assert (state.phase, state.detail, state.attempts, state.code) == (Phase.SKIPPED, INACTIVE, 0, None)
    state = await desk.go(World(replies=[BUSY], statuses=["Changing", "Inactive"]), run_id="b")
    assert (state.phase, state.detail, state.attempts, state.code) == (Phase.FAILED, INACTIVE, 1, "TaskExists")


async def test_a_stop_before_the_repeat_of_a_refused_call_leaves_no_doubt(desk: Desk) -> None:
    """The first request was answered: what a token's refresh would have repeated was never sent."""
    halt = Halt()

    class Expired(World):
        async def send(self, row: PlannedRow, secret: Secret | None, *, before: Callable[[], Awaitable[None]]) -> str:  # noqa: ARG002
            await before()  # refused: the token has expired
            halt.stop(StoppedBy.SIGNAL)
            await before()
            raise AssertionError("sent after a stop")

    for one, phase in ((row(), Phase.WAITING), (TDE, Phase.WAITING)):
        halt = Halt()
        state = await desk.go(Expired(), one, run_id=one.kind.value, halt=halt)
        assert (state.phase, phases(desk, one.kind.value)) == (phase, [phase])


async def test_tde_is_looked_at_again_where_it_can_have_been_switched_on(desk: Desk) -> None:
    """By an old plan, and after a refusal: what somebody has encrypted meanwhile is not sent, or not again."""
    on: Values = {"status": "Enabled"}
    state = await desk.go(world := World(values=[on]), TDE, observed_at=0.0)
    assert (state.phase, state.attempts, world.sent) == (Phase.UNCHANGED, 0, [])
    other = replace(TDE, after={"status": "Enabled", "key_id": "k1"}, before={"status": "Disabled", "key_id": None})
    world = World(values=[{"status": "Enabled", "key_id": "k2"}])
    state = await desk.go(world, other, run_id="b", observed_at=0.0)
    assert (state.phase, state.attempts, world.sent) == (Phase.SKIPPED, 0, [])
    state = await desk.go(World(replies=[BUSY], statuses=["Normal"], values=[on]), TDE, run_id="c")
    assert (state.phase, state.attempts, state.code) == (Phase.FAILED, 1, "TaskExists")
    state = await desk.go(World(values=[on]), TDE, run_id="d")
    assert (state.phase, state.attempts) == (Phase.CHANGED, 1)


async def test_lanes_share_the_places_that_there_are() -> None:
    """Each has its share, and what the others do not need any more; a lane alone has them all."""

    async def taken(one: asyncio.Semaphore) -> int:
        count = 0
        while not one.locked():
            await one.acquire()
            count += 1
        return count

    lanes = [Lane("1", f"cn-{number}") for number in range(3)]
    places = Places(300, lanes)
    first, second, third = (places.of(lane) for lane in lanes)
    assert [await taken(one) for one in (first, second, third)] == [100, 100, 100]
    places.begun(lanes[0])
    assert [await taken(one) for one in (second, third)] == [50, 50]
    places.begun(lanes[2])
    assert (await taken(first), await taken(second)) == (0, 150)
    places.begun(lanes[1])
    many = [Lane("1", f"cn-{number}") for number in range(40)]
    assert await taken(Places(64, many).of(many[0])) == 32
    assert await taken(Places(1, many).of(many[0])) == 1
