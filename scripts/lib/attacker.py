"""Hostile clients of one kind, for scripts/attack: python3 attacker.py KIND PORT COUNT. At SIGTERM it prints what they got, as
JSON: how many connections were made, which statuses came, how many were closed or broken, how many were never accepted.
"""
import asyncio
import collections
import json
import resource
import signal
import socket
import sys

MIB = 1024 * 1024
HOST = b"Host: attack.test\r\n"
got = collections.Counter()


async def connect(port, receive_buffer=None):
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    got["connections"] += 1
    return sock


async def watch(sock):
    """Reads what the server says, until it closes."""
    loop = asyncio.get_running_loop()
    first = await loop.sock_recv(sock, 65536)
    if first.startswith(b"HTTP/1.1 "):
        got["status " + first[9:12].decode()] += 1
    while first:
        first = await loop.sock_recv(sock, 65536)
    got["closed"] += 1


async def drip(sock, piece, every):
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        await loop.sock_sendall(sock, piece)


async def slow_heads(port):
    """One byte of a head each second."""
    sock = await connect(port)
    await asyncio.get_running_loop().sock_sendall(sock, b"GET /demo/hello HTTP/1.1\r\nX-Slow: ")
    await either(watch(sock), drip(sock, b"x", 1))
    return sock


async def slow_bodies(port):
    """Announces 8 MiB; 1 MiB of it at a good pace, then a byte each second."""
    sock = await connect(port)
    loop = asyncio.get_running_loop()

    async def send():
        await loop.sock_sendall(sock, b"POST /demo/hello HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (8 * MIB))
        for _ in range(16):
            await loop.sock_sendall(sock, bytes(MIB // 16))
            await asyncio.sleep(0.05)
        await drip(sock, b"x", 1)

    await either(watch(sock), send())
    return sock


async def slow_readers(port):
    """Asks for large answers and reads nothing; sees the close only in the socket's state."""
    sock = await connect(port, 4096)
    await asyncio.get_running_loop().sock_sendall(sock, b"GET /demo/large HTTP/1.1\r\n" + HOST + b"\r\n")
    while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1:  # ESTABLISHED
        await asyncio.sleep(0.25)
    got["closed"] += 1
    return sock


async def connection_flood(port):
    """Connects and says nothing."""
    sock = await connect(port)
    await watch(sock)
    return sock


async def header_bombs(port):
    """Nearly the most a head may have, and never its end."""
    sock = await connect(port)
    await asyncio.get_running_loop().sock_sendall(
        sock, b"GET /demo/hello HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(62)))
    await watch(sock)
    return sock


async def pipelining(port):
    """Requests that the gateway answers itself, without a pause, on one connection."""
    sock = await connect(port)
    loop = asyncio.get_running_loop()

    async def send():
        while True:
            await loop.sock_sendall(sock, (b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)

    await either(watch(sock), send())
    return sock


async def either(*coroutines):
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # A broken pipe of the sender is what the answer explains.
        if tasks[0] not in done:
            await asyncio.wait(tasks[:1], timeout=5)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks[:1]:
        if task.done() and not task.cancelled() and task.exception():
            raise task.exception()


async def for_ever(kind, port):
    while True:
        sock = None
        try:
            sock = await kind(port)
        except OSError as error:
            got["broken" if sock is None and isinstance(error, (ConnectionResetError, BrokenPipeError)) else "failed"] += 1
            await asyncio.sleep(0.1)
        finally:
            if sock is not None:
                sock.close()
                await asyncio.sleep(0.5)  # it is silence and slowness that is tried, not bandwidth


async def main(kind, port, count):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    tasks = []
    try:
        for number in range(count):
            tasks.append(asyncio.create_task(for_ever(kind, port)))
            if number % 50 == 49:
                await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        pass
    print(json.dumps(got), flush=True)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(main(globals()[sys.argv[1].replace("-", "_")], int(sys.argv[2]), int(sys.argv[3])))
    except KeyboardInterrupt:
        pass
