// A client made with Node's ws. Arguments: the file of the certificate to trust.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { fields, follow, obey, tell } from "./link.mjs";

const ca = readFileSync(process.argv[2]);

obey({
  open(link, { url, protocols = [], headers = {}, deflate = false }) {
    const ws = new WebSocket(url, protocols, {
      ca,
      headers,
      perMessageDeflate: deflate && { threshold: 0 },
    });
    let answer;
    ws.on("upgrade", (response) => (answer = response));
    ws.on("open", () => {
      tell(link, "open", {
        protocol: ws.protocol,
        extensions: answer.headers["sec-websocket-extensions"] ?? "",
        headers: fields(answer.rawHeaders),
      });
    });
    ws.on("error", (err) => tell(link, "failed", { error: err.message }));
    ws.on("unexpected-response", (request, response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => {
        const body = Buffer.concat(pieces);
        tell(link, "refused", {
          status: response.statusCode,
          headers: fields(response.rawHeaders),
          size: body.length,
          sha256: createHash("sha256").update(body).digest("hex"),
        });
      });
      response.on("error", (err) => tell(link, "failed", { error: err.message }));
    });
    follow(link, ws);
  },
});

tell("", "ready");
