"""Selectors for tests of several layers."""

from typing import Any

from batchmod.model.selectors import Selector

LISTS = (
    "resource_groups",
    "vpcs",
    "engine_versions",
    "editions",
    "architectures",
    "charge_types",
    "statuses",
    "names",
)


def a_selector(account: str = "prod", regions: tuple[str, ...] = ("cn-hangzhou",), **asked: Any) -> Selector:
    """One that asks for nothing but what is said."""
    nothing: dict[str, Any] = dict.fromkeys(LISTS, ())
    common = {
        "account": account,
        "regions": regions,
        "tags": {},
        "allow_empty": False,
        "where": "job.yaml:4:5",
        "path": "targets[0].select",
    }
    return Selector(**{**nothing, **common, **asked})
