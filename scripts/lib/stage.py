"""What soak, bench, chaos and the other scripts share: a private Valkey, the built programs as child processes, and their end.

Everything runs in a fresh temporary folder. `with Stage(...)` ends each child by its id, whatever happens.
"""
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
GROUP = "router-gateway"


class Failure(Exception):
    """Something that the caller of a script should read, and nothing else."""


def build(preset):
    """Builds the preset's programs and returns their folder."""
    print(f"building preset {preset}", flush=True)
    targets = ["outrigger-gateway", "outrigger-sidecar"]
    for command in (["cmake", "--preset", preset, "-Wno-dev"], ["cmake", "--build", f"build/{preset}", "--target", *targets]):
        if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
            raise Failure(f"failed: {' '.join(command)}")
    return ROOT / "build" / preset / "bin"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """The process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += tree(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """User and system time of the process and its descendants that are alive."""
    ticks = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / TICKS


def resident_mib(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


class Bus:
    """As much of a RESP2 client as the scripts need."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise Failure(f"the bus answered: {rest.decode()}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode("latin-1")
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise Failure("the bus closed the connection")

    def info(self, section, key):
        for line in self.call("INFO", section).splitlines():
            if line.startswith(key + ":"):
                return line.partition(":")[2]
        return None


class Stage:
    def __init__(self, programs):
        self.programs = Path(programs)
        self.children = []  # (name, Popen), in the order of their start
        self.folder = None

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="outrigger-"))
        # Ctrl-C reaches the script as an exception; so does a TERM, and __exit__ is the only way out.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and kind is not KeyboardInterrupt:
            self.show_logs()
        for _, child in reversed(self.children):
            self.end(child)
        shutil.rmtree(self.folder, ignore_errors=True)

    def show_logs(self):
        for name in dict.fromkeys(name for name, _ in self.children):
            print(f"--- last lines of {name}", file=sys.stderr)
            lines = self.log_of(name).read_text(errors="replace").splitlines() if self.log_of(name).exists() else []
            print("\n".join(lines[-15:]), file=sys.stderr)

    def log_of(self, name):
        return self.folder / f"{name}.log"

    def start(self, name, *command, environment=None):
        # A session of its own, so that Ctrl-C goes to the script alone and it decides the order of ending.
        # nginx writes no access log here either: what is compared is the way of a request, not its record.
        with open(self.log_of(name), "ab") as log:
            child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     cwd=self.folder, start_new_session=True,
                                     env={"Gateway__AccessLog": "off", **os.environ, **(environment or {})})
        self.children.append((name, child))
        return child

    def forget(self, child):
        """Of a child that ended on purpose: it is no longer one of those that must be alive."""
        self.children = [(name, other) for name, other in self.children if other is not child]

    @staticmethod
    def end(child, patience=10):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                child.kill()
        child.wait()

    def start_bus(self, *more, environment=None):
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        if not program:
            raise Failure("neither valkey-server nor redis-server is installed: scripts/setup")
        path = self.folder / "bus.sock"
        child = self.start("bus", program, "--port", 0, "--unixsocket", path, "--save", "", "--appendonly", "no",
                           "--dir", self.folder, *more, environment=environment)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and child.poll() is None:
            try:
                bus = Bus(path)
                if bus.call("PING") == "PONG":
                    return child, bus
            except (OSError, Failure):
                pass
            time.sleep(0.05)
        raise Failure(f"{program} did not answer PING within 10 s")

    def start_gateway(self, port, *more, name="gateway", valkey=None, health=None, environment=None):
        return self.start(name, self.programs / "outrigger-gateway", "--listen", f"127.0.0.1:{port}",
                          "--valkey", valkey or f"unix://{self.folder}/bus.sock", "--health", health or f"127.0.0.1:{free_port()}",
                          "--admin", f"unix:{self.folder}/{name}.sock", "--log-level", "info", *more, environment=environment)

    def start_sidecar(self, service, upstream, name, *more, valkey=None, health=None):
        return self.start(name, self.programs / "outrigger-sidecar", "--service", service, "--upstream", upstream,
                          "--valkey", valkey or f"unix://{self.folder}/bus.sock", "--health", health or f"127.0.0.1:{free_port()}",
                          "--admin", f"unix:{self.folder}/{name}.sock", "--log-level", "info", *more)

    def wait_for_log(self, name, text, seconds=20):
        """Until the child of that name has written `text`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in self.log_of(name).read_text(errors="replace"):
                return
            if any(child.poll() is not None for other, child in self.children if other == name):
                raise Failure(f"{name} ended")
            time.sleep(0.05)
        raise Failure(f"{name} did not say '{text}' within {seconds} s")

    def wait_for(self, port, target, seconds=20, headers=None):
        """Until GET answers 200."""
        deadline = time.monotonic() + seconds
        last = "nothing"
        while time.monotonic() < deadline:
            for name, child in self.children:
                if child.poll() is not None:
                    raise Failure(f"{name} ended with {child.returncode}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", target, headers=headers or {})
                answer = connection.getresponse()
                answer.read()
                connection.close()
                if answer.status == 200:
                    return
                last = f"status {answer.status}"
            except OSError as error:
                last = str(error)
            time.sleep(0.1)
        raise Failure(f"GET {target} on port {port}: no 200 within {seconds} s, but {last}")
