import pytest
from alibabacloud_r_kvstore20150101.client import Client as Vendor
from alibabacloud_tea_openapi.utils_models import Config

from batchmod.cloud.endpoints import CENTRAL, Product, endpoint_for, proxy_for
from batchmod.errors import UsageError
from batchmod.model.hosts import VPC_REGIONS

REGIONAL = ["cn-beijing", "cn-shanghai", "cn-shenzhen", "ap-southeast-1", "us-east-1", "eu-central-1", "cn-hongkong"]
CLOUD = endpoint_for("r-kvstore", "cn-shanghai", None)
PROXY = "http://proxy.example:3128"


@pytest.mark.oracle
@pytest.mark.parametrize("region", sorted(CENTRAL) + REGIONAL)
def test_a_region_has_the_host_that_the_vendors_client_uses(region: str) -> None:
    """Central or regional, the host is the one that the vendor's own client computes."""
    vendor = Vendor(Config(access_key_id="a", access_key_secret="s", region_id=region))
    endpoint = endpoint_for("r-kvstore", region, None)
    assert (endpoint.host, endpoint.url, endpoint.loopback) == (vendor._endpoint, f"https://{vendor._endpoint}/", False)


@pytest.mark.oracle
def test_the_central_regions_are_the_vendors_whole_map() -> None:
    """No region is missing from the list of those that the central host serves."""
    vendor = Vendor(Config(access_key_id="a", access_key_secret="s", region_id="cn-hangzhou"))
    assert {region for region, host in vendor._endpoint_map.items() if host == "r-kvstore.aliyuncs.com"} == CENTRAL


def test_sts_has_one_host_for_all_regions() -> None:
    """Whom a key belongs to is asked at one place."""
    assert (
        endpoint_for("sts", None, None).url == endpoint_for("sts", "eu-west-1", None).url == "https://sts.aliyuncs.com/"
    )


def test_kms_has_a_host_in_each_region_and_one_inside_its_vpc() -> None:
    """Also in regions where the instances' service has none of its own; `endpoints.kms` is for all of them."""
    inside = {"cn-hangzhou": "vpc", "cn-beijing": "https://gate.example"}
    assert endpoint_for("kms", "cn-hangzhou", None).host == "kms.cn-hangzhou.aliyuncs.com"
    assert endpoint_for("kms", "cn-hangzhou", None, inside).host == "kms-vpc.cn-hangzhou.aliyuncs.com"
    assert endpoint_for("kms", "cn-beijing", None, inside).host == "kms.cn-beijing.aliyuncs.com"
    own = inside | {"kms": "https://kms.example:8443"}
    assert endpoint_for("kms", "cn-hangzhou", None, own).host == "kms.example:8443"


@pytest.mark.parametrize(
    ("url", "host", "loopback"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.9.9.9/", "127.9.9.9", True),
        ("http://[::1]:8080/", "[::1]:8080", True),
        ("HTTP://LocalHost:80", "localhost", True),
        ("https://127.0.0.1:443", "127.0.0.1", True),
        ("https://gateway.example:8443/", "gateway.example:8443", False),
        ("https://r-kvstore-vpc.cn-hangzhou.aliyuncs.com:443", "r-kvstore-vpc.cn-hangzhou.aliyuncs.com", False),
    ],
)
def test_an_override_serves_every_product(url: str, host: str, loopback: bool) -> None:
    """The operator's endpoint is used for all, with a Host that has its port unless it is the usual one."""
    for product in ("r-kvstore", "sts", "kms"):
        endpoint = endpoint_for(product, "cn-hangzhou", url)
        assert (endpoint.host, endpoint.loopback) == (host, loopback)
        assert endpoint.url == f"{url.partition(':')[0].lower()}://{host}/"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://gateway.example", "plain http"),
        ("http://localhost.example", "plain http"),
        ("http://2130706433", "plain http"),
        ("http://0.0.0.0:8080", "plain http"),
        ("https://me:hunter2@gateway.example", "user or password"),
        ("https://hunter2@gateway.example", "user or password"),
        ("https://gateway.example/hunter2", "path"),
        ("https://gateway.example?hunter2", "query"),
        ("https://gateway.example#hunter2", "fragment"),
        ("gateway.example", "https://host"),
        ("ftp://gateway.example", "https://host"),
        ("https://", "https://host"),
        ("https://gateway.example:hunter2", "https://host"),
        ("https://gateway.example:99999", "https://host"),
        ("https://gateway.example:0", "https://host"),
        ("https://gate way.example", "https://host"),
        ("https://gateway..example", "https://host"),
        ("https://" + "a" * 64 + ".example", "https://host"),
        ("https://[::1", "https://host"),
        ("https://hunter2[::1]", "https://host"),
        ("https://[::1]hunter2", "https://host"),
        ("", "https://host"),
    ],
)
def test_an_override_that_is_unsafe_or_broken_is_refused_with_the_reason(url: str, why: str) -> None:
    """Plain http beyond this machine, credentials, paths and typing errors are refused, and no password is repeated."""
    with pytest.raises(UsageError, match=why) as caught:
        endpoint_for("r-kvstore", "cn-hangzhou", url)
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_of_the_manifest_is_for_its_region_or_sts_alone() -> None:
    """A URL under a region's name serves that region, one under sts serves STS, and the others stay as they are."""
    named = {"cn-beijing": "https://gate.example:8443", "sts": "https://sts-vpc.cn-hangzhou.aliyuncs.com"}
    assert endpoint_for("r-kvstore", "cn-beijing", None, named).url == "https://gate.example:8443/"
    assert endpoint_for("sts", None, None, named).host == "sts-vpc.cn-hangzhou.aliyuncs.com"
    assert endpoint_for("r-kvstore", "cn-hangzhou", None, named).host == "r-kvstore.aliyuncs.com"
    assert endpoint_for("sts", None, None, {"cn-beijing": "https://gate.example"}).host == "sts.aliyuncs.com"


@pytest.mark.parametrize("product", ["r-kvstore", "sts"])
def test_an_override_goes_before_what_the_manifest_names(product: Product) -> None:
    """--endpoint serves everything, whatever stands in the manifest, broken or not."""
    named = {"cn-hangzhou": "ftp://broken", "sts": "ftp://broken"}
    assert endpoint_for(product, "cn-hangzhou", "http://127.0.0.1:1", named).host == "127.0.0.1:1"


@pytest.mark.parametrize("region", sorted(VPC_REGIONS))
def test_the_word_vpc_is_the_regions_host_inside_a_vpc(region: str) -> None:
    """Also for a region that the central host serves outside."""
    endpoint = endpoint_for("r-kvstore", region, None, {region: "vpc"})
    assert endpoint.url == f"https://r-kvstore-vpc.{region}.aliyuncs.com/"
    assert not endpoint.loopback


def test_a_region_without_a_host_inside_a_vpc_is_refused_with_what_to_do() -> None:
    """No name is guessed."""
    with pytest.raises(UsageError, match=r"^endpoints\.cn-wuhan: .*write its URL"):
        endpoint_for("r-kvstore", "cn-wuhan", None, {"cn-wuhan": "vpc"})


@pytest.mark.parametrize(
    ("product", "where"), [("r-kvstore", r"endpoints\.cn-hangzhou"), ("sts", r"endpoints\.sts")], ids=["region", "sts"]
)
@pytest.mark.parametrize("url", ["http://gateway.example", "https://me:hunter2@gateway.example", "VPC", ""])
def test_a_broken_endpoint_of_the_manifest_is_refused_by_its_name(product: Product, where: str, url: str) -> None:
    """The key in the manifest is named, the text is not repeated; `vpc` is a word of regions alone."""
    with pytest.raises(UsageError, match=f"^{where}: ") as caught:
        endpoint_for(product, "cn-hangzhou", None, {"cn-hangzhou": url, "sts": url})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match=r"^endpoints\.sts: "):
        endpoint_for("sts", None, None, {"sts": "vpc"})


@pytest.mark.parametrize("region", [None, "", "CN-Hangzhou", "evil.example/", "cn_hangzhou", "-cn", "a" * 64])
def test_a_region_that_cannot_be_one_is_refused(region: str | None) -> None:
    """A region becomes part of a host name only when it is a plain name."""
    with pytest.raises(UsageError, match="region"):
        endpoint_for("r-kvstore", region, None)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.example"}, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"all_proxy": "http://other.example", "HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),  # it is for plain http, which goes to loopback only
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128"}, "http://me:p%40ss@proxy.example:3128"),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], proxy: str | None) -> None:
    """The proxy of the scheme goes before the one for all, lower case before upper, and blanks are none."""
    found = proxy_for(CLOUD, environ)
    assert (found.reveal() if found else None) == proxy


@pytest.mark.parametrize(
    ("rules", "bypassed"),
    [
        ("*", True),
        ("localhost, .aliyuncs.com", True),
        ("*.aliyuncs.com", True),
        ("aliyuncs.com", True),
        ("R-KVStore.CN-Shanghai.aliyuncs.com", True),
        ("aliyuncs.com:443", True),
        ("aliyuncs.com:8443", False),
        ("yuncs.com", False),
        ("cn-shanghai", False),
        (" , ,", False),
    ],
)
def test_no_proxy_is_honoured(rules: str, bypassed: bool) -> None:
    """NO_PROXY names hosts and the domains above them, never a part of a name."""
    assert (proxy_for(CLOUD, {"HTTPS_PROXY": PROXY, "NO_PROXY": rules}) is None) is bypassed


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://localhost", "http://[::1]:1"])
def test_loopback_is_never_proxied(url: str) -> None:
    """What stays on this machine is shown to no proxy, nor is its variable looked at."""
    assert proxy_for(endpoint_for("sts", None, url), {"ALL_PROXY": "broken://", "HTTP_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    "value",
    [
        "http://me:hunter2@",
        "socks5://me:hunter2@proxy.example",
        "http://me:hunter2@proxy.example:port",
        "http://DOM\\me:hunter2@proxy.example",
        "://",
    ],
)
def test_a_broken_proxy_is_refused_without_its_password(value: str) -> None:
    """The variable is named, its value is not."""
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        proxy_for(CLOUD, {"HTTPS_PROXY": value})
    assert "hunter2" not in str(caught.value)
