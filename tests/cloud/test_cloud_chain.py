"""Keys from each place that the vendor's tools know: its own package looks, our words say why there is none."""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cloud_recorder import seen_by_people
from vendor_support import config, fixed, given, ini, plain, source, temporary

from batchmod.cloud.chain import ASK_EVERY, ChainKeys, PlacedKeys, ProfileKeys
from batchmod.cloud.credentials import ID_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE, AccessKey
from batchmod.errors import CallError, Verdict
from batchmod.model.secret import Secret

STS_PROFILE = plain("sts") | {"mode": "StsToken", "sts_token": "CAIS+token"}
OWN = {ID_VARIABLE: "LTAIown", SECRET_VARIABLE: "S3cretOwn"}
OFF = "ALIBABA_CLOUD_ECS_METADATA_DISABLED"
URI = "ALIBABA_CLOUD_CREDENTIALS_URI"


class Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def environ(own_home: Path) -> dict[str, str]:
    """Nothing but a HOME, and no metadata service."""
    return {"HOME": str(own_home), OFF: "true"}


async def refusal(keys: PlacedKeys) -> CallError:
    """Why there is no key: one line, an account stop, with nothing of a secret in it."""
    with pytest.raises(CallError) as caught:
        await keys.key()
    error = caught.value
    assert (error.verdict, error.code) == (Verdict.ACCOUNT_STOP, "NoCredentials")
    assert "\n" not in str(error)
    for secret in ("S3cret", "CAIS"):
        assert secret not in seen_by_people(error)
    return error


@pytest.mark.parametrize("token", [None, "", "CAIS+own"])
async def test_the_environment_goes_before_everything(
    environ: dict[str, str], own_home: Path, token: str | None
) -> None:
    """Id, secret and the token when there is one; a profile is not looked at."""
    config(own_home, plain("default"))
    environ |= OWN | ({} if token is None else {TOKEN_VARIABLE: token})
    held = Secret(token) if token else None
    assert await ChainKeys(environ).key() == AccessKey(id="LTAIown", secret=Secret("S3cretOwn"), token=held)


@pytest.mark.parametrize("missing", [ID_VARIABLE, SECRET_VARIABLE])
async def test_half_a_key_in_the_environment_is_none(environ: dict[str, str], own_home: Path, missing: str) -> None:
    """The next place is asked, as the vendor's chain does; without one the variable is named."""
    error = await refusal(ChainKeys(environ | OWN | {missing: ""}))
    assert f"environment: {missing} not set; " in error.message
    config(own_home, plain("default"))
    assert await ChainKeys(environ | OWN | {missing: ""}).key() == fixed(1)


async def test_a_broken_key_in_the_environment_is_named_unseen(environ: dict[str, str]) -> None:
    """A line end picked up from a file."""
    error = await refusal(ChainKeys(environ | OWN | {SECRET_VARIABLE: "S3cret\n"}))
    assert "the secret is empty or has a blank" in error.message


async def test_without_a_key_every_place_is_named_with_what_to_do(environ: dict[str, str], own_home: Path) -> None:
    """One line: where it was looked, why there is none, and what to do."""
    error = await refusal(ChainKeys(environ))
    assert error.message == (
        f"environment: {ID_VARIABLE} and {SECRET_VARIABLE} not set; "
        "OIDC: ALIBABA_CLOUD_ROLE_ARN is not set; "
        f"{own_home}/.aliyun/config.json: there is no such file; "
        f"{own_home}/.alibabacloud/credentials.ini: there is no such file; "
        f"ECS metadata: {OFF} is set; "
        f"{URI}: not set. "
        f"Set {ID_VARIABLE} and {SECRET_VARIABLE}, or name a profile or role under `accounts`"
    )


async def test_no_key_is_looked_for_twice_when_there_was_none(environ: dict[str, str], own_home: Path) -> None:
    """Every lane of the account hears the same, from one look."""
    keys = ChainKeys(environ)
    first = await refusal(keys)
    config(own_home, plain("default"))
    assert str(await refusal(keys)) == str(first)


async def test_a_profile_is_found_by_name_by_variable_or_as_the_current_one(
    environ: dict[str, str], own_home: Path
) -> None:
    """A key for ever and a temporary one, as the CLI wrote them."""
    config(own_home, plain("default"), plain("prod", 2), STS_PROFILE)
    assert await ChainKeys(environ).key() == fixed(1)
    assert await ChainKeys(environ | {"ALIBABA_CLOUD_PROFILE": "prod"}).key() == fixed(2)
    assert await ProfileKeys("prod", environ).key() == fixed(2)
    key = await ProfileKeys("sts", environ).key()
    assert key == AccessKey(id="LTAI1", secret=Secret("S3cret1"), token=Secret("CAIS+token"))


async def test_a_named_profile_goes_before_the_environment(environ: dict[str, str], own_home: Path) -> None:
    """The manifest said whose key it is; variables of somebody else do not count, nor do they fill gaps."""
    config(own_home, plain("prod", 2), plain("empty") | {"access_key_secret": ""}, plain("half") | {"mode": "StsToken"})
    environ |= OWN | {TOKEN_VARIABLE: "CAIS+own", "ALIBABA_CLOUD_PROFILE": "other"}
    assert await ProfileKeys("prod", environ).key() == fixed(2)
    for name in ("empty", "half"):
        assert "incomplete" in (await refusal(ProfileKeys(name, environ))).message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no such file"),
        ('{"profiles": [{"access_key_secret": "S3cret1"', "is no JSON"),
        ('["S3cret"]', "has no profiles"),
        ('{"profiles": ["S3cret"]}', "has no profiles"),
        ('{"profiles": [{"name": "prot"}, {"name": "eu"}]}', """has no profile 'prod'; did you mean "prot"."""),
        ('{"profiles": [{"name": "eu"}, {"mode": "AK"}]}', "has no profile 'prod', only 'eu'"),
        ('{"profiles": []}', "has no profile 'prod'"),
        ('{"profiles": [{"name": "prod", "mode": "S3cret"}]}', "incomplete or unusable"),
        ('{"profiles": [{"name": "prod", "mode": "AK", "access_key_id": "LTAI"}]}', "incomplete or unusable"),
        ('{"profiles": [{"name": "prod", "mode": "AK", "access_key_id": 7, "access_key_secret": "x"}]}', "unusable"),
        ('{"profiles": [{"name": "prod", "mode": "External", "process_command": "/S3cret"}]}', "unusable"),
        ('{"profiles": [{"name": "prod", "mode": "CloudSSO", "access_token": "S3cret"}]}', "unusable"),
    ],
)
async def test_a_profile_that_is_not_there_or_broken_is_one_clear_line(
    environ: dict[str, str], own_home: Path, text: str | None, why: str
) -> None:
    """File and reason, and the command that makes a profile; nothing that stands in the file but names of profiles."""
    path = config(own_home)
    path.write_text(text) if text is not None else path.unlink()
    error = await refusal(ProfileKeys("prod", environ))
    assert error.message.startswith(f"{path}: ")
    assert why in error.message
    assert error.message.endswith(
        "Make it with `aliyun configure --profile prod`, or name another one under `accounts`"
    )


async def test_the_chain_goes_on_behind_a_broken_profile(environ: dict[str, str], own_home: Path) -> None:
    """As the vendor's does; and a config file that is switched off is not opened."""
    ini(own_home, "[default]\ntype = access_key\naccess_key_id = LTAI3\naccess_key_secret = S3cret3\n")
    config(own_home, plain("default")).write_text("{")
    assert await ChainKeys(environ).key() == fixed(3)
    config(own_home, plain("default"))
    assert await ChainKeys(environ | {"ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true"}).key() == fixed(3)
    error = await refusal(ProfileKeys("default", environ | {"ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "True"}))
    assert "ALIBABA_CLOUD_CLI_PROFILE_DISABLED is set" in error.message


async def test_the_credentials_file_is_found_at_home_or_by_its_variable(
    environ: dict[str, str], own_home: Path, tmp_path: Path
) -> None:
    """Its section is the profile's name, or default."""
    text = "[{}]\ntype = access_key\naccess_key_id = LTAI{}\naccess_key_secret = S3cret{}\n"
    path = ini(own_home, text.format("default", 3, 3) + text.format("prod", 4, 4))
    assert await ChainKeys(environ).key() == fixed(3)
    assert await ChainKeys(environ | {"ALIBABA_CLOUD_PROFILE": "prod"}).key() == fixed(4)
    moved = path.rename(tmp_path / "elsewhere.ini")
    assert await ChainKeys(environ | {"ALIBABA_CLOUD_CREDENTIALS_FILE": str(moved)}).key() == fixed(3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("S3cret with no section", "is no ini file"),
        ("[prod]\ntype = access_key\n", "has no section [default]"),
        ("[default]\ntype = S3cret\n", "incomplete or unusable"),
        ("[default]\ntype = access_key\naccess_key_id = LTAI\naccess_key_secret = %S3cret\n", "unusable"),
    ],
)
async def test_a_credentials_file_that_is_broken_is_named(
    environ: dict[str, str], own_home: Path, text: str, why: str
) -> None:
    """File and reason; no line of it."""
    path = ini(own_home, text)
    assert f"{path}: {why}" in (await refusal(ChainKeys(environ))).message or why == "unusable"


async def test_the_uri_is_asked_in_a_thread(environ: dict[str, str]) -> None:
    """The service runs on this event loop: asked on the loop it could never answer."""
    async with source() as made, asyncio.timeout(10):
        assert await ChainKeys(environ | {URI: made.url}).key() == temporary(1)
    assert made.asked == ["GET /key"]


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (lambda: web.json_response({"Code": "Fail", "SecurityToken": "CAIS+token"}), "incomplete or unusable"),
        (lambda: web.Response(text="S3cret"), "incomplete or unusable"),
        (lambda: web.json_response(given(1) | {"Expiration": "S3cret"}), "incomplete or unusable"),
        (lambda: web.json_response(given(1) | {"AccessKeySecret": "S3cret\n"}), "access key: the secret is empty"),
        (lambda: web.json_response(given(1, life=-7200)), "incomplete or unusable"),
        (
            lambda: web.json_response({"Code": "NoPermission", "Message": "S3cret"}, status=403),
            "answered HTTP 403 NoPermission",
        ),
        (lambda: web.json_response({"Code": "CAIS+token/S3cret1"}, status=403), "answered HTTP 403."),
        (lambda: web.Response(text="S3cret", status=500), "answered HTTP 500"),
    ],
)
async def test_a_service_that_gives_no_key_is_quoted_by_status_and_code_alone(
    environ: dict[str, str], says: Any, why: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The vendor's package would print the whole answer; nothing of it is seen, in no log either."""
    caplog.set_level(logging.DEBUG)
    os.environ["DEBUG"] = "sdk"  # the package's switch for printing requests
    async with source(instead=says) as made:
        error = await refusal(ChainKeys(environ | {URI: made.url}))
    assert f"{URI}: {why}" in error.message + "."
    assert capfd.readouterr() == ("", "")
    assert "CAIS" not in caplog.text


async def test_a_service_that_is_not_there_is_no_answer(environ: dict[str, str]) -> None:
    """A closed port."""
    async with source() as made:
        pass
    assert f"{URI}: no answer" in (await refusal(ChainKeys(environ | {URI: made.url}))).message


async def test_the_metadata_service_gives_the_key_of_the_machines_role(environ: dict[str, str]) -> None:
    """Token, role, key: the vendor's package asks the metadata address, here through a proxy that is the service."""
    asked = []

    async def metadata(request: web.Request) -> web.Response:
        asked.append((request.method, request.path, request.headers.get("X-aliyun-ecs-metadata-token")))
        if request.method == "PUT":
            return web.Response(text="T0ken")
        role = request.path.rpartition("/")[2]
        return web.json_response(given(1)) if role else web.Response(text="operator")

    async with source(metadata) as made:
        os.environ["HTTP_PROXY"] = made.url.removesuffix("/key")
        assert await ChainKeys(environ | {OFF: ""}).key() == temporary(1)
    where = "/latest/meta-data/ram/security-credentials/"
    assert asked[-1] == ("GET", f"{where}operator", "T0ken")
    assert ("GET", where, "T0ken") in asked


@pytest.mark.parametrize("nested", [True, False])
async def test_no_thread_is_left_behind(environ: dict[str, str], own_home: Path, nested: bool) -> None:
    """Neither the chain's own look at the metadata service nor a profile that means it starts a scheduler."""
    if nested:
        config(own_home, {"name": "default", "mode": "EcsRamRole", "ram_role_name": "operator"})
    async with source() as made:
        os.environ["HTTP_PROXY"] = made.url.removesuffix("/key")
        assert (await ChainKeys(environ | {OFF: ""}).key()).id.startswith("STS.")
    assert not [thread for thread in threading.enumerate() if "APScheduler" in thread.name]


async def test_a_key_is_kept_and_its_place_asked_again_now_and_then(environ: dict[str, str]) -> None:
    """Between two looks nobody is asked; at each the package decides, and fetches a key that is about to end."""
    ticks = Ticks()
    async with source(life=600) as made:  # the package calls the last 15 minutes stale
        keys = ChainKeys(environ | {URI: made.url}, monotonic=ticks)
        for number in (1, 2):
            assert [await keys.key() for _ in range(5)] == [temporary(number)] * 5
            ticks.now += ASK_EVERY
        made.life = 3600
        assert await keys.key() == temporary(3)
        ticks.now += ASK_EVERY
        assert await keys.key() == temporary(3)  # young: the package has it still
    assert len(made.asked) == 3


async def test_a_place_that_fails_later_is_no_error(environ: dict[str, str]) -> None:
    """The key at hand stays until the service calls it expired."""
    ticks = Ticks()
    async with source(life=600) as made:
        keys = ChainKeys(environ | {URI: made.url}, monotonic=ticks)
        await keys.key()
        made.instead = lambda: web.Response(status=500)
        ticks.now += ASK_EVERY
        assert [await keys.key() for _ in range(5)] == [temporary(1)] * 5
    assert len(made.asked) == 2


async def test_a_look_ahead_keeps_nobody_waiting_and_hides_no_expiry(environ: dict[str, str]) -> None:
    """While one call asks the place again the others sign with the key at hand; whoever is told meanwhile that it has
    expired waits, and opens the place anew when that look brought nothing.
    """
    ticks = Ticks()
    async with source(life=600) as made:
        keys = ChainKeys(environ | {URI: made.url}, monotonic=ticks)
        await keys.key()
        ticks.now += ASK_EVERY
        made.gate.clear()
        made.arrived.clear()
        broken = iter([web.Response(status=500)])
        made.instead = lambda: next(broken, web.json_response(given(7)))
        async with asyncio.TaskGroup() as group, asyncio.timeout(10):
            ahead = group.create_task(keys.key())
            await made.arrived.wait()
            assert await keys.key() == temporary(1)
            renewal = group.create_task(keys.renew(temporary(1)))
            await asyncio.sleep(0)
            made.gate.set()
        assert (ahead.result(), renewal.result()) == (temporary(1), True)
        assert await keys.key() == temporary(7)


async def test_fifty_callers_make_one_look(environ: dict[str, str]) -> None:
    """Whoever waits has what the one look found."""
    async with source() as made:
        keys = ChainKeys(environ | {URI: made.url})
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keys.key()) for _ in range(50)]
    assert {task.result().id for task in tasks} == {"STS.1"}
    assert len(made.asked) == 1


async def test_an_expired_key_is_fetched_anew_once_for_all(environ: dict[str, str]) -> None:
    """The package would keep it for young: it is asked as if for the first time, by one of twenty."""
    async with source() as made:
        keys = ChainKeys(environ | {URI: made.url})
        await keys.key()
        assert await asyncio.gather(*(keys.renew(temporary(1)) for _ in range(20))) == [True] * 20
        assert await keys.key() == temporary(2)
        assert await keys.renew(temporary(1))
    assert len(made.asked) == 2


@pytest.mark.parametrize("kind", ["environment", "profile"])
async def test_a_key_for_ever_cannot_be_renewed(environ: dict[str, str], own_home: Path, kind: str) -> None:
    """The same one would come again, and it is said at once when asked again; a file that has a new one has it."""
    config(own_home, plain("default"))
    keys = ChainKeys(environ | (OWN if kind == "environment" else {}))
    key = await keys.key()
    assert await asyncio.gather(*(keys.renew(key) for _ in range(20))) == [False] * 20
    assert not await keys.renew(key)
    assert await keys.key() == key


async def test_a_service_that_has_no_other_key_is_asked_for_one_once(environ: dict[str, str]) -> None:
    """Twenty are told no, and the next too, from one request."""
    async with source(instead=lambda: web.json_response(given(1))) as made:
        keys = ChainKeys(environ | {URI: made.url})
        await keys.key()
        assert await asyncio.gather(*(keys.renew(temporary(1)) for _ in range(20))) == [False] * 20
        assert not await keys.renew(temporary(1))
    assert len(made.asked) == 2


async def test_a_profile_that_was_written_anew_is_read_anew(environ: dict[str, str], own_home: Path) -> None:
    """Whoever signs in again while a run goes on has its key taken."""
    config(own_home, STS_PROFILE)
    keys = ProfileKeys("sts", environ)
    key = await keys.key()
    config(own_home, STS_PROFILE | {"access_key_id": "STS.fresh"})
    assert await keys.renew(key)
    assert (await keys.key()).id == "STS.fresh"


@pytest.mark.parametrize(
    ("says", "verdict", "code"),
    [
        (lambda: web.Response(status=503), Verdict.NOT_SENT, "CredentialsUnreachable"),
        (lambda: web.Response(status=403), Verdict.ACCOUNT_STOP, "NoCredentials"),
    ],
)
async def test_a_renewal_without_a_key_says_why_to_all(
    environ: dict[str, str], own_home: Path, says: Any, verdict: Verdict, code: str
) -> None:
    """Silence is passing, a no is final; the place that had the key is the only one asked, and the dead key is not
    given out again.
    """
    async with source() as made:
        keys = ChainKeys(environ | {URI: made.url})
        await keys.key()
        config(own_home, plain("default"))  # another account's, perhaps
        made.instead = says
        found = await asyncio.gather(*(keys.renew(temporary(1)) for _ in range(20)), return_exceptions=True)
        errors = [error for error in found if isinstance(error, CallError)]
        assert {(error.verdict, error.code) for error in errors} == {(verdict, code)}
        assert (len(errors), len(made.asked)) == (20, 2)
        made.instead = None
        if verdict is Verdict.NOT_SENT:
            assert await keys.key() == temporary(3)
        else:
            assert "answered HTTP 403" in (await refusal(keys)).message


def test_keys_show_no_secret(environ: Mapping[str, str]) -> None:
    """Before and after the first key."""
    keys = ChainKeys({**environ, **OWN})
    asyncio.run(keys.key())
    assert "S3cret" not in repr(keys) + repr(vars(keys)["_found"])
