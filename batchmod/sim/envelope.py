"""How a reply is written: the vendor's fields for an error, JSON or XML for all."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from batchmod.sim.errors import Refusal

JSON_TYPE = "application/json;charset=utf-8"
XML_TYPE = "text/xml;charset=utf-8"
_encode = json.JSONEncoder(ensure_ascii=False).encode


def error_fields(refusal: Refusal, *, request_id: str, host: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Code": refusal.code,
        "Message": refusal.message,
        "RequestId": request_id,
        "HostId": host,
        "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}&product=R-kvstore&requestId={request_id}",
    }
    return fields | ({"AccessDeniedDetail": dict(refusal.access_denied)} if refusal.access_denied else {})


def written(fields: Mapping[str, Any], *, root: str, xml: bool) -> tuple[bytes, str]:
    """The body and its content type; `root` is the name of the outermost XML element."""
    if not xml:
        return _encode(fields).encode(), JSON_TYPE
    top = ET.Element(root)
    _fill(top, fields)
    return ET.tostring(top, encoding="utf-8", xml_declaration=True), XML_TYPE


def _fill(element: ET.Element, value: Any) -> None:
    """A list is its element's name repeated, as the vendor writes it."""
    match value:
        case Mapping():
            for name, inner in value.items():
                for each in inner if isinstance(inner, list) else [inner]:
                    _fill(ET.SubElement(element, name), each)
        case bool():
            element.text = "true" if value else "false"
        case None:
            pass
        case _:
            element.text = str(value)
