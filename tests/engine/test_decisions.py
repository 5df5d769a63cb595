"""Retry, doubt and accounts decide by value alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.engine.accounts import FORBIDDEN_IN_A_ROW, Accounts
from batchmod.engine.doubt import Evidence, evidence_of, is_there, settle_doubt, watch
from batchmod.engine.machine import TABLE, Seen
from batchmod.engine.retry import SEEN, SPENDS_A_TRY, backoff, look_again, pause_after
from batchmod.errors import CallError, Verdict
from batchmod.model.events import Kind, Phase
from batchmod.model.plan import PlannedRow, Values


def row(kind: Kind, before: Values, after: Values) -> PlannedRow:
    return PlannedRow(
        seq=0,
        account="default",
        account_id="1",
        region="cn-hangzhou",
        instance_id="r-1",
        instance_name="old",
        login="r-1",
        kind=kind,
        wave=1,
        before=before,
        after=after,
    )


def test_every_verdict_means_something_for_a_row_in_flight() -> None:
    """The machine knows a step for whatever the service can say."""
    assert set(SEEN) == set(Verdict)
    for seen in SEEN.values():
        assert seen in TABLE[Phase.ARMED]
        assert seen in TABLE[Phase.REARMED]


def test_waiting_and_slowing_down_never_count_as_attempts() -> None:
    """Only what was lost or provably not sent does."""
    assert {Verdict.LOST, Verdict.NOT_SENT} == SPENDS_A_TRY


@given(st.integers(1, 10_000), st.floats(0.1, 600), st.floats(0, 0.999))
def test_backoff_is_positive_bounded_and_grows(tries: int, cap: float, jitter: float) -> None:
    """0 < delay <= cap, whatever the count."""
    assert 0 < backoff(tries, cap=cap, jitter=jitter) <= cap
    assert backoff(tries + 1, cap=cap, jitter=jitter) >= backoff(tries, cap=cap, jitter=jitter)


def test_the_services_own_wait_is_obeyed() -> None:
    """x-acs-retry-after is a floor, even above the cap."""
    error = CallError(Verdict.SLOW_DOWN, code="Throttling.User", message="", retry_after=90.0)
    assert pause_after(error, 1, cap=60.0, jitter=0.0) == 90.0


@given(st.floats(0, 1e6))
def test_a_busy_instance_is_seen_free_soon_after_it_is(age: float) -> None:
    """Within two hundredths of the time that it was busy, or half a second; never more seldom than twice a minute."""
    assert 0.5 <= look_again(age) <= max(0.5, min(30.0, age * 0.02))


@pytest.mark.parametrize(
    ("read", "evidence"),
    [
        ({"name": "new"}, Evidence.APPLIED),
        ({"name": "old"}, Evidence.UNCHANGED),
        ({"name": "third"}, Evidence.OTHER),
    ],
)
def test_what_was_read_is_new_old_or_somebody_elses(read: Values, evidence: Evidence) -> None:
    """A third value is neither."""
    assert evidence_of(row(Kind.ATTRIBUTES, {"name": "old"}, {"name": "new"}), read) is evidence


def test_half_a_change_is_neither_applied_nor_unchanged() -> None:
    """Name there, protection not yet."""
    both = row(
        Kind.ATTRIBUTES,
        {"name": "old", "release_protection": False},
        {"name": "new", "release_protection": True},
    )
    assert evidence_of(both, {"name": "new", "release_protection": False}) is Evidence.OTHER


def test_tde_with_another_key_is_not_what_was_asked() -> None:
    """Encrypted, but not with the key of the manifest."""
    wanted = row(Kind.TDE, {"status": "Disabled", "key_id": None}, {"status": "Enabled", "key_id": "k1"})
    assert evidence_of(wanted, {"status": "Enabled", "key_id": "k2"}) is Evidence.OTHER
    assert evidence_of(wanted, {"status": "Disabled"}) is Evidence.UNCHANGED


def test_what_was_not_asked_for_is_not_compared() -> None:
    """A role that the service chose is no difference; a role that the manifest named is."""
    free = row(Kind.TDE, {"status": "Disabled"}, {"status": "Enabled", "key_id": "k1", "role_arn": None})
    named = row(Kind.TDE, {"status": "Disabled"}, {"status": "Enabled", "key_id": "k1", "role_arn": "a"})
    read: Values = {"status": "Enabled", "key_id": "k1", "role_arn": "b"}
    assert evidence_of(free, read) is Evidence.APPLIED
    assert evidence_of(named, read) is Evidence.OTHER


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("tries_left", [True, False])
@pytest.mark.parametrize("evidence", Evidence)
def test_doubt_is_settled_by_evidence_alone(kind: Kind, fenced: bool, tries_left: bool, evidence: Evidence) -> None:
    """Proved only when applied; denied only when unchanged and nothing can land; never resent over a stranger's value."""
    seen = settle_doubt(kind, evidence, fenced=fenced, tries_left=tries_left)
    assert (seen is Seen.PROVED) == (evidence is Evidence.APPLIED)
    if seen is Seen.DENIED:
        assert evidence is Evidence.UNCHANGED
        assert not fenced
    if seen is Seen.CLEARED:
        assert tries_left
        assert evidence in {Evidence.UNCHANGED, Evidence.NONE}
        assert not (kind is Kind.TDE and fenced and evidence is Evidence.UNCHANGED)
    watched = watch(evidence, fenced=fenced)
    assert watched in {None, Seen.PROVED, Seen.DENIED}
    assert (watched is Seen.DENIED) == (evidence is Evidence.UNCHANGED and not fenced)


def test_a_credential_error_stops_its_account_and_no_other() -> None:
    """Once, with its error kept."""
    accounts = Accounts()
    error = CallError(Verdict.ACCOUNT_STOP, code="SignatureDoesNotMatch", message="")
    assert accounts.failed("1", error)
    assert not accounts.failed("1", error)
    assert accounts.stopped("1") is error
    assert accounts.stopped("2") is None


def test_five_forbidden_in_a_row_stop_the_account() -> None:
    """A success between starts the count anew."""
    accounts = Accounts()
    error = CallError(Verdict.FORBIDDEN, code="Forbidden.RAM", message="")
    assert not any(accounts.failed("1", error) for _ in range(FORBIDDEN_IN_A_ROW - 1))
    accounts.succeeded("1")
    assert not any(accounts.failed("1", error) for _ in range(FORBIDDEN_IN_A_ROW - 1))
    assert accounts.failed("1", error)


@pytest.mark.parametrize(
    ("after", "values", "there"),
    [
        ({"name": "new"}, {"name": "new"}, True),
        ({"name": "new"}, {"name": "old"}, False),
        ({"name": "new"}, {"name": None}, False),
        ({"name": "new"}, {}, False),
        ({"name": "new", "release_protection": True}, {"name": "new", "release_protection": None}, False),
        ({"name": "new", "release_protection": False}, {"name": "new", "release_protection": False}, True),
        ({"release_protection": True}, {"release_protection": True}, True),
        ({"status": "Enabled"}, {"status": "Disabled"}, False),
        (
            {"status": "Enabled", "key_id": None, "role_arn": "acs:ram::1:role/x", "algorithm": "A"},
            {"status": "Enabled"},
            True,
        ),
        ({"status": "Enabled", "key_id": "k-1"}, {"status": "Enabled"}, False),
        ({"status": "Enabled", "key_id": "k-1"}, {"status": "Enabled", "key_id": "k-2"}, False),
        (
            {"status": "Enabled", "key_id": "k-1", "role_arn": None},
            {"status": "Enabled", "key_id": "k-1", "role_arn": "acs:ram::1:role/x"},
            True,
        ),
        (
            {"status": "Enabled", "key_id": "k-1", "role_arn": "other"},
            {"status": "Enabled", "key_id": "k-1", "role_arn": "acs:ram::1:role/x"},
            False,
        ),
        ({}, {}, False),
        ({"key_id": None}, {}, False),
    ],
)
def test_a_row_matches_when_all_that_it_wants_is_there(after: Values, values: Values, there: bool) -> None:
    """One value that differs or is not told is no match, and neither is nothing at all."""
    assert is_there(after, values) is there
