"""Several accounts: their profiles in the operator's home, and what the simulator says of each."""

import json
import os
from pathlib import Path
from typing import Any

from whole_support import Bench

A, B, C = "1000000000000001", "1000000000000002", "1000000000000003"
THREE: dict[str, Any] = {"accounts": {A: {}, B: {}, C: {}}, "regions": ["cn-hangzhou", "cn-shanghai"]}
PROFILES: dict[str, Any] = {"a": {"profile": "a"}, "b": {"profile": "b"}, "c": {"profile": "c"}}
RENAME: dict[str, Any] = {"attributes": {"name": "new-{id}"}}


def write_profiles(b: Bench, /, **ids: str) -> None:
    """A profile of the vendor CLI for each account of the simulator, by default a, b and c."""
    names = ids or {"a": A, "b": B, "c": C}
    profiles = [
        {
            "name": name,
            "mode": "AK",
            "access_key_id": b.sim.accounts[account].access_key_id,
            "access_key_secret": b.sim.accounts[account].access_key_secret,
        }
        for name, account in names.items()
        if account in b.sim.accounts
    ]
    path = Path(os.environ["HOME"]) / ".aliyun" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"current": "a", "profiles": profiles}), encoding="utf-8")


def every(*names: str, regions: tuple[str, ...] = ("cn-hangzhou", "cn-shanghai"), **asked: Any) -> list[dict[str, Any]]:
    """A selector for each account."""
    return [{"select": {"account": name, "regions": list(regions), "tags": {"env": "prod"}, **asked}} for name in names]


def answered(b: Bench, api: str) -> dict[str, int]:
    """How often an API was answered how."""
    found: dict[str, int] = b.sim.cloud.state()["calls"].get(api, {})
    return found
