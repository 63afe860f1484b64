"""nghttp2's `nghttp` and `h2load` (Debian package nghttp2-client), and curl, against our server."""

import re
from pathlib import Path

from txdagu.testing.outside import ForeignPeerTests
from txdagu.wire.framing import encode_frame

HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")


class Nghttp2Tests(ForeignPeerTests):
    def body(self, message: bytes) -> str:
        """A file with one message, framed."""
        path = Path("request.grpc").absolute()
        path.write_bytes(encode_frame(message))
        return str(path)

    async def load(self, calls: int, message: bytes, *options: str) -> None:
        """All calls of a load are answered with 200, and none fails."""
        said = await self.output(
            self.program("h2load"), "-n", str(calls), *options, "-d", self.body(message), *HEADERS,
            f"{self.url}/test.Echo/Echo",
        )  # fmt: skip
        self.assertIn(f"{calls} succeeded, 0 failed, 0 errored, 0 timeout", said)
        self.assertIn(f"status codes: {calls} 2xx", said)
        self.assertEqual(self.service.calls, calls)

    async def test_h2load(self) -> None:
        """Twenty connections with fifty calls at once each."""
        await self.load(2000, b"abc", "-c", "20", "-m", "50")

    async def test_h2load_many_streams(self) -> None:
        """Five hundred calls at once on one connection."""
        await self.load(1000, b"", "-c", "1", "-m", "500")

    async def test_h2load_large(self) -> None:
        """Messages larger than a stream's window, into the small windows of a client (1 KiB and 64 KiB)."""
        await self.load(20, bytes(300_000), "-c", "2", "-m", "5", "-w", "10", "-W", "16")

    async def test_nghttp(self) -> None:
        """One call, seen frame by frame: headers, data, trailers; nothing is reset and the end is orderly."""
        said = await self.output(
            self.program("nghttp"), "--verbose", "--no-verify-peer",
            "--data", self.body(b"abc"), *HEADERS, f"{self.url}/test.Echo/Echo",
        )  # fmt: skip
        received = re.findall(r"recv (\w+) frame", said)
        self.assertEqual([name for name in received if name in ("HEADERS", "DATA")], ["HEADERS", "DATA", "HEADERS"])
        self.assertIn(":status: 200", said)
        self.assertTrue("grpc-status: 0" in said, said[-1000:])
        self.assertFalse({"RST_STREAM", "GOAWAY"} & set(received))

    async def test_nghttp_padding_and_continuation(self) -> None:
        """Padded frames, and a header block larger than a frame."""
        said = await self.output(
            self.program("nghttp"), "--verbose", "--no-verify-peer", "--padding=200", "--continuation",
            "--data", self.body(b"abc"), *HEADERS, f"{self.url}/test.Echo/Echo",
        )  # fmt: skip
        (length,) = re.findall(r"send HEADERS frame <length=(\d+)", said)
        self.assertGreater(int(length), 16384)
        self.assertTrue("grpc-status: 0" in said, said[-1000:])

    async def test_nghttp_no_call(self) -> None:
        """A request of a browser's kind is refused in words."""
        said = await self.output(self.program("nghttp"), "--verbose", "--no-verify-peer", f"{self.url}/")
        self.assertIn(":status: 405", said)
        self.assertIn("grpc: a call must be sent with POST", said)

    async def test_curl(self) -> None:
        """Whoever tries the port by hand reads what it is."""
        said = await self.output(
            self.program("curl"), "--silent", "--insecure", "--http2-prior-knowledge", f"{self.url}/"
        )
        self.assertEqual(said, "grpc: a call must be sent with POST\n")
