import csv
import io
import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmod.errors import UsageError
from batchmod.model.secret import Generation, InstanceKey, Secret, Stage
from batchmod.secrets.embedded import EmbeddedStore
from batchmod.secrets.transfer import COLUMNS, IMPORTED, Format, Record, backup, export_csv, export_json, import_

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
KEYS = st.builds(InstanceKey, account_id=NAMES, region=NAMES, instance_id=NAMES)
RECORDS = st.lists(
    st.tuples(
        st.builds(
            Generation,
            key=KEYS,
            generation=st.integers(1, 2**53),
            stage=st.just(Stage.CANDIDATE),
            login=NAMES,
            run_id=st.just(IMPORTED),
            created_at=st.just(7.0),
            updated_at=st.just(7.0),
        ),
        st.builds(Secret, NAMES),
    ),
    unique_by=lambda each: (each[0].key, each[0].generation),
    max_size=5,
)
EXPORT = {Format.JSON: export_json, Format.CSV: export_csv}
CANARY = "Canary_password-1"


def record(instance: str = "r-1", generation: int = 1, stage: Stage = Stage.CURRENT, password: str = CANARY) -> Record:
    key = InstanceKey(account_id="1", region="cn-hangzhou", instance_id=instance)
    return (
        Generation(
            key=key,
            generation=generation,
            stage=stage,
            login=instance,
            run_id=IMPORTED,
            created_at=0.0,
            updated_at=0.0,
        ),
        Secret(password),
    )


@pytest.mark.parametrize("form", Format)
@given(records=RECORDS)
def test_an_export_is_imported_as_it_was(form: Format, records: list[Record]) -> None:
    """Whatever stands in a password or a name comes back unchanged, in either format."""
    assert import_(EXPORT[form](records), form, at=7.0) == records


def test_csv_is_what_a_strict_reader_expects() -> None:
    """RFC 4180: CRLF, doubled quotes, and no cell changed for a spreadsheet."""
    text = export_csv([record(password='=1+"2",\n')])
    assert text.splitlines(keepends=True)[0] == ",".join(f'"{name}"' for name in COLUMNS) + "\r\n"
    (row,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    assert row["password"] == '=1+"2",\n'
    assert row["generation"] == "1"


def test_json_is_an_array_of_plain_objects() -> None:
    """The documented keys, the generation as a number; an empty store is an empty array."""
    assert json.loads(export_json([record()])) == [
        dict(zip(COLUMNS, ("1", "cn-hangzhou", "r-1", "r-1", "current", 1, CANARY), strict=True))
    ]
    assert json.loads(export_json([])) == []


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        ("csv", "", "line 1: the header"),
        ("csv", f"1,cn,r,r,current,1,{CANARY}\n", "line 1: the header"),
        ("csv", f"{HEADER},password\n", "line 1: the header"),
        ("csv", f"{HEADER}\n1,cn,r,r,current,1\n", "line 2: must have these columns"),
        ("csv", f"{HEADER}\n\n1,cn,r,r,{CANARY},1,x\n", "line 3: stage: must be one of pending, current"),
        ("csv", f'{HEADER}\n1,cn,r,r,current,1,"a\nb"\n1,cn,r,r,previous,{CANARY},c\n', "line 4: generation: must be"),
        ("csv", f"{HEADER}\n1,cn,r,r,current,{'9' * 5000},{CANARY}\n", "line 2: generation: must be"),
        ("csv", f'{HEADER}\n1,cn,r,r,current,1,"{CANARY}\n', "line 2: not CSV"),
        ("csv", f"{HEADER}\n1,cn,r,r,current,0,\n", "line 2: password: must be text"),
        (
            "csv",
            f"{HEADER}\n1,cn,r,r,candidate,1,{CANARY}\n1,cn,r,r,candidate,1,x\n",
            "line 3: the same instance and generation as line 2",
        ),
        (
            "csv",
            f"{HEADER}\n1,cn,r,r,pending,1,{CANARY}\n1,cn,r,r,pending,2,x\n",
            "line 3: the same instance and stage as line 2",
        ),
        ("json", "", "line 1: not one JSON array"),
        ("json", f'{{"password": "{CANARY}"}}', "line 1: not one JSON array"),
        ("json", f'[\n{{"password": "{CANARY}"}}\n]', "line 2: must have these columns"),
        ("json", f'[\n"{CANARY}"\n]', "line 2: must have these columns"),
        ("json", f'[\n\n{{"password": "{CANARY}",}}\n]', "line 3: not JSON"),
        ("json", f'["{CANARY}"\n"x"]', "line 2: not one JSON array"),
        ("json", f'["{CANARY}",\n]', "line 2: not one JSON array"),
        ("json", f'[\n] "{CANARY}"', "line 2: not one JSON array"),
        ("json", "[\n1" + "0" * 5000 + "]", "line 2: not JSON: a number"),
    ],
)
def test_what_is_broken_is_named_by_line_and_never_repeated(form: str, text: str, problem: str) -> None:
    """A misplaced password is not shown: not as a value, not as the name of a column, not by the cause."""
    with pytest.raises(UsageError) as caught:
        import_(text, Format(form), at=0.0)
    assert any(each.startswith(problem) for each in caught.value.problems), caught.value.problems
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {vars(error)}"
        error = error.__cause__


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("generation", "true", "generation: must be"),
        ("generation", "1.0", "generation: must be"),
        ("generation", '"1"', "generation: must be"),
        ("generation", "9007199254740993", "generation: must be"),
        ("password", '"\\ud800"', "password: must be text"),
        ("password", "null", "password: must be text"),
        ("region", '""', "region: must be text"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(name: str, value: str, says: str) -> None:
    """JSON can spell much that no store can keep."""
    fields = json.loads(export_json([record()]))[0] | {name: json.loads(value)}
    with pytest.raises(UsageError, match=f"^line 1: {says}"):
        import_(json.dumps([fields]), Format.JSON, at=0.0)


def test_all_problems_come_at_once() -> None:
    """One run of import finds every broken row."""
    text = f"{HEADER}\n1,cn,r,r,bad,1,x\n1,cn,r,r,current,no,x\n"
    with pytest.raises(UsageError) as caught:
        import_(text, Format.CSV, at=0.0)
    assert [each.split(":")[0] for each in caught.value.problems] == ["line 2", "line 3"]


def test_a_byte_order_mark_does_no_harm() -> None:
    """A spreadsheet may have put one first."""
    assert import_("\ufeff" + export_csv([record()]), Format.CSV, at=0.0) == [record()]


async def opened(directory: Path, home: Path) -> EmbeddedStore:
    return EmbeddedStore.open(directory, environ={"HOME": str(home)}, say=lambda _: None)


async def test_a_backup_is_a_store_that_the_key_opens(tmp_path: Path) -> None:
    """Taken while the store is in use; one private file, no plain password in it."""
    store = await opened(tmp_path / "state", tmp_path)
    for each in (record(), record("r-2")):
        await store.insert(*each)
    target = tmp_path / "restored" / "secrets.db"
    target.parent.mkdir()
    backup(tmp_path / "state", target)
    await store.close()
    assert list(target.parent.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert CANARY.encode() not in target.read_bytes()
    restored = await opened(target.parent, tmp_path)
    assert [each.key.instance_id for each in await restored.all()] == ["r-1", "r-2"]
    assert await restored.reveal(record()[0].key, 1) == Secret(CANARY)
    await restored.close()


async def test_a_backup_overwrites_nothing_and_leaves_no_half(tmp_path: Path) -> None:
    """An existing file stays as it is; a source that is no store leaves no target behind."""
    await (await opened(tmp_path / "state", tmp_path)).close()
    target = tmp_path / "kept"
    target.write_text("kept")
    with pytest.raises(UsageError, match="overwrites nothing"):
        backup(tmp_path / "state", target)
    assert target.read_text() == "kept"
    with pytest.raises(UsageError, match="no secret store"):
        backup(tmp_path / "nowhere", tmp_path / "new")
    with pytest.raises(UsageError, match="cannot be made"):
        backup(tmp_path / "state", tmp_path / "no" / "such" / "place")
    (tmp_path / "state" / "secrets.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(UsageError, match=r"secrets.db: the secret store cannot be opened"):
        backup(tmp_path / "state", tmp_path / "new")
    assert not (tmp_path / "new").exists()


async def test_a_backup_beside_a_writer_is_consistent(tmp_path: Path) -> None:
    """Whatever the moment, the copy holds whole records from the first on, without a gap."""
    store = await opened(tmp_path / "state", tmp_path)
    enough = threading.Event()
    taken: list[Path] = []

    def copy() -> None:
        while not enough.is_set():
            taken.append(tmp_path / f"copy-{len(taken)}")
            backup(tmp_path / "state", taken[-1])

    copier = threading.Thread(target=copy)
    copier.start()
    for number in range(30):
        await store.insert(*record(f"r-{number:03}"))
    enough.set()
    copier.join()
    await store.close()
    for number, path in enumerate(taken):
        home = tmp_path / f"state-{number}"
        home.mkdir()
        path.rename(home / "secrets.db")
        restored = await opened(home, tmp_path)
        names = [each.key.instance_id for each in await restored.all()]
        assert names == [f"r-{each:03}" for each in range(len(names))]
        await restored.close()
