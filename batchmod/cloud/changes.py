"""How each kind of change is said to the service, and how it is read back."""

from collections.abc import Mapping
from typing import Final

from batchmod.cloud.answers import own_error
from batchmod.cloud.client import Before, Client, Param
from batchmod.cloud.inventory import Inventory
from batchmod.cloud.views import Instance
from batchmod.errors import CallError, Verdict
from batchmod.model.events import Kind
from batchmod.model.plan import PlannedRow, Value, Values
from batchmod.model.secret import Secret

API: Final[Mapping[Kind, str]] = {
    Kind.ATTRIBUTES: "ModifyInstanceAttribute",
    Kind.PASSWORD: "ModifyInstanceAttribute",
    Kind.TDE: "ModifyInstanceTDE",
}


async def send(client: Client, row: PlannedRow, secret: Secret | None, *, before: Before) -> str:
    """Asks once for what the row wants and returns the RequestId of the reply: accepted, and not yet done.

    `secret` is the new password of a password row, None for the others. `before` is awaited before each request, when the attempt
    may go out and nothing of it has. Raises CallError; its verdict is about the whole attempt.
    """
    params = _params(row, secret)
    try:
        reply = await client.call(API[row.kind], params, before=before)
    except CallError as error:
        # One page of the documentation demands a name or a password, others let release protection go alone.
        if not error.code.startswith("Missing") or set(row.after) != {"release_protection"}:
            raise
        name = await _present_name(client, row, error)
        reply = await client.call(API[row.kind], {**params, "InstanceName": name}, before=before)
    return reply.request_id


async def read_back(inventory: Inventory, row: PlannedRow, instance: Instance) -> Values:
    """The present values of what the row wants, as far as the service tells them; nothing for a password.

    `instance` is a fresh look at it. Raises CallError.
    """
    match row.kind:
        case Kind.ATTRIBUTES:
            return await _attributes(inventory, row, instance)
        case Kind.PASSWORD:
            return {}
        case Kind.TDE:
            return await _tde(inventory, row)


def _params(row: PlannedRow, secret: Secret | None) -> dict[str, Param]:
    if (secret is not None) != (row.kind is Kind.PASSWORD):
        raise ValueError("a password row is sent with its secret, and no other row with one")
    target: dict[str, Param] = {"InstanceId": row.instance_id, "RegionId": row.region}
    after = row.after
    match row.kind:
        case Kind.ATTRIBUTES:
            return target | {
                "InstanceName": after.get("name"),
                "InstanceReleaseProtection": after.get("release_protection"),
            }
        case Kind.PASSWORD:
            return target | {"NewPassword": secret}
        case Kind.TDE:
            return target | {
                "TDEStatus": "Enabled",
                "EncryptionName": after.get("algorithm"),
                "EncryptionKey": after.get("key_id"),
                "RoleArn": after.get("role_arn"),
            }


async def _present_name(client: Client, row: PlannedRow, refusal: CallError) -> str:
    """The name that the instance has now: the plan's may be old, and sending it would undo somebody's rename.

    Raises the refusal when there is none. A look that is lost leaves nothing in doubt, for nothing else was sent.
    """
    try:
        instance = (await Inventory(client).look([row.instance_id]))[row.instance_id]
    except CallError as error:
        if error.verdict is not Verdict.LOST:
            raise
        raise CallError(Verdict.NOT_SENT, code=error.code, message=error.message, status=error.status) from error
    if not isinstance(instance, Instance) or instance.name is None:
        raise refusal
    return instance.name


async def _attributes(inventory: Inventory, row: PlannedRow, instance: Instance) -> Values:
    values: dict[str, Value] = {}
    if "name" in row.after:
        values["name"] = instance.name
    if "release_protection" in row.after:
        details = await inventory.details(row.instance_id)
        if details is None:
            raise own_error("UnreadableReply", "no attributes of an instance that was just listed")
        values["release_protection"] = details.release_protection
    return values


async def _tde(inventory: Inventory, row: PlannedRow) -> Values:
    enabled = (await inventory.tde(row.instance_id)).enabled
    values: dict[str, Value] = {"status": "Enabled" if enabled else "Disabled"}
    if enabled and row.after.get("key_id") is not None:
        key = await inventory.encryption_key(row.instance_id)
        values |= {"key_id": key.key_id, "role_arn": key.role_arn, "algorithm": key.algorithm}
    return {name: value for name, value in values.items() if name in row.after}
