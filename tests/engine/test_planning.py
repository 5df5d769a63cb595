"""What a plan says of one instance follows from what was read of it."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from batchmod.engine.judging import Observed
from batchmod.engine.planning import rows_of
from batchmod.errors import UsageError
from batchmod.model.events import Kind, Phase
from batchmod.model.manifest import Manifest
from batchmod.model.targets import Target


@dataclass(frozen=True)
class Seen:
    name: str | None = "old-cart"
    status: str = "Normal"
    zone: str | None = "cn-hangzhou-h"
    engine_version: str | None = "7.0"
    charge_type: str | None = "PostPaid"
    address: str | None = "10.0.0.1:6379"


TARGET = Target(id="r-1", region="cn-hangzhou", account="default", vars={"team": "pay"}, source="job.yaml:3:5")
OBSERVED = Observed(target=TARGET, account_id="1234567890123456", instance=Seen(), release_protection=False)


def changes(*entries: dict[str, Any]) -> Any:
    return Manifest.model_validate({"version": 1, "name": "job", "targets": ["r-1"], "changes": list(entries)}).changes


def plan(observed: Observed, *entries: dict[str, Any]) -> list[tuple[Kind, Phase]]:
    return [(row.kind, row.verdict) for row in rows_of(observed, changes(*entries), address=None, login=False, first=0)]


def test_only_what_differs_is_sent() -> None:
    """A name that is right already is not sent with the protection that is not."""
    wanted = changes({"attributes": {"name": "old-cart", "release_protection": True}})
    (row,) = rows_of(OBSERVED, wanted, address=None, login=False, first=7)
    assert (dict(row.before), dict(row.after)) == ({"release_protection": False}, {"release_protection": True})
    assert (row.seq, row.wave, row.address, row.login) == (7, None, "10.0.0.1:6379", "r-1")


def test_a_row_is_grouped_by_the_var_that_is_named() -> None:
    """Every row of the target, with its value; without a name there is no group."""
    wanted = changes({"tde": {}}, {"password": {"generate": {}}})
    for not_with, group in (("team", "pay"), (None, None)):
        rows = rows_of(OBSERVED, wanted, address=None, login=False, first=0, not_with=not_with)
        assert [row.group for row in rows] == [group, group]


def test_templates_know_live_facts() -> None:
    """{zone} and {account_id} come from the instance and the account."""
    (row,) = rows_of(
        OBSERVED, changes({"attributes": {"name": "{team}-{zone}-{account_id}"}}), address="h:1", login=False, first=0
    )
    assert row.after == {"name": "pay-cn-hangzhou-h-1234567890123456"}
    assert row.address == "h:1"


@pytest.mark.parametrize(
    ("pattern", "verdict"), [("^old-(.*)$", Phase.PLANNED), ("^new-(.*)$", Phase.UNCHANGED), ("^(old)-", Phase.PLANNED)]
)
def test_a_pattern_that_does_not_match_changes_nothing(pattern: str, verdict: Phase) -> None:
    """Renaming is safe to run twice."""
    entry = {"attributes": {"name": {"pattern": pattern, "replace": r"x\1-"}}}
    assert plan(OBSERVED, entry) == [(Kind.ATTRIBUTES, verdict)]


def test_a_subscription_instance_has_no_release_protection() -> None:
    """Alone it is skipped with the reason; a name beside it is still changed."""
    prepaid = replace(OBSERVED, instance=Seen(charge_type="PrePaid"), release_protection=None)
    assert plan(prepaid, {"attributes": {"release_protection": True}}) == [(Kind.ATTRIBUTES, Phase.SKIPPED)]
    named = {"attributes": {"name": "old-cart", "release_protection": True}}
    assert plan(prepaid, named) == [(Kind.ATTRIBUTES, Phase.SKIPPED)]
    both = changes({"attributes": {"name": "new", "release_protection": True}})
    (row,) = rows_of(prepaid, both, address=None, login=False, first=0)
    assert row.after == {"name": "new"}
    assert "subscription" in (row.reason or "")


def test_tde_is_never_sent_to_what_has_it_or_cannot_have_it() -> None:
    """Enabled with the same key or any: unchanged; another key: skipped; not supported: skipped."""
    on = replace(OBSERVED, tde_enabled=True, tde_key="k1")
    assert plan(on, {"tde": {}}) == [(Kind.TDE, Phase.UNCHANGED)]
    assert plan(on, {"tde": {"key_id": "k1"}}) == [(Kind.TDE, Phase.UNCHANGED)]
    assert plan(on, {"tde": {"key_id": "k2"}}) == [(Kind.TDE, Phase.SKIPPED)]
    assert plan(replace(OBSERVED, tde_supported=False), {"tde": {}}) == [(Kind.TDE, Phase.SKIPPED)]
    assert plan(OBSERVED, {"tde": {}}) == [(Kind.TDE, Phase.PLANNED)]


def test_a_password_that_is_current_already_is_unchanged() -> None:
    """The chosen one equals the proved one."""
    entry = {"password": {"env": "X"}}
    assert plan(replace(OBSERVED, password_is_current=True), entry) == [(Kind.PASSWORD, Phase.UNCHANGED)]
    assert plan(OBSERVED, entry) == [(Kind.PASSWORD, Phase.PLANNED)]


def test_what_a_login_could_not_prove_is_not_planned() -> None:
    """No address: skipped with the reason, not sent and then unresolved; what is not Normal yet is asked for it later."""
    wanted = changes({"password": {"generate": {}}})

    def verdict(instance: Seen, *, address: str | None = None, login: bool = True, asked: str | None = None) -> Phase:
        observed = replace(OBSERVED, instance=instance, address=asked)
        (row,) = rows_of(observed, wanted, address=address, login=login, first=0)
        assert (row.reason is None) == (row.verdict is Phase.PLANNED)
        assert row.address == (address or instance.address or asked)
        return row.verdict

    assert verdict(Seen(engine_version="5.0")) is Phase.PLANNED
    assert verdict(Seen(address=None), login=False) is Phase.PLANNED
    assert verdict(Seen(address=None), asked="10.0.0.2:6379") is Phase.PLANNED
    assert verdict(Seen(address=None, status="Creating")) is Phase.PLANNED
    assert verdict(Seen(address=None)) is Phase.SKIPPED
    assert verdict(Seen(address=None), address="127.0.0.1:6379") is Phase.PLANNED


def test_a_missing_instance_fails_once() -> None:
    """Its first change failed, the later ones are not started."""
    gone = replace(OBSERVED, instance=None)
    entries: tuple[dict[str, Any], ...] = ({"attributes": {"name": "new"}}, {"password": {"generate": {}}}, {"tde": {}})
    assert plan(gone, *entries) == [
        (Kind.ATTRIBUTES, Phase.FAILED),
        (Kind.PASSWORD, Phase.NOT_STARTED),
        (Kind.TDE, Phase.NOT_STARTED),
    ]


def test_a_read_that_was_refused_fails_its_kind() -> None:
    """With the service's code."""
    refused = replace(OBSERVED, refused={Kind.TDE: ("Forbidden.RAM", "no")})
    (row,) = rows_of(refused, changes({"tde": {}}), address=None, login=False, first=0)
    assert (row.verdict, row.error_code, row.reason) == (Phase.FAILED, "Forbidden.RAM", "no")


@pytest.mark.parametrize(
    "entry",
    [
        {"attributes": {"name": {"pattern": "^old-", "replace": "9"}}},
        {"tde": {"key_id": "{zone} key"}},
        {"tde": {"role_arn": "acs:ram::{zone}:role/x"}},
    ],
)
def test_what_live_facts_break_is_an_error_of_the_plan(entry: dict[str, Any]) -> None:
    """With the target's place."""
    with pytest.raises(UsageError, match=r"job\.yaml:3:5: r-1: "):
        plan(OBSERVED, entry)


def test_a_young_password_stays_whatever_was_chosen() -> None:
    """With its age; one of an instance that nobody can change is skipped as ever."""
    young = replace(OBSERVED, young="rotated 1d ago; max_age 3d", lacks_old="nothing to see refused")
    wanted = changes({"password": {"env": "X", "max_age": "3d"}}, {"tde": {}})
    row, tde = rows_of(young, wanted, address=None, login=True, first=0)
    assert (row.verdict, row.reason, row.wave) == (Phase.UNCHANGED, "rotated 1d ago; max_age 3d", None)
    assert tde.verdict is Phase.PLANNED
    row, _ = rows_of(replace(young, instance=Seen(status="Inactive")), wanted, address=None, login=True, first=0)
    assert row.verdict is Phase.SKIPPED


def test_a_proof_that_can_never_be_is_an_error_of_the_plan() -> None:
    """With the target's place and what to do; not where the row is not sent anyway."""
    lacking = replace(OBSERVED, lacks_old="proof login-and-old-refused: import it")
    wanted = changes({"password": {"env": "X"}})
    with pytest.raises(UsageError, match=r"job\.yaml:3:5: r-1: proof login-and-old-refused: import it"):
        list(rows_of(lacking, wanted, address=None, login=True, first=0))
    for unsent in (replace(lacking, password_is_current=True), replace(lacking, instance=Seen(status="Inactive"))):
        (row,) = rows_of(unsent, wanted, address=None, login=True, first=0)
        assert not row.will_send
