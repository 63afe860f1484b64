"""Why there is no connection, in words."""

from __future__ import annotations

from twisted.internet import error
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txdagu.grpc.connection_errors import describe_failure
from txdagu.grpc.tls_failures import TlsError, Trouble


class Words(SynchronousTestCase):
    """One line for each."""

    def test_words(self) -> None:
        """Each kind of trouble can be told from the others, and the system's own words stay."""
        for reason, words in (
            (error.ConnectionRefusedError(111, "Connection refused"), "Connection was refused by other side: 111"),
            (error.NoRouteError(101, "Network is unreachable"), "Network is unreachable"),
            (error.DNSLookupError("no results for hostname lookup: x"), "DNS lookup failed: no results for hostname"),
            (error.TimeoutError(), "the address does not answer"),
            (error.TCPTimedOutError(110, "Connection timed out"), "the address does not answer (the system gave up)"),
            (error.ConnectionDone(), "the other side closed it"),
            (error.ConnectionLost(), "it broke off, as when the other process dies"),
            (error.ConnectionAborted(), "it was cut from this side"),
            (TlsError(Trouble.OTHER, "the server closed the connection."), "the server closed the connection"),
            (FileNotFoundError("ca.pem is missing."), "ca.pem is missing"),
            (ValueError(), "ValueError"),
        ):
            told = describe_failure(Failure(reason))
            self.assertTrue(told.startswith(words) or words in told, f"{told!r} does not say {words!r}")
            self.assertFalse(told.endswith("."))
