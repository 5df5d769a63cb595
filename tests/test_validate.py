"""What `validate` says of a manifest that is right."""

from pathlib import Path

import pytest

from batchmod.cli import main


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("[r-100, r-200]", "2 targets; tde; valid"),
        ("[r-100, {select: {tags: {a: b}}}]", "1 targets, 1 selectors; tde; valid"),
        ("[{select: {tags: {a: b}}}, {select: {names: ['c*']}}]", "0 targets, 2 selectors; tde; valid"),
    ],
)
def test_what_a_manifest_means_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], targets: str, said: str
) -> None:
    """Targets that are written, and selectors if there are any: nobody asks the service how many those select."""
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\nname: x\ndefaults: {{region: cn-x}}\nchanges: [{{tde: {{}}}}]\ntargets: {targets}\n")
    assert main(["validate", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: {said}\n"
