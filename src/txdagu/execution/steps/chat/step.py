"""Steps of type ``chat``."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from txdagu.execution.conversations import continued
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.chat.events import EventStream
from txdagu.execution.steps.chat.exchange import CutShortError, Exchange, read_whole
from txdagu.execution.steps.chat.pieces import Piece, UnusableAnswerError
from txdagu.execution.steps.chat.providers import DIALECTS, Dialect
from txdagu.execution.steps.chat.settings import ChatSettings, read_settings
from txdagu.execution.steps.context import StepContext
from txdagu.model.chat import Answered, ChatMessage
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState

LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer: it is kept for the steps that go on with the conversation."""


async def run_chat_step(context: StepContext) -> StepEnd:
    """
    Ask the model, print its answer, and keep the conversation for the steps that depend on this one.

    What those that this one depends on have said goes before the step's own messages.
    """
    step = context.step
    settings = await read_settings(step.llm or context.dag.llm, context.evaluator)
    own = [ChatMessage("system", settings.system)] if settings.system else []
    own += [
        ChatMessage(message["role"], await context.evaluator.field(message["content"])) for message in step.messages
    ]
    before = await context.stop.race(context.conversations.before(step))
    messages = continued(before, own)
    answer = await context.stop.race(_Talk(context, settings).ask(messages))
    await context.conversations.keep(step, (*messages, answer))
    return StepEnd(NodeState.SUCCEEDED)


class _Talk:
    """One question and its answer, printed as it comes."""

    def __init__(self, context: StepContext, settings: ChatSettings) -> None:
        self._context = context
        self._settings = settings
        self._dialect: Dialect = DIALECTS[settings.provider]
        self._said: list[str] = []
        self._size = 0
        self._thought = False
        self._counts = Piece()

    async def ask(self, messages: tuple[ChatMessage, ...]) -> ChatMessage:
        """The model's answer. Raises `DaguError`; what came of the answer has been printed then."""
        settings, clock = self._settings, self._context.tools.clock
        what = "chat stream" if settings.stream else "chat"

        def pause(seconds: float) -> Deferred[None]:
            return deferLater(clock, seconds)

        try:
            exchange = Exchange(clock, settings, pause, self._context.print_error)
            response = await exchange.ask(self._dialect.request(settings, messages))
        except DaguError as error:
            raise DaguError(f"{what} request failed: {error}") from error
        try:
            if settings.stream:
                await self._stream(response)
            else:
                await self._whole(response)
        except (UnusableAnswerError, CutShortError) as error:
            how = "error" if settings.stream else "request failed"
            raise DaguError(f"{what} {how}: {settings.provider}: {settings.shown(str(error))}") from error
        await self._context.print("\n")
        counts = self._counts
        answered = Answered(
            settings.provider,
            settings.model,
            counts.prompt_tokens,
            counts.completion_tokens,
            counts.total_tokens or counts.prompt_tokens + counts.completion_tokens,
        )
        return ChatMessage("assistant", "".join(self._said), answered)

    async def _whole(self, response: object) -> None:
        body = bytearray()

        async def collect(data: bytes) -> None:
            body.extend(data)
            self._grow(len(data))

        await read_whole(response, collect)
        self._size = 0
        await self._context.print(self._take(self._dialect.answer(bytes(body))))

    async def _stream(self, response: object) -> None:
        events = EventStream()
        ended = False

        async def take(data: bytes) -> None:
            nonlocal ended
            printed: list[str] = []
            try:
                for event in events.feed(data):
                    piece = self._dialect.event(event)
                    ended = ended or piece.last
                    printed.append(self._take(piece))
            finally:
                if any(printed):
                    await self._context.print("".join(printed))

        try:
            await read_whole(response, take)
        except CutShortError:
            if not ended:
                raise

    def _take(self, piece: Piece) -> str:
        """Note a piece; what is printed of it."""
        counts = self._counts
        self._counts = Piece(
            prompt_tokens=piece.prompt_tokens or counts.prompt_tokens,
            completion_tokens=piece.completion_tokens or counts.completion_tokens,
            total_tokens=piece.total_tokens or counts.total_tokens,
        )
        self._grow(len(piece.text))
        self._said.append(piece.text)
        thinking = self._settings.thinking
        if thinking is None or not thinking.in_output:
            return piece.text
        between = "\n\n" if piece.text and (self._thought or piece.thoughts) else ""
        self._thought = not piece.text and (self._thought or bool(piece.thoughts))
        return piece.thoughts + between + piece.text

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > LONGEST_ANSWER:
            raise UnusableAnswerError(f"the answer is longer than {LONGEST_ANSWER} bytes")
