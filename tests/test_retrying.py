"""What `--retry failed` leaves of a manifest and of its plan: nothing but the rows that failed."""

from pathlib import Path

from journal_records import START, a_row, a_run, a_step

from batchmod.app.retrying import Retry
from batchmod.journal.memory import MemoryJournal
from batchmod.model.events import Kind, Phase
from batchmod.model.loading import load
from batchmod.model.plan import Plan

MANIFEST = """version: 1
name: rotate-prod
defaults: {region: cn-hangzhou}
targets: [r-bp0000, r-bp0001, {id: r-bp0002, region: cn-beijing}, {select: {tags: {env: prod}}}]
changes: [{attributes: {name: "new-{id}"}}, {password: {generate: {}}}]
"""
ROWS = (
    a_row(0, kind=Kind.ATTRIBUTES),
    a_row(1, instance_id="r-bp0000"),
    a_row(2, instance_id="r-bp0001", verdict=Phase.FAILED, wave=None),
    a_row(3, instance_id="r-bp0002"),
)


async def a_retry() -> Retry:
    """Of a run in which the password of the first instance failed; the plan itself had failed the second's."""
    journal = MemoryJournal()
    await journal.open_run(a_run("r0"), ROWS)
    await journal.open_run(a_run("r1"), ROWS)
    for seq, phase in enumerate((Phase.CHANGED, Phase.FAILED)):
        await journal.step("r1", a_step(phase, seq))
    await journal.open_run(a_run("r2", name="another"), ROWS)
    retry = Retry.of_last(journal, "rotate-prod")
    assert retry is not None
    assert Retry.of_last(journal, "none") is None
    return retry


async def test_only_rows_that_failed_are_repeated() -> None:
    """Of the last run of the name, each kind for itself; numbered anew."""
    retry = await a_retry()
    assert retry.run_id == "r1"
    plan = Plan(name="rotate-prod", manifest_digest="d1", rows=ROWS, observed_at=START)
    kept = retry.only_failed(plan).rows
    assert [(row.seq, row.instance_id, row.kind) for row in kept] == [
        (0, "r-bp0000", Kind.PASSWORD),
        (1, "r-bp0001", Kind.PASSWORD),
    ]


async def test_a_row_of_an_account_that_nobody_knows_is_still_meant() -> None:
    """It could not be used this time: its row says so."""
    unknown = a_row(0, account_id="", instance_id="r-bp0001", verdict=Phase.NOT_STARTED, wave=None)
    others = (a_row(1, account_id="", kind=Kind.ATTRIBUTES), a_row(2, account_id="2"))
    plan = Plan(name="rotate-prod", manifest_digest="d1", rows=(unknown, *others))
    assert (await a_retry()).only_failed(plan).rows == (unknown,)


async def test_no_other_instance_is_looked_at(tmp_path: Path) -> None:
    """Neither named nor selected; a selector may find nothing, and the manifest is the same by its digest."""
    (tmp_path / "job.yaml").write_text(MANIFEST)
    loaded = load(tmp_path / "job.yaml")
    narrowed = (await a_retry()).narrowed(loaded)
    assert [target.id for target in narrowed.targets] == ["r-bp0000", "r-bp0001"]
    assert [narrowed.excluded(name) for name in ("r-bp0000", "r-bp0002", "r-other")] == [False, True, True]
    assert all(selector.allow_empty for selector in narrowed.selectors)
    assert narrowed.digest == loaded.digest
