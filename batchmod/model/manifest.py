"""A manifest as it was written, checked key by key. No file is read here: see loading."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from batchmod.model.accounts import Accounts, ProfileAccount, RoleAccount
from batchmod.model.changelist import Change, each_kind_once
from batchmod.model.changes import AttributesChange, Generate, PasswordChange, TdeChange
from batchmod.model.consumers import Consumers
from batchmod.model.endpoints import Endpoints
from batchmod.model.fields import Account, FilePath, InstanceId, Listed, Region, Section, matches
from batchmod.model.notify import Notifies
from batchmod.model.rollout import Rollout
from batchmod.model.selectors import SelectEntry
from batchmod.model.settings import (
    FENCE,
    Defaults,
    Limits,
    ProofSettings,
    ReportSettings,
    Retry,
    Timeouts,
)
from batchmod.model.stores import EmbeddedSettings, SecretsEntry
from batchmod.model.templates import Rename, var_problem

__all__ = [
    "FENCE",
    "AttributesChange",
    "FileEntry",
    "Generate",
    "Manifest",
    "PasswordChange",
    "ProfileAccount",
    "Rename",
    "RoleAccount",
    "SelectEntry",
    "TargetEntry",
    "TdeChange",
]

NAME = "[a-z0-9][a-z0-9-]{0,62}"
_GLOB = r"[A-Za-z0-9_*?\[\]!-]{1,128}"


def _version(value: object) -> int:
    if type(value) is int and value == 1:
        return value
    written = "a number: write version: 1, without quotes" if value == "1" else "1: the only version there is"
    raise ValueError(f"must be {written}")


def _var(name: str) -> str:
    if problem := var_problem(name):
        raise ValueError(problem)
    return name


def _value(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("is empty, or has a character that cannot be printed")
    return text


class TargetEntry(Section):
    """One instance."""

    id: Annotated[InstanceId, Field(description="The instance id.")]
    region: Annotated[
        Region | None, Field(description="Its region; without it: defaults.region.", examples=["cn-hangzhou"])
    ] = None
    account: Annotated[
        Account | None, Field(description="Its account; without it: defaults.account.", examples=["prod"])
    ] = None
    vars: Annotated[
        dict[Annotated[str, AfterValidator(_var)], Annotated[str, AfterValidator(_value)]],
        Field(
            description="What templates can use as {placeholders}, beside the known ones.", examples=[{"team": "pay"}]
        ),
    ] = Field(default_factory=dict)


class FileEntry(Section):
    """Many instances: a CSV file with a header, or a file with one JSON object a line."""

    from_: Annotated[
        FilePath,
        Field(
            alias="from",
            description="A .csv or .jsonl file: id, region, account; all else are vars.",
            examples=["fleet.csv"],
        ),
    ]


@dataclass(frozen=True, slots=True)
class _OrId:
    """An entry may be written as its id alone."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        return {"anyOf": [handler.resolve_ref_schema(written)["properties"]["id"], written]}


def _entry(value: object) -> object:
    match value:
        case str():
            return {"id": value}
        case dict() if "from" in value and len(value) > 1:
            raise ValueError("from stands alone: region and vars of its targets come from the file")
        case dict() if "select" in value and len(value) > 1:
            raise ValueError("select stands alone: account and regions of its targets stand below it")
        case dict() | TargetEntry() | FileEntry() | SelectEntry():
            return value
        case _:
            raise ValueError("must be an instance id as text, {id: …}, {from: file} or {select: {…}}")


def _entry_tag(value: Any) -> str:
    if isinstance(value, FileEntry) or (isinstance(value, dict) and "from" in value):
        return "\0file"
    if isinstance(value, SelectEntry) or (isinstance(value, dict) and "select" in value):
        return "\0select"
    return "\0entry"


Entry = Annotated[
    Annotated[TargetEntry, _OrId(), Tag("\0entry")]
    | Annotated[FileEntry, Tag("\0file")]
    | Annotated[SelectEntry, Tag("\0select")],
    Discriminator(_entry_tag),
    BeforeValidator(_entry),
]


class Manifest(Section):
    """All of it, but for its explicit targets.

    `load` takes those out one by one as it reads them: of `targets` only files and selections stay, and none may be left.
    So a manifest that is kept (by the journal, by a plan file) does not grow with them: who the targets are stands in the
    rows of the plan. One that an earlier release kept has them all, and is as good.
    """

    version: Annotated[
        int,
        BeforeValidator(_version),
        WithJsonSchema({"type": "integer", "const": 1}),
        Field(description="Of this format."),
    ]
    name: Annotated[
        str,
        *matches(NAME, "must be a-z, 0-9 and -, at most 63, not beginning with -", "rotate-prod"),
        Field(description="The campaign; its runs and reports are named after it."),
    ]
    accounts: Annotated[
        Accounts,
        Field(
            description="Where the credentials of each account come from; default is always there.",
            examples=[{"prod": {"profile": "prod"}}],
        ),
    ] = Field(default_factory=dict)
    endpoints: Annotated[
        Endpoints,
        Field(
            description="For a region, or for sts: a URL; or, for a region, vpc: its host inside a VPC.",
            examples=[{"cn-hangzhou": "vpc"}],
        ),
    ] = Field(default_factory=dict)
    defaults: Annotated[Defaults, Field(description="What a target has that says nothing else.")] = Defaults()
    targets: Annotated[
        tuple[Entry, ...],
        Listed,
        Field(
            description="The instances.",
            examples=[["r-bp1zxszhcgatnx"], [{"from": "fleet.csv"}], [{"select": {"tags": {"env": "prod"}}}]],
            json_schema_extra={"minItems": 1},
        ),
    ]  # that there is one is for `load` to see
    exclude: Annotated[
        tuple[Annotated[str, *matches(_GLOB, "must be an instance id; * stands for any text", "r-bp1test*")], ...],
        Listed,
        Field(
            description="Targets to leave out: ids, or patterns with *.", examples=[["r-bp1zxszhcgatnx", "r-bp1test*"]]
        ),
    ] = ()
    changes: Annotated[
        tuple[Change, ...],
        Listed,
        Field(
            min_length=1,
            description="What is changed on each target, in this order; each kind once.",
            examples=[[{"attributes": {"name": "{team}-{id}"}}, {"password": {"generate": {"length": 24}}}]],
        ),
        BeforeValidator(each_kind_once),
    ]
    secrets: Annotated[SecretsEntry, Field(description="Where passwords are kept.")] = EmbeddedSettings()
    proof: Annotated[ProofSettings, Field(description="How sure a changed password has to be.")] = ProofSettings()
    limits: Annotated[Limits, Field(description="How fast, and how much at once.")] = Limits()
    timeouts: Annotated[Timeouts, Field(description="How long one request, and the check between waves, may take.")] = (
        Timeouts()
    )
    retry: Annotated[Retry, Field(description="How long a row is tried.")] = Retry()
    rollout: Annotated[Rollout, Field(description="In which order, how much at once, and what stops a run.")] = (
        Rollout()
    )
    consumers: Annotated[
        Consumers,
        Field(description="Who is told of the passwords that were changed.", examples=[[{"run": ["./refresh.sh"]}]]),
    ] = ()
    report: Annotated[ReportSettings, Field(description="What a run leaves to read.")] = ReportSettings()
    notify: Annotated[
        Notifies, Field(description="Who is told how a run ended.", examples=[[{"env": "DINGTALK_URL"}]])
    ] = ()
