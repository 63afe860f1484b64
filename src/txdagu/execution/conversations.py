"""What chat steps of a run have said and heard, for the steps that depend on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from txdagu.execution.evaluation.masking import Masker
from txdagu.model.chat import ChatMessage
from txdagu.model.dag import Step
from txdagu.store.interfaces import IRunSink

Messages = tuple[ChatMessage, ...]


def continued(before: Iterable[ChatMessage], own: Iterable[ChatMessage]) -> Messages:
    """
    A step's own messages after what was said before it, with at most one from the system, in front.

    That is the last of its own; where it has none, the first of those before it.
    """
    before, own = tuple(before), tuple(own)
    system = _system(own)[-1:] or _system(before)[:1]
    return (*system, *(message for message in (*before, *own) if message.role != "system"))


def _system(messages: Messages) -> Messages:
    return tuple(message for message in messages if message.role == "system")


class Conversations:
    """
    The conversations of one run, by step.

    They are written to the store, with secrets masked, so that people can read them and an attempt that retries the run can go
    on with them; what was said in this attempt is passed on as it was. The steps of a run that is a single step of another go on
    with what that has `heard`.
    """

    def __init__(self, sink: IRunSink, masker: Masker, heard: Messages = ()) -> None:
        self._sink = sink
        self._masker = masker
        self._heard = heard
        self._said: dict[str, Messages] = {}

    async def before(self, step: Step) -> Messages:
        """What the steps that this one depends on have said, one after the other; nothing of steps that do not chat."""
        found = list(self._heard)
        for name in step.depends:
            found += self._said[name] if name in self._said else await self._sink.read_messages(name)
        return tuple(found)

    async def keep(self, step: Step, messages: Messages) -> None:
        """Remember a whole conversation of a step, its answer included."""
        self._said[step.name] = messages
        hidden = tuple(replace(message, content=self._masker.text(message.content)) for message in messages)
        await self._sink.write_messages(step.name, hidden)
