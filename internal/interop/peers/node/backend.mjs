// A backend made with Node's ws. Arguments: whether it takes permessage-deflate ("deflate" or
// "plain"), a file with the body of its refusals, and, for one that speaks TLS, the files of its
// certificate and its key.
//
// The query's link names the link. /refuse answers 401; every other path opens a WebSocket, whose
// subprotocol is the second that is offered.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { WebSocketServer } from "ws";
import { fields, follow, obey, tell } from "./link.mjs";

const deflate = process.argv[2] === "deflate";
const refusal = readFileSync(process.argv[3]);
const [cert, key] = process.argv.slice(4, 6).map((file) => readFileSync(file));

const websockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: deflate && { threshold: 0 },
  handleProtocols: (offered) => [...offered][1] ?? false,
});
const agreed = /^Sec-WebSocket-Extensions: (.*)$/;
websockets.on("headers", (headers, request) => {
  request.extensions = headers.map((line) => agreed.exec(line)?.[1]).find(Boolean) ?? "";
  headers.push("X-Answered-By: ws", "Set-Cookie: seen=1; Path=/");
});

const http = cert ? createSecureServer({ cert, key }) : createServer();
http.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://backend");
  const link = url.searchParams.get("link");
  if (url.pathname.endsWith("/refuse")) {
    socket.write(
      "HTTP/1.1 401 Unauthorized\r\n" +
        "Connection: close\r\n" +
        "Content-Type: text/plain\r\n" +
        'WWW-Authenticate: Basic realm="interop"\r\n' +
        `Content-Length: ${refusal.length}\r\n\r\n`,
    );
    socket.end(refusal);
    return;
  }
  websockets.handleUpgrade(request, socket, head, (ws) => {
    ws.on("error", (err) => process.stderr.write(`link ${link}: ${err.message}\n`));
    tell(link, "open", {
      target: request.url,
      headers: fields(request.rawHeaders),
      protocol: ws.protocol,
      extensions: request.extensions,
    });
    follow(link, ws);
  });
});
http.listen(0, "127.0.0.1", () => tell("", "ready", { port: http.address().port }));

obey({});
