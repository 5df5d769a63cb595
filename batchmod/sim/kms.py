"""The operations of KMS on generic secrets: parameters in, the fields of the reply out."""

import json
from datetime import UTC, datetime
from typing import Any

from batchmod.sim.calls import Call
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import invalid
from batchmod.sim.paging import page_of, whole_number
from batchmod.sim.ram import Ask
from batchmod.sim.secrets import KmsSecret, KmsSecrets, Version

Reply = dict[str, Any]
PAGE, MAX_PAGE = 10, 100
DAY = 86_400.0
OF_A_SECRET = ("Description", "EncryptionKeyId", "DKMSInstanceId")


def wants_secret(cloud: FakeCloud, call: Call) -> list[Ask]:
    return [Ask(action=call.action, resource=_arn(cloud, call, _name(call)))]


def wants_secrets(cloud: FakeCloud, call: Call) -> list[Ask]:
    """A list is of all secrets."""
    return [Ask(action=call.action, resource=_arn(cloud, call, "*"))]


def create_secret(cloud: FakeCloud, call: Call) -> Reply:
    if call.params.get("SecretType", "Generic") != "Generic":
        raise invalid("SecretType")
    now, first = cloud.now(), _version(cloud, call)
    about = {name: call.params.get(name, "") for name in OF_A_SECRET}
    secret = KmsSecret(name=_name(call), created=now, updated=now, about=about, tags=_tags(call))
    _vault(cloud, call).create(secret, first)
    return {
        "Arn": _arn(cloud, call, secret.name),
        "AutomaticRotation": "Disabled",
        "DKMSInstanceId": about["DKMSInstanceId"],
        "SecretName": secret.name,
        "SecretType": "Generic",
        "VersionId": first.id,
    }


def put_secret_value(cloud: FakeCloud, call: Call) -> Reply:
    put = _vault(cloud, call).put(_name(call), _version(cloud, call))
    return {"SecretName": _name(call), "VersionId": put.id, "VersionStages": {"VersionStage": list(put.labels)}}


def get_secret_value(cloud: FakeCloud, call: Call) -> Reply:
    """By its id, else by its label, else the current one."""
    secret = _vault(cloud, call).find(_name(call), cloud.now())
    wanted, label = call.params.get("VersionId"), call.params.get("VersionStage") or "ACSCurrent"
    holder = secret.holder(label)
    version = secret.version(wanted or (holder.id if holder else ""))
    return {
        "AutomaticRotation": "Disabled",
        "CreateTime": _time(version.created),
        "SecretData": version.data,
        "SecretDataType": version.data_type,
        "SecretName": secret.name,
        "SecretType": "Generic",
        "VersionId": version.id,
        "VersionStages": {"VersionStage": list(version.labels)},
    }


def list_secret_version_ids(cloud: FakeCloud, call: Call) -> Reply:
    """Those with a label; all of them with IncludeDeprecated."""
    secret = _vault(cloud, call).find(_name(call), cloud.now())
    all_of_them = _flag(call, "IncludeDeprecated")
    found = [each for each in secret.versions.values() if each.labels or all_of_them]
    page = page_of(found, call.params, default=PAGE, high=MAX_PAGE)
    versions = [
        {
            "CreateTime": _time(each.created),
            "VersionId": each.id,
            "VersionStages": {"VersionStage": list(each.labels)},
        }
        for each in page.items
    ]
    return {**page.numbers, "SecretName": secret.name, "VersionIds": {"VersionId": versions}}


def update_secret_version_stage(cloud: FakeCloud, call: Call) -> Reply:
    to, source = call.params.get("MoveToVersion", ""), call.params.get("RemoveFromVersion", "")
    label = call.required("VersionStage")
    _vault(cloud, call).move(_name(call), label, to=to, source=source, now=cloud.now())
    return {"SecretName": _name(call)}


def list_secrets(cloud: FakeCloud, call: Call) -> Reply:
    found = _vault(cloud, call).named(_prefixes(call), cloud.now())
    page = page_of(found, call.params, default=PAGE, high=MAX_PAGE)
    tagged = _flag(call, "FetchTags")
    secrets = [{**_about(each), **({"Tags": {"Tag": each.tags}} if tagged else {})} for each in page.items]
    return {**page.numbers, "SecretList": {"Secret": secrets}}


def describe_secret(cloud: FakeCloud, call: Call) -> Reply:
    secret = _vault(cloud, call).describe(_name(call), cloud.now())
    tags = {"Tags": {"Tag": secret.tags}} if _flag(call, "FetchTags") else {}
    arn = _arn(cloud, call, secret.name)
    return {**_about(secret), **secret.about, **tags, "Arn": arn, "AutomaticRotation": "Disabled"}


def delete_secret(cloud: FakeCloud, call: Call) -> Reply:
    """After the recovery window, or at once and for good."""
    now = cloud.now()
    at_once = _flag(call, "ForceDeleteWithoutRecovery")
    at = None if at_once else now + DAY * whole_number(call.params, "RecoveryWindowInDays", default=30, high=30)
    secret = _vault(cloud, call).delete(_name(call), now=now, at=at)
    return {"SecretName": secret.name, "PlannedDeleteTime": _time(now if at is None else at)}


def _vault(cloud: FakeCloud, call: Call) -> KmsSecrets:
    return cloud.secrets_of(call.account_id, _region(cloud, call))


def _region(cloud: FakeCloud, call: Call) -> str:
    """The endpoint's; at the one of all regions the one that is named, else the first."""
    return call.region or call.params.get("RegionId") or cloud.regions[0]


def _name(call: Call) -> str:
    """Of a secret that is named by itself or by its ARN."""
    return call.required("SecretName").partition(":secret/")[2] or call.required("SecretName")


def _arn(cloud: FakeCloud, call: Call, name: str) -> str:
    return f"acs:kms:{_region(cloud, call)}:{call.account_id}:secret/{name}"


def _version(cloud: FakeCloud, call: Call) -> Version:
    return Version(
        id=call.required("VersionId"),
        data=call.required("SecretData"),
        data_type=call.params.get("SecretDataType") or "text",
        created=cloud.now(),
        labels=_texts(call, "VersionStages"),
    )


def _about(secret: KmsSecret) -> Reply:
    gone = {"PlannedDeleteTime": _time(secret.deleted_at)} if secret.deleted_at is not None else {}
    return {
        "CreateTime": _time(secret.created),
        "SecretName": secret.name,
        "SecretType": "Generic",
        "UpdateTime": _time(secret.updated),
        **gone,
    }


def _prefixes(call: Call) -> list[str]:
    """Of Filters: [{"Key": "SecretName", "Values": […]}]."""
    found: list[str] = []
    for each in _json_list(call, "Filters"):
        values = each.get("Values") if isinstance(each, dict) else None
        if not isinstance(values, list) or each.get("Key") != "SecretName":
            raise invalid("Filters")
        found += [str(value) for value in values]
    return found


def _tags(call: Call) -> list[dict[str, str]]:
    found = []
    for each in _json_list(call, "Tags"):
        if not isinstance(each, dict) or not isinstance(each.get("TagKey"), str):
            raise invalid("Tags")
        found.append({"TagKey": each["TagKey"], "TagValue": str(each.get("TagValue", ""))})
    return found


def _texts(call: Call, name: str) -> list[str]:
    found = _json_list(call, name)
    if not all(isinstance(each, str) for each in found):
        raise invalid(name)
    return found


def _json_list(call: Call, name: str) -> list[Any]:
    """The list that a parameter is the JSON of; empty without it. Raises InvalidParameter."""
    try:
        found = json.loads(call.params.get(name) or "[]")
    except ValueError as error:
        raise invalid(name) from error
    if not isinstance(found, list):
        raise invalid(name)
    return found


def _flag(call: Call, name: str) -> bool:
    text = (call.params.get(name) or "false").lower()
    if text not in {"true", "false"}:
        raise invalid(name)
    return text == "true"


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
