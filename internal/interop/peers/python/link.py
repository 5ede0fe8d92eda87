"""What client.py and backend.py have in common: commands come as JSON lines on standard input,
events go as JSON lines to standard output, and both name the link that they are about."""

import asyncio
import hashlib
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

links = {}


def tell(link, event, **fields):
    print(json.dumps({"link": link, "event": event, **fields}), flush=True)


async def commands():
    """Yields commands until standard input ends."""
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


class Link:
    """A WebSocket: it tells all that happens, and does what it is told in the order it is told."""

    def __init__(self, name, ws):
        self.name, self.ws = name, ws
        self.orders = asyncio.Queue()
        links[name] = self

    async def follow(self):
        work = asyncio.create_task(self.work())
        try:
            async for message in self.ws:
                text = isinstance(message, str)
                data = message.encode() if text else message
                digest = hashlib.sha256(data).hexdigest()
                tell(self.name, "message", kind="text" if text else "binary", size=len(data), sha256=digest)
        except ConnectionClosed:
            pass
        await self.ws.wait_closed()
        # Not cancelled: websockets' close() swallows that.
        self.orders.put_nowait(None)
        await work
        del links[self.name]
        tell(self.name, "closed", code=self.ws.close_code, reason=self.ws.close_reason or "")

    async def work(self):
        while order := await self.orders.get():
            try:
                await getattr(self, order["op"])(order)
            except Exception as err:
                tell(self.name, "failed", error=f"{order['op']}: {err!r}")

    async def send(self, order):
        """Sends a file as one message of so many frames; ping goes between two of them."""
        with open(order["file"], "rb") as file:
            data = file.read()
        count = order.get("frames", 1)
        step = -(-len(data) // count)
        if order["kind"] == "text":
            data = data.decode()
        if count == 1:
            await self.ws.send(data)
            return

        async def frames():
            for i in range(count):
                if i == 1 and "ping" in order:
                    await self.ping({"data": order["ping"]})
                yield data[i * step : (i + 1) * step]

        await self.ws.send(frames())

    async def ping(self, order):
        pong = await self.ws.ping(order["data"])
        # The pong of this very payload.
        pong.add_done_callback(lambda p: p.cancelled() or p.exception() or tell(self.name, "pong", data=order["data"]))

    async def close(self, order):
        if "code" in order:
            await self.ws.close(order["code"], order.get("reason", ""))
        else:
            # close() knows no Close frame without a code.
            await self.ws.write_close_frame(Close(1005, ""), b"")

    async def vanish(self, order):
        """Ends the connection without a word."""
        self.ws.transport.abort()
