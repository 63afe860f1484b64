"""What is to be said of a case that ran in both programs."""

from __future__ import annotations

import json

from txdagu.testing.differential.cases import Case
from txdagu.testing.differential.comparison import covered, differences, value_at
from txdagu.testing.differential.programs import Result


def verdict(case: Case, theirs: Result, ours: Result) -> str:
    """All that is wrong with a case, and what the program at fault said; empty if nothing is."""
    if missed := facts_missed(case, theirs):
        return "\n  ".join([f"Dagu, {case.name}: {case.trap}", *missed, theirs.messages])
    if found := remarks(case, theirs, ours):
        return "\n  ".join([f"{case.name}: {case.trap}", *found, ours.messages])
    return ""


def facts_missed(case: Case, theirs: Result) -> list[str]:
    """Where the released program does not do what the file says of it, one text for each value."""
    found = [f"it does not refuse it with {phrase!r}" for phrase in case.refused if not _refused(theirs, phrase)]
    for path, wanted in case.expected.items():
        if (value := value_at(theirs.observed, path)) != wanted:
            found.append(f"{path} is {_shown(value)}, not {_shown(wanted)}")
    return found


def remarks(case: Case, theirs: Result, ours: Result) -> list[str]:
    """Where we are not as we should be, one text for each value."""
    found = [f"it is not refused with {phrase!r}" for phrase in case.refused if not _refused(ours, phrase)]
    seen = set()
    for path, dagu, txdagu in differences(theirs.observed, ours.observed):
        allowed = covered(path, case.differs)
        if not allowed:
            found.append(f"{path}\n    Dagu:   {_shown(dagu)}\n    txdagu: {_shown(txdagu)}")
        seen.add(allowed)
    return found + [f"{path} does not differ, though the file says so" for path in case.differs if path not in seen]


def _refused(result: Result, phrase: str) -> bool:
    return not result.observed["valid"] and phrase in result.messages


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:2000]
