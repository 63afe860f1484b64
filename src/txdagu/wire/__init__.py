"""
gRPC over HTTP/2 without any I/O: bytes go in, events come out, and back.

A connection object (`server.ServerConnection`, `client.ClientConnection`) is fed what a transport received and returns
events (`events`): a call began, a message is complete, a call ended. Its methods queue replies; `outgoing()` hands out the
bytes to write. Nothing here knows sockets, clocks or Twisted, so every case can be tested by handing over bytes.

From the outside in: `http2` tames the h2 library (one frame at a time, counted streams, GOAWAY that does not end
calls), `short_path` spares ordinary frames its detours, `header_blocks` codes repeated headers once; `connection` does
what both roles share, above all windows: a stream's window is given back only as its messages are consumed, and what is
sent waits for the peer's; `sending` queues it; `policing` counts what a peer does too often. `framing`, `compression`,
`metadata`, `timeout` and `outcome` are the small codecs of the gRPC protocol (PROTOCOL-HTTP2.md of the gRPC project),
`request` reads a call's headers with them, `method` and `status` are its words.
"""
