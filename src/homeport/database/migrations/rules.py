"""What findings of the linter mean, and which a comment allows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeport.database.migrations.errors import UNSAFE
from homeport.database.migrations.model import Migration
from homeport.kernel.errors import HomeportError
from homeport.kernel.text import did_you_mean

BLOCKING = frozenset(
    {
        "adding-field-with-default",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "adding-serial-primary-key-field",
        "changing-column-type",
        "constraint-missing-not-valid",
        "disallowed-unique-constraint",
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
        "require-concurrent-partition-detach",
        "require-concurrent-reindex",
    }
)
"""Others wait for as long as the table is scanned or rewritten."""
INCOMPATIBLE = frozenset(
    {
        "adding-required-field",
        "ban-drop-column",
        "ban-drop-database",
        "ban-drop-extension",
        "ban-drop-function",
        "ban-drop-schema",
        "ban-drop-sequence",
        "ban-drop-table",
        "ban-drop-type",
        "ban-drop-view",
        "ban-set-schema",
        "ban-truncate-cascade",
        "renaming-column",
        "renaming-object",
        "renaming-table",
    }
)
"""The release that serves may still need what goes."""
OPT_IN = (
    "ban-drop-extension",
    "ban-drop-function",
    "ban-drop-schema",
    "ban-drop-sequence",
    "ban-drop-type",
    "ban-drop-view",
    "ban-set-schema",
    "renaming-object",
    "require-concurrent-partition-detach",
    "require-concurrent-reindex",
)
LEFT_OUT = (
    "ban-uncommitted-transaction",
    "prefer-robust-stmts",
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
    "transaction-nesting",
)
"""What Homeport sees to itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    version: str
    filename: str
    rule: str
    line: int
    """Of the file, from 1."""
    level: str
    """blocking, incompatible, or advice, which stops nothing."""
    sentence: str
    hint: str
    allowed: str = ""
    """Why it is allowed; "" where it is not."""

    @property
    def stops(self) -> bool:
        return self.level != "advice" and not self.allowed


def level(rule: str) -> str:
    if rule in BLOCKING:
        return "blocking"
    return "incompatible" if rule in INCOMPATIBLE else "advice"


def judge(migration: Migration, found: Sequence[tuple[str, int, str, str]]) -> tuple[Finding, ...]:
    """Findings as (rule, line, sentence, hint), with what the file's comments say of them.

    ``homeport:contract`` allows what is incompatible, for that is when it runs; never what blocks.
    """
    reasons = {a.rule: a.reason for a in migration.allowances}
    findings = []
    for rule, line, sentence, hint in found:
        allowed = reasons.get(rule, "")
        if not allowed and migration.contract and rule in INCOMPATIBLE:
            allowed = "it is a contract: it runs when no release needs the old shape any more"
        findings.append(
            Finding(migration.version, migration.filename, rule, line, level(rule), sentence, hint, allowed)
        )
    used = {f.rule for f in findings}
    for allowance in migration.allowances:
        if allowance.rule in used:
            continue
        known = BLOCKING | INCOMPATIBLE
        hint = "take the comment out"
        if allowance.rule not in known:
            hint = did_you_mean(allowance.rule, known)
        findings.append(
            Finding(
                migration.version,
                migration.filename,
                "unused-allow",
                allowance.line,
                "advice",
                f'"{allowance.rule}" is allowed and was not found',
                hint,
            )
        )
    return tuple(sorted(findings, key=lambda f: (f.line, f.rule)))


def refusal(findings: Sequence[Finding]) -> HomeportError | None:
    """The error for what is neither safe nor allowed, or None."""
    stopping = [f for f in findings if f.stops]
    if not stopping:
        return None
    names = sorted({f.filename for f in stopping})
    return UNSAFE.error(
        f"cannot migrate: {', '.join(names[:3])}{' and others' if len(names) > 3 else ''} would block others or "
        "break the release that serves",
        hint="mend it as said below, or write -- homeport:allow RULE because …",
        details=[
            f"{f.filename}:{f.line}: {f.rule} ({f.level}): {f.sentence} {f.hint}".rstrip() for f in stopping
        ],
    )
