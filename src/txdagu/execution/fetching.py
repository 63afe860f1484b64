"""Documents that a DAG names by URL."""

from __future__ import annotations

from typing import Any

from txdagu.model.errors import UnavailableError

SECONDS = 10.0


async def fetch(url: str, largest: int, reactor: Any) -> bytes:
    """The document. Raises `UnavailableError` if nobody answers in time, with another status than 200, or with too much."""
    import treq  # takes a while to load, and few DAGs need it
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure
    from twisted.web.client import ResponseFailed

    parts: list[bytes] = []
    size = 0

    def collect(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > largest:
            raise UnavailableError(f"{url} has more than {largest} bytes")
        parts.append(data)

    try:
        response = await treq.get(url, timeout=SECONDS, reactor=reactor, persistent=False, unbuffered=True)
        if response.code != 200:
            await treq.collect(response, lambda _: None).addTimeout(SECONDS, reactor)
            raise UnavailableError(f"{url} answered {response.code}, not 200")
        await treq.collect(response, collect).addTimeout(SECONDS, reactor)
    except UnavailableError:
        raise
    except (ResponseFailed, ConnectionDone) as error:
        reasons = getattr(error, "reasons", None)
        cause = reasons[0].getErrorMessage() if reasons else str(error)
        raise UnavailableError(f"{url} cannot be fetched: {cause}") from error
    except Exception as error:
        raise UnavailableError(f"{url} cannot be fetched: {Failure().getErrorMessage()}") from error
    return b"".join(parts)
