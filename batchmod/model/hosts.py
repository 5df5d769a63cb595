"""Which URLs may be called, and which regions have a host inside a VPC. Pure; a URL is repeated in no message."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORT = {"http": 80, "https": 443}

# Regions with a host r-kvstore-vpc.<region>.aliyuncs.com: the vendor's product metadata (aliyun-openapi-meta).
VPC_REGIONS = frozenset(
    """
    ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-5
    ap-southeast-6 ap-southeast-7 cn-beijing cn-beijing-finance-1 cn-chengdu cn-fuzhou cn-guangzhou cn-hangzhou
    cn-hangzhou-finance cn-heyuan cn-hongkong cn-huhehaote cn-nanjing cn-qingdao cn-shanghai cn-shanghai-finance-1
    cn-shenzhen cn-shenzhen-finance-1 cn-wuhan-lr cn-wulanchabu cn-zhangjiakou cn-zhengzhou-jva eu-central-1
    eu-west-1 me-central-1 me-east-1 na-south-1 us-east-1 us-southeast-1 us-west-1
    """.split()  # noqa: SIM905  names read best so
)
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*|[0-9a-f:.]*:[0-9a-f:.]*")
_NETLOC = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]*)?")  # urlsplit overlooks what stands before or behind brackets


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL with a host that can be one and a port that is none or in range, else None."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    printable = url.isascii() and url.isprintable() and not {" ", "\\"} & set(url)
    named = parts.netloc.rpartition("@")[2].lower()
    whole = _HOST.fullmatch(parts.hostname or "") and _NETLOC.fullmatch(named)
    return parts if printable and whole and port != 0 else None


def endpoint_problem(url: str) -> str | None:
    """What keeps requests from going there, None when nothing does: `https://host[:port]`, plain http to loopback."""
    parts = split_url(url)
    if parts is None or parts.scheme not in DEFAULT_PORT:
        return "not a URL of the form https://host[:port]"
    if parts.username is not None or parts.password is not None:
        return "a user or password does not belong into it; requests are signed with the access key"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "ends after host and port; a path, query or fragment does not belong into it"
    name = parts.hostname or ""
    if parts.scheme == "http" and not is_loopback(name):
        host = f"[{name}]" if ":" in name else name
        return f"plain http goes to this machine only, write https://{host}: passwords travel in it"
    return None


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
