"""What the documents say is what the code does."""

import re
from pathlib import Path

import click
import pytest
from site_hooks import drawn, fetched_elsewhere
from site_reference import FOLDER, SCHEMA_OF_JOBS, commands, keys, pages

from batchmod.app.starting import schema_text
from batchmod.engine.machine import diagram
from batchmod.model.events import Kind, Outcome, Proof, StoppedBy
from batchmod.model.exits import MEANINGS
from batchmod.model.loading import load
from batchmod.model.schema import json_schema
from batchmod.report.rows import COLUMNS
from batchmod.report.sheets import Format

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def test_the_readme_shows_real_output() -> None:
    """Of the two commands, to their end; nothing is left to be filled in."""
    assert "@@" not in README
    assert "120 changed · 0 unchanged" in README
    assert re.search(
        r"\$ make test\n…\nvendor suite: \d+ checks, 3 clients, 24 operations\nbreaking tests: .* lost 0, mis-stated 0\n\d{4} passed, \d+ skipped in",
        README,
    )


def test_the_diagram_is_the_table() -> None:
    """The README draws what the machine does."""
    assert f"```mermaid\n{diagram()}\n```" in README


def test_the_reports_page_knows_every_column_and_every_value() -> None:
    """Each column, kind, outcome and proof is explained, each reason to stop and outcome in a line of its own."""
    report = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if not re.search(rf"^\| [^|]*`{name}`[^|]* \| \S", report, re.MULTILINE)] == []
    assert [value for value in (*StoppedBy, *Outcome) if f"\n| `{value}` | " not in report] == []
    explained = report.split("### Proofs\n")[1].split("###")[0]
    assert [proof for proof in Proof if not re.search(rf"`{proof}`\s\(", explained)] == []
    assert [value for value in (*Kind, *Format) if value not in report] == []


def test_the_reference_is_what_the_code_makes() -> None:
    """Word for word, and nothing else is there: `make docs` writes it."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == pages()
    assert SCHEMA_OF_JOBS.read_text(encoding="utf-8") == schema_text()


def test_the_reference_knows_every_key() -> None:
    """Of every mapping in the schema, but regions."""
    schema = json_schema()
    wanted = {f"`{key}`" for part in (schema, *schema["$defs"].values()) for key in part["properties"]}
    assert wanted - {*keys()} == set()


def test_every_exit_code_is_documented() -> None:
    """Code and meaning, as the code has them, in the README; the reference is made from them."""
    assert [f"| {code} | {meaning} |" in README for code, meaning in MEANINGS.items()] == [True] * len(MEANINGS)


def test_the_readmes_manifest_is_one(tmp_path: Path) -> None:
    """What a reader copies works; ten lines."""
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "fleet.csv").write_text("id,region,team\nr-bp1bbbbbbbbbbbbb,cn-shanghai,cart\n", encoding="utf-8")
    path = tmp_path / "job.yaml"
    path.write_text(found[1], encoding="utf-8")
    assert len(load(path).targets) == 2
    assert len(found[1].splitlines()) == 10


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str) -> None:
    """In docs/commands.md or the page it names, and with a help text."""
    command = commands()[name]
    assert command.help
    explained = COMMANDS + (ROOT / "docs/secrets.md").read_text() + (ROOT / "docs/simulator.md").read_text()
    assert name.removeprefix("batchmod ").split()[0] in explained
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert max(parameter.opts, key=len) in explained, f"{name} {parameter.opts}"
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    "page", sorted(["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))])
)
def test_links_lead_somewhere(page: str) -> None:
    """To a file that is there."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
        assert (folder / target).exists(), f"{page}: {target}"


def test_a_chart_needs_no_program(tmp_path: Path) -> None:
    """Bars of a chart become bars of a table; what a page would fetch from elsewhere is found, a mere link is not."""
    chart = 'xychart-beta horizontal\n  title "T"\n  x-axis ["a", "b<"]\n  y-axis "µs"\n  bar [1234, 5]'
    assert drawn(chart).split("\n")[2:] == [
        '| a | <meter min="0" max="1234" value="1234"></meter> | 1,234 |',
        '| b&lt; | <meter min="0" max="1234" value="5"></meter> | 5 |',
    ]
    with pytest.raises(ValueError, match="no chart"):
        drawn("stateDiagram-v2")
    fetched = '<script async src="https://x/a.js"></script><link rel=stylesheet href=//x/b.css><img src="c.png">'
    (tmp_path / "page.html").write_text(f'{fetched}<a href="https://x/d">d</a>', encoding="utf-8")
    (tmp_path / "sheet.css").write_text("a{background:url(http://x/e.png)} b{background:url(data:f)}", encoding="utf-8")
    told = ["page.html: https://x/a.js", "page.html: //x/b.css", "sheet.css: http://x/e.png"]
    assert fetched_elsewhere(tmp_path) == told
