"""Every operation that is served, by name and version: what it needs to be allowed, and the fields of its reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchmod.sim.calls import Call, Product, instance_arn
from batchmod.sim.changes import modify_attribute, modify_tde, reset_password
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.kms import (
    create_secret,
    delete_secret,
    describe_secret,
    get_secret_value,
    list_secret_version_ids,
    list_secrets,
    put_secret_value,
    update_secret_version_stage,
    wants_secret,
    wants_secrets,
)
from batchmod.sim.logins import describe_accounts
from batchmod.sim.ram import Ask
from batchmod.sim.reads import (
    authorized,
    describe_attribute,
    describe_key,
    describe_keys,
    describe_tde,
    net_info,
    regions,
)
from batchmod.sim.selection import describe_instances, wants_listed
from batchmod.sim.sts import assume_role, caller_identity, wants_role
from batchmod.sim.tags import list_tag_resources, tag_resources, wants_tagged

Reply = dict[str, Any]


def wants_instance(cloud: FakeCloud, call: Call) -> list[Ask]:
    return [Ask(action=call.action, resource=instance_arn(cloud, call, call.required("InstanceId")))]


def wants_tde(cloud: FakeCloud, call: Call) -> list[Ask]:
    """The one operation that carries a condition key."""
    context = {"kvstore:TDEStatus": call.params["TDEStatus"]} if call.params.get("TDEStatus") else {}
    return [replace(ask, context=context) for ask in wants_instance(cloud, call)]


def wants_all(_: FakeCloud, call: Call) -> list[Ask]:
    """An operation that RAM cannot limit to resources."""
    return [Ask(action=call.action, resource="*")]


def wants_nothing(_: FakeCloud, __: Call) -> list[Ask]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    run: Callable[[FakeCloud, Call], Reply]
    needs: Callable[[FakeCloud, Call], list[Ask]] = wants_instance
    product: Product = Product.KVSTORE


OPERATIONS: Mapping[str, Operation] = {
    "ModifyInstanceAttribute": Operation(run=modify_attribute),
    "ModifyInstanceTDE": Operation(run=modify_tde, needs=wants_tde),
    "ResetAccountPassword": Operation(run=reset_password),
    "DescribeInstances": Operation(run=describe_instances, needs=wants_listed),
    "DescribeInstanceAttribute": Operation(run=describe_attribute),
    "DescribeInstanceTDEStatus": Operation(run=describe_tde, needs=wants_all),
    "DescribeEncryptionKey": Operation(run=describe_key),
    "DescribeEncryptionKeyList": Operation(run=describe_keys),
    "CheckCloudResourceAuthorized": Operation(run=authorized, needs=wants_all),
    "DescribeDBInstanceNetInfo": Operation(run=net_info),
    "DescribeAccounts": Operation(run=describe_accounts),
    "DescribeRegions": Operation(run=regions, needs=wants_all),
    "ListTagResources": Operation(run=list_tag_resources, needs=wants_tagged),
    "TagResources": Operation(run=tag_resources, needs=wants_tagged),
    "AssumeRole": Operation(run=assume_role, needs=wants_role, product=Product.STS),
    "GetCallerIdentity": Operation(run=caller_identity, needs=wants_nothing, product=Product.STS),
    "CreateSecret": Operation(run=create_secret, needs=wants_secret, product=Product.KMS),
    "PutSecretValue": Operation(run=put_secret_value, needs=wants_secret, product=Product.KMS),
    "GetSecretValue": Operation(run=get_secret_value, needs=wants_secret, product=Product.KMS),
    "ListSecretVersionIds": Operation(run=list_secret_version_ids, needs=wants_secret, product=Product.KMS),
    "UpdateSecretVersionStage": Operation(run=update_secret_version_stage, needs=wants_secret, product=Product.KMS),
    "ListSecrets": Operation(run=list_secrets, needs=wants_secrets, product=Product.KMS),
    "DescribeSecret": Operation(run=describe_secret, needs=wants_secret, product=Product.KMS),
    "DeleteSecret": Operation(run=delete_secret, needs=wants_secret, product=Product.KMS),
}
VERSIONS: Mapping[Product, str] = {
    Product.KVSTORE: "2015-01-01",
    Product.STS: "2015-04-01",
    Product.KMS: "2016-01-20",
}


def authorize(cloud: FakeCloud, call: Call) -> None:
    """The caller may do this; raises Forbidden.RAM or NoPermission, or what a missing parameter is answered with."""
    for ask in OPERATIONS[call.api].needs(cloud, call):
        cloud.ram.demand(call.principal, ask)


def run(cloud: FakeCloud, call: Call) -> Reply:
    """The operation has been carried out; raises a Refusal."""
    return OPERATIONS[call.api].run(cloud, call)
