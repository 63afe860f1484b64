"""Findings on the terminal, each as soon as it is made, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from txdagu.cli.output import harmless
from txdagu.model.findings import Examination, Finding, Mark

MARKS = {Mark.OK: ("✔", "green"), Mark.WARNING: ("!", "yellow"), Mark.FAILURE: ("✘", "red")}
LABEL_WIDTH = 18


def show_subject(console: Console, subject: str, *, first: bool) -> None:
    """A heading; all but the first have an empty line before them."""
    if not first:
        console.print()
    _print(console, Text(harmless(subject[:1].upper() + subject[1:]), style="bold"))


def show(console: Console, finding: Finding) -> None:
    """
    One finding: mark, what was looked at, the sentence; and under it what to do, if anything.

    On a terminal long sentences are wrapped at the terminal's width; elsewhere each stays one line, as programs want it.
    """
    mark, colour = MARKS[finding.mark]
    head = Text.assemble("  ", (mark, colour), " ", (f"{finding.check:<{LABEL_WIDTH}} ", "dim"))
    indent = " " * len(head)
    for number, line in enumerate(_wrapped(console, harmless(finding.text), len(indent))):
        _print(console, Text.assemble(indent if number else head, line))
    for number, line in enumerate(_wrapped(console, harmless(finding.advice), len(indent) + 2)):
        _print(console, Text.assemble(indent, "  " if number else "→ ", line, style=colour))


def _wrapped(console: Console, text: str, indent: int) -> list[str]:
    if not console.is_terminal:
        return [text] if text else []
    width = max(console.width - indent, 20)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def summary(examinations: Sequence[Examination]) -> str:
    """How many findings there are of each kind: ``23 ok, 1 warning, no failure``."""
    ok, warnings, failures = (sum(one.count(mark) for one in examinations) for mark in Mark)
    return f"{ok} ok, {_count(warnings, 'warning')}, {_count(failures, 'failure')}"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number in (0, 1) else 's'}"


def as_json(examinations: Sequence[Examination]) -> str:
    """One document: ``failed``, and ``examinations`` each with ``subject``, ``failed`` and ``findings``."""
    return json.dumps(
        {
            "failed": any(one.failed for one in examinations),
            "examinations": [
                {
                    "subject": one.subject,
                    "failed": one.failed,
                    "findings": [_document(finding) for finding in one.findings],
                }
                for one in examinations
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def _document(finding: Finding) -> dict[str, object]:
    document: dict[str, object] = {"check": finding.check, "mark": finding.mark.value, "text": finding.text}
    if finding.advice:
        document["advice"] = finding.advice
    if finding.figures:
        document["figures"] = {_camel(name): value for name, value in finding.figures.items()}
    return document


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
