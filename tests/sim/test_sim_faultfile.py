"""Fault files: what they can say, and how they are refused."""

import re
from pathlib import Path

import pytest

from batchmod.sim.errors import SimError
from batchmod.sim.faultfile import load_scenario, parse
from batchmod.sim.operations import OPERATIONS
from batchmod.sim.ram import Role, Statement
from batchmod.sim.scenario import Choice, Durations, Fault, FaultKind, Quota, Scenario

MAIN, OTHER = "1234567890123456", "2222333344445555"
DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"

WHOLE = """
scripts:
  - api: ModifyInstanceAttribute
    match: r-sim000001
    play:
      - throttle
      - refuse:InvalidPassword.Malformed
      - {fault: hang, seconds: 5, landed: false}
      - {fault: http_500, landed: true, times: 2}
      - ok
rates: [{api: "Modify*", fault: throttle, rate: 0.05, retry_after: 250}]
busy: [{fraction: 0.25, seconds: 10}]
refuse: [{match: "r-sim00001*", code: Forbidden.RAM, status: 403}]
instances:
  r-sim000003: {engine_version: "5.0", support_tde: false, vanish_after: 3, tags: {env: test}, address: "127.0.0.1:1"}
  r-sim000004: {account: "2222333344445555", zone: z, global: true, shard_count: 2, locked: true}
regions: [cn-beijing, eu-west-1]
accounts: {"1234567890123456": {}, "2222333344445555": {revoke_key_after: 7}}
roles:
  - {account: "2222333344445555", name: operator, trusts: ["1234567890123456"], max_session: 7200}
  - {name: auditor, trusts: []}
policies:
  - principal: user/simulator
    document: {Version: "1", Statement: [{Effect: Allow, Action: "kvstore:*", Resource: ["*"]}]}
  - account: "2222333344445555"
    principal: role/operator
    document:
      Version: "1"
      Statement:
        - Effect: Deny
          Action: [a, b]
          Resource: c
          Condition: {StringEquals: {"kvstore:TDEStatus": Enabled}}
regional_endpoints: true
token_seconds: 30
durations: {password: 0.5}
lag: 0
quotas: {ModifyInstanceTDE: 10/60s}
retry_after: true
tde_status: SSLModifying
clock_offset: -90
session_token: CAIStoken
revoke_key_after: 100
strict_protection: true
authorization_state: 2
"""
POLICY = 'policies: [{{principal: user/simulator, document: {{Version: "1", Statement: [{}]}}}}]'


def test_everything_that_can_be_said_is_read() -> None:
    """Each key of a fault file ends in the scenario with the value that was written."""
    told = parse(WHOLE, "f.yaml")
    script = told.scripts[0]
    assert (script.api, script.match) == ("ModifyInstanceAttribute", "r-sim000001")
    assert script.play == (
        Fault(kind=FaultKind.THROTTLE),
        Fault(kind=FaultKind.REFUSE, code="InvalidPassword.Malformed"),
        Fault(kind=FaultKind.HANG, seconds=5, landed=False),
        Fault(kind=FaultKind.HTTP_500, landed=True),
        Fault(kind=FaultKind.HTTP_500, landed=True),
        Fault(),
    )
    assert (told.rates[0].rate, told.rates[0].fault.retry_after) == (0.05, 250)
    assert (told.busy[0].who, told.busy[0].seconds) == (Choice(fraction=0.25), 10)
    assert (told.refuse[0].fault.code, told.refuse[0].fault.status) == ("Forbidden.RAM", 403)
    assert told.instances[0][1]["engine_version"] == "5.0"
    assert told.durations == Durations(password=0.5)
    assert told.quotas["ModifyInstanceTDE"] == Quota(calls=10, seconds=60)
    assert told.quotas["DescribeInstanceAttribute"] == Quota(calls=1000, seconds=1)
    assert (told.lag, told.retry_after, told.tde_status, told.clock_offset) == (0, True, "SSLModifying", -90)
    assert (told.session_token, told.revoke_key_after) == ("CAIStoken", 100)
    assert (told.strict_protection, told.authorization_state) == (True, 2)
    assert told.instances[1][1] == {
        "account": OTHER,
        "zone": "z",
        "in_global": True,
        "shard_count": 2,
        "locked": True,
    }


def test_what_is_said_of_accounts_is_read() -> None:
    """Regions, accounts, roles and policies; the first account is meant where none is named."""
    told = parse(WHOLE, "f.yaml")
    assert (told.regions, told.main_account) == (("cn-beijing", "eu-west-1"), MAIN)
    assert told.key_limits == {MAIN: 100, OTHER: 7}
    assert told.roles == (
        Role(account_id=OTHER, name="operator", trusts=frozenset({MAIN}), max_session=7200),
        Role(account_id=MAIN, name="auditor", trusts=frozenset()),
    )
    assert [(each.account_id, each.principal) for each in told.policies] == [
        (MAIN, "user/simulator"),
        (OTHER, "role/operator"),
    ]
    assert told.policies[0].statements == (Statement(allow=True, actions=("kvstore:*",), resources=("*",)),)
    assert told.policies[1].statements == (
        Statement(allow=False, actions=("a", "b"), resources=("c",), equals=(("kvstore:TDEStatus", ("Enabled",)),)),
    )
    assert (told.regional_endpoints, told.token_seconds) == (True, 30)


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
def test_an_empty_file_is_a_cloud_without_faults(text: str) -> None:
    """Nothing said, nothing wrong."""
    assert parse(text, "f.yaml") == Scenario()


def test_json_is_read_too() -> None:
    """A JSON file says the same as a YAML one."""
    assert parse('{"lag": 1.5, "rates": [{"fault": "ok", "rate": 1}]}', "f.json").lag == 1.5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scrpts: []", "f.yaml: scrpts: unknown key; did you mean 'scripts'?"),
        ("scripts: [{play: [throtle]}]", "scripts[0].play[0]: unknown value 'throtle'; did you mean 'throttle'?"),
        ("scripts: [{api: ModifyInstanceTDS, play: [ok]}]", "scripts[0].api: unknown value 'ModifyInstanceTDS'"),
        ("scripts: [{play: [{fault: hang}]}]", "scripts[0].play[0]: the fault 'hang' needs 'seconds'"),
        ("scripts: [{play: [refuse]}]", "scripts[0].play[0]: the fault 'refuse' needs 'code'"),
        ("scripts: [{play: ['ok:x']}]", "scripts[0].play[0]: 'code' means nothing"),
        ("scripts: [{play: [{fault: ok, landed: true}]}]", "scripts[0].play[0].landed: 'landed' means nothing"),
        ("scripts: [{play: [{fault: ok, times: 0}]}]", "scripts[0].play[0].times: must be between"),
        ("scripts: [{api: '*'}]", "scripts[0]: 'play' is missing"),
        ("scripts: {}", "scripts: must be a list"),
        ("rates: [{fault: throttle, rate: 1.5}]", "rates[0].rate: must be between 0 and 1"),
        ("rates: [{fault: throttle, rate: true}]", "rates[0].rate: must be a number"),
        ("busy: [{seconds: 5}]", "busy[0]: says neither 'match' nor 'fraction'"),
        ("refuse: [{match: x, code: A, status: 200}]", "refuse[0].status: must be between 400 and 599"),
        ("instances: {r-1: {engine_version: 7.0}}", "instances.r-1.engine_version: must be a text (in quotes"),
        ("instances: {r-1: {charge_type: Prepaid}}", "instances.r-1.charge_type: unknown value"),
        ("instances: {r-1: {address: nowhere}}", "instances.r-1.address: must be host:port"),
        ("instances: {r-1: {address: ':6379'}}", "instances.r-1.address: must be host:port"),
        ("instances: {r-1: {address: 'host:65536'}}", "instances.r-1.address: must be host:port"),
        ("instances: {r-1: {address: 'host:²'}}", "instances.r-1.address: must be host:port"),
        ("instances: {r-1: {vanish_after: -1}}", "instances.r-1.vanish_after: must be between"),
        ("quotas: {ModifyInstanceTDE: 200}", "quotas.ModifyInstanceTDE: must be a text"),
        ("quotas: {ModifyInstanceTDE: 200/1m}", "quotas.ModifyInstanceTDE: must be calls per period"),
        ("quotas: {ModifyTDE: 200/1s}", "quotas.ModifyTDE: unknown key"),
        ("durations: {passwords: 1}", "durations.passwords: unknown key; did you mean 'password'?"),
        ("lag: .nan", "lag: must be a number"),
        ("clock_offset: .inf", "clock_offset: must be a number"),
        ("strict_protection: 1", "strict_protection: must be true or false"),
        ("authorization_state: 3", "authorization_state: must be between 0 and 2"),
        ("regions: []", "regions: names no region"),
        ("regions: [a-b, a-b]", "regions: names a region twice"),
        ("regions: [Nowhere]", "regions[0]: must be the name of a region"),
        ("accounts: {}", "accounts: names no account"),
        ("accounts: {1234567890123456: {}}", "accounts: the key 1234567890123456 is not a text"),
        ("accounts: {'123': {}}", "accounts.123: an account id has 16 digits"),
        ("accounts: {'1234567890123456': {revoke_after: 1}}", "accounts.1234567890123456.revoke_after: unknown key"),
        (
            "revoke_key_after: 1\naccounts: {'1234567890123456': {revoke_key_after: 2}}",
            "revoke_key_after: the first of 'accounts' says it too",
        ),
        ("instances: {r-1: {account: '2222333344445555'}}", "instances.r-1.account: unknown value '2222333344445555'"),
        ("instances: {r-1: {region: EU}}", "instances.r-1.region: must be the name of a region"),
        ("instances: {r-1: {shard_count: 0}}", "instances.r-1.shard_count: must be between"),
        ("instances: {r-1: {architecture: Cluster}}", "instances.r-1.architecture: unknown value 'Cluster'"),
        ("roles: [{name: a}]", "roles[0]: 'trusts' is missing"),
        ("roles: [{name: a b, trusts: []}]", "roles[0].name: must be 1 to 64"),
        ("roles: [{name: a, trusts: ['2222333344445555']}]", "roles[0].trusts[0]: unknown value"),
        ("roles: [{name: a, trusts: [], max_session: 60}]", "roles[0].max_session: must be between 900 and 43200"),
        ("roles: [{name: a, trusts: []}, {name: a, trusts: []}]", "roles: names a role twice"),
        ("policies: [{principal: role/a, document: {}}]", "policies[0].principal: unknown value 'role/a'"),
        (POLICY.format("{Effect: Maybe, Action: a, Resource: b}"), "document.Statement[0].Effect: unknown value"),
        (POLICY.format("{Effect: Allow, Action: [], Resource: b}"), "document.Statement[0].Action: is empty"),
        (POLICY.format("{Effect: Allow, NotAction: a, Resource: b}"), "document.Statement[0].NotAction: unknown key"),
        (
            POLICY.format("{Effect: Allow, Action: a, Resource: b, Condition: {IpAddress: {}}}"),
            "document.Statement[0].Condition.IpAddress: unknown key",
        ),
        ("policies: [{principal: user/simulator, document: {Version: 1, Statement: []}}]", "Version: must be a text"),
        ("token_seconds: 0", "token_seconds: must be between 1"),
        ("1: 2", "the file: the key 1 is not a text"),
        ("[]", "the file: must be a mapping"),
        ("lag: 1\nlag: 2", "f.yaml:2:1: the key 'lag' stands twice"),
        ("lag: [", "f.yaml:1:"),
        ("lag: 1\n---\nlag: 2", "f.yaml:"),
        ("lag: \x00", "f.yaml: "),
    ],
)
def test_a_broken_file_is_refused_with_its_place(text: str, complaint: str) -> None:
    """One line that names file and path, and guesses what was meant."""
    with pytest.raises(SimError, match=re.escape(complaint)) as caught:
        parse(text, "f.yaml")
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A missing file and one that is no text are complaints, not crashes."""
    with pytest.raises(SimError, match="No such file"):
        load_scenario(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SimError, match="not UTF-8"):
        load_scenario(tmp_path / "binary.yaml")


def test_the_documented_examples_are_fault_files() -> None:
    """Every YAML block of the documentation is accepted."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 3
    for block in blocks:
        parse(block, "docs")


def test_the_documentation_knows_every_word() -> None:
    """Faults, keys and operations are all explained."""
    text = DOCS.read_text(encoding="utf-8")
    words = {*FaultKind, *OPERATIONS, *Scenario.__dataclass_fields__}
    assert not [word for word in sorted(words) if f"`{word}`" not in text]


def test_json_spells_a_character_in_two_halves() -> None:
    """As json.dumps writes it; one half alone is refused with its place, for no reply could carry it."""
    told = '{"instances": {"r-sim000000": {"name": "a\\ud83d\\ude00", "tags": {"\\u4ed8": "\\ud83d\\ude00"}}}}'
    assert parse(told, "faults.json").instances == (("r-sim000000", {"name": "a😀", "tags": {"付": "😀"}}),)
    with pytest.raises(SimError, match=r"^faults\.json:1:\d+: half of a character$"):
        parse(told.replace("\\ude00", ""), "faults.json")
