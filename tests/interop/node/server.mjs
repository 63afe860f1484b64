// Node's own HTTP/2 server (nghttp2's library) as a gRPC server of plain bytes. Says its port, and ends when told on stdin.
import http2 from "node:http2";

const server = http2.createServer();
const sessions = new Set();
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
  session.on("error", () => {});
});

function answer(stream, status, body) {
  stream.respond({ ":status": 200, "content-type": "application/grpc", early: "yes" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(status), late: "yes" }));
  stream.end(body);
}

const methods = {
  Echo: (stream, body) => answer(stream, 0, body),
  Fail: (stream) =>
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": 5, "grpc-message": "no%20such%20thing" }, { endStream: true }),
  Crash: (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
  Missing: (stream) => {
    stream.respond({ ":status": 503, "content-type": "text/html" });
    stream.end("<p>busy</p>");
  },
  Park: (stream) => {
    stream.additionalHeaders({ ":status": 103, link: "</early>" });
    for (const session of sessions) session.goaway(0); // graceful: this call is still answered
    setImmediate(() => answer(stream, 0, Buffer.from([0, 0, 0, 0, 0])));
  },
};

server.on("stream", (stream, headers) => {
  const chunks = [];
  stream.on("error", () => {});
  stream.on("data", (chunk) => chunks.push(chunk));
  stream.on("end", () => methods[headers[":path"].split("/").pop()](stream, Buffer.concat(chunks)));
});
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
