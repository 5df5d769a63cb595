"""What only a process of its own can show: what is loaded, and services that the vendor's package reaches by https."""

import json
import os
import ssl
from pathlib import Path

import pytest
from vendor_support import STS, authority, config, given, python, tunnel

SHOW = """
import asyncio, logging, os, sys
if "AUTHORITY" in os.environ:
    import certifi
    certifi.where = lambda: os.environ["AUTHORITY"]  # the only ones that the vendor's package trusts behind a proxy
from batchmod.cloud.chain import ChainKeys
from batchmod.errors import CallError

logging.basicConfig(level=logging.DEBUG)  # a logger that everything would be seen in
try:
    key = asyncio.run(ChainKeys(os.environ).key())
    print(key.id, key.secret.reveal(), key.token.reveal() if key.token else None)
except CallError as error:
    print(error)
print("alibabacloud_credentials" in sys.modules)
"""
JWT = "eyJhbGciOi.T0ken-of-the-pod"


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, str]:
    """The environment of a pod whose service account may assume a role."""
    (tmp_path / "token").write_text(JWT)
    return {
        **os.environ,
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/op",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/ack",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token"),
        "DEBUG": "sdk",  # the package's switch for printing requests
    }


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return authority(tmp_path, STS)


async def test_the_vendors_package_is_loaded_only_where_the_environment_has_no_key(own_home: Path) -> None:
    """A key in the environment needs nothing of it, a profile does; what the package reads on import is not used."""
    own = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIown", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "S3cretOwn"}
    assert (await python(SHOW, {**os.environ, **own}))[:2] == (0, "LTAIown S3cretOwn None\nFalse\n")
    config(own_home, {"name": "default", "mode": "AK", "access_key_id": "LTAI1", "access_key_secret": "S3cret1"})
    assert (await python(SHOW, os.environ))[:2] == (0, "LTAI1 S3cret1 None\nTrue\n")


async def test_a_gap_in_a_profile_is_not_filled_from_the_environment(own_home: Path) -> None:
    """The vendor's package would take a key that it read there on import: perhaps another account's."""
    config(own_home, {"name": "prod", "mode": "AK", "access_key_id": "", "access_key_secret": ""})
    own = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIown", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "S3cretOwn"}
    program = SHOW.replace("ChainKeys(", "ProfileKeys('prod', ").replace("ChainKeys", "ProfileKeys")
    code, out, _ = await python(program, {**os.environ, **own})
    assert code == 0
    assert "config.json: incomplete or unusable. " in out


async def test_the_region_of_sts_is_passed_on(pod: dict[str, str], trusted: tuple[Path, ssl.SSLContext]) -> None:
    """What the environment says of STS counts for the vendor's providers as for its own tools."""
    async with tunnel(trusted[1], lambda _: b"{}") as (proxy, tunnels, _):
        await python(SHOW, pod | {"HTTPS_PROXY": proxy, "ALIBABA_CLOUD_STS_REGION": "cn-beijing"})
    assert tunnels[0].startswith(b"CONNECT sts.cn-beijing.aliyuncs.com:443 ")


async def test_a_pods_token_is_changed_for_a_key(pod: dict[str, str], trusted: tuple[Path, ssl.SSLContext]) -> None:
    """The vendor's package asks STS over TLS; neither the pod's token nor the key is seen in any log."""
    answer = json.dumps({"Credentials": given(1)}).encode()
    async with tunnel(trusted[1], lambda _: answer) as (proxy, tunnels, requests):
        pod |= {"HTTPS_PROXY": proxy, "AUTHORITY": str(trusted[0])}
        code, out, err = await python(SHOW, pod)
    assert (code, out) == (0, "STS.1 S3cret1 CAIS+token1\nTrue\n")
    assert tunnels[0].startswith(b"CONNECT sts.aliyuncs.com:443 ")
    assert b"Action=AssumeRoleWithOIDC" in requests[0]
    assert JWT.encode() in requests[0]
    for secret in (JWT, "S3cret", "CAIS"):
        assert secret not in err


async def test_a_pod_that_is_refused_hears_the_code_and_no_token(
    pod: dict[str, str], trusted: tuple[Path, ssl.SSLContext]
) -> None:
    """STS's answer may echo the token: status and code are told, in one line."""
    answer = json.dumps({"Code": "AuthenticationFail.OIDCToken.Expired", "Message": f"{JWT} has expired"}).encode()
    async with tunnel(trusted[1], lambda _: answer) as (proxy, _, _):
        code, out, err = await python(SHOW, pod | {"HTTPS_PROXY": proxy, "AUTHORITY": str(trusted[0])})
    assert code == 0
    assert "; OIDC: answered HTTP 400 AuthenticationFail.OIDCToken.Expired; " in out.splitlines()[0]
    assert JWT not in out + err


async def test_a_stranger_is_not_told_a_pods_token(pod: dict[str, str], trusted: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate that nobody vouches for: no request, and no answer."""
    async with tunnel(trusted[1], lambda _: b"{}") as (proxy, tunnels, requests):
        code, out, err = await python(SHOW, pod | {"HTTPS_PROXY": proxy})
    assert (code, len(tunnels) > 0, requests) == (0, True, [])
    assert "; OIDC: no answer; " in out.splitlines()[0]
    assert JWT not in out + err


@pytest.mark.parametrize("missing", [True, False])
async def test_a_pod_without_its_token_is_told_so(pod: dict[str, str], tmp_path: Path, missing: bool) -> None:
    """The variable and its file are named, or the variable that is not set."""
    (tmp_path / "token").unlink()
    pod["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] *= missing
    _, out, _ = await python(SHOW, pod)
    told = f": {tmp_path}/token cannot be read; " if missing else " is not set; "
    assert f"OIDC: ALIBABA_CLOUD_OIDC_TOKEN_FILE{told}" in out


ORDER = """
import os
from batchmod.cloud.places import chain
from alibabacloud_credentials.provider import DefaultCredentialsProvider

vendor = [type(link).__name__ for link in vars(DefaultCredentialsProvider())["_DefaultCredentialsProvider__providers_chain"]]
ours = [place.source() for place in chain(os.environ)]
print(["EnvironmentVariableCredentialsProvider", *(one._make.func.__name__ for one in ours[1:])] == vendor, vendor, flush=True)
os._exit(0)  # the vendor's chain has started a thread
"""


@pytest.mark.oracle
async def test_the_places_are_the_vendors_and_in_its_order(pod: dict[str, str]) -> None:
    """When a release of the package looks somewhere else, or first there, this is the test that says so."""
    pod |= {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1/", "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "false"}
    code, out, err = await python(ORDER, pod)
    assert (code, out.split(" ")[0]) == (0, "True"), (out, err)
