"""From the results to the page: pure text, written between two marks of docs/performance.md. No clock, no I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def renewed(page: str, results: Mapping[str, Any]) -> str:
    """The page with these results between its marks; raises ValueError for a page without them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n\n{figures(results)}\n{END}{tail}"


def figures(results: Mapping[str, Any]) -> str:
    """Every part: table, chart, limits, notes."""
    return "\n".join(_part(results[name]) for name in results)


def _part(part: Mapping[str, Any]) -> str:
    blocks = [
        f"### {part['title']}",
        f"{part['at']}, {part['size']}; {machine(part['machine'])}.",
        table(part["columns"], part["rows"]),
        *map(chart, part["bars"]),
        limits(part["checks"]) if part["checks"] else "",
        "\n".join(f"- {note}" for note in part["notes"]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def machine(where: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    return f"{where['cores']} cores {where['cpu']}, {where['kernel']}, Python {where['python']}, {packages}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def limits(checks: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            each["what"],
            f"{'≤' if each['at_most'] else '≥'} {each['limit']:g}",
            f"{each['value']:.4g}",
            "met" if met(each) else "**missed**",
            each["bound"],
        ]
        for each in checks
    ]
    return table(("it must show", "limit", "measured", "", ""), rows)


def met(check: Mapping[str, Any]) -> bool:
    value, limit = check["value"], check["limit"]
    return bool(value <= limit if check["at_most"] else value >= limit)


def chart(bars: Mapping[str, Any]) -> str:
    labels = ", ".join(f'"{label}"' for label in bars["labels"])
    values = ", ".join(f"{value:g}" for value in bars["values"])
    lines = [
        "```mermaid",
        "xychart-beta horizontal",
        f'  title "{bars["title"]}"',
        f"  x-axis [{labels}]",
        f'  y-axis "{bars["axis"]}"',
        f"  bar [{values}]",
        "```",
    ]
    return "\n".join(lines)
