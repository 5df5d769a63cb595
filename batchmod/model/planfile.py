"""A plan as a file: one JSON document that nobody can edit without its first line saying so. Pure but for `read`.

The first line holds the SHA-256 of every byte after it; each row is one line.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from io import BufferedReader
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from batchmod.errors import UsageError
from batchmod.model.events import Kind, Phase
from batchmod.model.loading import restore
from batchmod.model.manifest import Manifest
from batchmod.model.plan import FailedAccount, Plan
from batchmod.model.planrow import row_data, row_of

SCHEMA: Final = "batchmod.plan/2"
VERDICTS: Final = (
    Phase.PLANNED,
    Phase.UNCHANGED,
    Phase.SKIPPED,
    Phase.FAILED,
    Phase.UNRESOLVED,
    Phase.NOT_STARTED,
)  # what a plan can say of a row
FORFEITS: Final = (  # of an encrypted instance, for good; the vendor's page on enabling TDE
    ("any", "restoring from the recycle bin; backup files that are downloaded cannot be decrypted"),
    ("classic", "migration to another zone, offline key analysis, becoming a distributed instance, DTS"),
    ("cloud-native", "offline key analysis"),
)
_HEAD: Final = frozenset(
    [
        "name",
        "manifest_digest",
        "digest",
        "observed_at",
        "directory",
        "manifest",
        "password_hmac",
        "accounts",
        "accounts_failed",
        "counts",
        "forfeits",
        "policies",
    ]
)
_ROWS: Final = b'"rows": [\n'  # no text in JSON has a line end in it: this stands once
_END: Final = b"]}\n"
_JSON: Final = json.JSONEncoder(default=dict).encode
_FIRST: Final = re.compile(rb'\{"schema": "' + re.escape(SCHEMA.encode()) + rb'", "sha256": "([0-9a-f]{64})",')
_OTHER: Final = re.compile(rb'\{"schema": "(batchmod\.plan/[0-9]{1,9})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan, and all that is needed to apply it without its manifest."""

    plan: Plan
    manifest: str  # normalised, as JSON: it names secrets, holds none
    directory: Path  # absolute; what relative paths in the manifest start from
    accounts: dict[str, str]  # the ids of those that could be used, by name
    password_hmac: str | None = None  # of a chosen password, under a key derived from the age key

    def document(self) -> Iterator[str]:
        """The file, piece by piece. ASCII: what is hashed is what is written, in every locale."""
        head = self._head()
        yield f'{{"schema": "{SCHEMA}", "sha256": "{self._seal(head)}",\n'
        yield from self._body(head)

    @property
    def seal(self) -> str:
        """Hex SHA-256 of every byte after the first line."""
        return self._seal(self._head())

    def restored(self) -> Manifest:
        return restore(self.manifest)

    def _seal(self, head: Mapping[str, Any]) -> str:
        sha = hashlib.sha256()
        for piece in self._body(head):
            sha.update(piece.encode("ascii"))
        return sha.hexdigest()

    def _body(self, head: Mapping[str, Any]) -> Iterator[str]:
        for name, value in head.items():
            yield f'"{name}": {_JSON(value)},\n'
        yield _ROWS.decode()
        for place, row in enumerate(self.plan.rows):
            yield (",\n" if place else "") + _JSON(row_data(row))
        yield "\n" * bool(self.plan.rows) + _END.decode()

    def _head(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "name": plan.name,
            "manifest_digest": plan.manifest_digest,
            "digest": plan.digest,
            "observed_at": _moment(plan.observed_at),
            "directory": str(self.directory),
            "manifest": json.loads(self.manifest),
            "password_hmac": self.password_hmac,
            "accounts": self.accounts,
            "accounts_failed": [asdict(one) for one in plan.accounts_failed],
            "counts": _counts(plan),
            "forfeits": dict(FORFEITS) if encrypted(plan) else {},
            "policies": plan.policies,
        }


def encrypted(plan: Plan) -> int:
    """How many rows of the plan would encrypt an instance."""
    return sum(row.will_send for row in plan.rows if row.kind is Kind.TDE)


def read_plan_file(path: Path) -> tuple[PlanFile, str]:
    """The plan in this file, and its seal. UsageError when a byte of it is not as it was written, or it is another
    version's.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path, file: BufferedReader) -> tuple[PlanFile, str]:
    first = file.readline().removesuffix(b"\n")
    start = file.tell()
    found, other = _FIRST.fullmatch(first), _OTHER.match(first)
    if found is None and other is not None and other[1].decode() != SCHEMA:
        raise UsageError(f"{path}: written by another version of batchmod ({other[1].decode()}): make a new plan")
    if found is None or hashlib.file_digest(file, "sha256").hexdigest() != found[1].decode():
        raise UsageError(f"{path}: not as it was written: edited, or not whole: make a new plan")
    file.seek(start)
    try:
        return _parsed(file, found[1].decode()), found[1].decode()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:  # sealed by somebody else
        raise UsageError(f"{path}: not a plan that batchmod wrote: make a new plan") from error


def _parsed(body: BufferedReader, seal: str) -> PlanFile:
    """Row by row, for there may be many.

    Raises ValueError, or what comes of using a value of another type, for what is no plan or does not agree.
    """
    sha = hashlib.sha256()
    lines = _hashed(body, sha)
    data = json.loads(b"{" + b"".join(takewhile(lambda line: line != _ROWS, lines)).removesuffix(b",\n") + b"}")
    _require(data.keys() == _HEAD)
    rows = tuple(row_of(json.loads(line.rstrip(b",\n"))) for line in iter(partial(next, lines, b""), _END))
    _require(next(lines, None) is None and sha.hexdigest() == seal)  # else it was changed since it was looked at
    plan = Plan(
        name=data["name"],
        manifest_digest=data["manifest_digest"],
        rows=rows,
        accounts_failed=tuple(FailedAccount(**one) for one in data["accounts_failed"]),
        policies=data["policies"],
        observed_at=datetime.fromisoformat(data["observed_at"]).timestamp(),
    )
    file = PlanFile(
        plan=plan,
        manifest=json.dumps(data["manifest"], sort_keys=True),
        directory=Path(data["directory"]),
        accounts=data["accounts"],
        password_hmac=data["password_hmac"],
    )
    _require(plan.digest == data["digest"] and _counts(plan) == data["counts"])
    _require(file.restored().name == plan.name and file.directory.is_absolute())
    _require([row.seq for row in rows] == list(range(len(rows))))
    _require(all(file.accounts[row.account] == row.account_id and row.wave for row in rows if row.will_send))
    return file


def _hashed(lines: Iterable[bytes], sha: "hashlib._Hash") -> Iterator[bytes]:
    for line in lines:
        sha.update(line)
        yield line


def _require(holds: object) -> None:
    if not holds:
        raise ValueError("the parts of the plan do not agree")


def _counts(plan: Plan) -> dict[str, int]:
    verdicts = Counter(row.verdict for row in plan.rows)
    return {verdict.value: verdicts[verdict] for verdict in VERDICTS}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
