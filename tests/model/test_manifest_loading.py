"""What a manifest means once it is read, and the schema that editors see."""

import gc
import json
import re
from datetime import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.model.events import Kind, Proof
from batchmod.model.loading import Loaded, load, restore
from batchmod.model.manifest import AttributesChange, PasswordChange, ProfileAccount, Rename, RoleAccount, TdeChange
from batchmod.model.schema import json_schema
from batchmod.model.starter import STARTER
from batchmod.model.stores import EmbeddedSettings
from batchmod.model.values import Rate
from batchmod.model.window import DAYS, Window

JOBS = Path(__file__).parents[2] / "jobs"
MINE = ("rotate-passwords", "migration-campaign", "nightly-compliance")
GOOD = "version: 1\nname: x\nchanges: [{tde: {}}]\ntargets: [{id: r-123, region: cn-hangzhou}]\n"
FULL = """
version: 1
name: rotate-prod
accounts: {prod: {profile: prod}, eu: {role_arn: "acs:ram::1234567890123456:role/redis-operator", via: prod}}
endpoints: {cn-hangzhou: vpc, cn-nowhere: "https://redis.example:8443", sts: "http://127.0.0.1:8080"}
defaults: {account: prod, region: cn-hangzhou}
targets:
- {id: r-001, vars: {team: shop}}
- {id: r-002, region: cn-shanghai, account: default, vars: {team: pay}}
- select:
    account: eu
    regions: [cn-hangzhou, cn-beijing]
    tags: {env: prod, "team name": 支付}
    resource_groups: [rg-acfmxazb4ph6aiy]
    vpcs: [vpc-bp1nme44gek34slfc]
    engine_versions: ["6.0", "7.0"]
    editions: [Community, Enterprise]
    architectures: [cluster, standard, rwsplit]
    charge_types: [PrePaid, PostPaid]
    statuses: [Normal, Changing]
    names: ["cache-*", "缓存[0-9]"]
    allow_empty: yes
- select: {tags: {env: test}}
exclude: [r-009, "r-test*"]
changes:
- tde: {key_id: "key-{id}", role_arn: "acs:ram::{account_id}:role/x", algorithm: AES-CTR-256}
- attributes: {name: {pattern: "^old-(.*)$", replace: "new-\\\\1"}, release_protection: yes}
- password: {env: NEW_PASSWORD, max_age: 30d}
secrets: {store: embedded, recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}
proof: {password: login, timeout: 250ms, rate: 10/1s, address: "127.0.0.1:6379"}
limits: {rate: 100/1m, apis: {ModifyInstanceTDE: 5/1s}, connections: 8, changing: 3}
timeouts: {connect: 1s, read: 2s, check: 30s}
retry: {attempts: 3, max_delay: 10s, busy_timeout: 1h, settle_timeout: 2h, settle_quiet: 5s, fence: 50ms}
rollout:
  waves: [1, "5", 10%, 33.3%]
  pause: manual
  not_with: team
  max_targets: 5
  max_failures: 2%
  check: ["./health.sh", "--all", "two\\nlines 缓"]
  window: {days: [sat, sun], start: "22:30", end: "05:00", timezone: Asia/Shanghai}
report: {dir: out, formats: [json]}
notify: [{env: HOOK}, {file: hook.txt, 'on': [unresolved], timeout: 3s}]
"""


def loaded(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    return load(path)


def attempt(tmp_path: Path, text: str) -> Loaded | tuple[str, ...]:
    """What became of it: a manifest, or the problems."""
    try:
        return loaded(tmp_path, text)
    except UsageError as error:
        return error.problems


def test_every_key_is_read(tmp_path: Path) -> None:
    """What is written arrives, in the units that the program counts in."""
    manifest = loaded(tmp_path, FULL).manifest
    assert manifest.changes == (
        TdeChange(key_id="key-{id}", role_arn="acs:ram::{account_id}:role/x"),
        AttributesChange(name=Rename(pattern="^old-(.*)$", replace=r"new-\1"), release_protection=True),
        PasswordChange.model_validate({"env": "NEW_PASSWORD", "max_age": "30d"}),
    )
    assert [change.kind for change in manifest.changes] == [Kind.TDE, Kind.ATTRIBUTES, Kind.PASSWORD]
    assert manifest.accounts == {
        "prod": ProfileAccount(profile="prod"),
        "eu": RoleAccount(role_arn="acs:ram::1234567890123456:role/redis-operator", via="prod"),
    }
    assert manifest.endpoints == {
        "cn-hangzhou": "vpc",
        "cn-nowhere": "https://redis.example:8443",
        "sts": "http://127.0.0.1:8080",
    }
    assert (manifest.defaults.account, manifest.defaults.region) == ("prod", "cn-hangzhou")
    assert isinstance(manifest.secrets, EmbeddedSettings)
    assert manifest.secrets.recipients[0].startswith("age1")
    proof = manifest.proof
    assert (proof.password, proof.timeout, proof.address) == (Proof.LOGIN, 0.25, "127.0.0.1:6379")
    assert proof.rate == Rate(calls=10, period=1.0)
    assert manifest.limits.rate_for("ModifyInstanceTDE") == Rate(calls=5, period=1.0)
    assert (manifest.limits.connections, manifest.limits.changing) == (8, 3)
    assert (manifest.timeouts.connect, manifest.timeouts.read, manifest.timeouts.check) == (1.0, 2.0, 30.0)
    retry = manifest.retry
    assert (retry.attempts, retry.max_delay, retry.busy_timeout) == (3, 10.0, 3600.0)
    assert (retry.settle_timeout, retry.settle_quiet, retry.fence) == (7200.0, 5.0, 0.05)
    rollout = manifest.rollout
    assert rollout.max_targets == 5
    assert rollout.max_failures is not None
    assert rollout.max_failures.of(500) == 10
    assert [str(share) for share in rollout.waves] == ["1", "5", "10%", "33.3%"]
    assert (rollout.pause, rollout.not_with) == ("manual", "team")
    assert rollout.check == ("./health.sh", "--all", "two\nlines 缓")
    assert rollout.window == Window(
        days=("sat", "sun"), start=time(22, 30), end=time(5), timezone=ZoneInfo("Asia/Shanghai")
    )
    assert (manifest.report.dir, manifest.report.formats) == ("out", ("json",))


@pytest.mark.parametrize(("text", "tls"), [("auto", "auto"), ("true", True), ("false", False)])
def test_tls_is_auto_or_a_switch(tmp_path: Path, text: str, tls: str | bool) -> None:
    """Kept as written, through the journal's copy too; the strongest proof is a word like the others."""
    found = loaded(tmp_path, GOOD + f"proof: {{tls: {text}, password: login-and-old-refused}}\n")
    for manifest in (found.manifest, restore(found.normalised)):
        assert manifest.proof.tls is tls or manifest.proof.tls == "auto" == tls
        assert manifest.proof.password is Proof.LOGIN_AND_OLD_REFUSED


def test_the_defaults_are_those_promised(tmp_path: Path) -> None:
    """Nothing written: the values that the manual states."""
    manifest = loaded(tmp_path, GOOD).manifest
    assert (manifest.accounts, manifest.endpoints, manifest.defaults.account) == ({}, {}, "default")
    assert (manifest.proof.password, manifest.proof.tls) == (Proof.SETTLED, "auto")
    assert (manifest.proof.timeout, manifest.proof.rate, manifest.proof.address) == (
        5.0,
        Rate(calls=50, period=1.0),
        None,
    )
    assert (manifest.limits.connections, manifest.limits.changing) == (64, None)
    assert (manifest.timeouts.connect, manifest.timeouts.read, manifest.timeouts.check) == (5.0, 10.0, 300.0)
    retry = manifest.retry
    assert (retry.attempts, retry.max_delay, retry.busy_timeout) == (6, 60.0, 1800.0)
    assert (retry.settle_timeout, retry.settle_quiet, retry.fence) == (3600.0, 60.0, 960.0)
    rollout = manifest.rollout
    assert (rollout.max_targets, rollout.max_failures, rollout.not_with, rollout.check) == (None, None, None, None)
    assert ([str(share) for share in rollout.waves], rollout.pause, rollout.window) == (["100%"], 0.0, None)
    every_day = Window.model_validate({"start": "02:00", "end": "05:00"})
    assert (every_day.days, every_day.timezone) == (DAYS, ZoneInfo("UTC"))
    assert (manifest.report.dir, manifest.report.formats) == (None, ("csv", "json"))
    assert PasswordChange.model_validate({"generate": {}}).generate is not None


def test_nothing_of_a_manifest_can_be_changed(tmp_path: Path) -> None:
    """It is the same from plan to report."""
    manifest = loaded(tmp_path, GOOD).manifest
    with pytest.raises(ValueError, match="frozen"):
        manifest.retry.attempts = 7


def test_json_is_yaml(tmp_path: Path) -> None:
    """A manifest may be written as JSON, and means the same."""
    assert loaded(tmp_path, json.dumps(yaml.safe_load(FULL))).digest == loaded(tmp_path, FULL).digest


@pytest.mark.parametrize("text", [GOOD, FULL, STARTER])
def test_a_normalised_manifest_is_restored(tmp_path: Path, text: str) -> None:
    """What the journal keeps gives the same manifest again, and normalises to the same text, targets or not."""
    first = loaded(tmp_path, text)
    assert restore(first.normalised) == first.manifest
    assert not any(target.id in first.normalised for target in first.targets)
    kept = json.loads(first.normalised)
    kept["targets"] += [{"id": one.id, "region": one.region, "vars": {**one.vars}} for one in first.targets]
    assert loaded(tmp_path, json.dumps(kept)).normalised == first.normalised
    assert restore(json.dumps(kept)).changes == first.manifest.changes  # as an earlier release kept it


SAME = [
    GOOD.replace("name: x", "# a comment\nname:   'x'"),
    GOOD + "retry: {fence: 960s, max_delay: 1m}\nlimits: {rate: 200/1m}\n",
    "targets: [{region: cn-hangzhou, id: r-123}]\n" + GOOD.rsplit("targets", maxsplit=1)[0],
    GOOD + "accounts: {}\nendpoints: {}\ndefaults: {account: default}\n",
    GOOD + "rollout: {waves: [100%], pause: 0s}\ntimeouts: {check: 300s}\n",
]
OTHER = [
    GOOD.replace("name: x", "name: y"),
    GOOD.replace("r-123", "r-124"),
    GOOD.replace("cn-hangzhou", "cn-beijing"),
    GOOD.replace("region: cn-hangzhou", "region: cn-hangzhou, vars: {a: b}"),
    GOOD.replace("tde: {}", "tde: {key_id: k}"),
    GOOD + "rollout: {max_failures: 1}\n",
    GOOD + "rollout: {waves: [1]}\n",
    GOOD + "rollout: {waves: [1], pause: 1m}\n",
    GOOD + "rollout: {waves: [1], check: ['true']}\n",
    GOOD + "rollout: {window: {start: '02:00', end: '05:00'}}\n",
    GOOD + "rollout: {window: {start: '02:00', end: '05:00', timezone: Asia/Shanghai}}\n",
    GOOD + "accounts: {prod: {profile: a}}\n",
    GOOD + "endpoints: {cn-hangzhou: vpc}\n",
    GOOD.replace("hangzhou}]", "hangzhou}, {select: {regions: [cn-x]}}]"),
]


@pytest.mark.parametrize("text", SAME)
def test_the_same_meaning_has_the_same_digest(tmp_path: Path, text: str) -> None:
    """Comments, order of keys, units and written defaults do not matter."""
    assert loaded(tmp_path, text).digest == loaded(tmp_path, GOOD).digest


@pytest.mark.parametrize("text", OTHER)
def test_another_meaning_has_another_digest(tmp_path: Path, text: str) -> None:
    """Whatever would make another run makes another digest."""
    assert loaded(tmp_path, text).digest != loaded(tmp_path, GOOD).digest


def test_the_digest_covers_the_files(tmp_path: Path) -> None:
    """The same manifest with another file beside it, or another order in it, is another campaign."""
    digests = set()
    for content in ("r-123,a\nr-124,b", "r-124,b\nr-123,a", "r-123,a\nr-124,c"):
        (tmp_path / "f.csv").write_text(f"id,team\n{content}\n")
        digests.add(
            loaded(tmp_path, GOOD.partition("targets")[0] + "defaults: {region: cn-x}\ntargets: [from: f.csv]\n").digest
        )
    assert len(digests) == 3


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    """It rests while a manifest is read, and goes on after success and after failure."""
    loaded(tmp_path, GOOD)
    assert gc.isenabled()
    with pytest.raises(UsageError):
        loaded(tmp_path, "")
    assert gc.isenabled()


text_alphabet = st.text("ab01:-{}[]#&*!|>'\"%@`, \n\t\\?~.", max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(text_alphabet)
def test_any_text_is_a_manifest_or_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing that can be typed ends in another error, and every problem has its place."""
    for whole in (text, GOOD + text, GOOD.replace("x", text, 1)):
        found = attempt(tmp_path, whole)
        if isinstance(found, tuple):
            assert found
            assert all(line.startswith((f"{tmp_path}/m.yaml:", "and ")) for line in found)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "version", "name", "accounts", "endpoints", "defaults", "targets", "exclude", "changes", "secrets", "proof", "limits", "timeouts", "retry",
    "rollout", "report",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.sampled_from(KEYS), plain)
def test_any_value_is_read_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    """Any data under any key: a manifest or problems, and nothing else; and what loads, the schema accepts."""
    data = yaml.safe_load(GOOD) | {key: value}
    text = json.dumps(data)
    found = attempt(tmp_path, text)
    if isinstance(found, tuple):
        assert found
    else:
        SCHEMA.validate(yaml.safe_load(text))


SCHEMA = jsonschema.Draft202012Validator(json_schema())


MANIFESTS = [
    path for path in sorted(JOBS.glob("*.yaml")) if not path.stem.endswith("-faults")
]  # those are the simulator's


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_job_is_valid(path: Path) -> None:
    """Each manifest that is shipped loads, and editors find no fault with it."""
    loaded = load(path)
    assert loaded.targets or loaded.selectors
    SCHEMA.validate(yaml.safe_load(path.read_text()))


def test_the_jobs_are_there() -> None:
    """The examples that the manual names exist and are called as their files are."""
    assert [load(JOBS / f"{name}.yaml").manifest.name for name in MINE] == list(MINE)


def test_the_starter_is_valid(tmp_path: Path) -> None:
    """A new campaign begins with a manifest that loads and names its schema."""
    assert loaded(tmp_path, STARTER).targets
    SCHEMA.validate(yaml.safe_load(STARTER))
    assert STARTER.startswith("# yaml-language-server: $schema=batchmod.schema.json\n")


def test_the_starter_is_valid_without_its_comment_signs(tmp_path: Path) -> None:
    """What it shows as comments is right too: with every option switched on it still loads."""
    lines = []
    for line in STARTER.splitlines()[3:]:
        bare = line.lstrip()
        on = bare.startswith("# ") and (":" in bare or bare.startswith("# -")) and not bare.startswith("# Everything")
        lines.append(line.replace("# ", "", 1) if on else line)
    text = "\n".join(["version: 1", *lines]).replace("version: 1\nversion: 1", "version: 1")
    (tmp_path / "fleet.csv").write_text("id,region,team\nr-bp1cccccccccccccc,cn-beijing,shop\n")
    text = text.replace("- r-bp1aaaaaaaaaaaaa ", "- {id: r-bp1aaaaaaaaaaaaa, vars: {team: web}} ")
    found = loaded(tmp_path, text)
    manifest = found.manifest
    assert len(found.selectors) == 1
    assert [change.kind for change in manifest.changes] == [Kind.ATTRIBUTES, Kind.PASSWORD, Kind.TDE]
    assert manifest.model_fields_set >= {
        "accounts",
        "endpoints",
        "secrets",
        "limits",
        "timeouts",
        "retry",
        "report",
        "exclude",
    }
    assert manifest.rollout.model_fields_set == set(type(manifest.rollout).model_fields)


def test_the_schema_is_a_schema() -> None:
    """An independent validator accepts it, and every key that a person can write is explained."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        for key, place in section["properties"].items():
            below = schema["$defs"][place["$ref"].rpartition("/")[2]] if "$ref" in place else {}
            assert place.get("description") or below.get("description"), key


def test_the_schema_shows_defaults_as_they_are_written() -> None:
    """What an editor offers as a default is accepted where it is offered."""
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, place in section["properties"].items():
            if "default" in place:
                found = jsonschema.Draft202012Validator({**place, "$defs": schema["$defs"]}).is_valid(place["default"])
                assert found, key


def test_the_schema_takes_all_that_is_written() -> None:
    """Every way to write a value is known to editors."""
    SCHEMA.validate(yaml.safe_load(FULL))


ROLE = "acs:ram::1234567890123456:role/x"
SELECTIONS = [
    "regions: [cn-x]",
    "account: default, regions: [cn-x], allow_empty: no",
    "regions: [cn-x], tags: {a: b, c: d, e: f, g: h, i: j}",
    "regions: [cn-x], engine_versions: ['6.0'], statuses: [SSLModifying], names: ['*']",
]
NO_SELECTIONS = [
    "",
    "allow_empty: true",
    "regions: []",
    "regions: cn-x",
    "regions: [cn-x, cn-x]",
    "regions: [cn-x], tags: {}",
    "regions: [cn-x], tags: ",
    "regions: [cn-x], tags: {a: ''}",
    'regions: [cn-x], tags: {"a\\e": b}',
    "regions: [cn-x], tags: {a: b, c: d, e: f, g: h, i: j, k: l}",
    "regions: [cn-x], engine_versions: [6.0]",
    "regions: [cn-x], engine_versions: ['6']",
    "regions: [cn-x], editions: [community]",
    "regions: [cn-x], architectures: [sharded]",
    "regions: [cn-x], charge_types: [Free]",
    "regions: [cn-x], statuses: [Not Normal]",
    "regions: [cn-x], names: ['']",
    "regions: [cn-x], vpcs: ['a,b']",
    "regions: [cn-x], resource_groups: []",
    "regions: [cn-x], allow_empty: 1",
    "regions: [cn-x], id: r-123",
]
URL_PIECES = [
    "https", "http", "HTTPS", "ftp", "://", ":/", "localhost", "127.0.0.1", "127.1", "[::1]", "[fe80::1]", "redis.example",
    "r_1-a.b", "-x", ".", ":", ":443", ":0", ":65535", ":65536", ":0080", "/", "?", "#", "a", "@", " ",
]  # fmt: skip


def selecting(written: str) -> str:
    return GOOD.replace("hangzhou}]", f"hangzhou}}, {{select: {{{written}}}}}]")


@pytest.mark.parametrize("written", SELECTIONS)
def test_every_selection_is_known_to_editors(tmp_path: Path, written: str) -> None:
    """What loads, the schema takes."""
    assert len(loaded(tmp_path, selecting(written)).selectors) == 1
    SCHEMA.validate(yaml.safe_load(selecting(written)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["https://", "http://"]) | st.just(""),
    st.lists(st.sampled_from(URL_PIECES), max_size=5).map("".join),
    st.sampled_from(["cn-hangzhou", "cn-nowhere", "sts"]),
)
def test_an_editor_takes_the_endpoints_that_load_takes(tmp_path: Path, scheme: str, rest: str, place: str) -> None:
    """URL by URL the same verdict."""
    text = json.dumps(yaml.safe_load(GOOD) | {"endpoints": {place: scheme + rest}})
    assert SCHEMA.is_valid(json.loads(text)) == isinstance(attempt(tmp_path, text), Loaded)


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "tragets: []\n",
        GOOD + "limits: {rat: 1/1s}\n",
        GOOD + "limits: {rate: fast}\n",
        GOOD + "limits: {apis: {Nope: 1/1s}}\n",
        GOOD + "timeouts: {read: 5}\n",
        GOOD + "rollout: {max_failures: 0}\n",
        GOOD + "rollout: {waves: []}\n",
        GOOD + "rollout: {waves: [0]}\n",
        GOOD + "rollout: {waves: [1], pause: soon}\n",
        GOOD + "rollout: {waves: [1], check: []}\n",
        GOOD + "rollout: {waves: [1], check: ['']}\n",
        GOOD + "rollout: {waves: [1], check: [7]}\n",
        GOOD + "rollout: {not_with: 7}\n",
        GOOD + "rollout: {not_with: region}\n",
        GOOD + "rollout: {window: {}}\n",
        GOOD + "rollout: {window: {start: '24:00', end: '05:00'}}\n",
        GOOD + "rollout: {window: {start: '02:00', end: '05:00', days: []}}\n",
        GOOD + "rollout: {window: {start: '02:00', end: '05:00', days: [sat, sat]}}\n",
        GOOD + "rollout: {window: {start: '02:00', end: '05:00', days: [holiday]}}\n",
        GOOD + "rollout: {window: {start: '02:00', end: '05:00', timezone: ../x}}\n",
        GOOD + "proof: {password: read-back}\n",
        GOOD.replace("tde", "tdee"),
        GOOD.replace("{tde: {}}", ""),
        GOOD.replace("tde: {}", "password: hunter2"),
        GOOD.replace("tde: {}", "password: {value: hunter2}"),
        GOOD.replace("tde: {}", "password: {}"),
        GOOD.replace("tde: {}", "attributes: {}"),
        GOOD.replace("tde: {}", "tde: {}, attributes: {name: ab}"),
        GOOD.replace("id: r-123", "id: 'r 123'"),
        GOOD.replace("version: 1", "version: 2"),
        GOOD.replace("name: x", "name: X"),
        GOOD + "accounts: []\n",
        GOOD + "accounts: {a b: {profile: x}}\n",
        GOOD + "accounts: {LTAI5tHunter2: {profile: x}}\n",
        GOOD + "accounts: {prod: prod}\n",
        GOOD + "accounts: {prod: {}}\n",
        GOOD + "accounts: {prod: {via: default}}\n",
        GOOD + "accounts: {prod: {profile: x, via: default}}\n",
        GOOD + f"accounts: {{prod: {{profile: x, role_arn: '{ROLE}'}}}}\n",
        GOOD + "accounts: {prod: {profile: ''}}\n",
        GOOD + "accounts: {prod: {profile: LTAI5tHunter2}}\n",
        GOOD + "accounts: {prod: {role_arn: x}}\n",
        GOOD + f"accounts: {{prod: {{role_arn: '{ROLE}', via: 'a b'}}}}\n",
        GOOD + "accounts: {prod: {access_key_id: x}}\n",
        GOOD + "endpoints: {hangzhou: vpc}\n",
        GOOD + "endpoints: {sts: vpc}\n",
        GOOD + "endpoints: {cn-nowhere: vpc}\n",
        GOOD + "endpoints: {cn-x: 7}\n",
        *(selecting(written) for written in NO_SELECTIONS),
    ],
)
def test_the_schema_refuses_what_load_refuses(tmp_path: Path, text: str) -> None:
    """An editor marks the same mistakes."""
    with pytest.raises(UsageError):
        loaded(tmp_path, text)
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(yaml.safe_load(text))


MANUAL = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text()


def test_the_manual_names_every_key() -> None:
    """Whatever a manifest may say stands in the manual."""
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key in section["properties"]:
            assert f"`{key}`" in MANUAL or f".{key}`" in MANUAL, key


@pytest.mark.parametrize("block", re.findall("```yaml\n(.*?)```", MANUAL, re.DOTALL))
def test_the_examples_of_the_manual_load(tmp_path: Path, block: str) -> None:
    """A whole manifest loads as it stands; a part of one loads within a whole one."""
    (tmp_path / "fleet.csv").write_text("id,region,team\nr-bp1cccccccccccccc,cn-beijing,shop\n")
    data = yaml.safe_load(block)
    loaded(tmp_path, block if "version" in data else yaml.safe_dump({**yaml.safe_load(GOOD), **data}))
