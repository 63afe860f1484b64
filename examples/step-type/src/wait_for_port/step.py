"""What a step of type ``wait-for-port`` does."""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState


async def run(context: StepContext) -> StepEnd:
    """Connect to the ``host:port`` of ``command`` until that works; `DaguError` when the time is over."""
    if not context.step.commands:
        raise DaguError("a wait-for-port step needs host:port as command")
    host, _, port = (await context.evaluator.command(context.step.commands[0].text)).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # of an IPv6 address
    if not host or not port.isdecimal() or int(port) > 65535:
        raise DaguError("the command of a wait-for-port step is host:port, for example localhost:5432")
    config = await context.config()
    timeout, interval = _seconds(config.text("timeout", "0")), _seconds(config.text("interval", "1"))
    config.check()
    clock = context.tools.clock
    begun = clock.seconds()
    endpoint = HostnameEndpoint(clock, host, int(port), timeout=5)
    while True:
        try:
            protocol = await context.stop.race(endpoint.connect(Factory.forProtocol(Protocol)))
        except (ConnectError, DNSLookupError) as error:
            reason = str(error)
        else:
            protocol.transport.loseConnection()
            await context.print(f"{host}:{port} answers after {clock.seconds() - begun:.1f} s\n")
            return StepEnd(NodeState.SUCCEEDED)
        if timeout and clock.seconds() - begun >= timeout:
            raise DaguError(f"nothing listens on {host}:{port} after {timeout:g} s: {reason}")
        await context.stop.race(deferLater(clock, interval))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise DaguError(f"{text!r} is not a number of seconds")
    return seconds
