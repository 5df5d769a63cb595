"""What all sections of a manifest are made of: one strict base class, and the types that several of them share."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from batchmod.model import rules
from batchmod.model.values import (
    AUTO,
    DURATION,
    PERCENT,
    RATE,
    Limit,
    Rate,
    Share,
    format_duration,
    parse_duration,
    parse_limit,
    parse_rate,
    parse_share,
)

T = TypeVar("T")
TEXT_LENGTH = 128
REFERENCE_LENGTH = 512
NO_ACCESS_KEY = (
    "a manifest never holds an access key: put it into a profile of the CLI and write profile: NAME, "
    "or into the environment, which is the account default"
)


class Section(BaseModel):
    """One mapping of a manifest. Unknown keys and wrong types are errors; nothing is converted silently."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def _refused_by(rule: Callable[[str], str | None]) -> AfterValidator:
    def check(text: str) -> str:
        if problem := rule(text):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


def duration(value: object) -> float:
    """Seconds, of what a manifest says. ValueError for what is no text of a number and a unit."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"has no unit: write {value}s, {value}m or {value}h")  # noqa: TRY004  pydantic wants ValueError
    return parse_duration(value if isinstance(value, str) else "")


def _some_time(value: object) -> float:
    if seconds := duration(value):
        return seconds
    raise ValueError("must be more than 0")


def _rate(value: object) -> Rate:
    return parse_rate(value if isinstance(value, str) else "")


def _limit(value: object) -> Limit:
    return parse_limit(value if isinstance(value, str) else "")


def _share(value: object) -> Share:
    return parse_share(value if isinstance(value, int | str) and not isinstance(value, bool) else "")


@lru_cache(maxsize=64)  # a manifest may name the same one in every target
def _account_problem(name: str) -> str | None:
    if rules.is_access_key(name):
        return f"looks like an access key: {NO_ACCESS_KEY}"
    if not re.fullmatch(rules.ACCOUNT, name):
        return "is no name of an account: letters, digits, _ . and -, at most 63, and a letter or digit first"
    return None


def _text_problem(text: str) -> str | None:
    if not text or len(text) > TEXT_LENGTH or not text.isprintable():
        return f"must have 1 to {TEXT_LENGTH} characters that can be printed"
    return None


def _reference_problem(text: str) -> str | None:
    if not text or len(text) > REFERENCE_LENGTH or not text.isprintable() or " " in text:
        return f"must have 1 to {REFERENCE_LENGTH} characters that can be printed, and no blank"
    return None


def _argument(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is empty, or has a NUL in it: no command takes that")
    return text


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f'names "{value}" twice')
    return values


def _path_problem(text: str) -> str | None:
    return None if text and text.isprintable() else "is no path: empty, or with a character that cannot be printed"


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)})


_seconds_as_text = PlainSerializer(format_duration, return_type=str)
_as_text = PlainSerializer(str, return_type=str)
_DURATION_SCHEMA = _schema(DURATION, "500ms", "30s", "30m", "2h", "30d")
_SHARE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^([0-9]{{1,9}}|{PERCENT})$"}],
    "examples": [5, "2%"],
}

Seconds = Annotated[float, PlainValidator(_some_time), _seconds_as_text, _DURATION_SCHEMA]
AnySeconds = Annotated[float, PlainValidator(duration), _seconds_as_text, _DURATION_SCHEMA]  # 0 too
RateText = Annotated[Rate, PlainValidator(_rate), _as_text, _schema(RATE, "200/60s", "1000/1s")]
LimitText = Annotated[Limit, PlainValidator(_limit), _as_text, _schema(f"({RATE}|{AUTO})", "200/60s", "1000/1s", AUTO)]
ShareText = Annotated[Share, PlainValidator(_share), _as_text, WithJsonSchema(_SHARE_SCHEMA)]

InstanceId = Annotated[str, _refused_by(rules.instance_id_problem), _schema(rules.INSTANCE_ID, "r-bp1zxszhcgatnx")]
Region = Annotated[str, _refused_by(rules.region_problem), _schema(rules.REGION, "cn-hangzhou")]
Account = Annotated[
    str,
    _refused_by(_account_problem),
    WithJsonSchema({"type": "string", "pattern": f"^{rules.ACCOUNT}$", "not": {"pattern": f"^({rules.ACCESS_KEY})$"}}),
]
Text = Annotated[
    str,
    _refused_by(_text_problem),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
    ),
]
Reference = Annotated[
    str,
    _refused_by(_reference_problem),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": REFERENCE_LENGTH, "pattern": r"^[^\x00-\x20\x7f-\x9f]*$"}
    ),
]
FilePath = Annotated[str, _refused_by(_path_problem), WithJsonSchema({"type": "string", "minLength": 1})]
Listed = Strict(strict=False)  # a YAML list is a Python list, and kept as a tuple
Command = Annotated[  # a program and its arguments
    tuple[Annotated[str, AfterValidator(_argument), WithJsonSchema({"type": "string", "pattern": r"^[^\x00]+$"})], ...],
    Listed,
    Field(min_length=1),
]
Several = Annotated[  # at least one, and nothing twice
    tuple[T, ...], Listed, Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_distinct)
]


def matches(pattern: str, problem: str, *examples: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Validator and schema of text that is as the pattern says, from end to end."""
    return (
        _refused_by(lambda text: None if re.fullmatch(pattern, text) else problem),
        _schema(f"({pattern})", *examples),
    )
