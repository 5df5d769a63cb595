"""What the documents say is what the code does."""

import re
from pathlib import Path

import click
import pytest

from batchmod.cli import cli
from batchmod.engine.machine import diagram
from batchmod.model.events import StoppedBy
from batchmod.model.exits import MEANINGS
from batchmod.model.loading import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def commands(group: click.Group, prefix: str = "batchmod") -> dict[str, click.Command]:
    """Every command by its full name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        found |= commands(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def test_the_readme_shows_real_output() -> None:
    """Of the two commands, to their end; nothing is left to be filled in."""
    assert "@@" not in README
    assert "120 changed · 0 unchanged" in README
    assert re.search(
        r"\$ make test\n…\nvendor suite: \d+ checks, 3 clients, 24 operations\nbreaking tests: .* lost 0, mis-stated 0\n\d{4} passed in",
        README,
    )


def test_the_diagram_is_the_table() -> None:
    """The README draws what the machine does."""
    assert f"```mermaid\n{diagram()}\n```" in README


def test_every_reason_to_stop_is_documented() -> None:
    """Each in its own line of the report's page."""
    report = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    assert [f"| `{reason}` | " in report for reason in StoppedBy] == [True] * len(StoppedBy)


def test_every_exit_code_is_documented() -> None:
    """Code and meaning, as the code has them."""
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


@pytest.mark.parametrize("name", sorted(commands(cli)))
def test_every_command_and_option_is_documented(name: str) -> None:
    """In docs/commands.md or the page it names, and with a help text."""
    command = commands(cli)[name]
    assert command.help
    pages = COMMANDS + (ROOT / "docs/secrets.md").read_text() + (ROOT / "docs/simulator.md").read_text()
    assert name.removeprefix("batchmod ").split()[0] in pages
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert max(parameter.opts, key=len) in pages, f"{name} {parameter.opts}"


@pytest.mark.parametrize("page", sorted(["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]))
def test_links_lead_somewhere(page: str) -> None:
    """To a file that is there."""
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
        assert (folder / target).exists(), f"{page}: {target}"
