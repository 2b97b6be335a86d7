"""What the statements that took most time say: slow ones, and indexes that their plans ask for. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.database.insight.judge_indexes import CREATE_LOCKS, OUTSIDE
from homeport.database.insight.model import (
    About,
    Finding,
    Mend,
    Query,
    Row,
    Severity,
    percent,
    without_values,
)
from homeport.kernel.units import format_duration

PLANNED = re.compile(r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*(select|with|values)\b", re.IGNORECASE | re.DOTALL)
READ_OR_WRITTEN = re.compile(
    r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*(select|with|values|insert|update|delete|merge)\b",
    re.IGNORECASE | re.DOTALL,
)
COMMENTS = re.compile(r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)+", re.DOTALL)
PARAMETER = re.compile(r"\$([0-9]{1,4})\b")
LONGEST_TEXT = 20000
"""Characters; a longer text is cut off and cannot be planned."""
MOST_COLUMNS = 3

_NAME = r'(?:[a-z_0-9]+|"(?:[^"]|"")+")'
_CONDITION = re.compile(
    rf"(?<![a-z0-9_\"])\((?:\(?(?:{_NAME}\.)?({_NAME})\)?(?:::[a-z ]+)?) (=|<|>|<=|>=) "
    r"(?:ANY \()?(\$[0-9]+|'|[0-9(-]|CURRENT|now\(\))"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that a plan asks for."""

    table: str
    columns: tuple[str, ...]
    """Quoted where SQL needs it; those compared by equality first."""
    rows: int

    @property
    def statement(self) -> str:
        return f"CREATE INDEX CONCURRENTLY ON {self.table} ({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class Trial:
    """A plan's cost without and with a hypothetical index."""

    before: float
    after: float


def parameters(text: str) -> int:
    """How many a normalised statement has."""
    return max((int(n) for n in PARAMETER.findall(text)), default=0)


def shown(text: str) -> str:
    """What reads or writes rows is kept without its values; of the rest, which may set a password, two words."""
    if not text or text.startswith("<") or READ_OR_WRITTEN.match(text):
        return text
    words = COMMENTS.sub("", text, count=1).split()
    return " ".join(without_values(word) for word in words[:2]) + " …"


def queries(rows: Sequence[Row]) -> tuple[Query, ...]:
    return tuple(
        Query(
            row["id"] or "",
            shown(row["text"] or ""),
            row["role"] or "",
            row["calls"],
            row["total"],
            row["total"] / max(row["calls"], 1),
            row["rows"],
            row["hits"] / (row["hits"] + row["reads"]) if row["hits"] + row["reads"] else None,
            row["share"] or 0.0,
        )
        for row in rows
    )


def why_no_plan(query: Query) -> str:
    """Why none can be asked for; "" where one can."""
    if query.text == "<insufficient privilege>":
        return "not permitted to see the statement"
    if not PLANNED.match(query.text):
        return "only statements that read are planned"
    if len(query.text) >= LONGEST_TEXT:
        return "the statement is too long"
    return ""


def slow_query(asked: Sequence[Query], about: About) -> Iterator[Finding]:
    for query in asked:
        if query.mean < about.limits.slow_mean or query.calls < about.limits.slow_calls:
            continue
        if not READ_OR_WRITTEN.match(query.text):
            continue
        scans = [
            f"{n['Relation Name']} from end to end" for n in nodes(query.plan) if n["Node Type"] == "Seq Scan"
        ]
        reads = f"; it reads {', '.join(dict.fromkeys(scans))}" if scans else ""
        text = " ".join(query.text.split())
        yield Finding(
            "slow-query",
            Severity.WARNING,
            f"query {query.id}",
            f"{format_duration(query.mean)} on average, {query.calls:,} calls, {percent(query.share)} of all time{reads}: "
            f"{text[:200]}",
            Mend(
                "",
                "nothing",
                True,
                "its plan says where the time goes; see missing-index for what would help",
            ),
            {
                "mean": query.mean,
                "calls": query.calls,
                "total": query.total,
                "share": query.share,
                "id": query.id,
            },
        )


def nodes(plan: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Every node of a plan as EXPLAIN (FORMAT JSON) gives it."""
    stack = [plan["Plan"]] if plan else []
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.get("Plans", ())))


def candidates(plan: Mapping[str, Any] | None, tables: Sequence[Row], about: About) -> tuple[Candidate, ...]:
    """Indexes for what a plan reads from end to end to keep a small part of it."""
    by_name = {(t["schema"], t["name"]): t for t in tables}
    found: list[Candidate] = []
    for node in nodes(plan):
        table = by_name.get((node.get("Schema"), node.get("Relation Name")))
        if node["Node Type"] != "Seq Scan" or table is None or table["rows"] < about.limits.large_rows:
            continue
        kept = node["Plan Rows"] * (3 if node.get("Parallel Aware") else 1)
        if kept > about.limits.selective * table["rows"]:
            continue
        columns = _columns(node.get("Filter", ""), table)
        if columns and unquoted(columns[0]) not in table["indexed"]:
            found.append(Candidate(table["table"], columns, table["rows"]))
    return tuple(dict.fromkeys(found))


def _columns(condition: str, table: Row) -> tuple[str, ...]:
    """Columns of a filter that an index could look up; none where a part of it is joined with OR."""
    if " OR " in condition:
        return ()
    equal: list[str] = []
    between: list[str] = []
    for name, operator, _ in _CONDITION.findall(condition):
        if unquoted(name) in table["columns"]:
            (equal if operator == "=" else between).append(name)
    return tuple(dict.fromkeys(equal + between[:1]))[:MOST_COLUMNS]


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def missing_index(
    wanted: Mapping[Candidate, Sequence[tuple[Query, Trial | None]]], about: About
) -> Iterator[Finding]:
    """``wanted``: which queries ask for an index; a trial where hypopg could make one."""
    for candidate, uses in wanted.items():
        uses = [(q, t) for q, t in uses if q.calls >= about.limits.slow_calls]
        if not uses or any(t is not None and t.after > t.before / 2 for _, t in uses):
            continue
        total = sum(q.total for q, _ in uses)
        slowest = max(uses, key=lambda u: u[0].mean)[0]
        trial = next((t for _, t in uses if t is not None), None)
        columns = ", ".join(candidate.columns)
        tried = (
            f"with a hypothetical one the cost falls from {trial.before:,.0f} to {trial.after:,.0f}"
            if trial
            else "not tried: hypopg is not installed in this database"
        )
        yield Finding(
            "missing-index",
            Severity.WARNING if slowest.mean >= about.limits.slow_mean else Severity.NOTICE,
            f"{candidate.table} ({columns})",
            f"queries of {format_duration(total)} in all read {candidate.table} ({candidate.rows:,} rows) from end to end "
            f"to find few by {columns}",
            Mend(candidate.statement, CREATE_LOCKS, True, f"{OUTSIDE}; {tried}"),
            {
                "queries": [q.id for q, _ in uses],
                "total": total,
                "rows": candidate.rows,
                "cost_before": trial.before if trial else None,
                "cost_after": trial.after if trial else None,
            },
        )
