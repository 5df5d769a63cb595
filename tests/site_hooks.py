"""What mkdocs does for batchmod's site beside building it: charts without a program from elsewhere, and a last look."""

import re
from html import escape, unescape
from pathlib import Path
from typing import Any, Final

CHART: Final = re.compile(r"```mermaid\n(.*?)\n```", re.DOTALL)
_LABELS: Final = re.compile(r"x-axis (\[.*\])")
_UNIT: Final = re.compile(r'y-axis "(.*)"')
_BARS: Final = re.compile(r"bar \[(.*)\]")
_TITLE: Final = re.compile(r'title "(.*)"')
# What a browser fetches by itself; a link that somebody follows is none of it.
_FETCHED: Final = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?([^"'\s>]+)"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*?\bhref=["']?([^"'\s>]+)|url\(["']?([^"')]+)|@import ["']([^"']+)""",
    re.IGNORECASE,
)
_ELSEWHERE: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A chart of bars is a table with bars in it: the theme would fetch a program to draw it."""
    return CHART.sub(lambda found: drawn(found[1]), markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """No page, sheet or script of the site makes a browser ask anybody else."""
    told = fetched_elsewhere(Path(config["site_dir"]))
    if told:
        raise SystemExit("\n".join(["the site is to ask nobody but itself:", *told]))


def drawn(chart: str) -> str:
    """Markdown for an xychart with one row of bars; raises ValueError for any other chart."""
    parts = [pattern.search(chart) for pattern in (_TITLE, _LABELS, _UNIT, _BARS)]
    title, labels, unit, bars = (found[1] if found else "" for found in parts)
    names = re.findall(r'"([^"]*)"', labels)
    values = [float(value) for value in bars.split(",") if value.strip()]
    if not names or len(names) != len(values):
        raise ValueError(f"no chart that the site can draw:\n{chart}")
    most = max(values)
    lines = (
        f'| {escape(name)} | <meter min="0" max="{most:g}" value="{value:g}"></meter> | {value:,.10g} |'
        for name, value in zip(names, values, strict=True)
    )
    return "\n".join([f"| {escape(title)} | | {escape(unit)} |", "| --- | --- | ---: |", *lines])


def fetched_elsewhere(site: Path) -> list[str]:
    """`file: address` of everything that a browser would fetch from another place than the site."""
    return [
        f"{path.relative_to(site)}: {address}"
        for path in sorted(site.rglob("*"))
        if path.suffix in {".html", ".css"}
        for found in _FETCHED.finditer(path.read_text(encoding="utf-8"))
        if (address := unescape(next(filter(None, found.groups())))) and _ELSEWHERE.match(address)
    ]
