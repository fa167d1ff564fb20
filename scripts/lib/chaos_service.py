"""The service behind scripts/chaos: any method on /work/NUMBER, answered with the number, after it was written down.

    chaos_service.py PORT FILE

A record of each execution is appended to FILE, unbuffered, before anything else happens: what a kill -9 leaves behind is the truth.
Asked directly, GET /mode/normal, /mode/slow (2 s per request) or /mode/half (half of an answer, then closed) switches how it
behaves. SIGTERM lets what runs end, for half a second.
"""
import asyncio
import json
import os
import signal
import sys
import time

from chaos_records import EXECUTION, service_time_of

SLOW_TIME = 2.0
DOCUMENT = json.dumps({"openapi": "3.0.3", "info": {"title": "Chaos", "version": "1.0.0"}, "paths": {"/work/{number}": {
    "parameters": [{"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}}],
    **{method: {"responses": {"200": {"description": "done"}}} for method in ("get", "put", "post")}}}}).encode()


class Service:
    def __init__(self, path):
        self.log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.mode = "normal"
        self.running = 0
        self.connections = set()
        self.is_ending = False


class Connection(asyncio.Protocol):
    def __init__(self, service):
        self.service = service
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport
        self.service.connections.add(self)
        self.is_idle = True

    def connection_lost(self, _):
        self.service.connections.discard(self)

    def data_received(self, data):
        self.data += data
        head, blank, body = self.data.partition(b"\r\n\r\n")
        if not blank:
            return
        fields = head.lower()
        at = fields.find(b"\r\ncontent-length:")
        length = int(fields[at + 17:].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self.data = b""  # a sidecar sends nothing more before it has the answer
        self.is_idle = False
        self.begin(head.split(b" ", 2)[1])

    def begin(self, target):
        service = self.service
        if target.startswith(b"/work/"):
            number = int(target[6:])
            os.write(service.log, EXECUTION.pack(number, time.monotonic()))
            service.running += 1
            asyncio.get_running_loop().call_later(SLOW_TIME if service.mode == "slow" else service_time_of(number), self.end, target[6:])
        elif target.startswith(b"/mode/"):
            service.mode = target[6:].decode()
            self.answer(b"200 OK", b"")
        elif target == b"/openapi.json":
            self.answer(b"200 OK", DOCUMENT, b"application/json")
        elif target == b"/health":
            self.answer(b"200 OK", b"")
        else:
            self.answer(b"404 Not Found", b"")

    def end(self, body):
        self.service.running -= 1
        if self.service.mode == "half":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + body)
            self.transport.close()
        else:
            self.answer(b"200 OK", body)

    def answer(self, status, body, kind=b"text/plain"):
        self.transport.write(b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body))
        self.is_idle = True
        if self.service.is_ending:
            self.transport.close()


async def main():
    service = Service(sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", int(sys.argv[1]), backlog=512)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    service.is_ending = True
    server.close()
    for connection in list(service.connections):
        if connection.is_idle:
            connection.transport.close()
    until = loop.time() + 0.5
    while service.running and loop.time() < until:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)


asyncio.run(main())
