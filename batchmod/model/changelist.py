"""How changes are written: a list of mappings, each with its kind as the only key, and each kind once. Pure."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from batchmod.model.changes import NO_LITERAL, AttributesChange, PasswordChange, TdeChange
from batchmod.model.events import Kind
from batchmod.model.suggest import did_you_mean


def _a_mapping(value: object) -> object:
    if not isinstance(value, dict | PasswordChange):
        raise ValueError(NO_LITERAL)  # noqa: TRY004  pydantic wants ValueError
    return value


@dataclass(frozen=True, slots=True)
class _Under:
    """A change is written as a mapping with its kind as the only key, and read as what stands under it."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value[self.kind.value] if isinstance(value, dict) else value,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, serialize: {self.kind.value: serialize(value)}
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        key = self.kind.value
        return {
            "type": "object",
            "properties": {key: handler(schema)},
            "required": [key],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class _Second:
    """Stands where a kind stands again, so that this is one problem among the others."""

    kind: str


def each_kind_once(changes: object) -> object:
    """The list with each change of a kind that stood before replaced by what is refused."""
    if not isinstance(changes, list | tuple):
        return changes
    seen: set[str] = set()
    checked: list[object] = []
    for change in changes:
        kind = (
            _kind_of(change) if isinstance(change, _CHANGES) or (isinstance(change, dict) and len(change) == 1) else ""
        )
        checked.append(_Second(kind) if kind in seen else change)
        seen |= {kind} & set(Kind)
    return checked


def _single_kind(value: object) -> object:
    match value:
        case _Second(kind):
            raise ValueError(f"is the second {kind}: each kind of change stands once")
        case dict() if len(value) == 1:
            key = _kind_of(value)
            if key not in set(Kind):
                literal = f"; {NO_LITERAL}" if "pass" in key.casefold() else ""
                raise ValueError(f'unknown change "{key}"{did_you_mean(key, Kind)}{literal}')
            return value
        case _ if isinstance(value, _CHANGES):
            return value
        case dict() if len(kinds := [kind for kind in Kind if kind in value]) == 1:
            raise ValueError(
                f"must have {kinds[0]} alone: indent what belongs below it, let each change begin with a -"
            )
        case _:
            raise ValueError(f"must be a mapping with one of the keys {', '.join(Kind)}")


def _kind_of(value: Any) -> str:
    return str(next(iter(value)) if isinstance(value, dict) else value.kind)


_CHANGES = (AttributesChange, PasswordChange, TdeChange)
Change = Annotated[
    Annotated[AttributesChange, _Under(Kind.ATTRIBUTES), Tag("attributes")]
    | Annotated[PasswordChange, BeforeValidator(_a_mapping), _Under(Kind.PASSWORD), Tag("password")]
    | Annotated[TdeChange, _Under(Kind.TDE), Tag("tde")],
    Discriminator(_kind_of),
    BeforeValidator(_single_kind),
]
