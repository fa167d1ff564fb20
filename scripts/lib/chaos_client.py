"""The clients of scripts/chaos: an open loop, which sends at its rate whether or not answers come.

    chaos_client.py RECORDS RATE MOST DEADLINE PORT PORT

Request number n goes to gateway n modulo 2, on an idle connection or a new one, and has DEADLINE seconds to be answered. One record
per request is appended to RECORDS when it has ended. Sends MOST requests (0: without end), or until a line comes on standard input;
then waits for the last of them. A line on standard output, four times a second:
    TIME SENT ENDED FAILED OLDEST LATE OK OK OK OK
FAILED since the last line; OLDEST is the age of the oldest request without an end; LATE is how late the loop was at worst; the
OKs are answers since the last line, for each gateway and service. Ends with the line `over`.
"""
import asyncio
import collections
import re
import sys

from chaos_records import (ANSWERED, BROKEN, CODES, GATEWAYS, REFUSED, REQUEST, SILENT, WRONG, gateway_of, is_repeatable, method_of,
                           target_of)

TICK = 0.002
LONGEST_IDLE = 20.0  # below the gateway's own limit: an idle connection is never closed under a new request
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
CODE = re.compile(rb'"code": *"([a-z-]+)"')
CODE_NUMBERS = {code.encode(): number for number, code in enumerate(CODES)}


class Request:
    __slots__ = ("number", "start", "connection", "is_over")

    def __init__(self, number, start):
        self.number, self.start, self.connection, self.is_over = number, start, None, False

    def text(self):
        method, target = method_of(self.number), target_of(self.number)
        if method == "GET":
            return f"GET {target} HTTP/1.1\r\nHost: chaos\r\n\r\n".encode()
        return f"{method} {target} HTTP/1.1\r\nHost: chaos\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n{self.number:016}".encode()


class Connection(asyncio.Protocol):
    def __init__(self, clients, gateway, request):
        self.clients, self.gateway, self.request = clients, gateway, request
        self.transport, self.data, self.idle_since = None, b"", 0.0

    def connection_made(self, transport):
        self.transport = transport
        if self.request is None:
            transport.abort()
        else:
            transport.write(self.request.text())

    def send(self, request):
        self.request = request
        self.transport.write(request.text())

    def data_received(self, data):
        self.data = self.data + data if self.data else data
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.data[:end]
        length = LENGTH.search(head)
        if length is None or len(self.data) < end + 4 + int(length[1]):
            return
        body, self.data = self.data[end + 4:], b""
        request, self.request = self.request, None
        must_close = CLOSE.search(head) is not None
        if request is not None:
            self.clients.answered(request, int(head[9:12]), body)
        if must_close or request is None:
            self.transport.close()
        else:
            self.idle_since = self.clients.now()
            self.clients.idle[self.gateway].append(self)

    def connection_lost(self, _):
        if self.request is not None:
            self.clients.end(self.request, 0, 0, BROKEN)
        elif self in self.clients.idle[self.gateway]:
            self.clients.idle[self.gateway].remove(self)

    def give_up(self):
        self.request = None
        if self.transport:
            self.transport.abort()


class Clients:
    def __init__(self, records, rate, most, deadline, ports):
        self.records, self.rate, self.most, self.deadline, self.ports = records, rate, most, deadline, ports
        self.idle = [collections.deque() for _ in ports]
        self.waiting = collections.deque()  # in the order of their start, with some that are over
        self.sent = self.ended = self.failed = 0
        self.oks = [0] * (2 * GATEWAYS)
        self.latest, self.tasks = 0.0, set()
        self.buffer = []
        self.is_sending = True

    def now(self):
        return self.loop.time()  # time.monotonic()

    def begin(self):
        self.sent += 1
        number = self.sent
        request = Request(number, self.now())
        self.waiting.append(request)
        gateway = gateway_of(number)
        idle = self.idle[gateway]
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                request.connection = connection
                connection.send(request)
                return
        request.connection = Connection(self, gateway, request)
        task = self.loop.create_task(self.connect(request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self, request):
        connection = request.connection
        try:
            await self.loop.create_connection(lambda: connection, "127.0.0.1", self.ports[connection.gateway])
        except OSError:
            connection.request = None
            self.end(request, 0, 0, REFUSED)

    def answered(self, request, status, body):
        if 200 <= status < 300:
            is_right = body == b"%d" % request.number
            if is_right:
                self.oks[gateway_of(request.number) * 2 + is_repeatable(request.number)] += 1
            self.end(request, status, 0, ANSWERED if is_right else WRONG)
        else:
            code = CODE.search(body)
            self.end(request, status, CODE_NUMBERS.get(code[1], 1) if code else 1, ANSWERED)

    def end(self, request, status, code, outcome):
        if request.is_over:
            return
        request.is_over, request.connection = True, None
        self.ended += 1
        self.failed += outcome != ANSWERED or status >= 300
        self.buffer.append(REQUEST.pack(request.number, request.start, self.now(), status, code, outcome))

    def expire(self):
        before = self.now() - self.deadline
        while self.waiting and (self.waiting[0].is_over or self.waiting[0].start < before):
            request = self.waiting.popleft()
            if not request.is_over:
                connection = request.connection
                self.end(request, 0, 0, SILENT)
                connection.give_up()

    def flush(self):
        self.records.write(b"".join(self.buffer))
        self.records.flush()
        self.buffer.clear()

    def report(self):
        now = self.now()
        self.flush()
        for idle in self.idle:
            while idle and idle[0].idle_since < now - LONGEST_IDLE:
                idle.popleft().transport.close()
        oldest = now - self.waiting[0].start if self.waiting else 0.0
        print(f"{now:.3f} {self.sent} {self.ended} {self.failed} {oldest:.3f} {self.latest:.3f}", *self.oks, flush=True)
        self.failed, self.latest, self.oks = 0, 0.0, [0] * (2 * GATEWAYS)

    async def run(self):
        self.loop = asyncio.get_running_loop()
        commands = asyncio.StreamReader()
        await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        stop = self.loop.create_task(commands.readline())
        began = due = self.now()
        offset, next_report = 0, began
        while self.is_sending or self.ended < self.sent:
            due += TICK
            await asyncio.sleep(due - self.now())
            late = self.now() - due
            self.latest = max(self.latest, late)
            if late > 1.0:
                due, offset, began = self.now(), self.sent, self.now()  # do not make up for a machine that stood still
            if stop.done() or 0 < self.most <= self.sent:
                self.is_sending = False
            if self.is_sending:
                wanted = offset + int((self.now() - began) * self.rate)
                while self.sent < (min(wanted, self.most) if self.most else wanted):
                    self.begin()
            if late < 0.1:  # else answers may lie in the sockets, unread
                self.expire()
            if self.now() >= next_report:
                next_report = self.now() + 0.25
                self.report()
        self.report()
        print("over", flush=True)


def main():
    records, rate, most, deadline, *ports = sys.argv[1:]
    with open(records, "ab") as file:
        asyncio.run(Clients(file, float(rate), int(most), float(deadline), [int(port) for port in ports]).run())


main()
