"""Plan files for the tests of their reading and of the commands that take them; nothing here asks a service."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from journal_records import START, a_row

from batchmod.model.events import Kind, Phase
from batchmod.model.loading import load
from batchmod.model.plan import FailedAccount, Plan, PlannedRow
from batchmod.model.planfile import PlanFile

MANIFEST = """version: 1
name: rotate-prod
targets: [{{id: r-bp0000, region: cn-hangzhou}}]
changes: [{{password: {password}}}]
retry: {{fence: 16m}}
"""
ROWS = (
    a_row(0, kind=Kind.ATTRIBUTES, before={"name": "old"}, after={"name": "n\u00e4w\n\ud800"}, group="pay"),
    a_row(1, kind=Kind.TDE, before={"status": "Disabled"}, after={"status": "Enabled"}, wave=2),
    a_row(2, verdict=Phase.FAILED, wave=None, error_code="InvalidInstanceId.NotFound"),
    a_row(3, account="eu", account_id="", verdict=Phase.NOT_STARTED, wave=None, reason="account eu: no"),
)
FAILED = FailedAccount(account="eu", code="NoCredentials", reason="none", passing=True)


def plan_file(
    folder: Path, rows: Sequence[PlannedRow] = ROWS, *, password: str = "{generate: {}}", **other: Any
) -> PlanFile:
    """A plan of a manifest that is written into the folder."""
    manifest = folder / "job.yaml"
    manifest.write_text(MANIFEST.format(password=password))
    loaded = load(manifest)
    plan = Plan(
        name="rotate-prod",
        manifest_digest=loaded.digest,
        rows=tuple(rows),
        accounts_failed=(FAILED,),
        policies={"prod": {"Version": "1", "Statement": []}},
        observed_at=START,
    )
    known: dict[str, Any] = {
        "plan": plan,
        "manifest": loaded.normalised,
        "directory": folder,
        "accounts": {"prod": "1234567890123456"},
        "password_hmac": "ab" * 32,
    }
    return PlanFile(**known | other)


def written(file: PlanFile, path: Path) -> bytes:
    path.write_text("".join(file.document()), encoding="ascii")
    return path.read_bytes()
