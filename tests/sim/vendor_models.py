"""Whether a reply is what the vendor's model of it says: every field there, of its type, and none that is not."""

import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from alibabacloud_kms20160120 import models as kms_models
from alibabacloud_r_kvstore20150101 import models as kvstore_models
from alibabacloud_sts20150401 import models as sts_models
from vendor_rows import KMS_OPERATIONS, STS_OPERATIONS


def complaints(operation: str, reply: Mapping[str, Any], *, may_lack: frozenset[str]) -> list[str]:
    """What is wrong with the reply, field by field in the vendor's spelling; `may_lack` are fields of any depth."""
    model = body_class(operation)().from_map(dict(reply))
    return [*_wrong(model, "", may_lack), *_unknown(reply, model.to_map(), "")]


def body_class(operation: str) -> type[Any]:
    models = sts_models if operation in STS_OPERATIONS else kvstore_models
    models = kms_models if operation in KMS_OPERATIONS else models
    found: type[Any] = getattr(models, f"{operation}ResponseBody")
    return found


def _wrong(model: Any, place: str, may_lack: frozenset[str]) -> Iterator[str]:
    """Complaints about the fields that the model declares, here and below."""
    spelled = _spelling(type(model))
    for attribute, kind in _kinds(type(model)).items():
        name, value = spelled[attribute], getattr(model, attribute)
        inner = typing.get_args(kind)
        if value is None or value == []:
            if name not in may_lack:
                yield f"{place}{name} is missing"
        elif not _is_a(value, list if inner else kind):
            yield f"{place}{name} is {value!r}, not {kind}"
        else:
            for at, each in enumerate(value if inner else [value]):
                where = f"{place}{name}.{at}" if inner else f"{place}{name}"
                if not _is_a(each, inner[0] if inner else kind):
                    yield f"{where} is {each!r}, not {inner[0]}"
                elif hasattr(each, "to_map"):
                    yield from _wrong(each, f"{where}.", may_lack)


def _is_a(value: Any, kind: type[Any]) -> bool:
    """True is no number here, whatever Python says."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _unknown(given: Any, kept: Any, place: str) -> Iterator[str]:
    """What the model dropped: a field that it does not know."""
    match given:
        case Mapping():
            for name, value in given.items():
                if name in kept:
                    yield from _unknown(value, kept[name], f"{place}{name}.")
                else:
                    yield f"{place}{name} is not a field of the model"
        case list():
            for at, (each, its) in enumerate(zip(given, kept, strict=True)):
                yield from _unknown(each, its, f"{place}{at}.")
        case _:
            pass


def _kinds(model: type[Any]) -> dict[str, Any]:
    """The declared type of each attribute, by the annotations of the generated constructor."""
    module = inspect.getmodule(model)
    assert module is not None
    hints = typing.get_type_hints(model.__init__, vars(module))
    return {name: kind for name, kind in hints.items() if name != "return"}


def _spelling(model: type[Any]) -> dict[str, str]:
    """attribute: its name on the wire, found by asking an instance in which nothing but that attribute is set."""
    found = {}
    for attribute, kind in _kinds(model).items():
        value = (typing.get_origin(kind) or kind)()
        always = model().to_map()  # a list is written although it was not set
        found[attribute] = next(
            name
            for name, written in model(**{attribute: value}).to_map().items()
            if name not in always or written == value
        )
    return found


def from_xml(element: Element, model: type[Any]) -> dict[str, Any]:
    """The fields of an XML reply with the types that the model declares; a text that is none of them stays a text."""
    spelled = _spelling(model)
    kinds = {spelled[attribute]: kind for attribute, kind in _kinds(model).items()}
    fields: dict[str, Any] = {}
    for child in element:
        kind = kinds.get(child.tag, str)
        inner = typing.get_args(kind)
        value = _value(child, inner[0] if inner else kind)
        if inner:
            fields.setdefault(child.tag, []).append(value)
        else:
            fields[child.tag] = value
    return fields


def _value(element: Element, kind: type[Any]) -> Any:
    text = element.text or ""
    if hasattr(kind, "from_map"):
        return from_xml(element, kind)
    if kind is bool:
        return {"true": True, "false": False}.get(text, text)
    if kind is int and text.lstrip("-").isdecimal():
        return int(text)
    return text
