"""What is asked of the Security Token Service, version 2015-04-01: whom a key belongs to, and a key for a role."""

import re
from dataclasses import dataclass
from datetime import datetime

from batchmod.cloud.answers import own_error
from batchmod.cloud.client import Client, Param
from batchmod.cloud.credentials import AccessKey
from batchmod.cloud.views import text_of
from batchmod.errors import UsageError
from batchmod.model.secret import Secret

ACCOUNT_ID = re.compile("[A-Za-z0-9]{1,64}")  # part of what secrets and lanes are keyed by


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a key belongs to, and how far our clock is ahead of the service's: seconds, good to about one."""

    account_id: str
    arn: str
    skew: float


async def identity(client: Client) -> Identity:
    """What STS says of the client's key (GetCallerIdentity, which needs no permission).

    Raises CallError; a reply without account or date is unreadable.
    """
    reply = await client.call("GetCallerIdentity", {})
    account_id, arn = text_of(reply.body.get("AccountId")), reply.body.get("Arn")
    if not account_id or not ACCOUNT_ID.fullmatch(account_id) or not isinstance(arn, str) or reply.date is None:
        raise own_error("UnreadableReply", "an identity without account, name or date")
    return Identity(account_id=account_id, arn=arn, skew=reply.received - reply.date)


async def assume_role(client: Client, role_arn: str, session: str, seconds: int) -> tuple[AccessKey, float]:
    """A key of the role for so many seconds, and when it expires, in seconds since the epoch by the service's clock.

    Raises CallError; a reply without a whole key and its end is unreadable. Nothing of it is in the error.
    """
    params: dict[str, Param] = {"RoleArn": role_arn, "RoleSessionName": session, "DurationSeconds": seconds}
    reply = await client.call("AssumeRole", params)
    found = reply.body.get("Credentials")
    made = _key(found) if isinstance(found, dict) else None
    if made is None:
        raise own_error("UnreadableReply", "a role without a whole key and its end")
    return made


def _key(found: dict[str, object]) -> tuple[AccessKey, float] | None:
    key_id, secret, token = (found.get(name) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken"))
    expiration = found.get("Expiration")
    if not isinstance(key_id, str) or not isinstance(secret, Secret) or not isinstance(token, Secret):
        return None
    try:
        end = datetime.fromisoformat(expiration if isinstance(expiration, str) else "")
        key = AccessKey(id=key_id, secret=secret, token=token)
    except (ValueError, UsageError):
        return None
    return (key, end.timestamp()) if end.tzinfo else None
