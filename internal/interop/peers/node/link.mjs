// What client.mjs and backend.mjs have in common: commands come as JSON lines on standard input,
// events go as JSON lines to standard output, and both name the link that they are about.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const links = new Map();

export function tell(link, event, fields = {}) {
  process.stdout.write(JSON.stringify({ link, event, ...fields }) + "\n");
}

// obey runs until standard input ends, and the process with it.
export function obey(own) {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command = JSON.parse(line);
    const { link, op } = command;
    try {
      if (own[op]) own[op](link, command);
      else operations[op](links.get(link), link, command);
    } catch (err) {
      tell(link, "failed", { error: `${op}: ${err.stack}` });
    }
  });
  lines.on("close", () => process.exit(0));
}

// follow tells all that happens on a WebSocket.
export function follow(link, ws) {
  links.set(link, ws);
  ws.on("message", (data, binary) => {
    tell(link, "message", {
      kind: binary ? "binary" : "text",
      size: data.length,
      sha256: createHash("sha256").update(data).digest("hex"),
    });
  });
  ws.on("pong", (data) => tell(link, "pong", { data: data.toString() }));
  ws.on("close", (code, reason) => {
    links.delete(link);
    tell(link, "closed", { code, reason: reason.toString() });
  });
}

const operations = {
  // send sends a file as one message of so many frames; ping goes between two of them.
  send(ws, link, { kind, file, frames = 1, ping }) {
    const data = readFileSync(file);
    const step = Math.ceil(data.length / frames);
    for (let i = 0; i < frames; i++) {
      const fin = i === frames - 1;
      const options = { binary: kind === "binary", fin };
      ws.send(data.subarray(i * step, fin ? data.length : (i + 1) * step), options, (err) => {
        if (err) tell(link, "failed", { error: `send: ${err.message}` });
      });
      if (i === 0 && ping !== undefined) ws.ping(ping);
    }
  },
  ping(ws, link, { data }) {
    ws.ping(data);
  },
  // Without a code the Close frame is empty.
  close(ws, link, { code, reason }) {
    if (code === undefined) ws.close();
    else ws.close(code, reason);
  },
  // vanish ends the connection without a word.
  vanish(ws) {
    ws.terminate();
  },
};

export function fields(rawHeaders) {
  const pairs = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i], rawHeaders[i + 1]]);
  return pairs;
}
