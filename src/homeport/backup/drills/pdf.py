"""A drill's report on paper. In a child: reportlab costs memory that the control plane has no use for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Any

from homeport.backup.drills import report as reports
from homeport.backup.drills.model import Report
from homeport.kernel.units import format_duration

LONGEST = 2000
"""Characters of one cell: what a page holds."""
GREY = "#667085"
GOOD = "#067647"
BAD = "#b42318"


def pdf(report: Report, by: str = "Homeport") -> bytes:
    """The same content gives the same bytes. ``by``: which Homeport, and on what machine."""
    from reportlab.lib import pagesizes, styles
    from reportlab.lib.units import mm
    from reportlab.platypus import ListFlowable, Paragraph, SimpleDocTemplate, Spacer

    sheet = styles.getSampleStyleSheet()
    body, head, top = sheet["BodyText"], sheet["Heading2"], sheet["Title"]
    top.alignment = 0

    def text(words: str, style: Any = body) -> Any:
        return Paragraph(_safe(words), style)

    colour = GOOD if report.passed else BAD
    story: list[Any] = [
        Paragraph(f'<font color="{colour}">{_safe(reports.title(report))}</font>', top),
        text(reports.about(report)),
        text(f"Written by {by}."),
        Spacer(1, 4 * mm),
        _table([("", "measured", "target", ""), *reports.outcome(report)], (70, 40, 30, 30), text),
    ]
    if report.wrong:
        story += [
            text("What went wrong", head),
            ListFlowable([text(w) for w in report.wrong], bulletType="bullet"),
        ]
    rows = [("began (UTC)", "phase", "took", "", "")]
    rows += [
        (reports.clock(x), x.phase, format_duration(x.seconds), x.state, "; ".join(x.told) or x.error)
        for x in report.timeline
    ]
    story += [text("Timeline", head), _table(rows, (22, 28, 18, 18, 84), text)]
    if report.figures:
        story += [text("Figures", head), _table(list(reports.figures(report)), (85, 85), text)]
    todo = report.todo or (f"{reports.nothing(report)}.",)
    story += [
        text("What people have to do", head),
        ListFlowable([text(t) for t in todo], bulletType="bullet"),
    ]
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=pagesizes.A4, title=reports.title(report), author=_plain(by), invariant=1,
        leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm, bottomMargin=18 * mm,
    )  # fmt: skip
    document.build(story)
    return out.getvalue()


def _table(rows: Sequence[tuple[str, ...]], widths: tuple[int, ...], text: Any) -> Any:
    """``widths`` in millimetres."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.units import mm
    from reportlab.platypus import Table, TableStyle

    made = Table(
        [[text(cell) for cell in row] for row in rows], colWidths=[w * mm for w in widths], splitInRow=1
    )
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.25, HexColor(GREY)),
                ("LEFTPADDING", (0, 0), (0, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 1),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return made


def _safe(words: str) -> str:
    """The built-in fonts know Latin-1; markup of reportlab's own is none here."""
    return escape(_plain(words))


def _plain(words: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in words)[:LONGEST]
    return plain.encode("latin-1", "replace").decode("latin-1")
