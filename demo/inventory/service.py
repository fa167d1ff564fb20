#!/usr/bin/env python3
"""A small HTTP service that has never heard of Outrigger: an inventory, and a set of awkward but lawful answers.

    service.py [PORT]            listens on 127.0.0.1 (0 or none: any free port) and says where

It keeps no state but a count of the requests it served, so that any instance gives the same answers as another.
Its OpenAPI document is at /openapi.json.
"""
import hashlib
import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

http.client._MAXHEADERS = 400  # the standard library stops at 100 header lines

ITEMS = [
    {"id": 1, "name": "anchor", "stock": 4, "tags": ["iron", "deck"]},
    {"id": 2, "name": "paddle", "stock": 31, "tags": ["wood"]},
    {"id": 3, "name": "sail, 12 m²", "stock": 2, "tags": ["cloth", "deck"]},
]
PATTERN = hashlib.sha256(b"outrigger").digest() * 2048  # 64 KiB that no codec can take for text
LARGEST = 64 << 20


def operation(summary, parameters=(), code="200"):
    return {
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": kind}} for name, kind in parameters],
        "responses": {code: {"description": "as the summary says"}},
    }


DOCUMENT = {
    "openapi": "3.0.3",
    "info": {"title": "Inventory", "version": "1.4.0", "description": "The demo's small service."},
    "paths": {
        "/items": {"get": operation("List, filtered by `tag`, at most `limit`"), "head": operation("As GET, without a body"),
                   "post": operation("Add an item", code="201"), "options": operation("What is allowed", code="204")},
        "/items/{id}": {method: operation("One item", [("id", "integer")], code)
                        for method, code in (("get", "200"), ("head", "200"), ("put", "200"), ("patch", "200"), ("delete", "204"))},
        "/echo": {method: operation("The body comes back as it went in") for method in ("post", "put", "patch")},
        "/digest": {method: operation("Length and SHA-256 of the body") for method in ("post", "put")},
        "/path/{rest}": {"get": operation("The target as the service saw it", [("rest", "string")])},
        "/headers": {"get": operation("The `X-Demo-*` lines of the request, in order")},
        "/headers/{count}": {"get": operation("An answer of so many header lines", [("count", "integer")])},
        "/blob/{size}": {"get": operation("So many bytes", [("size", "integer")])},
        "/chunked/{count}": {"get": operation("So many chunks", [("count", "integer")])},
        "/until-close": {"get": operation("A body that ends with the connection")},
        "/cookies": {"get": operation("Two cookies, three Link lines")},
        "/etag": {"get": operation("Has an ETag, answers If-None-Match with 304"), "head": operation("As GET")},
        "/status/{code}": {"get": operation("An answer of that status", [("code", "integer")], "default")},
        "/served": {"get": operation("How many requests this instance has served")},
    },
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    served = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def handle_expect_100(self):
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()  # buffered, and the client waits for it
        return True

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(min(length, LARGEST))

    def answer(self, status, body=b"", kind=None, headers=()):
        """The whole answer. HEAD, 204 and 304 have no body; HEAD says how long GET's would be."""
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def json(self, value, status=200, headers=()):
        self.answer(status, json.dumps(value, ensure_ascii=False).encode() + b"\n", "application/json", headers)

    def serve(self):
        with Handler.lock:
            Handler.served += 1
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        name, _, rest = target.path.lstrip("/").partition("/")
        handler = getattr(self, "on_" + name.replace(".", "_").replace("-", "_"), None)
        if handler is None:
            self.body()
            self.json({"error": "there is no such thing here", "method": self.command}, 404)
        else:
            handler(rest, query)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve

    def on_openapi_json(self, rest, query):
        self.json(DOCUMENT)

    def on_items(self, rest, query):
        body = self.body()
        if self.command == "OPTIONS":
            return self.answer(204, headers=[("Allow", "GET, HEAD, POST, OPTIONS")])
        if not rest:
            if self.command == "POST":
                return self.json({"id": 4, **json.loads(body)}, 201)
            found = [item for item in ITEMS if query.get("tag", item["tags"][0]) in item["tags"]]
            return self.json(found[: int(query.get("limit") or 100)])
        item = next((item for item in ITEMS if str(item["id"]) == rest), None)
        if item is None:
            return self.json({"error": "no such item", "id": rest}, 404)
        if self.command == "DELETE":
            return self.answer(204)
        if self.command in ("PUT", "PATCH"):
            return self.json({**(item if self.command == "PATCH" else {"id": item["id"]}), **json.loads(body)})
        self.json(item)

    def on_echo(self, rest, query):
        self.answer(200, self.body(), self.headers.get("Content-Type"))

    def on_digest(self, rest, query):
        body = self.body()
        self.json({"method": self.command, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()})

    def on_path(self, rest, query):
        self.json({"target": self.path})

    def on_headers(self, rest, query):
        if rest:
            return self.answer(200, b"many\n", "text/plain", [(f"X-Demo-{i:03}", f"value {i}; q=\"{i}\"") for i in range(int(rest))])
        self.json([[name, value] for name, value in self.headers.items() if name.lower().startswith("x-demo-")])

    def on_blob(self, rest, query):
        size = min(int(rest), LARGEST)
        self.answer(200, (PATTERN * (size // len(PATTERN) + 1))[:size], "application/octet-stream")

    def on_chunked(self, rest, query):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(min(int(rest), 1000)):
            line = f"line {i}: {'·' * (i % 7)}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def on_until_close(self, rest, query):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"no length, no chunks: " + PATTERN[:5000])
        self.close_connection = True

    def on_cookies(self, rest, query):
        self.json({"cookies": 2}, headers=[
            ("Set-Cookie", "crew=five; HttpOnly"), ("Link", "</items>; rel=\"items\""), ("Set-Cookie", "lagoon=blue, deep"),
            ("Link", "</a>; rel=\"next\""), ("Link", "</b>; rel=\"prev\""), ("X-Empty", "")])

    def on_etag(self, rest, query):
        tag = '"v1-inventory"'
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, headers=[("ETag", tag), ("Cache-Control", "max-age=60")])
        self.json({"version": 1}, headers=[("ETag", tag), ("Cache-Control", "max-age=60")])

    def on_status(self, rest, query):
        self.answer(int(rest), b"status " + rest.encode() + b"\n", "text/plain")

    def on_served(self, rest, query):
        self.json({"served": Handler.served - 1})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
