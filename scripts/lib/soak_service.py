"""The service behind scripts/soak: takes a few milliseconds per request and remembers every POST it ran.

    soak_service.py PORT

GET /work answers; POST /work runs the id in its body; GET /executed (asked directly) is the list of all ids run.
"""
import asyncio
import json
import sys

SERVICE_TIME = 0.005
DOCUMENT = {"openapi": "3.0.3", "info": {"title": "Soak", "version": "1.0.0"},
            "paths": {"/work": {method: {"responses": {"200": {"description": "done"}}} for method in ("get", "post")}}}
executed = []


async def read_body(reader, head):
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
    if "chunked" in fields.get("transfer-encoding", ""):
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readline()
        return b"".join(parts)
    return await reader.readexactly(int(fields.get("content-length", 0)))


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(" ", 2)
            body = await read_body(reader, head)
            status, answer = "200 OK", b"done\n"
            if target == "/executed":
                answer = json.dumps(executed).encode()
            elif target == "/openapi.json":
                answer = json.dumps(DOCUMENT).encode()
            elif method == "POST":
                executed.append(body.decode())  # from here on it has run, whoever learns of it
                await asyncio.sleep(SERVICE_TIME)
                status, answer = "201 Created", body
            elif target == "/work":
                await asyncio.sleep(SERVICE_TIME)
            else:
                status, answer = "404 Not Found", b"no\n"
            kind = "application/json" if target in ("/openapi.json", "/executed") else "text/plain"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=256)
    async with server:
        await server.serve_forever()


asyncio.run(main())
