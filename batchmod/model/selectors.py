"""Instances that a manifest means without naming them: by what they are, and which those are is asked at plan. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from batchmod.model.fields import Account, Region, Section, Several, Text, matches
from batchmod.model.settings import Defaults

MAX_TAGS = 5  # the service takes no more at once

_ID = "[A-Za-z0-9][A-Za-z0-9_-]{0,127}"
_GroupId = Annotated[str, *matches(_ID, "is no id of a resource group", "rg-acfmxazb4ph6aiy")]
_VpcId = Annotated[str, *matches(_ID, "is no id of a VPC", "vpc-bp1nme44gek34slfc")]
_Version = Annotated[str, *matches(r"[0-9]{1,2}\.[0-9]{1,2}", 'is no engine version: written like "6.0"', "6.0", "7.0")]
_Status = Annotated[str, *matches("[A-Za-z]{1,64}", "is no status: one word, such as Normal", "Normal", "Changing")]


class Selection(Section):
    """What an instance has to be: everything that is said must hold, and of a list any one."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(_says_something(schema)))

    account: Annotated[
        Account | None, Field(description="Whose instances; without it: defaults.account.", examples=["prod"])
    ] = None
    regions: Annotated[
        Several[Region],
        Field(description="Where they are; without it: defaults.region.", examples=[["cn-hangzhou", "cn-beijing"]]),
    ] = Field(default_factory=tuple)
    tags: Annotated[
        dict[Text, Text],
        Field(
            min_length=1,
            max_length=MAX_TAGS,
            description="Tags that they all have, with these values.",
            examples=[{"env": "prod"}],
        ),
    ] = Field(default_factory=dict)
    resource_groups: Annotated[
        Several[_GroupId], Field(description="Ids of their resource groups.", examples=[["rg-acfmxazb4ph6aiy"]])
    ] = Field(default_factory=tuple)
    vpcs: Annotated[Several[_VpcId], Field(description="Ids of their VPCs.", examples=[["vpc-bp1nme44gek34slfc"]])] = (
        Field(default_factory=tuple)
    )
    engine_versions: Annotated[
        Several[_Version], Field(description="Their engine versions, in quotes.", examples=[["6.0", "7.0"]])
    ] = Field(default_factory=tuple)
    editions: Annotated[
        Several[Literal["Community", "Enterprise"]], Field(description="Their editions.", examples=[["Enterprise"]])
    ] = Field(default_factory=tuple)
    architectures: Annotated[
        Several[Literal["cluster", "standard", "rwsplit"]],
        Field(description="Their architectures.", examples=[["cluster", "rwsplit"]]),
    ] = Field(default_factory=tuple)
    charge_types: Annotated[
        Several[Literal["PrePaid", "PostPaid"]],
        Field(description="PrePaid: subscription; PostPaid: pay-as-you-go.", examples=[["PostPaid"]]),
    ] = Field(default_factory=tuple)
    statuses: Annotated[
        Several[_Status], Field(description="Their statuses as the service calls them.", examples=[["Normal"]])
    ] = Field(default_factory=tuple)
    names: Annotated[
        Several[Text], Field(description="Patterns of their names; * stands for any text.", examples=[["cache-*"]])
    ] = Field(default_factory=tuple)
    allow_empty: Annotated[bool, Field(description="Whether it is right when there is none.")] = False

    @model_validator(mode="after")
    def _something(self) -> "Selection":
        if not any(value for key, value in self if key != "allow_empty"):
            raise ValueError("says nothing: regions: [cn-hangzhou] alone selects every instance there")
        return self

    @model_serializer(mode="wrap")
    def _what_is_said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the empty ones: an empty list, when written, is an error."""
        return {key: value for key, value in serialize(self).items() if value}


def _says_something(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"required": [key]} for key in schema["properties"] if key != "allow_empty"]}


class SelectEntry(Section):
    """Many instances: all that are so when the plan is made."""

    select: Annotated[Selection, Field(description="What they are. Asked once, when the plan is made.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A selection with its account and regions. An empty tuple or mapping asks for nothing; else any value will do.

    Of `tags` each must be there. Nothing stands twice, and there is at least one region.
    """

    account: str
    regions: tuple[str, ...]
    tags: Mapping[str, str]
    resource_groups: tuple[str, ...]
    vpcs: tuple[str, ...]
    engine_versions: tuple[str, ...]
    editions: tuple[str, ...]
    architectures: tuple[str, ...]
    charge_types: tuple[str, ...]
    statuses: tuple[str, ...]
    names: tuple[str, ...]  # patterns: see `fits_name`
    allow_empty: bool
    where: str  # file:line:column of its entry
    path: str  # of its entry in the manifest

    def fits_name(self, name: str) -> bool:
        """Whether one of the patterns fits the whole name, case and all; any name does when there are none."""
        return not self.names or any(fnmatchcase(name, pattern) for pattern in self.names)


def selector_of(selection: Selection, defaults: Defaults, where: str, path: str) -> Selector | None:
    """What is meant, or None when neither the selection nor the defaults name a region."""
    regions = selection.regions or ((defaults.region,) if defaults.region else ())
    if not regions:
        return None
    return Selector(
        account=selection.account or defaults.account,
        regions=regions,
        tags=selection.tags,
        resource_groups=selection.resource_groups,
        vpcs=selection.vpcs,
        engine_versions=selection.engine_versions,
        editions=selection.editions,
        architectures=selection.architectures,
        charge_types=selection.charge_types,
        statuses=selection.statuses,
        names=selection.names,
        allow_empty=selection.allow_empty,
        where=where,
        path=path,
    )
