"""What is refused, where, and in which words."""

from pathlib import Path

import pytest

from batchmod.errors import UsageError
from batchmod.model.loading import load

HEAD = "version: 1\nname: x\n"
CHANGES = "changes: [{tde: {}}]\n"
TARGETS = "targets: [{id: r-123, region: cn-hangzhou}]\n"
GOOD = HEAD + CHANGES + TARGETS  # lines 1 to 4


def refused(path: Path) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        load(path)
    return caught.value.problems


def problems(tmp_path: Path, content: str | bytes) -> list[str]:
    """The problems of this text, without the file's name."""
    path = tmp_path / "m.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [line.removeprefix(f"{path}:") for line in refused(path)]


def changes(written: str) -> str:
    return HEAD + TARGETS + "changes:\n" + written


def targets(written: str) -> str:
    return HEAD + CHANGES + "targets:\n" + written


def select(written: str) -> str:
    return targets(f"- select: {{regions: [cn-x], {written}}}\n")


def window(written: str) -> str:
    return GOOD + f"rollout: {{window: {{{written}}}}}\n"


ROLE = "acs:ram::1234567890123456:role/x"
NO_KEY = "a manifest never holds an access key: put it into a profile of the CLI"
NEVER = "a manifest never holds a password: write env: VARIABLE, file: path, secret: reference or generate"
CASES = {  # text, place and path, a part of the message
    # the text
    "empty": ("", "1:1: ", "there is nothing in it"),
    "comments only": ("# nothing\n---\n", "1:1: ", "there is nothing in it"),
    "a list": ("- 1\n", "1:1: ", "must be a mapping"),
    "text": ("\n  hello\n", "2:3: ", "must be a mapping"),
    "two documents": (GOOD + "---\nname: y\n", "5:1: ", "a second document"),
    "not YAML": (HEAD + "targets: [a\nchanges: }\n", "4:8: ", "is no YAML: "),
    "tab": ("version: 1\n\tname: x\n", "2:1: ", "is no YAML: "),
    "not UTF-8": (b"version: 1\nname: \xff\n", "2:7: ", "is not UTF-8"),
    "UTF-16": ("version: 1".encode("utf-16"), "1:1: ", "is not UTF-8"),
    "NUL": ("version: 1\nname: a\0b\n", "2:8: ", "a character that cannot be printed"),
    "deep": ("a: " + "[" * 500, "1:22: ", "nested more than 20 levels deep"),
    # Newer releases of libyaml have a limit of their own, which a look ahead of 1,024 characters meets first.
    "bottomless": ("a: " + "[" * 100_000, "1:", "nest"),
    "key twice": (GOOD + "name: y\n", "5:1: name: ", "stands twice: first on line 2"),
    "key twice, nested": (GOOD + "retry: {attempts: 1, attempts: 2}\n", "5:22: retry.attempts: ", "stands twice"),
    "alias": (GOOD + "report: {dir: &a x, formats: *a}\n", "5:30: report.formats: ", "aliases are not read"),
    "python tag": (GOOD + "report: {dir: !!python/name:os.system x}\n", "5:15: report.dir: ", "tags are not read"),
    "own tag": (GOOD + "report: !mine {dir: x}\n", "5:9: report: ", "tags are not read"),
    "merge key": (GOOD + "report: {<<: {dir: x}}\n", "5:10: report: ", "merge keys are not read"),
    "key that is a list": (GOOD + "[a, b]: c\n", "5:1: ", "a key must be plain text"),
    "number in disguise": (GOOD + "retry: {attempts: 010}\n", "5:19: retry.attempts: ", "another one"),
    "sexagesimal": (GOOD + "retry: {attempts: 10:30}\n", "5:19: retry.attempts: ", "write plain digits"),
    "number without end": (GOOD + f"limits: {{connections: {'9' * 5000}}}\n", "5:23: limits.connections: ", "plain"),
    "steers the terminal": (GOOD + '"a\\eb": c\n', '5:1: ["a\\x1bb"]: ', "unknown key"),
    # keys and types
    "unknown key": (GOOD + "tragets: []\n", "5:1: tragets: ", 'unknown key; did you mean "targets"'),
    "unknown and unlike": (
        GOOD + "xyz: 1\n",
        "5:1: xyz: ",
        "unknown key; known here: version, name, accounts, endpoints, defaults, targets",
    ),
    "missing": ("version: 1\n" + CHANGES + TARGETS, "1:1: name: ", "is missing"),
    "no version": ("name: x\n" + CHANGES + TARGETS, "1:1: version: ", "is missing"),
    "version in quotes": (GOOD.replace("1", '"1"', 1), "1:10: version: ", "without quotes"),
    "version to come": (GOOD.replace("1", "2", 1), "1:10: version: ", "must be 1"),
    "version true": (GOOD.replace("1", "yes", 1), "1:10: version: ", "must be 1"),
    "name no": (
        GOOD.replace("name: x", "name: no"),
        "2:7: name: ",
        'YAML reads "no" as true or false; put it in quotes',
    ),
    "name number": (GOOD.replace("name: x", "name: 7"), "2:7: name: ", 'YAML reads "7" as a number; put it in quotes'),
    "name nothing": (GOOD.replace("name: x", "name:"), "2:6: name: ", "must be text, and nothing stands here"),
    "name with capitals": (GOOD.replace("name: x", "name: Prod"), "2:7: name: ", "must be a-z, 0-9 and -"),
    "name that is too long": (GOOD.replace("name: x", f"name: {'x' * 64}"), "2:7: name: ", "at most 63"),
    "section left empty": (GOOD + "limits:\n", "5:8: limits: ", "must be a mapping, and nothing stands here"),
    "section as a list": (GOOD + "limits: [1]\n", "5:9: limits: ", "must be a mapping, and this is a list"),
    "list as text": (GOOD + "exclude: r-1\n", "5:10: exclude: ", "must be a list, and this is text"),
    "tls in quotes": (GOOD + "proof: {tls: 'true'}\n", "5:14: proof.tls: ", "must be auto, true or false"),
    "tls as a number": (GOOD + "proof: {tls: 1}\n", "5:14: proof.tls: ", "must be auto, true or false"),
    "tls": (GOOD + "proof: {tls: maybe}\n", "5:14: proof.tls: ", "must be auto, true or false"),
    "max_age of nothing": (
        changes("- password: {generate: {}, max_age: 0d}"),
        "5:37: changes[0].password.max_age: ",
        "must be more than 0",
    ),
    "max_age without unit": (
        changes("- password: {generate: {}, max_age: 30}"),
        "5:37: changes[0].password.max_age: ",
        "has no unit: write 30s",
    ),
    "max_age as text": (
        changes("- password: {generate: {}, max_age: a month}"),
        "5:37: changes[0].password.max_age: ",
        "must be a whole number and a unit",
    ),
    "max_age alone": (changes("- password: {max_age: 30d}"), "5:13: changes[0].password: ", "needs exactly one of"),
    "misspelt max_age": (
        changes("- password: {generate: {}, maxage: 30d}"),
        "5:28: changes[0].password.maxage: ",
        'did you mean "max_age"',
    ),
    "rate automatic": (GOOD + "limits: {rate: automatic}\n", "5:16: limits.rate: ", "such as 200/60s; or auto"),
    "logins auto": (GOOD + "proof: {rate: auto}\n", "5:15: proof.rate: ", "such as 200/60s"),
    "format": (
        GOOD + "report: {formats: [pdf]}\n",
        "5:20: report.formats[0]: ",
        "must be 'csv', 'json', 'html', 'junit' or 'md'",
    ),
    "other store": (
        GOOD + "secrets: {store: vault}\n",
        "5:10: secrets: ",
        "store must be one of embedded, openbao, kms",
    ),
    "store outside its mount": (
        GOOD + "secrets: {store: openbao, path: '../{account_id}/{region}/{id}'}\n",
        "5:33: secrets.path: ",
        "would lead elsewhere",
    ),
    "mount with a slash": (
        GOOD + "secrets: {store: openbao, mount: secret/}\n",
        "5:34: secrets.mount: ",
        "is no place",
    ),
    "store without a region": (GOOD + "secrets: {store: kms}\n", "5:10: secrets.region: ", "is missing"),
    "place of all instances": (
        GOOD + "secrets: {store: openbao, path: 'batchmod/{region}'}\n",
        "5:33: secrets.path: ",
        "needs {account_id}, {id}",
    ),
    # quantities
    "duration without unit": (GOOD + "timeouts: {read: 5}\n", "5:18: timeouts.read: ", "has no unit: write 5s"),
    "duration with a fraction": (
        GOOD + "timeouts: {read: 1.5s}\n",
        "5:18: timeouts.read: ",
        "a whole number and a unit",
    ),
    "duration that is a float": (
        GOOD + "timeouts: {read: 1.5}\n",
        "5:18: timeouts.read: ",
        "a whole number and a unit",
    ),
    "duration of nothing": (GOOD + "timeouts: {read: 0s}\n", "5:18: timeouts.read: ", "more than 0"),
    "rate without unit": (GOOD + "limits: {rate: 200/60}\n", "5:16: limits.rate: ", "calls per period"),
    "rate of nothing": (GOOD + "limits: {rate: 0/60s}\n", "5:16: limits.rate: ", "more than 0 calls"),
    "rate in no time": (GOOD + "limits: {rate: 1/0s}\n", "5:16: limits.rate: ", "more than 0 seconds"),
    "rate of an unknown API": (
        GOOD + "limits: {apis: {ModifyInstanceTde: 1/1s}}\n",
        "5:17: limits.apis.ModifyInstanceTde: ",
        'did you mean "ModifyInstanceTDE"',
    ),
    "share of nothing": (GOOD + "rollout: {max_failures: 0}\n", "5:25: rollout.max_failures: ", "more than 0"),
    "share of all and more": (GOOD + "rollout: {max_failures: 101%}\n", "5:25: rollout.max_failures: ", "at most 100%"),
    "share that is true": (GOOD + "rollout: {max_failures: yes}\n", "5:25: rollout.max_failures: ", "or a percentage"),
    # rollout
    "no wave": (GOOD + "rollout: {waves: []}\n", "5:18: rollout.waves: ", "must not be empty"),
    "waves as text": (GOOD + "rollout: {waves: 10%}\n", "5:18: rollout.waves: ", "must be a list, and this is text"),
    "wave of nothing": (GOOD + "rollout: {waves: [1, 0]}\n", "5:22: rollout.waves[1]: ", "must be more than 0"),
    "wave of more than all": (GOOD + "rollout: {waves: [101%]}\n", "5:19: rollout.waves[0]: ", "at most 100%"),
    "wave with a fraction": (GOOD + "rollout: {waves: [1.5]}\n", "5:19: rollout.waves[0]: ", "or a percentage"),
    "pause without unit": (GOOD + "rollout: {waves: [1], pause: 10}\n", "5:30: rollout.pause: ", "write 10s"),
    "pause of words": (
        GOOD + "rollout: {waves: [1], pause: manul}\n",
        "5:30: rollout.pause: ",
        'did you mean "manual"',
    ),
    "pause as a switch": (GOOD + "rollout: {waves: [1], pause: yes}\n", "5:30: rollout.pause: ", "or manual"),
    "pause between no waves": (
        GOOD + "rollout: {pause: 10m}\n",
        "5:18: rollout.pause: ",
        "there is only one wave: write waves: [1, 10%, 100%]",
    ),
    "manual between no waves": (
        GOOD + "rollout: {pause: manual, waves: [100%]}\n",
        "5:18: rollout.pause: ",
        "there is only one wave",
    ),
    "check between no waves": (
        GOOD + "rollout: {check: [./health.sh], waves: [100%, 50%]}\n",
        "5:18: rollout.check: ",
        "there is only one wave",
    ),
    "check as text": (
        GOOD + "rollout: {waves: [1], check: ./health.sh}\n",
        "5:30: rollout.check: ",
        "must be a list, and this is text",
    ),
    "check of nothing": (GOOD + "rollout: {waves: [1], check: []}\n", "5:30: rollout.check: ", "must not be empty"),
    "argument of nothing": (
        GOOD + "rollout: {waves: [1], check: [a, '']}\n",
        "5:34: rollout.check[1]: ",
        "is empty",
    ),
    "argument with NUL": (
        GOOD + 'rollout: {waves: [1], check: [a, "b\\0"]}\n',
        "5:34: rollout.check[1]: ",
        "no command takes that",
    ),
    "argument that is a number": (
        GOOD + "rollout: {waves: [1], check: [sleep, 5]}\n",
        "5:38: rollout.check[1]: ",
        'YAML reads "5" as a number; put it in quotes',
    ),
    "check that takes no time": (GOOD + "timeouts: {check: 0s}\n", "5:19: timeouts.check: ", "more than 0"),
    "not with what all have": (
        GOOD + "rollout: {not_with: region}\n",
        "5:21: rollout.not_with: ",
        '"region" is no var; write the name of a var, a column or a tag',
    ),
    "not with a password": (GOOD + "rollout: {not_with: passwd}\n", "5:21: rollout.not_with: ", "like a password"),
    "not with what nobody has": (
        HEAD + CHANGES + "targets: [{id: r-123, region: cn-x, vars: {team: a}}]\nrollout: {not_with: taem}\n",
        "5:21: rollout.not_with: ",
        'none of the targets has a var "taem"; did you mean "team"',
    ),
    "not with what one lacks": (
        HEAD
        + CHANGES
        + "defaults: {region: cn-x}\nrollout: {not_with: team}\ntargets:\n- {id: r-123, vars: {team: a}}\n- r-124\n",
        "8:3: rollout.not_with: ",
        'this target has no var "team"',
    ),
    "not with what a selected one may have": (
        HEAD
        + CHANGES
        + "rollout: {not_with: team}\ndefaults: {region: cn-x}\ntargets: [r-123, {select: {names: ['*']}}]\n",
        "6:11: rollout.not_with: ",
        'this target has no var "team"',
    ),
    "not_with misspelt": (GOOD + "rollout: {not_wit: team}\n", "5:11: rollout.not_wit: ", 'did you mean "not_with"'),
    # the window
    "window of nothing": (GOOD + "rollout: {window: {}}\n", "5:19: rollout.window.start: ", "is missing"),
    "window as text": (GOOD + "rollout: {window: weekend}\n", "5:19: rollout.window: ", "must be a mapping"),
    "start without quotes": (
        window("start: 22:00, end: '05:00'"),
        "5:27: rollout.window.start: ",
        "write it in quotes",
    ),
    "start as a number": (window("start: 22, end: '05:00'"), "5:27: rollout.window.start: ", "write it in quotes"),
    "start with a fraction": (window("start: 2.5, end: '05:00'"), "5:27: rollout.window.start: ", "write it in quotes"),
    "end without quotes": (window("start: 02:00, end: 23:59"), "5:39: rollout.window.end: ", "write it in quotes"),
    "start with one digit": (window("start: '2:00', end: '05:00'"), "5:27: rollout.window.start: ", "two digits"),
    "end of the day": (window("start: '02:00', end: '24:00'"), "5:41: rollout.window.end: ", 'to "23:59"'),
    "seconds": (window("start: '02:00:00', end: '05:00'"), "5:27: rollout.window.start: ", '"00:00" to "23:59"'),
    "day in full": (
        window("days: [Saturday], start: '02:00', end: '05:00'"),
        "5:27: rollout.window.days[0]: ",
        'must be one of mon, tue, wed, thu, fri, sat, sun; did you mean "sat"',
    ),
    "day that is none": (window("days: [tod], start: '02:00', end: '05:00'"), "5:27: ", "must be one of mon, tue"),
    "day as a number": (window("days: [1], start: '02:00', end: '05:00'"), "5:27: ", "must be one of mon, tue"),
    "no day": (window("days: [], start: '02:00', end: '05:00'"), "5:26: rollout.window.days: ", "must not be empty"),
    "day twice": (
        window("days: [sat, sun, sat], start: '02:00', end: '05:00'"),
        "5:26: rollout.window.days: ",
        'names "sat" twice',
    ),
    "zone misspelt": (
        window("start: '02:00', end: '05:00', timezone: Asia/Shanghi"),
        "5:60: rollout.window.timezone: ",
        'did you mean "Asia/Shanghai"',
    ),
    "zone by its city": (
        window("start: '02:00', end: '05:00', timezone: new_york"),
        "5:60: rollout.window.timezone: ",
        'did you mean "America/New_York"',
    ),
    "zone in small letters": (
        window("start: '02:00', end: '05:00', timezone: asia/shanghai"),
        "5:60: rollout.window.timezone: ",
        'did you mean "Asia/Shanghai"',
    ),
    "zone that is a folder": (window("start: '02:00', end: '05:00', timezone: Asia"), "5:60: ", "is no time zone"),
    "zone of this machine": (window("start: '02:00', end: '05:00', timezone: localtime"), "5:60: ", "is no time zone"),
    "zone with leap seconds": (window("start: '02:00', end: '05:00', timezone: right/UTC"), "5:60: ", "no time zone"),
    "zone that is a path": (
        window("start: '02:00', end: '05:00', timezone: ../../etc/passwd"),
        "5:60: rollout.window.timezone: ",
        "is no time zone: written like Asia/Shanghai or UTC",
    ),
    "zone from the root": (window("start: '02:00', end: '05:00', timezone: /etc/passwd"), "5:60: ", "is no time zone"),
    "offset as zone": (window("start: '02:00', end: '05:00', timezone: +08:00"), "5:60: ", "is no time zone"),
    "zone as a number": (window("start: '02:00', end: '05:00', timezone: 8"), "5:60: ", "is no time zone"),
    "no targets allowed": (GOOD + "rollout: {max_targets: 0}\n", "5:24: rollout.max_targets: ", "at least 1"),
    "no connections": (GOOD + "limits: {connections: 0}\n", "5:23: limits.connections: ", "at least 1"),
    "text for a number": (
        GOOD + 'limits: {connections: "64"}\n',
        "5:23: limits.connections: ",
        "must be a whole number",
    ),
    # targets
    "no targets": (HEAD + CHANGES + "targets: []\n", "4:10: targets: ", "must not be empty"),
    "id with a space": (targets("- r 123"), "5:3: targets[0]: ", "is no instance id"),
    "id with a comma": (targets('- "r-123,r-124"'), "5:3: targets[0]: ", "is no instance id"),
    "id with a slash": (targets("- {id: a/b}"), "5:8: targets[0].id: ", "is no instance id"),
    "id that is a number": (targets("- {id: 123}"), "5:8: targets[0].id: ", "put it in quotes"),
    "bare number": (targets("- 123"), "5:3: targets[0]: ", "must be an instance id as text"),
    "target without id": (targets("- region: cn-beijing"), "5:3: targets[0].id: ", "is missing"),
    "from beside region": (targets("- {from: a.csv, region: cn-beijing}"), "5:3: targets[0]: ", "from stands alone"),
    "from nowhere": (targets("- from: none.csv"), "5:3: targets[0].from: ", "No such file"),
    "from another kind": (
        targets("- from: a.xlsx"),
        "5:3: targets[0].from: ",
        "must be a file that ends in .csv or .jsonl",
    ),
    "from with NUL": (targets('- from: "a\\0.csv"'), "5:9: targets[0].from: ", "is no path"),
    "no region": (targets("- r-123"), "5:3: targets[0].region: ", "there is no defaults.region"),
    "region with a slash": (GOOD + "defaults: {region: evil.example/x}\n", "5:20: defaults.region: ", "is no region"),
    # accounts
    "other account": (GOOD + "defaults: {account: prod}\n", "5:21: defaults.account: ", "known here: default"),
    "account of a target": (
        HEAD + CHANGES + "accounts: {prod: {profile: a}}\ntargets:\n- {id: r-123, region: cn-x, account: prd}\n",
        "6:38: targets[0].account: ",
        'is no account that is known here; did you mean "prod"',
    ),
    "account of a selector": (select("account: defalt"), "5:38: targets[0].select.account: ", 'did you mean "default"'),
    "account that is no name": (GOOD + "defaults: {account: 'a b'}\n", "5:21: defaults.account: ", "is no name of an"),
    "many accounts": (
        GOOD + f"accounts: {{{', '.join(f'a{number}: {{profile: x}}' for number in range(12))}}}\n"
        "defaults: {account: zzz}\n",
        "6:21: defaults.account: ",
        "known here: a0, a1, a10, a11, a2, a3, a4, a5, …",
    ),
    "accounts as a list": (GOOD + "accounts: [prod]\n", "5:11: accounts: ", "must be a mapping, and this is a list"),
    "account as text": (GOOD + "accounts: {prod: prod}\n", "5:18: accounts.prod: ", "must be a mapping with profile"),
    "account of nothing": (GOOD + "accounts: {prod: {}}\n", "5:18: accounts.prod: ", "needs profile: NAME, or"),
    "account left empty": (GOOD + "accounts:\n  prod:\n", "6:8: accounts.prod: ", "must be a mapping with profile"),
    "account with a space": (GOOD + "accounts: {a b: {profile: x}}\n", '5:12: accounts["a b"]: ', "is no name of an"),
    "account that is long": (GOOD + f"accounts: {{{'a' * 64}: {{profile: x}}}}\n", "5:12: ", "at most 63"),
    "both forms": (
        GOOD + f"accounts: {{prod: {{profile: x, role_arn: '{ROLE}'}}}}\n",
        "5:18: accounts.prod: ",
        "and not both",
    ),
    "via beside a profile": (GOOD + "accounts: {a: {profile: x, via: b}}\n", "5:15: accounts.a: ", "and not both"),
    "via alone": (GOOD + "accounts: {prod: {via: default}}\n", "5:18: accounts.prod.role_arn: ", "is missing"),
    "misspelt profile": (GOOD + "accounts: {p: {profil: x}}\n", "5:16: accounts.p.profil: ", 'did you mean "profile"'),
    "misspelt role": (GOOD + "accounts: {p: {role: x}}\n", "5:16: accounts.p.role: ", 'did you mean "role_arn"'),
    "role that is none": (GOOD + "accounts: {p: {role_arn: x}}\n", "5:26: accounts.p.role_arn: ", "is no role"),
    "profile that is a number": (
        GOOD + "accounts: {p: {profile: 7}}\n",
        "5:25: accounts.p.profile: ",
        "put it in quotes",
    ),
    "profile of nothing": (GOOD + "accounts: {p: {profile: ''}}\n", "5:25: accounts.p.profile: ", "1 to 128"),
    "profile that steers the terminal": (
        GOOD + 'accounts: {p: {profile: "a\\e"}}\n',
        "5:25: accounts.p.profile: ",
        "can be printed",
    ),
    "via nobody": (
        GOOD + f"accounts: {{prod: {{profile: x}}, eu: {{role_arn: '{ROLE}', via: prd}}}}\n",
        "5:88: accounts.eu.via: ",
        'did you mean "prod"',
    ),
    "via itself": (
        GOOD + f"accounts: {{eu: {{role_arn: '{ROLE}', via: eu}}}}\n",
        "5:68: accounts.eu.via: ",
        "goes in a circle, eu → eu: a chain begins with a profile",
    ),
    "default via default": (
        GOOD + f"accounts: {{default: {{role_arn: '{ROLE}'}}}}\n",
        "5:21: accounts.default.via: ",
        "goes in a circle, default → default",
    ),
    "circle behind a chain": (
        GOOD
        + f"accounts:\n  a: {{role_arn: '{ROLE}', via: b}}\n  b: {{role_arn: '{ROLE}', via: c}}\n"
        + f"  c: {{role_arn: '{ROLE}', via: b}}\n",
        "7:58: accounts.b.via: ",
        "goes in a circle, b → c → b",
    ),
    "access key in an account": (
        GOOD + "accounts: {p: {profile: x, access_key_id: a, sk: b}}\n",
        "5:28: accounts.p.access_key_id: ",
        NO_KEY,
    ),
    "secret key in an account": (GOOD + "accounts: {p: {profile: x, sk: b}}\n", "5:28: accounts.p.sk: ", NO_KEY),
    "access key as accounts": (
        GOOD + "accounts: {access_key_id: a, access_key_secret: b}\n",
        "5:49: accounts.access_key_secret: ",
        NO_KEY,
    ),
    "access key at the top": (GOOD + "AccessKeyId: a\n", "5:1: AccessKeyId: ", NO_KEY),
    "access key as a profile": (
        GOOD + "accounts: {p: {profile: LTAI5tHunter2Sword}}\n",
        "5:25: accounts.p.profile: ",
        f"looks like an access key: {NO_KEY}",
    ),
    "access key as a name": (GOOD + "accounts: {LTAI5tHunter2: {profile: x}}\n", "5:12: accounts: ", NO_KEY),
    # endpoints
    "endpoints as text": (GOOD + "endpoints: vpc\n", "5:12: endpoints: ", "must be a mapping, and this is text"),
    "endpoint of no region": (GOOD + "endpoints: {hangzhou: vpc}\n", "5:13: endpoints.hangzhou: ", "is no region"),
    "endpoint that is a path": (
        GOOD + "endpoints: {cn-x: 'https://h/path'}\n",
        "5:19: endpoints.cn-x: ",
        "ends after host and port",
    ),
    "endpoint in the open": (
        GOOD + "endpoints: {cn-x: 'http://host.example'}\n",
        "5:19: endpoints.cn-x: ",
        "plain http goes to this machine only, write https://host.example",
    ),
    "endpoint with a password": (
        GOOD + "endpoints: {sts: 'https://u:p@h'}\n",
        "5:18: endpoints.sts: ",
        "a user or password",
    ),
    "endpoint without scheme": (GOOD + "endpoints: {sts: host}\n", "5:18: endpoints.sts: ", "https://host[:port]"),
    "sts inside a VPC": (GOOD + "endpoints: {sts: vpc}\n", "5:18: endpoints.sts: ", "https://sts-vpc.cn-hangzhou"),
    "KMS inside a VPC": (GOOD + "endpoints: {kms: vpc}\n", "5:18: endpoints.kms: ", "https://kms-vpc.cn-hangzhou"),
    "region without a VPC host": (
        GOOD + "endpoints: {cn-nowhere: vpc}\n",
        "5:25: endpoints.cn-nowhere: ",
        "no host inside a VPC is known for this region: write its URL",
    ),
    # selectors
    "select beside id": (targets("- id: r-123\n  select: {}"), "5:3: targets[0]: ", "select stands alone"),
    "select beside from": (targets("- {select: {}, from: a.csv}"), "5:3: targets[0]: ", "stands alone"),
    "misspelt select": (targets("- {selct: {}}"), "5:4: targets[0].selct: ", 'did you mean "select"'),
    "select everything": (targets("- select: {}"), "5:11: targets[0].select: ", "says nothing: regions: [cn-hangzhou]"),
    "select nothing": (targets("- select:"), "5:10: targets[0].select: ", "must be a mapping, and nothing stands here"),
    "select or not": (targets("- select: {allow_empty: true}"), "5:11: targets[0].select: ", "says nothing"),
    "select anywhere": (
        targets("- select: {tags: {env: prod}}"),
        "5:3: targets[0].select.regions: ",
        "is missing, and there is no defaults.region",
    ),
    "misspelt selection": (select("tag: {a: b}"), "5:29: targets[0].select.tag: ", 'did you mean "tags"'),
    "regions as text": (targets("- select: {regions: cn-x}"), "5:21: targets[0].select.regions: ", "must be a list"),
    "no regions": (targets("- select: {regions: []}"), "5:21: targets[0].select.regions: ", "must not be empty"),
    "region twice": (
        targets("- select: {regions: [cn-x, cn-y, cn-x]}"),
        "5:21: targets[0].select.regions: ",
        'names "cn-x" twice',
    ),
    "region that is none": (
        targets("- select: {regions: [hangzhou]}"),
        "5:22: targets[0].select.regions[0]: ",
        "is no region",
    ),
    "no tags": (select("tags: {}"), "5:35: targets[0].select.tags: ", "must not be empty"),
    "tags left empty": (select("tags: "), "5:35: targets[0].select.tags: ", "must be a mapping, and nothing"),
    "tags as a list": (select("tags: [env]"), "5:35: targets[0].select.tags: ", "must be a mapping"),
    "six tags": (
        select("tags: {a: b, c: d, e: f, g: h, i: j, k: l}"),
        "5:35: targets[0].select.tags: ",
        "must be at most 5: the service takes no more",
    ),
    "tag that is a number": (select("tags: {a: 1}"), "5:39: targets[0].select.tags.a: ", "put it in quotes"),
    "tag without a value": (select("tags: {a: ''}"), "5:39: targets[0].select.tags.a: ", "1 to 128 characters"),
    "version without quotes": (
        select("engine_versions: [6.0]"),
        "5:47: targets[0].select.engine_versions[0]: ",
        'YAML reads "6.0" as a number; put it in quotes',
    ),
    "version without a point": (
        select("engine_versions: ['7']"),
        "5:47: targets[0].select.engine_versions[0]: ",
        'written like "6.0"',
    ),
    "misspelt edition": (
        select("editions: [community]"),
        "5:40: targets[0].select.editions[0]: ",
        "must be 'Community' or 'Enterprise'; did you mean \"Community\"",
    ),
    "misspelt architecture": (
        select("architectures: [clusters]"),
        "5:45: targets[0].select.architectures[0]: ",
        'did you mean "cluster"',
    ),
    "misspelt charge type": (
        select("charge_types: [Prepaid]"),
        "5:44: targets[0].select.charge_types[0]: ",
        'did you mean "PrePaid"',
    ),
    "status of two words": (select("statuses: [A B]"), "5:40: targets[0].select.statuses[0]: ", "is no status"),
    "VPC with a comma": (select("vpcs: ['a,b']"), "5:36: targets[0].select.vpcs[0]: ", "is no id of a VPC"),
    "group with a space": (
        select("resource_groups: [a b]"),
        "5:47: targets[0].select.resource_groups[0]: ",
        "is no id of a resource group",
    ),
    "name pattern of nothing": (select("names: ['']"), "5:37: targets[0].select.names[0]: ", "1 to 128 characters"),
    "empty as text": (
        select("allow_empty: 'yes'"),
        "5:42: targets[0].select.allow_empty: ",
        "must be true or false",
    ),
    "twice": (
        HEAD + "defaults: {region: cn-beijing}\n" + CHANGES + "targets:\n- r-123\n- id: r-123\n",
        "7:3: targets[1]: ",
        "r-123 stands twice: first in ",
    ),
    "var that hides": (
        targets("- {id: r-123, vars: {zone: a}}"),
        "5:22: targets[0].vars.zone: ",
        "hides the placeholder",
    ),
    "var that is no text": (
        targets("- {id: r-123, vars: {team: off}}"),
        "5:28: targets[0].vars.team: ",
        "put it in quotes",
    ),
    "var in braces": (targets('- {id: r-123, vars: {"{a}": b}}'), '5:22: targets[0].vars["{a}"]: ', "no name of a var"),
    "nothing left": (GOOD + "exclude: ['r-*']\n", "4:10: targets: ", "nothing is left to change"),
    "exclude with a comma": (GOOD + "exclude: ['r-1,r-2']\n", "5:11: exclude[0]: ", "must be an instance id"),
    # changes
    "no changes": (HEAD + TARGETS + "changes: []\n", "4:10: changes: ", "must not be empty"),
    "unknown change": (changes("- atributes: {}"), "5:3: changes[0]: ", 'did you mean "attributes"'),
    "two in one": (
        changes("- tde: {}\n  password: {env: A}"),
        "5:3: changes[0]: ",
        "one of the keys attributes, password, tde",
    ),
    "change as text": (changes("- tde"), "5:3: changes[0]: ", "must be a mapping with one of the keys"),
    "change without content": (changes("- tde:"), "5:7: changes[0].tde: ", "must be a mapping"),
    "kind twice": (changes("- tde: {}\n- tde: {}"), "6:3: changes[1]: ", "is the second tde"),
    "attributes of nothing": (
        changes("- attributes: {}"),
        "5:15: changes[0].attributes: ",
        "needs name, release_protection",
    ),
    "protection as text": (
        changes('- attributes: {release_protection: "true"}'),
        "5:36: changes[0].attributes.release_protection: ",
        "must be true or false",
    ),
    "name that is no name": (
        changes("- attributes: {name: 1-cache}"),
        "5:22: changes[0].attributes.name: ",
        "starts with a letter",
    ),
    "name with {name}": (
        changes("- attributes: {name: '{name}-x'}"),
        "5:22: changes[0].attributes.name: ",
        "pattern: ",
    ),
    "stray brace": (changes("- attributes: {name: 'a{b'}"), "5:22: changes[0].attributes.name: ", 'a single "{"'),
    "placeholder of nobody": (
        changes("- attributes: {name: 'a-{regin}'}"),
        "5:22: changes[0].attributes.name: ",
        'unknown placeholder {regin}; did you mean "region"',
    ),
    "pattern that is none": (
        changes("- attributes: {name: {pattern: '(', replace: x}}"),
        "5:32: changes[0].attributes.name.pattern: ",
        "is no regular expression",
    ),
    "group that is none": (
        changes("- attributes: {name: {pattern: 'a', replace: 'b\\1'}}"),
        "5:46: changes[0].attributes.name.replace: ",
        "does not fit the pattern",
    ),
    "named group that is none": (
        changes("- attributes: {name: {pattern: 'a', replace: '\\g<b>'}}"),
        "5:46: changes[0].attributes.name.replace: ",
        "does not fit the pattern",
    ),
    "pattern without replace": (
        changes("- attributes: {name: {pattern: a}}"),
        "5:22: changes[0].attributes.name.replace: ",
        "is missing",
    ),
    "placeholder in replace": (
        changes("- attributes: {name: {pattern: a, replace: '{region}'}}"),
        "5:44: changes[0].attributes.name.replace: ",
        "no {placeholders}",
    ),
    "tde algorithm": (
        changes("- tde: {algorithm: AES-128}"),
        "5:20: changes[0].tde.algorithm: ",
        "must be AES-CTR-256",
    ),
    "tde role": (
        changes("- tde: {role_arn: my-role}"),
        "5:19: changes[0].tde.role_arn: ",
        "acs:ram::1234567890123456:role/name",
    ),
    "tde role of an account to come": (
        changes("- tde: {role_arn: 'acs:ram:{account_id}:role/x'}"),
        "5:19: changes[0].tde.role_arn: ",
        "is no role",
    ),
    "tde role by region": (
        changes("- tde: {role_arn: 'acs:ram::1:role/{region}'}"),
        "3:11: changes[0].tde.role_arn: ",
        "is no role",
    ),
    "tde key": (changes("- tde: {key_id: 'a b'}"), "5:17: changes[0].tde.key_id: ", "is no key id"),
    "list as the first key": ("{[", "2:1: ", "is no YAML"),
    # passwords
    "literal password": (changes("- password: hunter2"), "5:13: changes[0].password: ", NEVER),
    "literal value": (changes("- password: {value: hunter2}"), "5:14: changes[0].password.value: ", NEVER),
    "literal pwd": (changes("- password: {Pwd: hunter2}"), "5:14: changes[0].password.Pwd: ", NEVER),
    "literal in a list": (changes("- password: [hunter2]"), "5:13: changes[0].password: ", NEVER),
    "value elsewhere": (GOOD + "value: 1\n", "5:1: value: ", "unknown key; known here: version, name"),
    "secret beside another place": (
        changes("- password: {secret: 1/cn-hangzhou/r-123, env: A}"),
        "5:13: changes[0].password: ",
        "needs exactly one of generate",
    ),
    "empty secret": (changes("- password: {secret: ''}"), "5:22: changes[0].password.secret: ", "1 to 512"),
    "secret with a blank": (changes("- password: {secret: a b}"), "5:22: changes[0].password.secret: ", "no blank"),
    "other key of a password": (
        changes("- password: {password_length: 24}"),
        "5:14: changes[0].password.password_length: ",
        "unknown key; known here: generate, env, file, secret",
    ),
    "other key of the secrets": (
        GOOD + "secrets: {xyz: 1}\n",
        "5:11: secrets.xyz: ",
        "unknown key; known here: store, recipients",
    ),
    "new_password": (changes("- new_password: hunter2"), "5:3: changes[0]: ", NEVER),
    "password as attribute": (
        changes("- attributes: {release_protection: true, new_password: a}"),
        "5:42: changes[0].attributes.new_password: ",
        NEVER,
    ),
    "password at the top": (GOOD + "password: hunter2\n", "5:1: password: ", NEVER),
    "password as a var": (
        targets("- {id: r-123, vars: {Password: a}}"),
        "5:22: targets[0].vars.Password: ",
        "from env or file",
    ),
    "consumers of nothing": (
        GOOD + "consumers: [{run: [./a.sh]}]\n",
        "5:12: consumers: ",
        "are never run: no password is changed",
    ),
    "consumer without a command": (
        changes("- password: {generate: {}}") + "\nconsumers: [{run: []}]\n",
        "6:19: consumers[0].run: ",
        "empty",
    ),
    "consumer per row": (
        changes("- password: {generate: {}}") + "\nconsumers: [{run: [a], per: row}]\n",
        "6:29: consumers[0].per: ",
        "target",
    ),
    "consumer without a unit": (
        changes("- password: {generate: {}}") + "\nconsumers: [{run: [a], timeout: 60}]\n",
        "6:33: consumers[0].timeout: ",
        "has no unit",
    ),
    "notify with a literal URL": (
        GOOD + "notify: ['slack://t0ken/secret']\n",
        "5:10: notify[0]: ",
        "a manifest never holds a URL with a token: write env: VARIABLE or file: path",
    ),
    "notify with a URL for a file": (
        GOOD + "notify: [{file: 'slack://t0ken/secret'}]\n",
        "5:10: notify[0]: ",
        "a manifest never holds a URL with a token",
    ),
    "notify with a URL for a key": (
        GOOD + "notify: [{'slack://t0ken/secret': 1}]\n",
        "5:11: notify[0]: ",
        "unknown key; known here: env, file, on, timeout",
    ),
    "notify from two places": (
        GOOD + "notify: [{env: A, file: b}]\n",
        "5:10: notify[0]: ",
        "needs exactly one of env: VARIABLE and file: path",
    ),
    "notify on what never happens": (
        GOOD + "notify: [{env: A, on: [failed]}]\n",
        "5:24: notify[0].on[0]: ",
        "finished",
    ),
    "no place": (changes("- password: {}"), "5:13: changes[0].password: ", "needs exactly one of generate"),
    "two places": (
        changes("- password: {env: A, file: b}"),
        "5:13: changes[0].password: ",
        "needs exactly one of generate",
    ),
    "too short": (
        changes("- password: {generate: {length: 7}}"),
        "5:33: changes[0].password.generate.length: ",
        "at least 8",
    ),
    "too long": (
        changes("- password: {generate: {length: 33}}"),
        "5:33: changes[0].password.generate.length: ",
        "at most 32",
    ),
    "misspelt place": (
        changes("- password: {genrate: {}}"),
        "5:14: changes[0].password.genrate: ",
        'did you mean "generate"',
    ),
    "env that is none": (
        changes("- password: {env: $PASS}"),
        "5:19: changes[0].password.env: ",
        "no name of an environment",
    ),
    "read-back": (GOOD + "proof: {password: read-back}\n", "5:19: proof.password: ", "cannot be read back"),
    "other proof": (GOOD + "proof: {password: logn}\n", "5:19: proof.password: ", 'did you mean "login"'),
    "address without port": (GOOD + "proof: {address: localhost}\n", "5:18: proof.address: ", "must be host:port"),
    "port beyond": (GOOD + "proof: {address: 'h:65536'}\n", "5:18: proof.address: ", "must be host:port"),
    "recipient": (GOOD + "secrets: {recipients: [age1abc]}\n", "5:24: secrets.recipients[0]: ", "is no age recipient"),
    "private key": (
        GOOD + "secrets: {recipients: [AGE-SECRET-KEY-1Q]}\n",
        "5:24: secrets.recipients[0]: ",
        "a private key",
    ),
    "format twice": (GOOD + "report: {formats: [csv, csv]}\n", "5:19: report.formats: ", 'names "csv" twice'),
    "no format": (GOOD + "report: {formats: []}\n", "5:19: report.formats: ", "must not be empty"),
}


@pytest.mark.parametrize(("text", "place", "part"), CASES.values(), ids=CASES.keys())
def test_each_fault_is_named_with_its_place(tmp_path: Path, text: str | bytes, place: str, part: str) -> None:
    """A broken manifest is refused with line, column, path and what is wrong."""
    told = problems(tmp_path, text)
    assert any(line.startswith(place) and part in line for line in told), told
    assert not any("t0ken" in line for line in told), told
    assert len(told) <= 2, told


def test_the_frame_of_the_cases_is_whole(tmp_path: Path) -> None:
    """The text that the cases break loads while it is not broken."""
    path = tmp_path / "m.yaml"
    path.write_text(GOOD)
    assert [target.id for target in load(path).targets] == ["r-123"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Text, keys, targets, files, templates: one look shows everything, and each fault once."""
    (tmp_path / "fleet.csv").write_text("id,team\nr-1 1,pay\nr-200,pay\nr-300,\n")
    told = problems(
        tmp_path,
        "version: 1\nnme: x\nlimits: {rate: 1}\nreport: &a {}\nretry: *a\n"
        "defaults: {region: cn-hangzhou}\n"
        "targets: [{from: fleet.csv}, r-200, r/4, {id: r-500, vars: {team: 5}}]\n"
        "changes:\n- attributes: {name: 'a-{team}'}\n- password: {generate: {}, env: A}\n- tde: {key_id: '{'}\n- tde: {}\n",
    )
    assert [line.split(": ")[1] for line in told] == [
        "name",
        "nme",
        "limits.rate",
        "retry",
        "targets[2]",
        "targets[3].vars.team",
        "changes[1].password",
        "changes[2].tde.key_id",
        "changes[3]",
        "id",
        "targets[1]",
        "changes[0].attributes.name",
    ], told


def test_many_faults_are_counted(tmp_path: Path) -> None:
    """Thousands of equal faults do not bury the screen, and none is kept quiet about."""
    told = problems(tmp_path, targets("- r-1\n" * 500))
    assert len(told) == 201
    assert told[-1] == "and 799 more"  # 500 without a region, 499 of them again


@pytest.mark.parametrize(
    ("flow", "block"),
    [
        ("limits: {rate: x, apis: {Nope: 1/1s}}\n", "limits:\n  rate: x\n  apis:\n    Nope: 1/1s\n"),
        ("rollout: {max_failures: 0, waves: []}\n", "rollout:\n  max_failures: 0\n  waves:\n    []\n"),
    ],
)
def test_flow_and_block_style_have_the_same_faults(tmp_path: Path, flow: str, block: str) -> None:
    """The places differ as the text does; paths and words are the same."""
    one, other = problems(tmp_path, GOOD + flow), problems(tmp_path, GOOD + block)
    assert [line.split(":", 2)[2] for line in one] == [line.split(":", 2)[2] for line in other]
    assert [line.split(":")[0] for line in one] == ["5", "5"]
    assert {line.split(":")[0] for line in other} > {"6"}


def test_faults_of_accounts_and_selectors_are_told_with_the_others(tmp_path: Path) -> None:
    """In one list: the manifest's own in the order of its text, then those of files; none hides another."""
    (tmp_path / "fleet.csv").write_text("id,region,account\nr-200,cn-x,prd\nr-300,cn-x,broken\nr-400,cn-x,nobody\n")
    told = problems(
        tmp_path,
        "version: 1\nname: x\nchanges: [{tde: {key: a}}]\n"
        f"accounts: {{prod: {{profile: x}}, broken: {{profile: 7}}, eu: {{role_arn: '{ROLE}', via: prd}}}}\n"
        "endpoints: {sts: vpc}\ndefaults: {account: defalt}\n"
        "targets: [{id: r-100, region: cn-x, account: prd}, {select: {account: eux, tags: {a: b}}}, {from: fleet.csv}]\n",
    )
    assert [line.split(": ")[1] for line in told] == [
        "changes[0].tde.key",
        "accounts.broken.profile",
        "accounts.eu.via",
        "endpoints.sts",
        "defaults.account",
        "targets[0].account",
        "targets[1].select.account",
        "targets[1].select.regions",
        "account",
        "account",
    ], told
    assert "known here: broken, default, eu, prod" in told[-1]


def test_broken_accounts_are_no_fault_of_those_who_name_them(tmp_path: Path) -> None:
    """When nobody can tell which accounts there are, only that is said."""
    (line,) = problems(tmp_path, GOOD + "accounts: [prod]\ndefaults: {account: prod}\n")
    assert line.startswith("5:11: accounts: ")


SECRET = "Hunter2Swordfish"
LEAKS = [
    f"- password: {SECRET}",
    f"- password: [{SECRET}]",
    f"- password: !x {SECRET}",
    f"- password: *{SECRET}",
    f"- password: {{value: {SECRET}}}",
    f"- password: {{{SECRET}}}",
    f"- password: {{{SECRET}: 1, {SECRET}: 2}}",
    f"- password: {{[{SECRET}]: 1}}",
    f"- password: {{env: '{SECRET}!'}}",
    f"- password: {{env: {{{SECRET}: 1}}}}",
    f"- password: {{generate: {SECRET}}}",
    f"- password: {{generate: {{length: {SECRET}}}}}",
    f'- password: {{file: "{SECRET}\\n"}}',
    f"- new_password: {SECRET}",
    f"- {{password: {SECRET}, tde: {{}}}}",
    f"- password={SECRET}",
    f"- attributes: {{password: {SECRET}}}",
    f"- attributes: {{release_protection: {SECRET}}}",
    f"- tde: {{key_id: '{SECRET} {{'}}",
    f"- password: '{SECRET}",
    f"- password: {SECRET}: x",
]


@pytest.mark.parametrize("written", LEAKS)
def test_no_message_holds_what_may_be_a_secret(tmp_path: Path, written: str) -> None:
    """However a password got into a manifest, it does not get into a message."""
    assert SECRET not in "\n".join(problems(tmp_path, changes(written)))


KEY_SECRET = "q7Hunter2Swordfish0123456789ab"  # 30 characters, as the secret of an access key has
KEY_LEAKS = [
    f"accounts: {KEY_SECRET}",
    f"accounts: [{KEY_SECRET}]",
    f"accounts: {{{KEY_SECRET}}}",
    f"accounts: {{{KEY_SECRET}: {{}}}}",
    f"accounts: {{prod: {KEY_SECRET}}}",
    f"accounts: {{prod: [{KEY_SECRET}]}}",
    f"accounts: {{prod: {{{KEY_SECRET}}}}}",
    f"accounts: {{prod: {{profile: {KEY_SECRET}}}}}",
    f"accounts: {{prod: {{profile: {{{KEY_SECRET}: x}}}}}}",
    f"accounts: {{prod: {{role_arn: {KEY_SECRET}, via: {KEY_SECRET}}}}}",
    f"accounts: {{prod: {{role_arn: '{ROLE}', via: '{KEY_SECRET}!'}}}}",
    f"accounts: {{prod: {{profile: x, access_key_secret: {KEY_SECRET}}}}}",
    f"accounts: {{prod: {{profile: x, profil: {KEY_SECRET}}}}}",
    f"accounts: {{access_key_secret: {KEY_SECRET}}}",
    f"access_key_secret: {KEY_SECRET}",
    f"defaults: {{account: {KEY_SECRET}}}",
    f"endpoints: {{sts: 'https://user:{KEY_SECRET}@host'}}",
    f"endpoints: {{sts: 'https://host/?token={KEY_SECRET}'}}",
    f"endpoints: {{'https://user:{KEY_SECRET}@host': vpc}}",
    f"endpoints: {{'https://user:{KEY_SECRET}@host': [1]}}",
    f"endpoints: 'https://user:{KEY_SECRET}@host'",
]


@pytest.mark.parametrize("written", KEY_LEAKS)
def test_no_message_holds_an_access_key(tmp_path: Path, written: str) -> None:
    """However one got into a manifest, or a password into a URL."""
    assert KEY_SECRET not in "\n".join(problems(tmp_path, f"{GOOD}{written}\n"))


@pytest.mark.parametrize(
    "key", ["Sword_Fish", "swordfish-and-chips", "swordfish7", "a_word_of_21_letters_", "long" * 6]
)
def test_a_key_that_may_be_a_password_is_not_shown(tmp_path: Path, key: str) -> None:
    """Under a password, only a mistyped key is repeated: a short word, of too few kinds of characters to be one."""
    (line,) = problems(tmp_path, changes(f"- password: {{{key}: 1}}"))
    assert line == "5:14: changes[0].password: unknown key; known here: generate, env, file, secret, max_age"


@pytest.mark.parametrize("number", ["0123456789", "12345678", "yes"])
def test_no_message_holds_a_password_that_is_a_number(tmp_path: Path, number: str) -> None:
    """A message about the wrong type does not show the value either."""
    for written in (f"- password: {number}", f"- password: {{env: {number}}}"):
        assert number not in "\n".join(problems(tmp_path, changes(written))).replace(str(tmp_path), "")
    told = problems(tmp_path, targets(f"- {{id: r-123, vars: {{password: {number}}}}}"))
    assert number not in "\n".join(told).replace(str(tmp_path), "")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, a directory, behind a file: one line each, with the reason."""
    (tmp_path / "file").write_text("")
    (told,) = refused(path := tmp_path / "none.yaml")
    assert told == f"{path}: cannot be read: No such file or directory; `batchmod init {path}` writes one to begin with"
    assert "Is a directory" in refused(tmp_path)[0]
    assert "Not a directory" in refused(tmp_path / "file" / "m.yaml")[0]
