"""What scripts/chaos breaks, and what each fault may cost. A fault breaks something, holds, mends it, and says whom it hit.

The play: gateway-1 and one sidecar of each service (things-1, counter-1) reach Valkey directly; gateway-2, things-2 and counter-2
through a fault proxy. So each fault of one process or one network path leaves a living peer.
"""
import dataclasses
import os
import signal
import struct
import subprocess
import sys
import time
import urllib.request

from chaos_records import SERVICE_TIME
from stage import GROUP, ROOT, Failure, Stage, free_port

SERVICES = ("things", "counter")
GATEWAY_NAMES = ("gateway-1", "gateway-2")
INSTANCES = ("things-1", "things-2", "counter-1", "counter-2")
BEHIND_PROXY = ("gateway-2", "things-2", "counter-2")
REQUEST_TIMEOUT, LEASE, HEARTBEAT, PLACES = 5, 3, 2, 64
QUEUES = tuple(f"router:requests:{service}" for service in SERVICES)


class Play(Stage):
    """Everything that runs, by name, and how it is broken and mended."""

    def __init__(self, programs, wake, keep=None):
        super().__init__(programs)
        self.wake, self.keep = wake, keep
        self.running = {}  # name -> child, of gateways, sidecars and services
        self.crashes = []  # (name, exit code, during which fault)
        self.fault = "start"
        self.shift = self.stepped_back = 0

    def __enter__(self):
        if self.keep and self.keep.exists():
            raise Failure(f"{self.keep} is there already")
        super().__enter__()
        if self.keep:
            self.folder.rmdir()
            self.folder = self.keep.resolve()
            self.folder.mkdir(parents=True)
        for section in ("Gateway__Transports__Messaging", "Sidecar__Messaging"):
            os.environ[f"{section}__RequestTimeout"] = f"{REQUEST_TIMEOUT}s"
            os.environ[f"{section}__LeaseDuration"] = f"{LEASE}s"
            os.environ[f"{section}__HeartbeatInterval"] = f"{HEARTBEAT}s"
            os.environ[f"{section}__WakeMode"] = self.wake
        os.environ["Sidecar__MaxInFlight"] = str(PLACES)
        if self.keep:
            os.environ["Gateway__AccessLog"] = "json"
            os.environ["Sidecar__AccessLog"] = "json"
        return self

    def __exit__(self, kind, error, trace):
        for _, child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)  # whoever is stopped cannot end
        if self.keep:
            for _, child in reversed(self.children):
                self.end(child)
        else:
            super().__exit__(kind, error, trace)

    def set_up(self):
        self.clock_file = self.folder / "clock"
        self.clock_file.write_bytes(struct.pack("<q", 0))
        library = self.folder / "stepped_clock.so"
        if subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, ROOT / "scripts/lib/stepped_clock.c"]).returncode:
            raise Failure("cc could not build scripts/lib/stepped_clock.c")
        self.clock = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(self.clock_file)}
        self.start_valkey()
        self.proxy = subprocess.Popen([sys.executable, ROOT / "scripts/lib/fault_proxy.py", self.folder / "bus.sock", *BEHIND_PROXY],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                                      stderr=open(self.log_of("fault-proxy"), "ab"))
        self.children.append(("fault-proxy", self.proxy))
        doors = dict(zip(BEHIND_PROXY, self.proxy.stdout.readline().split()))
        if len(doors) != len(BEHIND_PROXY):
            raise Failure("the fault proxy did not start")
        self.valkey_of = {name: f"127.0.0.1:{doors[name]}" if name in doors else None for name in (*GATEWAY_NAMES, *INSTANCES)}
        self.ports = {name: free_port() for name in (*GATEWAY_NAMES, *INSTANCES)}
        for instance in INSTANCES:
            self.start_service(instance)
        for gateway in GATEWAY_NAMES:
            self.start_program(gateway)
        for instance in INSTANCES:
            self.start_program(instance)
        for gateway in GATEWAY_NAMES:
            for service in SERVICES:
                self.wait_for(self.ports[gateway], f"/{service}/health")

    def start_valkey(self, *more):
        # `loading` answers between two events only if they come often enough.
        self.valkey, self.bus = self.start_bus("--loading-process-events-interval-bytes", 1024, *more, environment=self.clock)

    def kill_valkey(self):
        self.forget(self.valkey)
        self.valkey.kill()
        self.valkey.wait()

    def start_program(self, name):
        valkey, health = self.valkey_of[name], f"unix:{self.folder}/{name}.health"  # a port might be somebody else's by then
        if name in GATEWAY_NAMES:
            child = self.start_gateway(self.ports[name], name=name, valkey=valkey, health=health)
        else:
            child = self.start_sidecar(name.partition("-")[0], f"http://127.0.0.1:{self.ports[name]}", name, "--health-path", "/health",
                                       valkey=valkey, health=health)
        self.running[name] = child
        return child

    def start_service(self, instance):
        name = f"service-{instance}"
        self.running[name] = self.start(name, sys.executable, ROOT / "scripts/lib/chaos_service.py", self.ports[instance],
                                        self.executions_of(instance))
        return self.running[name]

    def executions_of(self, instance):
        return self.folder / f"{instance}.executions"

    def stop(self, name, how=signal.SIGKILL, patience=40):
        """Ends one by signal, and returns its exit code once it has ended."""
        child = self.running.pop(name)
        self.forget(child)
        child.send_signal(how)
        try:
            return child.wait(patience)
        except subprocess.TimeoutExpired:
            self.children.append((name, child))
            raise Failure(f"{name} has not ended {patience} s after {signal.Signals(how).name}") from None

    def door(self, *words):
        self.proxy.stdin.write(" ".join(map(str, words)) + "\n")
        self.proxy.stdin.flush()
        if self.proxy.stdout.readline() != "done\n":
            raise Failure("the fault proxy ended")

    def set_mode(self, instance, mode):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[instance]}/mode/{mode}", timeout=5) as answer:
            answer.read()

    def step_clock(self, seconds):
        self.shift += seconds
        self.stepped_back += max(0, -seconds)
        with open(self.clock_file, "r+b") as file:
            file.write(struct.pack("<q", self.shift))

    def look_after(self):
        """A program that ended by itself is a finding: it is kept, and the program is started again."""
        for name, child in list(self.running.items()):
            if child.poll() is not None:
                self.crashes.append((name, child.returncode, self.fault))
                print(f"\n          {name} ended by itself with {child.returncode}", flush=True)
                self.forget(child)
                if name.startswith("service-"):
                    self.start_service(name.removeprefix("service-"))
                else:
                    self.start_program(name)
        for name, child in self.children:
            if child.poll() is not None and (name, child.returncode) != ("client", 0):  # who has sent all it should
                raise Failure(f"{name} ended with {child.returncode}")

    def hold(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.1, left))
            self.look_after()


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a fault may cost. A failure is an answer other than 2xx, or none."""
    repeatable: bool  # may repeatable requests fail
    other: bool  # and the others
    why: str
    tail: float = 0.0  # a request that begins later than this after the fault's end may not fail
    most: int | None = None  # most failures
    gateway: int | None = None  # only through this one
    slowest: float | None = None  # no repeatable request may take longer
    breaks: bool = False  # connections of clients to `gateway` may break


IN_HAND = 2 * PLACES + 2  # what one sidecar may hold (docs/protocol.md, 6.2)
NONE = Bound(False, False, "nothing is gone, only slow", slowest=3.0)
PEER = Bound(False, True, "a peer answers what may run twice; the rest is what the broken one had in hand", most=IN_HAND, slowest=3.0 + SERVICE_TIME)
BUS = Bound(True, True, "without Valkey each request gets 503 at once, or 504 if it was written; back-off is at most 1 s", tail=2.0)
LOST_DATA = Bound(True, True, "requests and answers at Valkey are gone; readers notice within a moment and make them anew", tail=2.0)
FAULTS = {}  # name -> (function, what happens, Bound)


def fault(name, what, bound):
    def declare(function):
        FAULTS[name] = (function, what, bound)
        return function
    return declare


# Valkey. Each function returns whom it hit, and a bound of its own where that depends on it.

@fault("bus-kill-empty", "kill -9 of Valkey, which comes back empty", BUS)
def bus_kill_empty(play, rng):
    play.kill_valkey()
    (play.folder / "dump.rdb").unlink(missing_ok=True)
    play.hold(rng.uniform(0.2, 2.0))
    play.start_valkey()
    return "", None


@fault("bus-snapshot", "kill -9 of Valkey, which comes back with what it had 3 s before", BUS)
def bus_snapshot(play, rng):
    play.bus.call("SAVE")
    play.hold(3.0)
    play.kill_valkey()
    play.hold(rng.uniform(0.1, 1.0))
    play.start_valkey()
    (play.folder / "dump.rdb").unlink()
    return "", None


@fault("bus-stop", "SIGSTOP of Valkey for longer than every deadline, then SIGCONT",
       dataclasses.replace(BUS, why="as above; what had been written is carried out late, and its deadline is over"))
def bus_stop(play, _):
    play.valkey.send_signal(signal.SIGSTOP)
    play.hold(REQUEST_TIMEOUT + 1.5)
    play.valkey.send_signal(signal.SIGCONT)
    return "", None


@fault("bus-pause", "SIGSTOP of Valkey for less than a deadline, then SIGCONT",
       Bound(True, True, "what was written waits, and is answered if its deadline leaves time; connections that are silent for 5 s are given up",
             tail=2.0))
def bus_pause(play, rng):
    play.valkey.send_signal(signal.SIGSTOP)
    play.hold(rng.uniform(0.5, REQUEST_TIMEOUT - 0.5))
    play.valkey.send_signal(signal.SIGCONT)
    return "", None


@fault("client-kill", "CLIENT KILL of every connection of ours, one after the other",
       Bound(True, True, "a request that finds no connection gets 503 at once; connecting takes a moment", tail=1.0))
def client_kill(play, rng):
    mine = play.bus.call("CLIENT", "ID")
    ids = [int(line.split()[0].partition("=")[2]) for line in play.bus.call("CLIENT", "LIST").splitlines()]
    ids = [one for one in ids if one != mine]
    rng.shuffle(ids)
    for one in ids:
        try:
            play.bus.call("CLIENT", "KILL", "ID", one)
        except Failure:
            pass  # gone by itself meanwhile
        play.hold(0.1)
    return f"{len(ids)} connections", None


def bound_behind_proxy(name, tail):
    if name in GATEWAY_NAMES:
        return Bound(True, True, "requests through that gateway", tail=tail, gateway=GATEWAY_NAMES.index(name))
    return Bound(True, True, "what that sidecar had in hand", most=IN_HAND)


@fault("half-open", "packets of one gateway or sidecar vanish for 4 s, then its connections are reset",
       Bound(True, True, "a gateway: requests through it. A sidecar: what it had in hand", tail=2.0))
def half_open(play, rng):
    name = rng.choice(BEHIND_PROXY)
    play.door("hold", name)
    play.hold(4.0)
    play.door("cut", name)
    play.door("pass", name)
    return name, bound_behind_proxy(name, 2.0)


@fault("late-packets", "packets of one gateway or sidecar are held for 6 s, then all of them arrive",
       Bound(True, True, "a gateway: requests through it. A sidecar: what it had in hand", tail=2.0))
def late_packets(play, rng):
    name = rng.choice(BEHIND_PROXY)
    play.door("hold", name)
    play.hold(REQUEST_TIMEOUT + 1.0)
    play.door("pass", name)
    return name, bound_behind_proxy(name, 2.0)


@fault("latency", "what Valkey says to gateway-2, things-2 and counter-2 comes 200 ms later", NONE)
def latency(play, _):
    for name in BEHIND_PROXY:
        play.door("delay", name, 0.2)
    play.hold(4.0)
    for name in BEHIND_PROXY:
        play.door("pass", name)
    return "", None


REFUSED = Bound(True, True, "each write is refused: 503 at once; the end is seen within 1 s", tail=2.0)


@fault("maxmemory", "maxmemory below what is used, noeviction", REFUSED)
def maxmemory(play, _):
    play.bus.call("CONFIG", "SET", "maxmemory", int(play.bus.info("memory", "used_memory")) // 2)
    play.hold(3.0)
    play.bus.call("CONFIG", "SET", "maxmemory", 0)
    return "", None


@fault("too-few-replicas", "min-replicas-to-write 1 without a replica", REFUSED)
def too_few_replicas(play, _):
    play.bus.call("CONFIG", "SET", "min-replicas-to-write", 1)
    play.hold(3.0)
    play.bus.call("CONFIG", "SET", "min-replicas-to-write", 0)
    return "", None


@fault("readonly", "Valkey becomes a replica of nobody, and a primary again at once or after 3 s", BUS)
def readonly(play, rng):
    seconds = rng.choice((0.0, 0.1, 3.0))
    play.bus.call("REPLICAOF", "127.0.0.1", free_port())
    play.hold(seconds)
    play.bus.call("REPLICAOF", "NO", "ONE")
    return f"after {seconds:g} s", None


@fault("loading", "Valkey restarts with its data and takes 2 s to load it", BUS)
def loading(play, _):
    keys = 4000
    play.bus.call("EVAL", f"for i = 1, {keys} do redis.call('set', 'others:' .. i, 'x') end", 0)
    play.bus.call("SAVE")
    play.kill_valkey()
    play.start_valkey("--key-load-delay", 500)  # microseconds each
    play.bus.call("CONFIG", "SET", "key-load-delay", 0)
    play.bus.call("EVAL", f"for i = 1, {keys} do redis.call('del', 'others:' .. i) end", 0)
    (play.folder / "dump.rdb").unlink()
    return "", None


@fault("nogroup", "XGROUP DESTROY on a request queue", LOST_DATA)
def nogroup(play, rng):
    queue = rng.choice(QUEUES)
    play.bus.call("XGROUP", "DESTROY", queue, GROUP)
    return queue, None


@fault("flushall", "FLUSHALL", LOST_DATA)
def flushall(play, _):
    play.bus.call("FLUSHALL")
    return "", None


def some_stream(play, rng):
    # A living gateway refreshes its 120 s every 30 s.
    replies = sorted(key for key in play.bus.call("KEYS", "router:responses:*") if play.bus.call("TTL", key) >= 88)
    return rng.choice((*QUEUES, rng.choice(replies))) if replies else rng.choice(QUEUES)


@fault("stream-deleted", "DEL of a request queue or a reply stream under its readers", LOST_DATA)
def stream_deleted(play, rng):
    key = some_stream(play, rng)
    play.bus.call("DEL", key)
    return key, None


@fault("wrong-type", "a string stands where a request queue or a reply stream was, for 3 s",
       dataclasses.replace(LOST_DATA, why="503 or 504 for whom that stream is; it is made anew once the name is free", tail=3.0))
def wrong_type(play, rng):
    key = some_stream(play, rng)
    play.bus.call("MULTI")
    play.bus.call("DEL", key)
    play.bus.call("SET", key, "not ours")
    play.bus.call("EXEC")
    play.hold(3.0)
    play.bus.call("DEL", key)
    return key, None


STEP = Bound(True, True, "deadlines at Valkey are off by the step until it is noticed", tail=1.0)


@fault("clock-forward", "Valkey's clock is stepped forward by an hour", STEP)
def clock_forward(play, _):
    play.step_clock(3600)
    play.hold(2.5)  # until it is noticed
    return "", None


@fault("clock-back", "Valkey's clock is stepped back by an hour", STEP)
def clock_back(play, _):
    play.step_clock(-3600)
    play.hold(2.5)
    return "", None


# Processes.

@fault("kill-sidecar", "kill -9 of a sidecar, started again 2 s later", PEER)
def kill_sidecar(play, rng):
    name = rng.choice(INSTANCES)
    play.stop(name)
    play.hold(2.0)
    play.start_program(name)
    return name, None


@fault("kill-all-sidecars", "kill -9 of both sidecars of a service, started again 4 s later",
       Bound(True, True, "nobody is there: 503 for what was not begun, after a second or two; a sidecar that starts needs a moment", tail=2.0))
def kill_all_sidecars(play, rng):
    service = rng.choice(SERVICES)
    for number in (1, 2):
        play.stop(f"{service}-{number}")
    play.hold(4.0)
    for number in (1, 2):
        play.start_program(f"{service}-{number}")
    return service, None


@fault("kill-gateway", "kill -9 of a gateway, started again 1 s later",
       Bound(True, True, "its clients' connections break, or are refused until it is back", tail=1.0, breaks=True))
def kill_gateway(play, rng):
    name = rng.choice(GATEWAY_NAMES)
    play.stop(name)
    play.hold(1.0)
    play.start_program(name)
    return name, dataclasses.replace(FAULTS["kill-gateway"][2], gateway=GATEWAY_NAMES.index(name))


@fault("drain-gateway", "SIGTERM to a gateway, which is replaced when it has ended",
       Bound(True, True, "its clients find no listener, or a connection that was closed as they used it", tail=1.0, breaks=True))
def drain_gateway(play, rng):
    name = rng.choice(GATEWAY_NAMES)
    if code := play.stop(name, signal.SIGTERM):
        play.crashes.append((name, code, "drain-gateway"))
    play.start_program(name)
    return name, dataclasses.replace(FAULTS["drain-gateway"][2], gateway=GATEWAY_NAMES.index(name))


@fault("kill-service", "kill -9 of a service's process, started again 3 s later; its sidecar lives", PEER)
def kill_service(play, rng):
    name = rng.choice(INSTANCES)
    play.stop(f"service-{name}")
    play.hold(3.0)
    play.start_service(name)
    return name, None


@fault("stop-sidecar", "SIGSTOP of a sidecar for longer than its lease, then SIGCONT",
       Bound(True, True, "what it had in hand waits for the lease", most=IN_HAND))
def stop_sidecar(play, rng):
    name = rng.choice(INSTANCES)
    play.running[name].send_signal(signal.SIGSTOP)
    play.hold(LEASE + 2.0)
    play.running[name].send_signal(signal.SIGCONT)
    return name, None


@fault("stop-service", "SIGSTOP of a service's process for 6 s",
       Bound(True, True, "the sidecar's places fill, and again once a deadline has freed them, until the probe says down",
             most=3 * PLACES))
def stop_service(play, rng):
    name = rng.choice(INSTANCES)
    play.running[f"service-{name}"].send_signal(signal.SIGSTOP)
    play.hold(REQUEST_TIMEOUT + 1.0)
    play.running[f"service-{name}"].send_signal(signal.SIGCONT)
    return name, None


@fault("slow-service", "each request takes 2 s at one instance, for 4 s", dataclasses.replace(NONE, slowest=3.0 + 2.0))
def slow_service(play, rng):
    name = rng.choice(INSTANCES)
    play.set_mode(name, "slow")
    play.hold(4.0)
    play.set_mode(name, "normal")
    return name, None


@fault("half-answer", "an instance sends half of each answer and closes, for 3 s",
       Bound(False, True, "what may run twice is asked of the peer; the rest ran, and has no answer", slowest=3.0 + SERVICE_TIME, tail=0.1))
def half_answer(play, rng):
    name = rng.choice(INSTANCES)
    play.set_mode(name, "half")
    play.hold(3.0)
    play.set_mode(name, "normal")
    return name, None


@fault("restart-service", "a service's process ends in good order and is started again at once", PEER)
def restart_service(play, rng):
    name = rng.choice(INSTANCES)
    play.stop(f"service-{name}", signal.SIGTERM)
    play.start_service(name)
    return name, None


@fault("service-down", "a service's process ends in good order and is away for 6 s", PEER)
def service_down(play, rng):
    name = rng.choice(INSTANCES)
    play.stop(f"service-{name}", signal.SIGTERM)
    play.hold(6.0)
    play.start_service(name)
    return name, None


@fault("all-services-down", "both processes of a service are killed and away for 3 s; their sidecars live",
       Bound(True, True, "nobody can serve: 502 service-unreachable, or 503 once the sidecars have said so; what had begun has no answer",
             tail=2.0))
def all_services_down(play, rng):
    service = rng.choice(SERVICES)
    for number in (1, 2):
        play.stop(f"service-{service}-{number}")
    play.hold(3.0)
    for number in (1, 2):
        play.start_service(f"{service}-{number}")
    return service, None


@fault("drain-sidecar", "SIGTERM to a sidecar, which is replaced when it has ended",
       Bound(False, False, "it gives back what it had not begun and finishes the rest", slowest=3.0 + SERVICE_TIME))
def drain_sidecar(play, rng):
    name = rng.choice(INSTANCES)
    if code := play.stop(name, signal.SIGTERM):
        play.crashes.append((name, code, "drain-sidecar"))
    play.start_program(name)
    return name, None
