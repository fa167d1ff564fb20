"""A forwarder between programs and Valkey whose connections can be made to fail as a network's do.

    fault_proxy.py UNIX_SOCKET NAME ...

Each NAME has a listener of its own; the first line on standard output has their ports, in that order. Commands are lines on
standard input, each answered with a line:
    pass NAME          forwards; what was held goes on its way
    hold NAME          forwards nothing and closes nothing, new connections are accepted: packets vanish, or come late
    delay NAME SECONDS what Valkey says comes later by so much; pass ends it
    cut NAME           resets every connection; what was held is gone
Ends with its standard input.
"""
import asyncio
import collections
import socket
import struct
import sys

LIMIT = 1 << 20


class Door:
    """One listener and its connections."""

    def __init__(self, name, target):
        self.name, self.target = name, target
        self.is_held, self.delay, self.pairs = False, 0.0, set()

    def set(self, is_held, delay=0.0):
        self.is_held, self.delay = is_held, delay
        for pair in list(self.pairs):
            pair.go_on()

    def cut(self):
        for pair in list(self.pairs):
            pair.abort()


class Pair:
    """One connection of a program, and the one made for it to Valkey."""

    def __init__(self, door):
        self.door, self.near, self.far = door, End(self, False), End(self, True)
        door.pairs.add(self)

    def go_on(self):
        for end in (self.near, self.far):
            end.go_on()

    def abort(self):
        self.door.pairs.discard(self)
        for end in (self.near, self.far):
            if end.transport:
                end.transport.abort()


class End(asyncio.Protocol):
    def __init__(self, pair, is_far):
        self.pair, self.is_far = pair, is_far
        self.transport, self.is_closed = None, False
        self.waiting, self.bytes, self.timer = collections.deque(), 0, None  # (when it is due, data), read and not yet passed on

    def other(self):
        return self.pair.near if self.is_far else self.pair.far

    def connection_made(self, transport):
        self.transport = transport
        if self.is_far:
            self.pair.near.go_on()
            return
        # A reset must be one: without lingering, abort sends RST even if nothing is unread.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asyncio.ensure_future(self.connect())

    async def connect(self):
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self.pair.far, self.pair.door.target)
        except OSError:
            self.pair.abort()
        else:
            if self.is_closed and not self.pair.door.is_held:
                self.pair.abort()

    def data_received(self, data):
        door, other = self.pair.door, self.other()
        if not self.waiting and not door.is_held and other.transport and not (self.is_far and door.delay):
            other.transport.write(data)
            return
        now = asyncio.get_running_loop().time()
        self.waiting.append((now + door.delay if self.is_far else now, data))
        self.bytes += len(data)
        if self.bytes > LIMIT:
            self.transport.pause_reading()
        self.go_on()

    def go_on(self):
        """Passes on what may be passed on now, in order."""
        loop, other = asyncio.get_running_loop(), self.other()
        if self.pair.door.is_held or not other.transport:
            return
        while self.waiting and self.waiting[0][0] <= loop.time():
            _, data = self.waiting.popleft()
            self.bytes -= len(data)
            other.transport.write(data)
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if self.waiting:
            self.timer = loop.call_at(self.waiting[0][0], self.go_on)
        elif self.is_closed:
            self.pair.door.pairs.discard(self.pair)
            other.transport.close()
        if self.bytes <= LIMIT and not self.is_closed:
            self.transport.resume_reading()

    def connection_lost(self, _):
        self.is_closed = True
        self.go_on()  # unless packets vanish: then nobody learns of an end either


async def main():
    loop = asyncio.get_running_loop()
    doors = {}
    ports = []
    for name in sys.argv[2:]:
        door = doors[name] = Door(name, sys.argv[1])
        server = await loop.create_server(lambda door=door: Pair(door).near, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(*ports, flush=True)
    while line := (await commands.readline()).decode().split():
        door = doors[line[1]]
        if line[0] == "pass":
            door.set(False)
        elif line[0] == "hold":
            door.set(True)
        elif line[0] == "delay":
            door.set(False, float(line[2]))
        elif line[0] == "cut":
            door.cut()
        print("done", flush=True)


asyncio.run(main())
