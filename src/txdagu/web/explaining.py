"""Why runs are where they are, for programs."""

from __future__ import annotations

from txdagu.execution.explaining.account import account
from txdagu.execution.explaining.document import explain_document, timeline_document
from txdagu.execution.explaining.situation import Situations
from txdagu.model.run import RunRef
from txdagu.web.documents import Document


class Explanations:
    """Documents about single runs. `child` names the run below `root` that is meant; empty for the root run itself."""

    def __init__(self, situations: Situations) -> None:
        self._situations = situations

    async def explain(self, root: RunRef, child: str) -> Document:
        """``GET …/explain``. Raises `NotFoundError` for a run that nobody knows."""
        found = await self._situations.of(root, child)
        return explain_document(found, account(found))

    async def timeline(self, root: RunRef, child: str) -> Document:
        """``GET …/timeline``. Raises `NotFoundError` for a run that nobody knows."""
        return timeline_document(await self._situations.of(root, child))
