"""Targets from the manifest and from files."""

import tracemalloc
from pathlib import Path

import pytest

from batchmod.errors import UsageError
from batchmod.model.loading import Loaded, load

HEAD = "version: 1\nname: x\nchanges: [{tde: {}}]\n"


def write(folder: Path, manifest: str, **files: str | bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    path = folder / "m.yaml"
    path.write_text(HEAD + manifest)
    return path


def told(path: Path) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(path)
    return [line.removeprefix(f"{path.parent}/") for line in caught.value.problems]


def rows(loaded: Loaded) -> list[tuple[str, str, str, dict[str, str]]]:
    return [(target.id, target.region, target.account, dict(target.vars)) for target in loaded.targets]


def test_all_ways_to_write_a_target(tmp_path: Path) -> None:
    """Ids, mappings and both kinds of file, in the order written, with defaults where they say nothing."""
    path = write(
        tmp_path,
        "defaults: {region: cn-hangzhou}\ntargets:\n- r-001\n- from: a.csv\n- {id: r-004, region: cn-beijing, vars: {team: x}}\n"
        "- from: b.jsonl\n",
        a_csv="\ufeffregion,id,Team Name,account\r\n cn-shanghai , r-002 ,pay,\r\n\r\n,r-003,,default\r\n",
        b_jsonl='{"id": "r-005", "shard": 1.10, "hot": true, "none": null, "empty": ""}\n\n{"region": "cn-beijing", "id": "r-006"}',
    )
    loaded = load(path)
    assert rows(loaded) == [
        ("r-001", "cn-hangzhou", "default", {}),
        ("r-002", "cn-shanghai", "default", {"Team Name": "pay"}),
        ("r-003", "cn-hangzhou", "default", {}),
        ("r-004", "cn-beijing", "default", {"team": "x"}),
        ("r-005", "cn-hangzhou", "default", {"shard": "1.10", "hot": "true"}),
        ("r-006", "cn-beijing", "default", {}),
    ]
    places = [target.where.removeprefix(f"{tmp_path}/") for target in loaded.targets]
    assert places == ["m.yaml:6:3", "a.csv:2", "a.csv:4", "m.yaml:8:3", "b.jsonl:1", "b.jsonl:3"]


FILES = [
    ("csv", "", "1: ", 'has no column "id"'),
    ("csv", "ID,region\n", "1: ", 'is "ID" meant'),
    ("csv", "Instance_Id,region\n", "1: ", 'is "Instance_Id" meant'),
    ("csv", "id;region\nr-123;cn-x\n", "1: ", "separated by commas"),
    ("csv", "id,team,team\n", "1:3: ", "stands twice"),
    ("csv", "id,zone\n", "1:2: ", "hides the placeholder"),
    ("csv", "id,new_password\n", "1:2: ", "from env or file"),
    ("csv", "id,\n", "1:2: ", "is no name of a var"),
    ("csv", "id,region\nr-123,cn-beijing,x\n", "2: ", "has 3 fields, and the header has 2"),
    ("csv", "id,region\nr-123\n", "2: ", "has 1 fields"),
    ("csv", 'id,team\n"r-123","a\nb"\nr 1,x\n', "2:2: team: ", "cannot be printed"),
    ("csv", 'id,team\n"r-123","a\nb"\nr 1,x\n', "4:1: id: ", "is no instance id"),
    ("csv", 'id,team\nr-123,"a"b\n', "2: ", "is no CSV"),
    ("csv", "region,id\ncn-x,\n", "2:2: id: ", "is missing"),
    ("csv", "region,id\nCN X,r-123\n", "2:1: region: ", "is no region"),
    ("csv", "id,account\nr-123,prod\n", "2:2: account: ", "is no account"),
    ("csv", b"id,team\nr-122,a\nr-123,\xff\n", "3: ", "is not UTF-8"),
    ("csv", b"\xff\xfei\0d\0", "1: ", "is not UTF-8"),
    ("csv", "id,team\nr-123,a\0b\n", "2:2: team: ", "cannot be printed"),
    ("csv", "id,team\nr-123,a\nr-123,b\n", "3:1: id: ", "r-123 stands twice: first in "),
    ("jsonl", "[]\n", "1: ", "must be an object"),
    ("jsonl", '{"id": "r-123"}\n{"id" "r-124"}\n', "2:7: ", "is no JSON"),
    ("jsonl", '{"id": 123}\n', "1: id: ", "is no instance id"),
    ("jsonl", '{"id": true}\n', "1: ", "id: must be text"),
    ("jsonl", '{"vars": {"a": "b"}, "id": "r-123"}\n', "1: ", "vars: must be text"),
    ("jsonl", '{"id": "r-123", "a": NaN}\n', "1: ", "a: must be text"),
    ("jsonl", '{"id": "r-123", "id": "r-124"}\n', "1: ", "id: stands twice"),
    ("jsonl", '{"id": "r-123", "a": "\\ud800"}\n', "1: a: ", "cannot be printed"),
    ("jsonl", '{"id": "r-123", "zone": "x"}\n', "1: ", "zone: hides the placeholder"),
    ("jsonl", '{"region": "cn-x"}\n', "1: id: ", "is missing"),
    ("jsonl", "[" * 100_000 + "\n", "1: ", "nested too deeply"),
    ("jsonl", b'{"id": "r-\xff"}\n', "1: ", "is not UTF-8"),
]


@pytest.mark.parametrize(("kind", "content", "place", "part"), FILES)
def test_each_fault_in_a_file_is_named_with_its_line(
    tmp_path: Path, kind: str, content: str | bytes, place: str, part: str
) -> None:
    """A problem of a file names that file, the line, and the field where there is one."""
    path = write(tmp_path, f"defaults: {{region: cn-x}}\ntargets: [from: f.{kind}]\n", **{f"f_{kind}": content})
    lines = told(path)
    assert any(line.startswith(f"f.{kind}:{place}") and part in line for line in lines), lines


def test_a_file_is_relative_to_the_manifest(tmp_path: Path) -> None:
    """Wherever the process stands, `from` starts at the manifest; and so does everything else."""
    (tmp_path / "sub").mkdir()
    path = write(tmp_path / "sub", "targets: [from: ../fleet.csv]\n")
    (tmp_path / "fleet.csv").write_text("id,region\nr-123,cn-x\n")
    assert load(path).directory == tmp_path / "sub"
    assert [target.id for target in load(path).targets] == ["r-123"]


def test_a_repeated_target_names_both_places(tmp_path: Path) -> None:
    """Manifest and file are one list: an id in both is refused with both places."""
    path = write(tmp_path, "targets: [from: f.csv, {id: r-123, region: cn-x}]\n", f_csv="id,region\nr-123,cn-x\n")
    assert told(path) == [f"m.yaml:4:24: targets[1]: r-123 stands twice: first in {tmp_path}/f.csv:2"]


def test_targets_without_a_region_are_named(tmp_path: Path) -> None:
    """Each place that names none, when no default does."""
    path = write(tmp_path, "targets: [r-122, from: f.csv]\n", f_csv="id,region\nr-123,\nr-124,cn-x\n")
    lines = told(path)
    assert [line.split(": ")[0] for line in lines] == ["m.yaml:4:11", "f.csv:2:2"]
    assert all("there is no defaults.region" in line for line in lines)


def test_a_wrong_default_is_one_fault(tmp_path: Path) -> None:
    """A default that cannot be read does not make every target's region a fault of its own."""
    path = write(tmp_path, "defaults: {regio: cn-x}\ntargets: [r-122, r-123]\n")
    assert told(path) == ['m.yaml:4:12: defaults.regio: unknown key; did you mean "region"']


def test_excluded_targets_are_gone(tmp_path: Path) -> None:
    """By id and by pattern, exactly as written; * stands for any text."""
    path = write(
        tmp_path,
        "defaults: {region: cn-x}\ntargets: [r-100, r-101, r-200, R-100, R-200, r-1000]\nexclude: [r-100, 'r-2*']\n",
    )
    assert [target.id for target in load(path).targets] == ["r-101", "R-100", "R-200", "r-1000"]


def test_an_excluded_target_need_not_fit_the_templates(tmp_path: Path) -> None:
    """What is left out is not asked for what the others need."""
    changes = "changes: [{attributes: {name: 'a-{team}'}}]\n"
    path = write(tmp_path, "", f_csv="id,region,team\nr-123,cn-x,pay\nr-124,cn-x,\n")
    path.write_text(f"version: 1\nname: x\n{changes}targets: [from: f.csv]\nexclude: [r-124]\n")
    assert [target.id for target in load(path).targets] == ["r-123"]


def test_a_target_that_lacks_a_var_is_named(tmp_path: Path) -> None:
    """The target's own line, the var, and where it is used; an empty cell is no var."""
    path = write(tmp_path, "", f_csv="id,region,team\nr-123,cn-x,pay\nr-124,cn-x,\n")
    path.write_text("version: 1\nname: x\nchanges: [{attributes: {name: 'a-{team}'}}]\ntargets: [from: f.csv]\n")
    assert told(path) == ['f.csv:3: changes[0].attributes.name: this target has no var "team"']


def test_a_name_that_breaks_the_rules_is_found_before_the_plan(tmp_path: Path) -> None:
    """When all of it is known from the manifest, the finished name is checked for each target."""
    path = write(tmp_path, "", f_csv="id,region,team\nr-123,cn-x,pay\nr-124,cn-x,1st\n")
    path.write_text("version: 1\nname: x\nchanges: [{attributes: {name: '{team}-{id}'}}]\ntargets: [from: f.csv]\n")
    assert told(path) == [
        "f.csv:3: changes[0].attributes.name: a name starts with a letter or a Chinese character",
    ]


@pytest.mark.parametrize("placeholder", ["zone", "account_id", "engine_version"])
def test_what_only_the_service_knows_is_left_to_the_plan(tmp_path: Path, placeholder: str) -> None:
    """A template that needs the service's facts is no fault."""
    path = write(tmp_path, "")
    path.write_text(
        f"version: 1\nname: x\nchanges: [{{attributes: {{name: 'a-{{{placeholder}}}'}}}}]\ntargets: [{{id: r-123, region: cn-x}}]\n"
    )
    assert len(load(path).targets) == 1


def peak(path: Path) -> int:
    tracemalloc.start()
    try:
        load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_fleet_loads_flat(tmp_path: Path) -> None:
    """20 000 targets cost per target what 5 000 cost: the file is streamed, nothing is kept twice."""
    kept = {}
    for count in (5_000, 20_000):
        content = "id,region,team\n" + "".join(f"r-bp1{number:08d},cn-shanghai,t{number}\n" for number in range(count))
        path = write(tmp_path, "targets: [from: f.csv]\n", f_csv=content)
        load(path)  # what is imported and cached once is not the fleet's
        kept[count] = peak(path) / count
    assert kept[20_000] < 1.25 * kept[5_000]
    assert kept[20_000] < 1_500  # bytes
