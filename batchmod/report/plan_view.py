"""A plan, for people and for programs. Pure; a plan holds no secret, so neither does what is shown of it."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Final

from batchmod.model.events import Kind, Phase
from batchmod.model.plan import Plan, PlannedRow
from batchmod.model.planfile import FORFEITS, VERDICTS, encrypted
from batchmod.model.secret import InstanceKey
from batchmod.report.layout import columns, cut, printable
from batchmod.report.rows import differences

REASONS: Final = 10  # different ones that are shown
CANARIES: Final = 5  # of the first wave that are shown


def plan_table(plan: Plan, width: int, first: int = 20) -> str:
    """The first rows, then what would happen by kind, by account and region, and why rows are not eligible.

    No line is wider than `width`, at best 60 or more; without a last line end.
    """
    sends = sum(row.will_send for row in plan.rows)
    lines = [f"{plan.name}: {len(plan.rows)} rows, {sends} would be sent", ""]
    lines += _first_rows(plan.rows[:first], width)
    if len(plan.rows) > first:
        lines.append(f"… and {len(plan.rows) - first} rows more")
    lines += ["", *_by_kind(plan), "", *_by_lane(plan, width), *_waves(plan, width), *_waits(plan), *_reasons(plan)]
    lines += [*_forfeits(plan, width), *_failed(plan, width)]
    return "\n".join(cut(line, width) for line in lines)


def policy_text(plan: Plan) -> Iterator[str]:
    """For each account the smallest RAM policy that the run needs: a JSON document, one statement a line."""
    for account, document in plan.policies.items():
        lines = ",\n".join(f"  {json.dumps(statement)}" for statement in document["Statement"])
        yield f"\nRAM policy that a run needs in account {printable(account)}:\n"
        yield f'{{"Version": "{document["Version"]}", "Statement": [\n{lines}\n]}}\n'


def _first_rows(rows: Iterable[PlannedRow], width: int) -> list[str]:
    """One line a row, or two where the terminal leaves no room for what would change."""
    lines = [("wave", "account", "region", "instance", "change")]
    said = ["what would happen"]
    for row in rows:
        wave = "-" if row.wave is None else str(row.wave)
        lines.append((wave, printable(row.account), row.region, row.instance_id, row.kind))
        said.append(_what(row))
    room = max(map(len, columns(lines, width))) + 2
    if width - room >= max(30, len(said[0])):
        return columns([(*line, what) for line, what in zip(lines, said, strict=True)], width)
    told = zip(columns(lines, width), said, strict=True)
    return [text for line, what in told for text in (line, f"      {what}")]


def _what(row: PlannedRow) -> str:
    if not row.will_send:
        return printable(f"{row.verdict}: {row.reason or row.error_code or 'no reason known'}")
    match row.kind:
        case Kind.PASSWORD:
            return printable(f"new password for {row.login}")
        case Kind.ATTRIBUTES | Kind.TDE:
            return printable(differences(row))


def _by_kind(plan: Plan) -> list[str]:
    counted = Counter((row.kind, row.verdict) for row in plan.rows)
    lines = [("change", *(verdict.replace("planned", "would be sent") for verdict in VERDICTS))]
    planned = [kind for kind in Kind if any(counted[kind, verdict] for verdict in VERDICTS)]
    lines += [(kind, *(str(counted[kind, verdict]) for verdict in VERDICTS)) for kind in planned]
    shown = [column for column in zip(*lines, strict=True) if any(cell != "0" for cell in column[1:])]
    return columns(list(zip(*shown, strict=True)), 10_000)


def _by_lane(plan: Plan, width: int) -> list[str]:
    rows = Counter((row.account, row.region) for row in plan.rows)
    sent = Counter((row.account, row.region) for row in plan.rows if row.will_send)
    lines = [("account", "region", "rows", "would be sent")]
    lines += [(printable(lane[0]), lane[1], str(count), str(sent[lane])) for lane, count in sorted(rows.items())]
    return columns(lines, width)


def _waves(plan: Plan, width: int) -> list[str]:
    """How many instances are changed in each, and which are the canaries."""
    if len({row.wave for row in plan.rows} - {None}) <= 1:
        return []
    waves: dict[int, dict[InstanceKey, PlannedRow]] = {}
    for row in plan.rows:
        if row.wave is not None:
            waves.setdefault(row.wave, {}).setdefault(row.key, row)
    told = ", ".join(f"{len(waves[wave])} in wave {wave}" for wave in sorted(waves))
    first = [f"{row.instance_id} ({printable(row.account)}, {row.region})" for row in waves[min(waves)].values()]
    more = f" and {len(first) - CANARIES} more" if len(first) > CANARIES else ""
    canaries = f"wave {min(waves)}: {', '.join(first[:CANARIES])}{more}"
    return ["", *_wrapped(f"instances: {told}", width, indent=""), *_wrapped(canaries, width, indent="")]


def _waits(plan: Plan) -> list[str]:
    """Instances that are not Normal now."""
    statuses = Counter(
        status for status, _ in {(row.status, row.key) for row in plan.rows if row.status and row.will_send}
    )
    if not statuses:
        return []
    told = ", ".join(f"{count} {printable(status)}" for status, count in sorted(statuses.items()))
    return ["", f"not Normal now, and waited for: {told}"]


def _forfeits(plan: Plan, width: int) -> list[str]:
    tde = encrypted(plan)
    if not tde:
        return []
    lines = ["", f"tde cannot be undone: {tde} instances would be encrypted, and give up for good:"]
    for deployment, lost in FORFEITS:
        lines += _wrapped(f"{deployment}: {lost}", width)
    return lines


def _failed(plan: Plan, width: int) -> list[str]:
    if not plan.accounts_failed:
        return []
    lines = ["", "accounts that could not be used, and are left out:"]
    for one in plan.accounts_failed:
        lines += _wrapped(f"{printable(one.account)}: {printable(one.reason)}", width)
    return lines


def _wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    return wrap(text, width=width, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


def _reasons(plan: Plan) -> list[str]:
    why = Counter(
        (row.verdict, row.reason or row.error_code or "no reason known")
        for row in plan.rows
        if row.verdict not in {Phase.PLANNED, Phase.UNCHANGED}
    )
    if not why:
        return []
    lines = ["", "not eligible:"]
    lines += [f"  {rows} {verdict}: {printable(reason)}" for (verdict, reason), rows in why.most_common(REASONS)]
    if len(why) > REASONS:
        lines.append(f"  … and {len(why) - REASONS} reasons more")
    return lines
