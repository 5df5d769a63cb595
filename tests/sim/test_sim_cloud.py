"""The cloud without a server: tasks, states, time."""

import pytest
from sim_support import FIRST_PASSWORD, Clock, ask, make_cloud

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import Refusal, SimError
from batchmod.sim.instances import Instance
from batchmod.sim.scenario import Busy, Choice, Durations, Scenario

ONE, TWO = "r-sim000000", "r-sim000001"
NEW = "uW8+nsrp"


class Doorkeeper:
    """A data plane that only remembers."""

    def __init__(self) -> None:
        self.open: dict[str, str] = {}

    def admit(self, instance: Instance) -> None:
        self.open[instance.id] = instance.password

    def dismiss(self, instance: Instance) -> None:
        del self.open[instance.id]


def code_of(cloud: FakeCloud, **params: str) -> str:
    """OK, or the code with which a ModifyInstanceAttribute is refused."""
    try:
        ask(cloud, "ModifyInstanceAttribute", InstanceId=ONE, **params)
    except Refusal as refusal:
        return refusal.code
    return "OK"


def status(cloud: FakeCloud, instance_id: str = ONE) -> str:
    return cloud.status(cloud.find(instance_id))


def test_a_password_change_lives_through_its_states() -> None:
    """Normal during the lag, Changing during the task, then Normal with the new password, not before."""
    clock, door = Clock(0), Doorkeeper()
    cloud = make_cloud(clock, Scenario(lag=2, durations=Durations(password=10)), plane=door)
    assert code_of(cloud, NewPassword=NEW) == "OK"
    seen = []
    for clock.now in (0.0, 1.9, 2.0, 11.9, 12.0):
        seen.append((status(cloud), door.open[ONE] == NEW, cloud.passwords[ONE] == NEW))
    assert seen == [
        ("Normal", False, False),
        ("Normal", False, False),
        ("Changing", False, False),
        ("Changing", False, False),
        ("Normal", True, True),
    ]
    assert door.open[TWO] == FIRST_PASSWORD


def test_a_task_holds_the_instance_from_its_acceptance_on() -> None:
    """During lag and task every change is answered TaskExists; another instance is free."""
    clock = Clock(0)
    cloud = make_cloud(clock, Scenario(lag=2, durations=Durations(password=10)))
    ask(cloud, "ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)
    for clock.now in (0.0, 1.0, 5.0, 11.9):
        assert code_of(cloud, InstanceName="other") == "TaskExists"
        with pytest.raises(Refusal, match="TaskExists"):
            ask(cloud, "ModifyInstanceTDE", InstanceId=ONE, TDEStatus="Enabled")
    ask(cloud, "ModifyInstanceAttribute", InstanceId=TWO, InstanceName="other")
    clock.now = 12.0
    assert code_of(cloud, InstanceName="other") == "OK"


def test_tde_shows_its_scripted_status_and_stays_on() -> None:
    """The status on the way is the fault file's; at the end TDE is on with the key that was named."""
    clock = Clock(0)
    cloud = make_cloud(clock, Scenario(tde_status="Encrypting", lag=0, durations=Durations(tde=5)))
    ask(cloud, "ModifyInstanceTDE", InstanceId=ONE, TDEStatus="Enabled", EncryptionKey="my-key")
    clock.now = 4.9
    assert (status(cloud), cloud.state()["instances"][ONE]["tde"]) == ("Encrypting", False)
    clock.now = 5.0
    truth = cloud.state()["instances"][ONE]
    assert (truth["status"], truth["tde"], truth["tde_key_id"]) == ("Normal", True, "my-key")


def test_tde_stays_as_it_was_made() -> None:
    """Without a key one is made, which DescribeEncryptionKey does not show; a second call does not change it."""
    cloud = make_cloud(Clock(0), Scenario(lag=0, durations=Durations(tde=0)))
    ask(cloud, "ModifyInstanceTDE", InstanceId=ONE, TDEStatus="Enabled")
    made = cloud.state()["instances"][ONE]["tde_key_id"]
    ask(cloud, "ModifyInstanceTDE", InstanceId=ONE, TDEStatus="Enabled", EncryptionKey="my-key")
    assert (cloud.state()["instances"][ONE]["tde_key_id"], cloud.find(ONE).tasks_done) == (made, 2)
    with pytest.raises(Refusal, match=r"InstanceType\.NotSupport"):
        ask(cloud, "DescribeEncryptionKey", InstanceId=ONE)


def test_speed_divides_what_the_cloud_takes() -> None:
    """At speed 10 a change is in effect after a tenth of lag and duration."""
    clock = Clock(0)
    cloud = make_cloud(clock, Scenario(lag=10, durations=Durations(attributes=10)), speed=10)
    ask(cloud, "ModifyInstanceAttribute", InstanceId=ONE, InstanceName="renamed")
    clock.now = 1.9
    assert cloud.find(ONE).name == "sim-000000"
    clock.now = 2.0
    assert cloud.find(ONE).name == "renamed"


def test_without_lag_and_duration_a_change_is_there_at_once() -> None:
    """Zero means zero: the value is in effect when the call returns."""
    cloud = make_cloud(Clock(0), Scenario(lag=0, durations=Durations(attributes=0)))
    ask(cloud, "ModifyInstanceAttribute", InstanceId=ONE, InstanceReleaseProtection="True")
    assert (cloud.find(ONE).release_protection, status(cloud)) == (True, "Normal")


def test_somebody_elses_task_comes_first() -> None:
    """A busy instance refuses until the time is over, and nothing of it is changed by that task."""
    clock = Clock(0)
    cloud = make_cloud(clock, Scenario(busy=(Busy(who=Choice(match=ONE), seconds=30),)))
    assert (status(cloud), status(cloud, TWO)) == ("Changing", "Normal")
    assert code_of(cloud, InstanceName="other") == "TaskExists"
    clock.now = 30.0
    assert (status(cloud), cloud.find(ONE).tasks_done) == ("Normal", 0)
    assert code_of(cloud, InstanceName="other") == "OK"


def test_a_fraction_is_exact_and_repeatable() -> None:
    """A fifth of 20 instances is four, the same four for the same salt."""
    ids = [f"r-sim{n:06d}" for n in range(20)]
    some = Choice(fraction=0.2).of(ids, "1/busy/0")
    assert len(some) == 4
    assert some == Choice(fraction=0.2).of(reversed(ids), "1/busy/0")
    assert any(some != Choice(fraction=0.2).of(ids, f"{seed}/busy/0") for seed in range(2, 6))


def test_an_instance_vanishes_with_its_login() -> None:
    """After its time it is not found any more, even in the middle of a task, and nothing logs in to it."""
    clock, door = Clock(0), Doorkeeper()
    cloud = make_cloud(clock, Scenario(instances=((ONE, {"vanish_after": 1.0}),)), plane=door)
    ask(cloud, "ModifyInstanceAttribute", InstanceId=ONE, NewPassword=NEW)
    clock.now = 1.0
    with pytest.raises(Refusal, match=r"InvalidInstanceId\.NotFound"):
        cloud.find(ONE)
    clock.now = 100.0
    assert sorted(cloud.passwords) == ["r-sim000001", "r-sim000002", "r-sim000003"]
    assert ONE not in door.open


def test_a_locked_instance_is_not_a_busy_one() -> None:
    """Another status than Normal without a task is refused as a wrong state."""
    cloud = make_cloud(Clock(0), Scenario(instances=((ONE, {"status": "Inactive"}),)))
    assert code_of(cloud, InstanceName="other") == "IncorrectDBInstanceState"


def test_an_override_for_nobody_is_a_mistake() -> None:
    """A pattern that matches no instance does not pass silently."""
    with pytest.raises(SimError, match=r"instances\.r-nobody"):
        make_cloud(Clock(0), Scenario(instances=(("r-nobody", {"tde": True}),)))


def test_missing_instances_were_never_there() -> None:
    """`missing` leaves a hole; the others keep their ids and regions."""
    cloud = make_cloud(Clock(0), Scenario(instances=((ONE, {"missing": True}),)))
    assert [(each.id, each.region) for each in cloud.instances.values()][:2] == [
        ("r-sim000001", "cn-shanghai"),
        ("r-sim000002", "cn-hangzhou"),
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ab", "OK"),
        ("中文-cache", "OK"),
        ("a" * 80, "OK"),
        ("a" * 81, "InvalidInstanceName.Malformed"),
        ("a", "InvalidInstanceName.Malformed"),
        ("1ab", "InvalidInstanceName.Malformed"),
        ("_ab", "InvalidInstanceName.Malformed"),
        *((f"ab{bad}c", "InvalidInstanceName.Malformed") for bad in ' @/:="<>{[]}'),
    ],
)
def test_names_follow_the_documented_rule(name: str, code: str) -> None:
    """2 to 80 characters, first a letter or a Chinese one, none of the forbidden."""
    assert code_of(make_cloud(Clock(0)), InstanceName=name) == code


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("uW8+nsrp", "OK"),
        ("abcdEF12", "OK"),
        ("Ab1@" * 8, "OK"),
        ("Ab1@" * 8 + "x", "InvalidPassword.Malformed"),
        ("Ab1@xyz", "InvalidPassword.Malformed"),
        ("abcdefgh1", "InvalidPassword.Malformed"),
        ("ABCdefgh", "InvalidPassword.Malformed"),
        ("Ab1~xyzxyz", "InvalidPassword.Malformed"),
        ("Ab1 xyzxyz", "InvalidPassword.Malformed"),
    ],
)
def test_passwords_follow_the_documented_rule(password: str, code: str) -> None:
    """8 to 32 of the listed characters, at least three classes of four."""
    assert code_of(make_cloud(Clock(0)), NewPassword=password) == code


@pytest.mark.parametrize(
    ("params", "strict", "code"),
    [
        ({}, False, "MissingParameter"),
        ({"InstanceReleaseProtection": "TRUE"}, False, "OK"),
        ({"InstanceReleaseProtection": "true"}, True, "MissingParameter"),
        ({"InstanceReleaseProtection": "true", "InstanceName": "name"}, True, "OK"),
        ({"InstanceReleaseProtection": "yes"}, False, "InvalidParameter"),
    ],
)
def test_something_must_be_changed(params: dict[str, str], *, strict: bool, code: str) -> None:
    """Nothing to modify is refused; whether protection alone is something, the fault file says."""
    assert code_of(make_cloud(Clock(0), Scenario(strict_protection=strict)), **params) == code


def test_release_protection_is_for_pay_as_you_go() -> None:
    """A subscription instance refuses it, and takes other changes."""
    cloud = make_cloud(Clock(0), Scenario(instances=((ONE, {"charge_type": "PrePaid"}),)))
    assert code_of(cloud, InstanceReleaseProtection="true") == "InvalidParameter"
    assert code_of(cloud, InstanceName="other") == "OK"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "MissingParameter"),
        ({"TDEStatus": "Disabled"}, "InvalidParameter"),
        ({"TDEStatus": "Enabled", "EncryptionName": "AES-128"}, "InvalidParameter"),
        ({"TDEStatus": "Enabled", "RoleArn": "acs:ram::1:role/Other"}, "InvalidParameter"),
    ],
)
def test_tde_parameters_are_checked(params: dict[str, str], code: str) -> None:
    """TDE can be switched on only, with the one algorithm and the one role."""
    with pytest.raises(Refusal) as caught:
        ask(make_cloud(Clock(0)), "ModifyInstanceTDE", InstanceId=ONE, **params)
    assert caught.value.code == code


def pages(cloud: FakeCloud, **params: str) -> tuple[int, list[str]]:
    reply = ask(cloud, "DescribeInstances", **params)
    return reply["TotalCount"], [each["InstanceId"] for each in reply["Instances"]["KVStoreInstance"]]


def test_pages_cover_a_fleet_once() -> None:
    """All pages together are the fleet in order, TotalCount says how many, a page past the end is empty."""
    cloud = make_cloud(Clock(0), count=120)
    found = [pages(cloud, PageNumber=str(number), PageSize="50") for number in (1, 2, 3, 4)]
    assert [total for total, _ in found] == [120] * 4
    assert [len(ids) for _, ids in found] == [50, 50, 20, 0]
    assert [each for _, ids in found for each in ids] == sorted(cloud.instances)


def test_filters_agree_with_the_fleet() -> None:
    """Region, ids, version, charge type, status, tags and search text each leave out the others."""
    special = {"engine_version": "6.0", "charge_type": "PrePaid", "tags": {"env": "test", "team": "pay"}}
    cloud = make_cloud(Clock(0), Scenario(instances=((TWO, special),)), count=5)
    assert pages(cloud, RegionId="cn-shanghai")[0] == 2
    assert pages(cloud, InstanceIds=f"{ONE},{TWO},r-unknown") == (2, [ONE, TWO])
    assert pages(cloud, EngineVersion="6.0", ChargeType="PrePaid")[1] == [TWO]
    assert pages(cloud, InstanceStatus="Changing")[0] == 0
    assert pages(cloud, SearchKey="000003")[1] == ["r-sim000003"]
    tags = {"RegionId": "cn-shanghai", "Tag.1.Key": "env", "Tag.1.Value": "test", "Tag.2.Key": "team"}
    assert pages(cloud, **tags)[1] == [TWO]
    assert pages(cloud, RegionId="cn-shanghai", **{"Tag.1.Key": "env", "Tag.1.Value": "prod"})[1] == ["r-sim000003"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"InstanceIds": ",".join(f"r-{n}" for n in range(31))}, "InvalidInstanceIds.Malformed"),
        ({"InstanceIds": "r-1,,r-2"}, "InvalidInstanceIds.Malformed"),
        ({"PageSize": "51"}, "InvalidParameter"),
        ({"PageNumber": "0"}, "InvalidParameter"),
        ({"Tag.1.Key": "env"}, "MissingParameter"),
    ],
)
def test_listing_has_limits(params: dict[str, str], code: str) -> None:
    """30 ids, 50 a page, and a region with tags."""
    with pytest.raises(Refusal) as caught:
        ask(make_cloud(Clock(0)), "DescribeInstances", **params)
    assert caught.value.code == code
