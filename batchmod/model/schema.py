"""The JSON Schema of a manifest as it is written, for editors. Follows from the model alone."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from pydantic.json_schema import GenerateJsonSchema

from batchmod.model.manifest import Manifest
from batchmod.model.values import Rate, Share, format_duration
from batchmod.model.yamltext import Path

Schema = dict[str, Any]


class _AsWritten(GenerateJsonSchema):
    """Defaults stand there as a person would write them, and no key is called twice."""

    def encode_default(self, dft: Any) -> Any:
        match dft:
            case float():  # every float of a manifest is a duration
                return format_duration(dft)
            case Rate() | Share() | ZoneInfo():
                return str(dft)
            case tuple():
                return [self.encode_default(one) for one in dft]
            case _:
                return super().encode_default(dft)

    def dict_schema(self, schema: Any) -> Schema:
        """A key that does not fit the pattern of keys is refused; pydantic's schema overlooks it."""
        written = super().dict_schema(schema)
        for pattern, values in written.pop("patternProperties", {}).items():
            written["propertyNames"] = {**written.get("propertyNames", {}), "pattern": pattern}
            written["additionalProperties"] = values
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  an editor shows the key anyway
        return False


@cache
def _schema() -> Schema:
    schema = Manifest.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "A manifest of batchmod"}


def json_schema() -> Schema:
    """Accepts what `load` accepts, but for what only the whole can tell: ids that stand twice, files, templates, time
    zones, and what stands between waves where there is only one.
    """
    return deepcopy(_schema())


def keys_at(path: Path) -> tuple[str, ...]:
    """The keys that a mapping at this place may have; none where any key will do, or where no mapping belongs."""
    places: list[Schema] = [_schema()]
    for part in path:
        places = [below for place in places for below in _below(place, part)]
    return tuple(dict.fromkeys(key for place in places for form in _forms(place) for key in form.get("properties", ())))


@cache
def keys_anywhere() -> frozenset[str]:
    """Every key that some mapping of a manifest may have."""
    sections = (_schema(), *_schema()["$defs"].values())
    return frozenset(key for section in sections for key in section["properties"])


def _forms(place: Schema) -> Iterator[Schema]:
    """The alternatives at a place, references followed."""
    if reference := place.get("$ref"):
        place = _schema()["$defs"][reference.rpartition("/")[2]]
    yield place
    for alternative in (*place.get("anyOf", ()), *place.get("oneOf", ())):
        yield from _forms(alternative)


def _below(place: Schema, part: str | int) -> Iterator[Schema]:
    for form in _forms(place):
        if isinstance(part, int) and "items" in form:
            yield form["items"]
        elif part in form.get("properties", ()):
            yield form["properties"][part]
        elif isinstance(form.get("additionalProperties"), dict):
            yield form["additionalProperties"]
