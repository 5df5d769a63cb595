"""Every command in the documentation is run, as a reader would, or is at least one that the command line takes."""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from documented import ROOT, Page, Step, calls, missing, page, steps, wrong
from whole_support import Bench, bench

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
HOWTOS = ["docs/howto-rename.md", "docs/howto-rotate.md", "docs/howto-tde.md"]
START = "docs/start.md"
OWN = {  # run from top to bottom by a test of their own
    "docs/embedded.md": "test_embedded_page.py",
    "docs/kms.md": "test_kms_page.py",
    "docs/many-machines.md": "test_cluster_page.py",
    "docs/openbao.md": "test_openbao_manual.py",
    "docs/scheduling.md": "test_scheduling.py",
}
INSTALLING = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install '.[sim]'")
PROGRAMS = ("batchmod", "make", "pip", "python", "export")
SHELL_END = "@@"


def script(shown: Page, steps_taken: list[Step]) -> str:
    """The page as one script of bash: its files, and its commands with the exit code of each; appends to the steps."""
    lines = ["exec 2>&1", "trap 'kill $(jobs -p) 2> /dev/null' EXIT", "code=0"]
    for block in shown.fenced():
        if block.title:
            lines += [f"cat > {block.title} <<'{SHELL_END}'", block.text + SHELL_END]
        elif block.language == "console":
            for step in steps(block.text):
                if step.command not in INSTALLING:
                    steps_taken.append(step)
                    lines += ["(exit $code)", step.command, "code=$?", f'echo "{SHELL_END} $code"']
    return "\n".join(lines)


async def walk(b: Bench, shown: Page) -> None:
    """Each command ends as the page says, 0 unless it asks, and prints what is shown."""
    taken: list[Step] = []
    text = f'PATH="{Path(sys.executable).parent}:$PATH"\n' + script(shown, taken)
    process = await b.start_shell(text)
    try:
        async with asyncio.timeout(90):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
    *said, rest = re.split(rf"^{SHELL_END} (\d+)\n", out.decode(), flags=re.MULTILINE)
    assert not rest.strip()
    printed, codes = said[::2], said[1::2]
    assert len(codes) == len(taken), out.decode()
    for at, (step, text, code) in enumerate(zip(taken, printed, codes, strict=True)):
        asked = taken[at + 1].command == "echo $?" if at + 1 < len(taken) else False
        assert code == "0" or asked, f"{shown.name}: {step.command}: exit {code}\n{text}"
        lines = [line for line in text.split("\n") if line]
        gap = missing(step.prints, lines)
        assert gap is None, f"{shown.name}: {step.command}: {gap!r} is not in its place of\n{text}"


async def test_the_five_minute_start(tmp_path: Path) -> None:
    """From the simulator that it starts to the password that logs in; only the installation is another one."""
    async with bench(tmp_path, instances=1) as b:  # for its shell: the page has a simulator of its own
        foreign = ("BATCHMOD_", "ALIBABA_CLOUD_ACCESS")
        environ: Mapping[str, str] = {k: v for k, v in b.environ.items() if not k.startswith(foreign)}
        mine = Bench(tmp_path, b.sim, environ, b.cloud_clock)
        await walk(mine, page(START))
        assert b.modifying_calls() == 0
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "\nsim = [" in extras


@pytest.mark.parametrize("name", HOWTOS)
async def test_a_how_to(tmp_path: Path, name: str) -> None:
    """From top to bottom against a simulator, as the page says."""
    async with bench(tmp_path) as b:
        await walk(b, page(name))


@pytest.mark.parametrize("name", PAGES)
def test_the_command_line_takes_what_is_shown(name: str) -> None:
    """No command, option or value that it does not know; no target or setting of make and no sample job that is not there."""
    known = re.findall(r"^([A-Za-z_]+)(?=:| \??=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in page(name).commands():
        for words in calls(line):
            if words[0] == "make":
                assert {word.partition("=")[0] for word in words[1:]} <= {*known}, line
            else:
                told = wrong(words)
                assert told is None, f"{line}: {told}"
            assert all((ROOT / word).exists() for word in words if word.startswith("jobs/")), line


@pytest.mark.parametrize("name", PAGES)
def test_no_block_of_commands_is_forgotten(name: str) -> None:
    """A page that shows how to do something is run, here or by a test of its own; on the others only what is checked."""
    if name in {START, *HOWTOS}:
        return
    if name in OWN:
        assert Path(name).name in (Path(__file__).parent / OWN[name]).read_text(encoding="utf-8")
        return
    shown = page(name)
    typed = [step.command for text in shown.blocks("console") for step in steps(text)]
    typed += "".join(shown.blocks("sh")).splitlines()
    assert [line for line in typed if line.split()[0] not in PROGRAMS] == []
