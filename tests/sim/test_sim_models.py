"""Every field of a reply exists in the vendor's model, with its type; every field that the model's page lists is served."""

import typing
from types import NoneType
from typing import Any

import pytest
from alibabacloud_r_kvstore20150101 import models
from darabonba.model import DaraModel
from sim_support import ONE, Caller

from batchmod.sim.operations import OPERATIONS

pytestmark = pytest.mark.oracle
FAULTS = "lag: 0\ndurations: {tde: 0}"
TAGS = {"RegionId": "cn-hangzhou", "ResourceType": "INSTANCE", "ResourceId.1": ONE}
CALLS: dict[str, dict[str, str]] = {
    "ModifyInstanceAttribute": {"InstanceName": "renamed"},
    "ModifyInstanceTDE": {"TDEStatus": "Enabled", "EncryptionKey": "my-key"},
    "ResetAccountPassword": {"AccountName": ONE, "AccountPassword": "uW8+nsrp"},
    "DescribeInstances": {},
    "DescribeInstanceAttribute": {},
    "DescribeInstanceTDEStatus": {},
    "DescribeEncryptionKey": {},
    "DescribeEncryptionKeyList": {},
    "CheckCloudResourceAuthorized": {},
    "DescribeDBInstanceNetInfo": {},
    "DescribeRegions": {},
    "DescribeAccounts": {},
    "ListTagResources": TAGS,
    "TagResources": TAGS | {"Tag.1.Key": "a", "Tag.1.Value": "b"},
}
NOT_SERVED = {"DescribeAccounts": {"Parameters"}}  # documented nowhere


def wire_names(model: type[DaraModel]) -> dict[str, str]:
    """By attribute, the name on the wire, as the model itself writes it."""
    names = {}
    for attribute in annotations(model):
        one = model()
        hint = annotations(model)[attribute]
        setattr(one, attribute, [] if typing.get_origin(hint) is list else hint())
        written = one.to_map().keys()
        names[attribute] = next(iter(written)) if written else attribute
    return names


def annotations(model: type[DaraModel]) -> dict[str, Any]:
    hints = typing.get_type_hints(model.__init__, {"main_models": models, "List": list, "Dict": dict})
    return {name: hint for name, hint in hints.items() if hint is not NoneType and name != "return"}


def disagreements(fields: Any, hint: Any, path: str) -> set[str]:
    """Where the reply has a field that the model has not, another type, or a field less."""
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        if not isinstance(fields, list) or not fields:
            return {f"{path}: no list with something in it"}
        return set().union(*(disagreements(each, inner, path) for each in fields))
    if not issubclass(hint, DaraModel):
        return set() if type(fields) is hint else {f"{path}: {type(fields).__name__}, not {hint.__name__}"}
    known = {wire: annotations(hint)[attribute] for attribute, wire in wire_names(hint).items()}
    found = {f"{path}.{name}: unknown" for name in fields.keys() - known.keys()}
    found |= {f"{path}.{name}: missing" for name in known.keys() - fields.keys()}
    return found.union(*(disagreements(fields[name], known[name], f"{path}.{name}") for name in fields.keys() & known))


def test_the_walk_sees_what_is_wrong() -> None:
    """An unknown field, a wrong type and a missing field are all found."""
    model = models.DescribeInstanceTDEStatusResponseBody
    assert disagreements({"RequestId": "x", "TDEStatus": "Enabled"}, model, "reply") == set()
    assert disagreements({"RequestId": 1, "Tdestatus": "Enabled"}, model, "reply") == {
        "reply.RequestId: int, not str",
        "reply.Tdestatus: unknown",
        "reply.TDEStatus: missing",
    }


@pytest.mark.parametrize("api", CALLS)
def test_replies_are_as_the_vendors_models_expect(api: str) -> None:
    """Names, types and completeness, all the way down."""
    call = Caller(FAULTS)
    if api == "DescribeEncryptionKey":
        call.send("ModifyInstanceTDE", {"InstanceId": ONE} | CALLS["ModifyInstanceTDE"])
    answer = call.send(api, {"InstanceId": ONE} | CALLS[api])
    assert answer.status == 200, answer.fields
    wrong = disagreements(answer.fields, getattr(models, f"{api}ResponseBody"), api)
    excused = {f"{api}.Accounts.Account.{name}: missing" for name in NOT_SERVED.get(api, set())}
    assert wrong - excused == set()


def test_every_operation_of_the_vendors_is_walked() -> None:
    """What is served and has a model is in this suite."""
    modelled = {name for name in OPERATIONS if hasattr(models, f"{name}ResponseBody")}
    assert modelled == CALLS.keys()
