"""The smallest RAM policy that a run of a plan needs, account by account. Pure.

Which resource each API is authorised on is the vendor's: instances for most of them, everything for
DescribeInstanceTDEStatus, a whole region for a list that names no ids.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from batchmod.engine.judging import Change
from batchmod.model.events import Kind
from batchmod.model.manifest import AttributesChange, TdeChange
from batchmod.model.plan import Lane, PlannedRow
from batchmod.model.secret import InstanceKey

LONGEST: Final = 6144  # characters of a custom policy, white space left out
ENCRYPTING: Final = {"StringEquals": {"kvstore:TDEStatus": "Enabled"}}

Statement = dict[str, Any]
Document = Mapping[str, Any]


def policy(
    rows: Sequence[PlannedRow],
    changes: Iterable[Change],
    listed: Collection[Lane],
    roles: Sequence[str],
    unlisted: Collection[InstanceKey] = (),
) -> Document:
    """The document for one account: its rows, the lanes of it that are listed whole, the roles that it assumes, the
    instances whose address has to be asked for.

    Instances are named one by one as long as the document is not longer than a policy may be, then by region.
    """
    changes = tuple(changes)
    exact = _document(rows, changes, listed, (), roles, unlisted)
    if len(json.dumps(exact, separators=(",", ":"))) <= LONGEST:
        return exact
    lanes = {row.lane for row in rows}
    return _document(rows, changes, {*listed, *lanes}, lanes, roles, unlisted)


def _document(
    rows: Sequence[PlannedRow],
    changes: Iterable[Change],
    read_whole: Collection[Lane],
    changed_whole: Collection[Lane],
    roles: Sequence[str],
    unlisted: Collection[InstanceKey],
) -> Document:
    reads, tde = ["kvstore:DescribeInstances"], False
    for change in changes:
        match change:
            case AttributesChange(release_protection=bool()):
                reads.append("kvstore:DescribeInstanceAttribute")
            case TdeChange():
                tde = bool(rows)
                reads += ["kvstore:DescribeEncryptionKey"] if change.key_id is not None else []
            case _:
                pass
    read = {(lane, "*") for lane in read_whole} | _instances(rows, read_whole)
    sent = [row for row in rows if row.will_send]
    attributes = _instances([row for row in sent if row.kind is not Kind.TDE], changed_whole)
    encrypted = _instances([row for row in sent if row.kind is Kind.TDE], changed_whole)
    addressed = _instances([row for row in rows if row.key in unlisted], changed_whole)
    statements = [
        _allow(reads, _arns(read)),
        _allow(["kvstore:DescribeDBInstanceNetInfo"], _arns(addressed)),
        _allow(["kvstore:DescribeInstanceTDEStatus"], ["*"] if tde else []),
        _allow(["kvstore:ModifyInstanceAttribute"], _arns(attributes)),
        _allow(["kvstore:ModifyInstanceTDE"], _arns(encrypted)) | {"Condition": ENCRYPTING},
        _allow(["sts:AssumeRole"], list(roles)),
    ]
    return {"Version": "1", "Statement": [statement for statement in statements if statement["Resource"]]}


def _allow(actions: list[str], resources: list[str]) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _instances(rows: Iterable[PlannedRow], whole: Collection[Lane]) -> set[tuple[Lane, str]]:
    """The rows' instances by lane; `*` for all of a lane that is whole."""
    return {(row.lane, "*" if row.lane in whole else row.instance_id) for row in rows}


def _arns(names: Iterable[tuple[Lane, str]]) -> list[str]:
    return [f"acs:kvstore:{lane.region}:{lane.account_id}:instance/{name}" for lane, name in sorted(names)]
