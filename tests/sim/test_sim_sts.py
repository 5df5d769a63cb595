"""AssumeRole and the tokens that it gives."""

import json
from datetime import UTC, datetime

import pytest
from sim_support import KEYS, ONE, THREE, Caller, keys_of

from batchmod.sim.wire import Keys

MAIN, OTHER, THIRD = "1234567890123456", "2222333344445555", "3333444455556666"
FAULTS = f"""
accounts: {{"{MAIN}": {{}}, "{OTHER}": {{}}, "{THIRD}": {{}}}}
roles:
  - {{account: "{OTHER}", name: operator, trusts: ["{MAIN}"], max_session: 7200}}
  - {{name: short, trusts: ["{MAIN}", "{OTHER}"], max_session: 900}}
"""
OPERATOR, SHORT = f"acs:ram::{OTHER}:role/operator", f"acs:ram::{MAIN}:role/short"


@pytest.fixture
def call() -> Caller:
    return Caller(FAULTS, count=6)


def test_a_role_acts_in_its_own_account(call: Caller) -> None:
    """The temporary key sees and changes what the role's account has, and nothing of the caller's."""
    keys = call.assume(OPERATOR)
    assert call.ids(keys=keys) == [THREE, "r-sim000003"]
    assert (call.rename(THREE, keys=keys), call.rename(ONE, keys=keys)) == ("OK", "InvalidInstanceId.NotFound")


def test_the_reply_has_the_vendors_fields(call: Caller) -> None:
    """As the models of the vendor's STS client have them; the user is named by role and session."""
    fields = call("AssumeRole", RoleArn=OPERATOR, RoleSessionName="me@home", ExternalId="x").fields
    assert fields.keys() == {"RequestId", "Credentials", "AssumedRoleUser"}
    assert fields["Credentials"].keys() == {"AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"}
    assert fields["Credentials"]["AccessKeyId"].startswith("STS.")
    assert fields["AssumedRoleUser"]["Arn"] == f"{OPERATOR}/me@home"
    assert fields["AssumedRoleUser"]["AssumedRoleId"].endswith(":me@home")


def test_a_role_has_an_identity(call: Caller) -> None:
    """GetCallerIdentity says account, role and session, and RoleId in the place of UserId."""
    fields = call("GetCallerIdentity", keys=call.assume(OPERATOR)).fields
    assert (fields["AccountId"], fields["IdentityType"]) == (OTHER, "AssumedRoleUser")
    assert fields["Arn"] == f"acs:ram::{OTHER}:assumed-role/operator/tester"
    assert fields["PrincipalId"] == f"{fields['RoleId']}:tester"
    assert "UserId" not in fields


def test_a_role_can_become_another(call: Caller) -> None:
    """If that one trusts its account: chains of roles work."""
    keys = call.assume(SHORT, keys=call.assume(OPERATOR))
    assert call("GetCallerIdentity", keys=keys).fields["AccountId"] == MAIN


@pytest.mark.parametrize(
    ("arn", "asked", "lives"),
    [(OPERATOR, None, 3600), (OPERATOR, "7200", 7200), (SHORT, None, 900), (SHORT, "900", 900)],
)
def test_a_token_lives_as_long_as_it_says(call: Caller, arn: str, asked: str | None, lives: int) -> None:
    """To the second that Expiration names; then it is refused as expired, on a read and on a change."""
    wanted = {"RoleArn": arn, "RoleSessionName": "tester"} | ({"DurationSeconds": asked} if asked else {})
    begun = call.clock.now
    fields = call.send("AssumeRole", wanted).fields["Credentials"]
    ends = datetime.strptime(fields["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert ends == begun + lives
    keys = keys_from(fields)
    call.clock.now = ends - 1
    assert call.code("DescribeRegions", keys=keys) == "OK"
    call.clock.now = ends
    assert call.code("DescribeRegions", keys=keys) == "InvalidSecurityToken.Expired"
    assert call.rename(THREE, keys=keys) == "InvalidSecurityToken.Expired"
    assert call.code("GetCallerIdentity", keys=keys) == "InvalidSecurityToken.Expired"


def keys_from(fields: dict[str, str]) -> Keys:
    return Keys(
        access_key_id=fields["AccessKeyId"],
        access_key_secret=fields["AccessKeySecret"],
        session_token=fields["SecurityToken"],
    )


def test_a_file_can_shorten_every_token() -> None:
    """token_seconds cuts what was asked for, and Expiration says so; the refresh gets a new one."""
    call = Caller(f"{FAULTS}\ntoken_seconds: 20")
    keys = call.assume(OPERATOR, DurationSeconds="3600")
    call.clock.now += 19.5
    assert call.code("DescribeRegions", keys=keys) == "OK"
    call.clock.now += 0.5
    assert call.code("DescribeRegions", keys=keys) == "InvalidSecurityToken.Expired"
    assert call.code("DescribeRegions", keys=call.assume(OPERATOR)) == "OK"


def test_a_token_belongs_to_its_key(call: Caller) -> None:
    """None is missing, another key's a mismatch, any other text malformed; a user's key takes none at all."""
    first, second = call.assume(OPERATOR), call.assume(OPERATOR)

    def code(keys: Keys, token: str | None) -> str:
        used = Keys(access_key_id=keys.access_key_id, access_key_secret=keys.access_key_secret, session_token=token)
        return call.code("DescribeRegions", keys=used)

    assert code(first, None) == "MissingSecurityToken"
    assert code(first, second.session_token) == "InvalidSecurityToken.MismatchWithAccessKey"
    assert code(first, "nonsense") == "InvalidSecurityToken.Malformed"
    assert code(KEYS, first.session_token) == "InvalidSecurityToken.MismatchWithAccessKey"
    assert code(KEYS, "nonsense") == "InvalidSecurityToken.Malformed"


GOOD = {"RoleArn": OPERATOR, "RoleSessionName": "tester"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"RoleArn": ""}, 400, "MissingRoleArn"),
        ({"RoleSessionName": ""}, 400, "MissingRoleSessionName"),
        ({"RoleArn": "operator"}, 400, "InvalidParameter.RoleArn"),
        ({"RoleArn": f"acs:ram::{OTHER}:user/operator"}, 400, "InvalidParameter.RoleArn"),
        ({"RoleSessionName": "a"}, 400, "InvalidParameter.RoleSessionName"),
        ({"RoleSessionName": "a b"}, 400, "InvalidParameter.RoleSessionName"),
        ({"RoleSessionName": "a" * 65}, 400, "InvalidParameter.RoleSessionName"),
        ({"DurationSeconds": "899"}, 400, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "7201"}, 400, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": "1h"}, 400, "InvalidParameter.DurationSeconds"),
        ({"RoleArn": f"acs:ram::{OTHER}:role/nobody"}, 404, "EntityNotExist.Role"),
        ({"RoleArn": f"acs:ram::{THIRD}:role/operator"}, 404, "EntityNotExist.Role"),
        ({"Policy": "{"}, 400, "InvalidParameter.PolicyGrammar"),
        ({"Policy": "Version: '1'"}, 400, "InvalidParameter.PolicyGrammar"),
        ({"Policy": '{"Version": "1", "Statement": [{"Effect": "Maybe"}]}'}, 400, "InvalidParameter.PolicyGrammar"),
        ({"Policy": " " * 2049}, 400, "InvalidParameter.PolicySize"),
    ],
)
def test_what_is_wrong_has_its_documented_code(call: Caller, change: dict[str, str], status: int, code: str) -> None:
    """Code and status of each mistake in a call of AssumeRole."""
    answer = call.send("AssumeRole", GOOD | change)
    assert (answer.status, answer.fields["Code"]) == (status, code)


def test_a_role_trusts_accounts(call: Caller) -> None:
    """A caller of another account is refused, as RAM would."""
    answer = call.send("AssumeRole", GOOD, keys=keys_of(THIRD))
    assert (answer.status, answer.fields["Code"]) == (403, "NoPermission")


def test_a_session_policy_takes_away(call: Caller) -> None:
    """The session may do what both its role and its own policy allow."""
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "kvstore:Describe*", "Resource": "*"}]}
    keys = call.assume(OPERATOR, Policy=json.dumps(document))
    assert (call.code("DescribeInstanceAttribute", THREE, keys=keys), call.rename(THREE, keys=keys)) == (
        "OK",
        "Forbidden.RAM",
    )
    assert call.rename(THREE, keys=call.assume(OPERATOR)) == "OK"


def test_a_session_outlives_the_key_that_made_it(call: Caller) -> None:
    """Revoking the user's key stops new sessions, not those that are."""
    keys = call.assume(OPERATOR)
    call.cloud.keyring.revoke(MAIN)
    assert call.send("AssumeRole", GOOD).fields["Code"] == "InvalidAccessKeyId.Inactive"
    assert call.code("DescribeRegions", keys=keys) == "OK"


def test_sts_has_a_quota(call: Caller) -> None:
    """100 calls of AssumeRole in a second, then Throttling.User."""
    heard = [call.send("AssumeRole", GOOD).fields.get("Code") for _ in range(101)]
    assert heard == [None] * 100 + ["Throttling.User"]


def test_no_repr_holds_a_secret(call: Caller) -> None:
    """Neither of keys, principals, credentials and answers, nor the book."""
    document = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "canary:*", "Resource": "*"}]}
    answer = call.send("AssumeRole", GOOD | {"Policy": json.dumps(document)})
    keys = keys_from(answer.fields["Credentials"])
    credential = call.cloud.keyring.find(keys.access_key_id)
    text = repr((keys, credential, answer, call.cloud.state(), call.cloud.recent_calls(), call.cloud.scenario))
    assert keys.session_token is not None
    assert not any(secret in text for secret in (keys.access_key_secret, keys.session_token, "canary"))
