"""A client made with Python's websockets. Arguments: the file of the certificate to trust."""

import asyncio
import hashlib
import ssl
import sys
from urllib.parse import urlsplit

from websockets import client
from websockets.legacy.client import connect
from websockets.uri import parse_uri

from link import Link, commands, links, tell

trust = ssl.create_default_context(cafile=sys.argv[1])

# websockets 10 calls the protocol without I/O ClientConnection, later versions ClientProtocol.
Protocol = getattr(client, "ClientProtocol", None) or client.ClientConnection


async def open_link(command):
    url = command["url"]
    ws = await connect(
        url,
        ssl=trust if urlsplit(url).scheme == "wss" else None,
        subprotocols=command.get("protocols") or None,
        extra_headers=command.get("headers") or {},
        compression="deflate" if command.get("deflate") else None,
        max_size=None,
        ping_interval=None,
        user_agent_header=None,
    )
    link = Link(command["link"], ws)
    tell(
        link.name,
        "open",
        protocol=ws.subprotocol or "",
        extensions=ws.response_headers.get("Sec-WebSocket-Extensions", ""),
        headers=list(ws.response_headers.raw_items()),
    )
    await link.follow()


async def be_refused(command):
    """Opens a link that is refused: connect() does not read the body, the protocol without I/O does."""
    uri = parse_uri(command["url"])
    protocol = Protocol(uri, max_size=None)
    request = protocol.connect()
    for name, value in (command.get("headers") or {}).items():
        request.headers[name] = value
    protocol.send_request(request)
    reader, writer = await asyncio.open_connection(uri.host, uri.port, ssl=trust if uri.secure else None)
    for data in protocol.data_to_send():
        writer.write(data)
    answers = []
    while not answers:
        if data := await reader.read(65536):
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        answers = protocol.events_received()
        if not data:
            break
    writer.close()
    if not answers:
        raise EOFError("no whole answer")
    body = answers[0].body or b""
    tell(
        command["link"],
        "refused",
        status=answers[0].status_code,
        headers=list(answers[0].headers.raw_items()),
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )


async def report(command, start):
    try:
        await start(command)
    except Exception as err:
        tell(command["link"], "failed", error=repr(err))


async def main():
    tell("", "ready")
    tasks = set()
    async for command in commands():
        if command["op"] == "open":
            start = be_refused if command.get("refused") else open_link
            task = asyncio.create_task(report(command, start))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            links[command["link"]].orders.put_nowait(command)


asyncio.run(main())
