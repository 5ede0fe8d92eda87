"""A backend made with Python's websockets. Arguments: whether it takes permessage-deflate ("deflate"
or "plain"), a file with the body of its refusals, and, for one that speaks TLS, the files of its
certificate and its key.

The query's link names the link. /refuse answers 401; every other path opens a WebSocket, whose
subprotocol is the second that is offered."""

import asyncio
import ssl
import sys
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.legacy.server import WebSocketServerProtocol, serve

from link import Link, commands, links, tell

deflate = sys.argv[1] == "deflate"
with open(sys.argv[2], "rb") as file:
    refusal = file.read()
secure = None
if len(sys.argv) > 3:
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(sys.argv[3], sys.argv[4])


class Backend(WebSocketServerProtocol):
    async def process_request(self, path, headers):
        if urlsplit(path).path.endswith("/refuse"):
            fields = {"Content-Type": "text/plain", "WWW-Authenticate": 'Basic realm="interop"'}
            return HTTPStatus.UNAUTHORIZED, fields, refusal

    def select_subprotocol(self, offered, available):
        return offered[1] if len(offered) > 1 else None


async def accepted(ws):
    link = Link(parse_qs(urlsplit(ws.path).query)["link"][0], ws)
    tell(
        link.name,
        "open",
        target=ws.path,
        headers=list(ws.request_headers.raw_items()),
        protocol=ws.subprotocol or "",
        extensions=ws.response_headers.get("Sec-WebSocket-Extensions", ""),
    )
    await link.follow()


async def main():
    server = await serve(
        accepted,
        "127.0.0.1",
        0,
        create_protocol=Backend,
        ssl=secure,
        compression="deflate" if deflate else None,
        extra_headers=[("X-Answered-By", "websockets"), ("Set-Cookie", "seen=1; Path=/")],
        subprotocols=["any"],
        max_size=None,
        ping_interval=None,
    )
    tell("", "ready", port=server.sockets[0].getsockname()[1])
    async for command in commands():
        links[command["link"]].orders.put_nowait(command)
    # Standard input has ended, and all ends with it.


asyncio.run(main())
