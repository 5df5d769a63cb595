"""DescribeAccounts: the one account that every instance has. It is named like the instance."""

from typing import Any

from batchmod.sim.calls import Call, instance_of
from batchmod.sim.cloud import FakeCloud
from batchmod.sim.instances import Instance
from batchmod.sim.paging import page_of


def describe_accounts(cloud: FakeCloud, call: Call) -> dict[str, Any]:
    """While a task holds the instance the account is Unavailable."""
    instance = instance_of(cloud, call)
    named, part = call.params.get("AccountName") or instance.id, call.params.get("SearchAccountName") or ""
    found = [_account(cloud, instance)] if named == instance.id and part in instance.id else []
    page = page_of(found, call.params)
    return page.numbers | {"Accounts": {"Account": page.items}}


def _account(cloud: FakeCloud, instance: Instance) -> dict[str, Any]:
    available = cloud.status(instance) == "Normal"
    return {
        "InstanceId": instance.id,
        "AccountName": instance.id,
        "AccountType": "Normal",
        "AccountStatus": "Available" if available else "Unavailable",
        "AccountDescription": "",
        "DatabasePrivileges": {"DatabasePrivilege": [{"AccountPrivilege": "RoleReadWrite"}]},
    }
