"""The operations that start a task: what they accept, and what the task will have changed."""

import re
from collections.abc import Mapping
from typing import Any

from batchmod.sim.calls import Call, instance_of
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import invalid, missing, refused
from batchmod.sim.instances import Change, Encryption, service_key

Reply = dict[str, Any]

# Name: 2 to 80, first a letter or a Chinese character, none of the listed ones. Password: 8 to 32, three of four classes;
# whether others than the listed specials are refused is documented nowhere: here they are.
NAME = re.compile(r'[A-Za-z一-鿿][^\s@/:="<>{\[\]}]{1,79}')
PASSWORD = re.compile(r"[A-Za-z0-9!@#$%^&*()_+\-=]{8,32}")
CLASSES = tuple(map(re.compile, ("[A-Z]", "[a-z]", "[0-9]", r"[!@#$%^&*()_+\-=]")))
MIN_CLASSES = 3
ALGORITHM = "AES-CTR-256"
ROLE = re.compile(r"acs:ram::\d+:role/AliyunRdsInstanceEncryptionDefaultRole", re.IGNORECASE)


def flag(params: Mapping[str, str], name: str) -> bool | None:
    """True or false in any case, as the vendor's clients write it; None when absent. Raises InvalidParameter."""
    match params.get(name, "").lower():
        case "":
            return None
        case "true":
            return True
        case "false":
            return False
        case _:
            raise invalid(name)


def valid_password(text: str) -> bool:
    return bool(PASSWORD.fullmatch(text)) and sum(bool(each.search(text)) for each in CLASSES) >= MIN_CLASSES


def modify_attribute(cloud: FakeCloud, call: Call) -> Reply:
    """A task that will set name, password and release protection, as far as given, has been accepted."""
    instance, params = instance_of(cloud, call), call.params
    change = Change(
        name=params.get("InstanceName") or None,
        password=params.get("NewPassword") or None,
        release_protection=flag(params, "InstanceReleaseProtection"),
    )
    protection_counts = change.release_protection is not None and not cloud.scenario.strict_protection
    if change.name is None and change.password is None and not protection_counts:
        raise missing("InstanceName or NewPassword")
    if change.name is not None and not NAME.fullmatch(change.name):
        raise invalid("InstanceName", "InvalidInstanceName.Malformed")
    if change.password is not None and not valid_password(change.password):
        raise invalid("NewPassword", "InvalidPassword.Malformed")
    if change.release_protection and instance.charge_type != "PostPaid":
        raise invalid("InstanceReleaseProtection")  # pay-as-you-go only; the real code is documented nowhere
    durations = cloud.scenario.durations
    seconds = durations.attributes if change.password is None else durations.password
    cloud.start(instance, change, seconds=seconds, status="Changing")
    return {}


def reset_password(cloud: FakeCloud, call: Call) -> Reply:
    """A task that will set the password of the default account has been accepted; there is no other account here.
    A name that is none is InvalidAccountName.Format: what the service says of an unknown one is documented nowhere.
    """
    instance = instance_of(cloud, call)
    name, password = call.required("AccountName"), call.required("AccountPassword")
    if instance.engine_version == "2.8":
        raise refused("InvalidEngineVersion.Format")
    if name != instance.id:
        raise refused("InvalidAccountName.Format")
    if not valid_password(password):
        raise refused("InvalidAccountPassword.Format")
    cloud.start(instance, Change(password=password), seconds=cloud.scenario.durations.password, status="Changing")
    return {}


def modify_tde(cloud: FakeCloud, call: Call) -> Reply:
    """A task that will encrypt the instance has been accepted. Repeated on an encrypted one, it changes nothing:
    what the service does then is documented nowhere.
    """
    instance, params = instance_of(cloud, call), call.params
    if call.required("TDEStatus") != "Enabled":
        raise invalid("TDEStatus")
    if params.get("EncryptionName", "") not in {"", ALGORITHM}:
        raise invalid("EncryptionName")
    role, key = params.get("RoleArn", ""), params.get("EncryptionKey", "")
    if role and not ROLE.fullmatch(role):
        raise invalid("RoleArn")
    if not instance.support_tde:
        raise refused("InstanceType.NotSupport")
    wanted = Encryption(key_id=key or service_key(instance.id), role_arn=role, algorithm=ALGORITHM, custom=bool(key))
    change = Change(encryption=None if instance.encryption else wanted)
    cloud.start(instance, change, seconds=cloud.scenario.durations.tde, status=cloud.scenario.tde_status)
    return {}
