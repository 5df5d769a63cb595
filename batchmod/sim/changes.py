"""The two operations that change an instance: their rules, and the task that each starts."""

import re
from collections.abc import Mapping

from batchmod.sim.cloud import FakeCloud
from batchmod.sim.errors import invalid, missing, tde_not_supported
from batchmod.sim.instances import Change, Encryption, service_key

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


def modify_attribute(cloud: FakeCloud, params: Mapping[str, str]) -> None:
    """A task that will set name, password and release protection, as far as given, has been accepted."""
    instance = cloud.find(params["InstanceId"])
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


def modify_tde(cloud: FakeCloud, params: Mapping[str, str]) -> None:
    """A task that will encrypt the instance has been accepted. Repeated on an encrypted one, it changes nothing:
    what the service does then is documented nowhere.
    """
    instance = cloud.find(params["InstanceId"])
    if not params.get("TDEStatus"):
        raise missing("TDEStatus")
    if params["TDEStatus"] != "Enabled":
        raise invalid("TDEStatus")
    if params.get("EncryptionName", "") not in {"", ALGORITHM}:
        raise invalid("EncryptionName")
    role, key = params.get("RoleArn", ""), params.get("EncryptionKey", "")
    if role and not ROLE.fullmatch(role):
        raise invalid("RoleArn")
    if not instance.support_tde:
        raise tde_not_supported()
    wanted = Encryption(key_id=key or service_key(instance.id), role_arn=role, algorithm=ALGORITHM, custom=bool(key))
    change = Change(encryption=None if instance.encryption else wanted)
    cloud.start(instance, change, seconds=cloud.scenario.durations.tde, status=cloud.scenario.tde_status)
