"""KMS secrets without a network: whose they are, what follows whom, and when they are gone."""

import pytest
from sim_support import Clock, ask, make_cloud

from batchmod.sim.errors import Refusal

SECRET = {"SecretName": "db", "VersionId": "v1", "SecretData": "one"}
MOVE = {"SecretName": "db", "VersionStage": "ACSCurrent", "MoveToVersion": "v2", "RemoveFromVersion": "v1"}


def test_regions_keep_their_own() -> None:
    """The same name elsewhere is another secret; at the endpoint of all regions it is the first one's."""
    cloud = make_cloud(Clock())
    ask(cloud, "CreateSecret", region="cn-shanghai", **SECRET)
    ask(cloud, "CreateSecret", **{**SECRET, "SecretData": "two"})
    found = [ask(cloud, "GetSecretValue", region=each, SecretName="db")["SecretData"] for each in (None, "cn-shanghai")]
    assert found == ["two", "one"]
    assert ask(cloud, "GetSecretValue", region="cn-hangzhou", SecretName="db")["SecretData"] == "two"


@pytest.mark.parametrize("follows", [False, True])
def test_what_was_current_becomes_previous_by_itself_where_that_is_wanted(follows: bool) -> None:
    """It is documented for a new value only; a cloud that does it for every move can be had too."""
    cloud = make_cloud(Clock())
    cloud.secrets_of(cloud.account_id, "cn-hangzhou").follows = follows
    ask(cloud, "CreateSecret", **SECRET)
    ask(cloud, "PutSecretValue", **{**SECRET, "VersionId": "v2"}, VersionStages='["own"]')
    ask(cloud, "UpdateSecretVersionStage", **MOVE)
    stages = ask(cloud, "GetSecretValue", SecretName="db", VersionId="v1")["VersionStages"]["VersionStage"]
    assert stages == (["ACSPrevious"] if follows else [])


def test_a_deleted_secret_is_gone_after_its_window() -> None:
    """Until then its name is taken and its value refused; afterwards the name is free."""
    clock = Clock()
    cloud = make_cloud(clock)
    ask(cloud, "CreateSecret", **SECRET)
    ask(cloud, "DeleteSecret", SecretName="db", RecoveryWindowInDays="7")
    assert ask(cloud, "DescribeSecret", SecretName="db")["PlannedDeleteTime"]
    with pytest.raises(Refusal, match=r"Rejected\.ResourceExist"):
        ask(cloud, "CreateSecret", **SECRET)
    clock.now += 7 * 86400
    with pytest.raises(Refusal, match=r"Forbidden\.ResourceNotFound"):
        ask(cloud, "DescribeSecret", SecretName="db")
    ask(cloud, "CreateSecret", **SECRET)
