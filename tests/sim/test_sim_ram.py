"""Policies: who may do what, by RAM's rules, and how a denial looks."""

import pytest
from sim_support import ONE, THREE, TWO, Caller, keys_of

from batchmod.sim.ram import Ask, Policy, Principal, Ram, Statement, Verdict

MAIN, OTHER = "1234567890123456", "2222333344445555"
HANGZHOU = f"acs:kvstore:cn-hangzhou:{MAIN}:instance"


def call_with(*statements: str, more: str = "", principal: str = "user/simulator") -> Caller:
    """The caller's policy has these statements (flow mappings)."""
    document = f'{{Version: "1", Statement: [{", ".join(statements)}]}}'
    return Caller(f"policies: [{{principal: {principal}, document: {document}}}]\n{more}")


def allow(action: str, resource: str = '"*"', more: str = "") -> str:
    return f"{{Effect: Allow, Action: {action}, Resource: {resource}{more}}}"


def deny(action: str, resource: str = '"*"') -> str:
    return f"{{Effect: Deny, Action: {action}, Resource: {resource}}}"


def verdict(statement: Statement, ask: Ask) -> Verdict:
    policy = Policy(account_id=MAIN, principal="user/simulator", statements=(statement,))
    return Ram([], [policy]).verdict(Principal(account_id=MAIN, name="user/simulator"), ask)


@pytest.mark.parametrize(
    ("action", "resource", "says"),
    [
        ("kvstore:ModifyInstanceTDE", "acs:kvstore:*:*:instance/*", Verdict.ALLOWED),
        ("KVSTORE:modifyinstancetde", "acs:kvstore:*:*:instance/*", Verdict.ALLOWED),
        ("kvstore:Modify*", f"{HANGZHOU}/r-1", Verdict.ALLOWED),
        ("kvstore:ModifyInstance???", f"{HANGZHOU}/r-?", Verdict.ALLOWED),
        ("kvstore:ModifyInstance??", "*", Verdict.IMPLICIT_DENY),
        ("kvstore:Modify", "*", Verdict.IMPLICIT_DENY),
        ("kvstore:ModifyInstanceTD[E]", "*", Verdict.IMPLICIT_DENY),
        ("*", f"{HANGZHOU}/r-2", Verdict.IMPLICIT_DENY),
        ("*", f"{HANGZHOU.upper()}/r-1", Verdict.IMPLICIT_DENY),
    ],
)
def test_globs_are_rams(action: str, resource: str, says: Verdict) -> None:
    """`*` and `?` and nothing else; actions in any case, resources as they are."""
    ask = Ask(action="kvstore:ModifyInstanceTDE", resource=f"{HANGZHOU}/r-1")
    assert verdict(Statement(allow=True, actions=(action,), resources=(resource,)), ask) is says


def test_what_is_not_allowed_is_denied() -> None:
    """With a policy, what it does not name is refused with 403 and the reason."""
    call = call_with(allow('"kvstore:Describe*"'))
    assert call.code("DescribeInstanceAttribute", ONE) == "OK"
    answer = call("ModifyInstanceAttribute", ONE, InstanceName="renamed")
    assert (answer.status, answer.fields["Code"]) == (403, "Forbidden.RAM")
    detail = answer.fields["AccessDeniedDetail"]
    assert (detail["AuthAction"], detail["NoPermissionType"]) == ("kvstore:ModifyInstanceAttribute", "ImplicitDeny")
    assert (detail["AuthPrincipalType"], detail["AuthPrincipalDisplayName"]) == ("SubUser", "simulator")
    assert (detail["AuthPrincipalOwnerId"], call.cloud.find(ONE).name) == (MAIN, "sim-000000")


def test_a_deny_is_stronger_than_any_allow() -> None:
    """Whatever their order; and it says so."""
    call = call_with(deny('"kvstore:Modify*"', f'"{HANGZHOU}/{ONE}"'), allow('"*"'))
    answer = call("ModifyInstanceAttribute", ONE, InstanceName="renamed")
    assert answer.fields["AccessDeniedDetail"]["NoPermissionType"] == "ExplicitDeny"
    assert call.rename(THREE) == "OK"


def test_several_policies_add_up() -> None:
    """What any of a principal's documents allows is allowed."""
    one, two = (f'{{Version: "1", Statement: [{allow(each)}]}}' for each in ("'kvstore:Desc*'", "'kvstore:Mod*'"))
    call = Caller(
        f"policies: [{{principal: user/simulator, document: {one}}}, {{principal: user/simulator, document: {two}}}]"
    )
    assert (call.code("DescribeInstanceAttribute", ONE), call.rename()) == ("OK", "OK")
    assert call.code("ResetAccountPassword", ONE) == "Forbidden.RAM"


def test_a_policy_is_its_principals_alone() -> None:
    """Another account's user of the same name may still do everything."""
    call = call_with(deny('"*"'), more=f'accounts: {{"{MAIN}": {{}}, "{OTHER}": {{}}}}')
    assert (call.rename(), call.rename(THREE, keys=keys_of(OTHER))) == ("Forbidden.RAM", "OK")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"RegionId": "cn-hangzhou"}, "Forbidden.RAM"),
        ({"InstanceIds": ONE}, "OK"),
        ({"InstanceIds": f"{ONE},{THREE}"}, "OK"),
        ({"InstanceIds": f"{ONE},{THREE},{TWO}"}, "Forbidden.RAM"),
        ({"InstanceIds": f"{ONE},r-nobody", "RegionId": "cn-hangzhou"}, "Forbidden.RAM"),
    ],
)
def test_listing_needs_every_id(params: dict[str, str], code: str) -> None:
    """One denied id refuses the whole call; without ids all instances of the region must be allowed."""
    call = call_with(allow('"kvstore:DescribeInstances"', f'["{HANGZHOU}/{ONE}", "{HANGZHOU}/{THREE}"]'))
    answer = call.send("DescribeInstances", params)
    assert answer.fields.get("Code", "OK") == code
    if code == "OK":
        assert answer.fields["TotalCount"] == params["InstanceIds"].count(",") + 1


@pytest.mark.parametrize(
    ("params", "at", "code"),
    [
        ({"RegionId": "cn-hangzhou"}, None, "OK"),
        ({"RegionId": "cn-shanghai"}, None, "Forbidden.RAM"),
        ({}, None, "Forbidden.RAM"),
        ({}, "cn-hangzhou", "OK"),
    ],
)
def test_listing_without_ids_is_about_a_region(params: dict[str, str], at: str | None, code: str) -> None:
    """The call's or the endpoint's; one that names none asks for all regions."""
    call = call_with(allow('"kvstore:DescribeInstances"', f'"{HANGZHOU}/*"'))
    assert call.send("DescribeInstances", params, at=at).fields.get("Code", "OK") == code


@pytest.mark.parametrize("api", ["DescribeInstanceTDEStatus", "CheckCloudResourceAuthorized", "DescribeRegions"])
def test_some_operations_know_no_resources(api: str) -> None:
    """A policy limited to instances fails there; one about `*` does not."""
    assert call_with(allow('"*"', '"acs:kvstore:*:*:*"')).code(api, ONE) == "Forbidden.RAM"
    assert call_with(allow(f'"kvstore:{api}"')).code(api, ONE) == "OK"


def test_a_condition_is_about_what_the_request_carries() -> None:
    """ModifyInstanceTDE carries kvstore:TDEStatus; without the key the statement says nothing."""
    enabled = ', Condition: {StringEquals: {"kvstore:TDEStatus": [Enabled]}}'
    call = call_with(allow('"kvstore:Modify*"', more=enabled))
    assert call.code("ModifyInstanceTDE", ONE, TDEStatus="Enabled") == "OK"
    assert call.code("ModifyInstanceTDE", TWO, TDEStatus="Disabled") == "Forbidden.RAM"
    assert call.code("ModifyInstanceTDE", TWO) == "Forbidden.RAM"
    assert call.rename(TWO) == "Forbidden.RAM"


def test_only_tde_carries_the_condition_key() -> None:
    """A parameter of that name in another call opens nothing."""
    enabled = ', Condition: {StringEquals: {"kvstore:TDEStatus": [Enabled]}}'
    call = call_with(allow('"*"', more=enabled))
    assert call.code("ModifyInstanceAttribute", ONE, InstanceName="renamed", TDEStatus="Enabled") == "Forbidden.RAM"


def test_identity_needs_nothing() -> None:
    """GetCallerIdentity is answered whatever a policy says."""
    assert call_with(deny('"*"')).code("GetCallerIdentity") == "OK"


def test_assuming_needs_the_roles_arn() -> None:
    """Of the caller's policy; denied, it is NoPermission."""
    role = f"acs:ram::{MAIN}:role/operator"
    roles = f'roles: [{{name: operator, trusts: ["{MAIN}"]}}, {{name: other, trusts: ["{MAIN}"]}}]'
    call = call_with(allow('"sts:AssumeRole"', f'"{role}"'), more=roles)
    assert call.rename(keys=call.assume(role)) == "OK"
    answer = call("AssumeRole", RoleArn=f"acs:ram::{MAIN}:role/other", RoleSessionName="tester")
    assert (answer.status, answer.fields["Code"]) == (403, "NoPermission")
    assert answer.fields["AccessDeniedDetail"]["AuthAction"] == "sts:AssumeRole"


def test_a_role_has_a_policy_of_its_own() -> None:
    """What its holder's user may do does not count; a denial names role and session."""
    roles = f'roles: [{{name: reader, trusts: ["{MAIN}"]}}]'
    call = call_with(allow('"kvstore:Describe*"'), more=roles, principal="role/reader")
    keys = call.assume(f"acs:ram::{MAIN}:role/reader")
    detail = call("ModifyInstanceTDE", ONE, keys=keys, TDEStatus="Enabled").fields["AccessDeniedDetail"]
    assert (detail["AuthPrincipalType"], detail["AuthPrincipalDisplayName"]) == ("AssumedRoleUser", "reader:tester")
    assert (call.rename(), call.code("DescribeInstanceAttribute", ONE, keys=keys)) == ("OK", "OK")


def test_a_denied_call_costs_no_quota() -> None:
    """Only what is allowed is counted."""
    call = call_with(allow('"kvstore:Describe*"'), more="quotas: {ModifyInstanceAttribute: 1/60s}")
    assert [call.rename() for _ in range(3)] == ["Forbidden.RAM"] * 3


def test_tags_are_allowed_by_resource() -> None:
    """Each id by its ARN, all of a region without ids."""
    call = call_with(allow('["kvstore:TagResources", "kvstore:ListTagResources"]', f'"{HANGZHOU}/{ONE}"'))
    base = {"RegionId": "cn-hangzhou", "ResourceType": "INSTANCE", "Tag.1.Key": "a", "Tag.1.Value": "b"}
    heard = [
        call.send(api, base | more).fields.get("Code", "OK")
        for api, more in (
            ("TagResources", {"ResourceId.1": ONE}),
            ("TagResources", {"ResourceId.1": ONE, "ResourceId.2": THREE}),
            ("ListTagResources", {"ResourceId.1": ONE}),
            ("ListTagResources", {}),
        )
    ]
    assert heard == ["OK", "Forbidden.RAM", "OK", "Forbidden.RAM"]
