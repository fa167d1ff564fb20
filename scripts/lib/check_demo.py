"""Sends the same requests to each demo service directly and through the gateway, and compares the answers.

Equal means: status, header fields (all but those in MAY_DIFFER, names in any case, repeated fields in order) and the body
byte for byte. Raw sockets, because a client library would tidy up what is to be compared.
Used by scripts/demo --check; exit 0 when every row is equal.
"""
import argparse
import hashlib
import socket
import sys
import time
from urllib.parse import urlsplit

# What each connection has to itself, what names the path taken, and how the body is framed.
MAY_DIFFER = {"date", "connection", "keep-alive", "via", "x-request-id", "content-length", "transfer-encoding"}
TIMEOUT = 30
EIGHT_MIB = 8 << 20


class Answer:
    def __init__(self, status, fields, body, complete=True):
        self.status, self.fields, self.body, self.complete = status, fields, body, complete

    def compared_fields(self):
        found = {}
        for name, value in self.fields:
            if name.lower() not in MAY_DIFFER:
                found.setdefault(name.lower(), []).append(value)
        return found


class Reader:
    def __init__(self, sock):
        self.sock, self.data = sock, bytearray()

    def more(self):
        piece = self.sock.recv(1 << 16)
        self.data += piece
        return bool(piece)

    def until(self, mark):
        while (at := self.data.find(mark)) < 0:
            if not self.more():
                raise ConnectionError(f"closed after {len(self.data)} bytes of a head")
        piece = bytes(self.data[:at])
        del self.data[: at + len(mark)]
        return piece

    def exactly(self, count):
        while len(self.data) < count:
            if not self.more():
                raise ConnectionError(f"closed {count - len(self.data)} bytes early")
        piece = bytes(self.data[:count])
        del self.data[:count]
        return piece

    def rest(self):
        while self.more():
            pass
        piece, self.data = bytes(self.data), bytearray()
        return piece


def read_answer(reader, method):
    """One final answer; interim ones (1xx) are skipped."""
    while True:
        lines = reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        if status >= 200:
            break
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    framing = {name.lower(): value.lower() for name, value in fields}
    if method == "HEAD" or status in (204, 304):
        return Answer(status, fields, b"")
    if "chunked" in framing.get("transfer-encoding", ""):
        parts = []
        while size := int(reader.until(b"\r\n").split(b";")[0], 16):
            parts.append(reader.exactly(size))
            reader.until(b"\r\n")
        while reader.until(b"\r\n"):
            pass
        return Answer(status, fields, b"".join(parts))
    if "content-length" in framing:
        return Answer(status, fields, reader.exactly(int(framing["content-length"])))
    return Answer(status, fields, reader.rest())


class Request:
    """One row: what is asked, and what the direct answer must look like for the row to mean anything."""

    def __init__(self, method, target, fields=(), body=None, chunked=False, expect_continue=False, status=200, note=""):
        self.method, self.target, self.fields, self.body = method, target, list(fields), body
        self.chunked, self.expect_continue, self.status, self.note = chunked, expect_continue, status, note

    def head(self, authority, prefix):
        lines = [f"{self.method} {prefix}{self.target} HTTP/1.1", f"Host: {authority}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.expect_continue:
            lines.append("Expect: 100-continue")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def framed_body(self):
        if self.body is None:
            return b""
        if not self.chunked:
            return self.body
        sizes, at, parts = [1, 7, 4096, 65536, 100000], 0, []
        while at < len(self.body):
            piece = self.body[at : at + sizes[len(parts) % len(sizes)]]
            parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
            at += len(piece)
        return b"".join(parts) + b"0\r\n\r\n"


def connect(url):
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, parts.netloc


def ask(url, prefix, request):
    sock, authority = connect(url)
    with sock:
        reader = Reader(sock)
        sock.sendall(request.head(authority, prefix))
        if request.expect_continue:
            interim = reader.until(b"\r\n\r\n")
            if not interim.startswith(b"HTTP/1.1 100"):
                reader.data[:0] = interim + b"\r\n\r\n"
                return read_answer(reader, request.method)
        sock.sendall(request.framed_body())
        return read_answer(reader, request.method)


def ask_pipelined(url, prefix, requests):
    """All requests in one write on one connection; the answers in order."""
    sock, authority = connect(url)
    with sock:
        sock.sendall(b"".join(request.head(authority, prefix) + request.framed_body() for request in requests))
        reader = Reader(sock)
        return [read_answer(reader, request.method) for request in requests]


def difference(direct, proxied):
    """What differs, in a few words, or ''."""
    if direct.status != proxied.status:
        return f"status {direct.status} became {proxied.status}: {proxied.body[:160]!r}"
    a, b = direct.compared_fields(), proxied.compared_fields()
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            return f"{name}: {a.get(name)} became {b.get(name)}"
    if direct.body != proxied.body:
        at = next((i for i, (x, y) in enumerate(zip(direct.body, proxied.body)) if x != y), min(len(direct.body), len(proxied.body)))
        return f"body: {len(direct.body)} bytes became {len(proxied.body)}, first difference at {at}"
    return ""


EVERY_BYTE = bytes(range(256)) * 5
BIG = hashlib.sha256(b"upload").digest() * (EIGHT_MIB // 32)
JSON = [("Content-Type", "application/json")]
BINARY = [("Content-Type", "application/octet-stream")]

REQUESTS = {
    "galaxy": [
        Request("GET", "/planets"),
        Request("GET", "/planets?limit=2&offset=1"),
        Request("HEAD", "/planets"),
        Request("GET", "/planets/1"),
        Request("POST", "/planets", JSON, b'{"name":"Mars"}', status=201),
        Request("PUT", "/planets/1", JSON, b'{"name":"Mars"}'),
        Request("GET", "/me", status=401, note="no key: its own 401"),
        Request("GET", "/me", [("X-API-Key", "any")]),
        Request("POST", "/user/signup", JSON, b'{"name":"Marc","email":"marc@example.com","password":"i-love-scalar"}', status=201),
        Request("OPTIONS", "/planets", [("Origin", "http://example.com"), ("Access-Control-Request-Method", "GET")], status=204),
        Request("GET", "/openapi.json", note="its own document"),
        Request("GET", "/openapi.yaml"),
        Request("GET", "/no/such/place", status=404, note="its own 404"),
    ],
    "inventory": [
        Request("GET", "/items"),
        Request("GET", "/items?tag=deck&limit=1&empty=&plus=a+b%20c"),
        Request("GET", "/items/3"),
        Request("GET", "/items/999", status=404),
        Request("HEAD", "/items"),
        Request("POST", "/items", JSON, '{"name":"bilge pump, 24 V ⚓"}'.encode(), status=201),
        Request("PUT", "/items/2", JSON, b'{"name":"oar"}'),
        Request("PATCH", "/items/2", JSON, b'{"stock":7}'),
        Request("DELETE", "/items/2", status=204),
        Request("OPTIONS", "/items", status=204),
        Request("POST", "/echo", BINARY, EVERY_BYTE, note="every byte value"),
        Request("POST", "/echo", BINARY, b"", note="empty body"),
        Request("PUT", "/echo", BINARY, EVERY_BYTE * 400, chunked=True, note="chunked upload"),
        Request("POST", "/echo", BINARY, EVERY_BYTE, expect_continue=True, note="Expect: 100-continue"),
        Request("POST", "/digest", BINARY, BIG, note="8 MiB up"),
        Request("PUT", "/echo", BINARY, BIG, note="8 MiB up and down"),
        Request("GET", "/blob/8388608", note="8 MiB down"),
        Request("GET", "/blob/0", note="0 bytes"),
        Request("GET", "/chunked/200"),
        Request("GET", "/chunked/0"),
        Request("GET", "/until-close"),
        Request("GET", "/cookies", note="repeated headers"),
        Request("GET", "/headers/100", note="100 header lines down"),
        Request("GET", "/headers", [(f"X-Demo-{i:02}", f'v{i}; "q"') for i in range(98)] + [("X-Demo-00", "again"), ("x-demo-01", "")],
                note="100 header lines up"),
        Request("GET", "/etag"),
        Request("HEAD", "/etag"),
        Request("GET", "/etag", [("If-None-Match", '"v1-inventory"')], status=304),
        Request("GET", "/etag", [("If-None-Match", '"old"')]),
        Request("GET", "/path/a%2Fb%20c/%E2%82%AC%7e?x=%26&y=+&z"),
        Request("GET", "/path//two///slashes/"),
        Request("GET", "/path/;a=b,c@d:e!$&'()*?/?:@"),
        Request("GET", "/path/x?"),
        Request("GET", "/status/418", status=418),
        Request("GET", "/status/500", status=500),
        Request("GET", "/status/503", status=503, note="its own 503"),
        Request("GET", "/not-in-the-document", status=404, note="its own 404"),
        Request("DELETE", "/nothing", status=404, note="a method the document does not have"),
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", required=True)
    parser.add_argument("services", nargs="+", metavar="NAME=URL")
    options = parser.parse_args()
    instances = {}
    for service in options.services:
        name, _, url = service.partition("=")
        instances.setdefault(name, []).append(url)

    rows, wrong = [], 0

    def row(service, method, target, status, fault, note=""):
        nonlocal wrong
        wrong += bool(fault)
        shown = target if len(target) <= 46 else target[:43] + "..."
        rows.append((service, method, shown, str(status), f"DIFFERENT  {fault}" if fault else "same" + (f"  ({note})" if note else "")))
        print("{:<10} {:<8} {:<46} {:>6}  {}".format(*rows[-1]), flush=True)

    print("{:<10} {:<8} {:<46} {:>6}  {}".format("service", "method", "target", "status", "direct and through the gateway"))
    began = time.monotonic()
    for service, urls in instances.items():
        requests = REQUESTS.get(service, [Request("GET", "/")])
        for request in requests:
            try:
                direct = ask(urls[0], "", request)
                if direct.status != request.status:
                    row(service, request.method, request.target, direct.status, f"the service itself should have answered {request.status}")
                    continue
                fault = difference(direct, ask(options.gateway, "/" + service, request))
                row(service, request.method, request.target, direct.status, fault, request.note)
            except (OSError, ValueError) as error:
                row(service, request.method, request.target, "-", f"{type(error).__name__}: {error}")
        # Several requests on one connection, written at once.
        batch = [request for request in requests if request.method in ("GET", "HEAD") and request.status in (200, 404)][:6]
        batch = [request for request in batch if "until-close" not in request.target and "blob" not in request.target]
        try:
            answers = ask_pipelined(options.gateway, "/" + service, batch)
            faults = [difference(ask(urls[0], "", request), answer) for request, answer in zip(batch, answers)]
            row(service, "GET", f"{len(batch)} pipelined on one connection", "-", "; ".join(filter(None, faults)))
        except (OSError, ValueError) as error:
            row(service, "GET", f"{len(batch)} pipelined on one connection", "-", f"{type(error).__name__}: {error}")
    print(f"\n{len(rows)} rows, {wrong} different, {time.monotonic() - began:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
