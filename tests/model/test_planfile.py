"""A plan file comes back as it was, and nothing that was touched comes back at all."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_records import ROWS, plan_file, written

from batchmod.errors import UsageError
from batchmod.model.plan import PlannedRow
from batchmod.model.planfile import read_plan_file
from batchmod.model.planrow import row_data, row_of
from batchmod.model.planstart import is_plan_file


def refused(path: Path, content: bytes) -> str:
    """What is said of a plan file with this content; one line."""
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_plan_file(path)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("rows", [ROWS, ()])
def test_a_plan_file_comes_back_as_it_was(tmp_path: Path, rows: Sequence[PlannedRow]) -> None:
    """Rows, manifest, accounts, what failed, the time; with the seal that it has."""
    file = plan_file(tmp_path, rows)
    written(file, tmp_path / "plan.json")
    again, seal = read_plan_file(tmp_path / "plan.json")
    assert (again, seal, again.plan.digest) == (file, file.seal, file.plan.digest)
    assert again.restored().name == "rotate-prod"


def test_a_plan_file_is_one_json_document(tmp_path: Path) -> None:
    """Its first line holds the hash of the rest; counts add up; a row is one line."""
    content = written(plan_file(tmp_path), tmp_path / "plan.json")
    first, _, rest = content.partition(b"\n")
    seal = hashlib.sha256(rest).hexdigest()
    assert first.decode() == f'{{"schema": "batchmod.plan/2", "sha256": "{seal}",'
    data = json.loads(content)
    assert data["counts"] == {
        "planned": 2,
        "unchanged": 0,
        "skipped": 0,
        "failed": 1,
        "unresolved": 0,
        "not_started": 1,
    }
    assert data["observed_at"] == "2026-03-04T05:06:07.250Z"
    assert data["forfeits"]["cloud-native"] == "offline key analysis"
    assert len([line for line in content.splitlines() if line.startswith(b'{"seq"')]) == len(data["rows"]) == 4
    assert data["rows"][1] == {
        "seq": 1,
        "account": "prod",
        "account_id": "1234567890123456",
        "region": "cn-hangzhou",
        "instance_id": "r-bp0001",
        "instance_name": "cache-1",
        "login": "r-bp0001",
        "change": "tde",
        "wave": 2,
        "before": {"status": "Disabled"},
        "after": {"status": "Enabled"},
        "verdict": "planned",
        "reason": None,
        "error_code": None,
        "address": None,
        "engine_version": None,
        "status": None,
        "group": None,
    }
    assert json.loads("".join(plan_file(tmp_path, ROWS[:1]).document()))["forfeits"] == {}


def test_no_byte_can_be_changed(tmp_path: Path) -> None:
    """Each in turn, in the first line also to a line end; and it is still known for a plan file."""
    path = tmp_path / "plan.json"
    content = written(plan_file(tmp_path, ROWS[:1]), path)
    for place, byte in enumerate(content):
        for other in {byte ^ 1, 0x0A if place < content.index(b"\n") else byte ^ 1}:
            said = refused(path, content[:place] + bytes([other]) + content[place + 1 :])
            assert "make a new plan" in said
            assert is_plan_file(path)


@given(data=st.data())
def test_nothing_can_be_added_or_taken_away(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anywhere, at the end too."""
    folder = tmp_path_factory.getbasetemp()
    content = "".join(plan_file(folder, ROWS[:1]).document()).encode()
    place = data.draw(st.integers(0, len(content)))
    more = data.draw(st.binary(min_size=1, max_size=3))
    refused(folder / "touched.json", content[:place] + more + content[place:])
    end = data.draw(st.integers(place + 1, len(content) + 1))
    if place < len(content):
        refused(folder / "touched.json", content[:place] + content[end:])


@pytest.mark.parametrize("version", ["1", "3", "20"])
def test_another_version_is_named(tmp_path: Path, version: str) -> None:
    """Also the one that had no seal."""
    content = written(plan_file(tmp_path), tmp_path / "plan.json").replace(b"plan/2", f"plan/{version}".encode())
    assert "another version" in refused(tmp_path / "plan.json", content)
    old = b'{"schema": "batchmod.plan/1", "name": "job", "rows": [\n]}\n'
    assert "another version" in refused(tmp_path / "plan.json", old)
    assert is_plan_file(tmp_path / "plan.json")


def sealed(body: bytes) -> bytes:
    return f'{{"schema": "batchmod.plan/2", "sha256": "{hashlib.sha256(body).hexdigest()}",\n'.encode() + body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"digest": "', b'"digest": "0'),
        (b'"name": "rotate-prod",\n', b'"name": "another",\n'),
        (b'"manifest_digest": "', b'"manifest_digest": "0'),
        (b'"planned": 2', b'"planned": 3'),
        (b'"seq": 1', b'"seq": 7'),
        (b'"seq": 1', b'"seq": "1"'),
        (b'"verdict": "planned"', b'"verdict": "sent"'),
        (b'"instance_id": "r-bp0000"', b'"instance_id": 7'),
        (b'{"name": "old"}', b"[]"),
        (b'{"name": "old"}', b'{"name": ["old"]}'),
        (b'"version": 1', b'"version": 9'),
        (b'"prod": "1234567890123456"', b'"prod": "1"'),
        (b'"wave": 2', b'"wave": null'),
        (b'"policies"', b'"polices"'),
        (b"2026-03-04", b"the 4th"),
        (b'"rows": [\n', b'"rows": \n'),
        (b"]}\n", b"]}"),
        (b'"manifest": {', b'"manifest": [], "x": {'),
        (b"old", b"\xff\xfe"),
    ],
)
def test_a_new_seal_does_not_make_a_plan_of_it(tmp_path: Path, old: bytes, new: bytes) -> None:
    """What does not agree with the rest, or has another shape, is refused in one line."""
    body = written(plan_file(tmp_path), tmp_path / "plan.json").partition(b"\n")[2]
    assert old in body
    assert "not a plan" in refused(tmp_path / "plan.json", sealed(body.replace(old, new, 1)))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No file, a directory, an empty one; only a regular file is looked into."""
    for path in (tmp_path / "none.json", tmp_path):
        assert not is_plan_file(path)
        with pytest.raises(UsageError, match="cannot be read"):
            read_plan_file(path)
    refused(tmp_path / "plan.json", b"")
    assert not is_plan_file(tmp_path / "plan.json")
    assert not is_plan_file(tmp_path / "job.yaml")


@given(
    st.builds(
        replace,
        st.sampled_from(ROWS),
        instance_name=st.none() | st.text(),
        reason=st.none() | st.text(),
        wave=st.none() | st.integers(1),
        status=st.none() | st.text(),
        after=st.dictionaries(st.text(), st.none() | st.booleans() | st.text()),
    )
)
def test_a_row_comes_back_as_it_was(row: PlannedRow) -> None:
    """Through JSON, whatever the service calls its instances."""
    assert row_of(json.loads(json.dumps(row_data(row), default=dict))) == row
