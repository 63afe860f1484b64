// Node's own HTTP/2 client (nghttp2's library) calls a server: node client.mjs URL CASE. Says "ok" or what went wrong.
import http2 from "node:http2";

const [url, name] = process.argv.slice(2);
const session = http2.connect(url);
const goaways = [];
session.on("goaway", (code) => goaways.push(code));
session.on("error", (error) => fail(`session: ${error}`));

function fail(text) {
  console.log(text);
  process.exit(1);
}

function check(condition, text) {
  if (!condition) fail(text);
}

function framed(message) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function start(method, headers = {}) {
  return session.request({
    ":method": "POST",
    ":path": `/test.Echo/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
}

function finish(stream) {
  return new Promise((resolve, reject) => {
    const answer = { headers: {}, trailers: {}, chunks: [] };
    stream.on("response", (headers) => (answer.headers = headers));
    stream.on("trailers", (trailers) => (answer.trailers = trailers));
    stream.on("data", (chunk) => answer.chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => resolve({ ...answer, body: Buffer.concat(answer.chunks), code: stream.rstCode }));
  });
}

async function call(method, message, headers) {
  const stream = start(method, headers);
  stream.end(framed(message));
  return finish(stream);
}

const cases = {
  async unary() {
    for (const size of [0, 1, 16379, 16384, 70000, 3000000]) {
      const message = Buffer.alloc(size, "x");
      const answer = await call("Echo", message);
      check(answer.headers[":status"] === 200, `status ${answer.headers[":status"]}`);
      check(answer.body.equals(framed(message)), `${size} bytes came back as ${answer.body.length}`);
      check(answer.trailers["grpc-status"] === "0", `grpc-status ${answer.trailers["grpc-status"]}`);
      check(answer.code === 0, `reset with ${answer.code}`);
    }
  },
  async parallel() {
    const calls = [];
    for (let number = 0; number < 300; number++) calls.push(call("Echo", Buffer.from(`call ${number}`)));
    const answers = await Promise.all(calls);
    answers.forEach((answer, number) => check(answer.body.equals(framed(Buffer.from(`call ${number}`))), `call ${number}`));
  },
  async trailersOnly() {
    const answer = await call("Fail", Buffer.alloc(0));
    check(answer.headers["grpc-status"] === "5", JSON.stringify(answer.headers));
    check(decodeURIComponent(answer.headers["grpc-message"]) === "no such thing: größer 100 %", answer.headers["grpc-message"]);
  },
  async streaming() {
    const stream = start("Chat");
    const finished = finish(stream);
    for (let number = 0; number < 50; number++) stream.write(framed(Buffer.alloc(20000, "a")));
    stream.end();
    const answer = await finished;
    check(answer.body.length === 50 * 20005, `${answer.body.length} bytes`);
    check(answer.body[20004] === "A".charCodeAt(0), "not in capitals");
    check(answer.trailers["grpc-status"] === "0", JSON.stringify(answer.trailers));
  },
  async slowReader() {
    const stream = start("Count");
    stream.end(framed(Buffer.from("900")));
    stream.pause();
    await new Promise((resolve) => stream.once("response", resolve));
    const other = await call("Echo", Buffer.from("meanwhile"));
    check(other.trailers["grpc-status"] === "0", "the other call was held up");
    stream.resume();
    const answer = await finish(stream);
    check(answer.trailers["grpc-status"] === "0", JSON.stringify(answer.trailers));
  },
  async cancel() {
    const stream = start("Park");
    stream.write(framed(Buffer.alloc(0)));
    stream.end();
    stream.on("error", () => {});
    const echo = await call("Echo", Buffer.from("x")); // the parked call has arrived, as it was sent before
    check(echo.trailers["grpc-status"] === "0", "echo");
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => stream.once("close", resolve));
    const again = await call("Echo", Buffer.from("y"));
    check(again.trailers["grpc-status"] === "0", "echo after the cancelled call");
  },
  async ping() {
    await call("Echo", Buffer.alloc(0)); // node cancels pings on a session that is not connected yet
    const payload = Buffer.from("12345678");
    await new Promise((resolve, reject) => {
      session.ping(payload, (error, _duration, answer) => (error || !answer.equals(payload) ? reject(error) : resolve()));
    });
  },
};

await cases[name]().catch((error) => fail(String(error.stack ?? error)));
check(goaways.length === 0, `GOAWAY ${goaways}`);
session.close(() => console.log("ok"));
