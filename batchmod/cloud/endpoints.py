"""Which host serves a product in a region, and through which proxy. No I/O: the environment is a parameter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from batchmod.errors import UsageError
from batchmod.model.hosts import DEFAULT_PORT, VPC_REGIONS, endpoint_problem, is_loopback, split_url
from batchmod.model.secret import Secret

Product = Literal["r-kvstore", "sts", "kms"]

# Regions of r-kvstore that the central host serves: the endpoint map of alibabacloud-r-kvstore20150101 7.0.0.
CENTRAL = frozenset(
    """
    ap-northeast-2-pop cn-beijing-finance-pop cn-beijing-gov-1 cn-beijing-nu16-b01 cn-edge-1 cn-fujian
    cn-haidian-cm12-c01 cn-hangzhou cn-hangzhou-bj-b01 cn-hangzhou-finance cn-hangzhou-internal-prod-1
    cn-hangzhou-internal-test-1 cn-hangzhou-internal-test-2 cn-hangzhou-internal-test-3 cn-hangzhou-test-306
    cn-hongkong-finance-pop cn-qingdao-nebula cn-shanghai-et15-b01 cn-shanghai-et2-b01 cn-shanghai-inner
    cn-shanghai-internal-test-1 cn-shenzhen-inner cn-shenzhen-st4-d01 cn-shenzhen-su18-b01 cn-wuhan cn-yushanfang
    cn-zhangbei cn-zhangbei-na61-b01 cn-zhangjiakou-na62-a01 cn-zhengzhou-nebula-1 eu-west-1-oxs rus-west-1-pop
    """.split()  # noqa: SIM905  names read best so
)
VPC: Final = "vpc"
NONE: Final[Mapping[str, str]] = MappingProxyType({})
_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests go. `host` is what the Host header says: with the port unless it is the scheme's own."""

    url: str
    host: str
    loopback: bool


def endpoint_for(
    product: Product, region: str | None, override: str | None, endpoints: Mapping[str, str] = NONE
) -> Endpoint:
    """The endpoint of a product in a region; STS has one host for all of them.

    `override` serves everything. Else `endpoints` may name one for a region, for `sts` or for `kms`: a URL, or for a region
    VPC, the word for its host inside a VPC, which KMS has too. Else it is the vendor's public host.

    Raises UsageError, which says whose endpoint it is, for one that is not `https://host[:port]` (plain http to
    loopback), a region that cannot be one, or one that has no host inside a VPC.
    """
    if override is not None:
        return _own("endpoint", override)
    if product == "sts":
        return _own("endpoints.sts", endpoints["sts"]) if "sts" in endpoints else _at("sts.aliyuncs.com")
    if not region or not _REGION.fullmatch(region):
        raise UsageError(f"region {region!r}: not the name of a region, such as cn-hangzhou")
    named = endpoints.get(region)
    if product == "kms":
        inside = "-vpc" if named == VPC else ""
        return (
            _own("endpoints.kms", endpoints["kms"]) if "kms" in endpoints else _at(f"kms{inside}.{region}.aliyuncs.com")
        )
    if named == VPC:
        return _inside(region)
    if named is not None:
        return _own(f"endpoints.{region}", named)
    return _at("r-kvstore.aliyuncs.com" if region in CENTRAL else f"r-kvstore.{region}.aliyuncs.com")


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> Secret | None:
    """The URL of the proxy that the environment names for this endpoint, a secret for the password in it, or None.

    `https_proxy` (by the endpoint's scheme) goes before `all_proxy`, lower case before upper; NO_PROXY is honoured,
    and loopback is never proxied. Raises UsageError, without the value, for a URL that is not a proxy's.
    """
    if endpoint.loopback or _bypassed(endpoint, _first(environ, "no_proxy")[1]):
        return None
    scheme = urlsplit(endpoint.url).scheme
    name, value = _first(environ, f"{scheme}_proxy", "all_proxy")
    if not value:
        return None
    parts = split_url(value if "://" in value else f"http://{value}")
    if parts is None or parts.scheme not in DEFAULT_PORT:
        raise UsageError(f"{name}: not the URL of a proxy, http://[user:password@]host:port")
    return Secret(parts.geturl())


def _own(where: str, url: str) -> Endpoint:
    """The operator's own endpoint. The text is repeated in no message: it may hold a password."""
    if problem := endpoint_problem(url):
        raise UsageError(f"{where}: {problem}")
    parts = urlsplit(url)
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    if parts.port is not None and parts.port != DEFAULT_PORT[parts.scheme]:
        host = f"{host}:{parts.port}"
    return Endpoint(url=f"{parts.scheme}://{host}/", host=host, loopback=is_loopback(name))


def _inside(region: str) -> Endpoint:
    if region not in VPC_REGIONS:
        raise UsageError(
            f"endpoints.{region}: no host inside a VPC is known there: write its URL, or leave it out for the public one"
        )
    return _at(f"r-kvstore-vpc.{region}.aliyuncs.com")


def _at(host: str) -> Endpoint:
    return Endpoint(url=f"https://{host}/", host=host, loopback=False)


def _bypassed(endpoint: Endpoint, rules: str) -> bool:
    """Whether NO_PROXY names the host: `*`, the name or a domain above it, a leading dot or `*.` and the port optional."""
    entries = [entry.strip().lower() for entry in rules.split(",")]
    if "*" in entries:
        return True
    parts = urlsplit(endpoint.url)
    port = parts.port or DEFAULT_PORT[parts.scheme]
    domains = [domain for entry in entries if (domain := entry.removeprefix("*").lstrip("."))]
    spelled = (f".{parts.hostname}", f".{parts.hostname}:{port}")
    return any(host.endswith(f".{domain}") for domain in domains for host in spelled)


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of the variables, lower case before upper, that is not empty; its name and value, else two blanks."""
    spelled = [spelling for name in names for spelling in (name, name.upper())]
    return next(((name, environ[name].strip()) for name in spelled if environ.get(name, "").strip()), ("", ""))
