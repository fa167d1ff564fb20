"""What scripts/chaos makes of its records: a row for each kind of fault, verdicts, and the first of what broke them.

Records are read as a stream and added up; of a request nothing is kept but one byte, how often it ran.
"""
import array
import collections
import dataclasses

from chaos_faults import FAULTS, INSTANCES, Bound
from chaos_records import (ANSWERED, BROKEN, CODES, EXECUTION, OUTCOMES, REFUSED, REQUEST, SILENT, WRONG, gateway_of, is_repeatable,
                           method_of)

NOT_RUN_CODES = ("no-instance", "bus-unavailable", "queue-full", "service-unreachable")  # 503, and 502 that promises the same
SHOWN = 4
QUIET = Bound(False, False, "nothing is broken", slowest=3.0)


@dataclasses.dataclass
class Happening:
    """One fault. Between `start` and `end` it was broken; at `recovered` all was well again."""
    name: str
    start: float
    detail: str = ""
    bound: Bound | None = None
    end: float = 0.0
    recovered: float = 0.0
    is_well: bool = True
    odd_keys: int = 0
    failures: int = 0
    beyond: int = 0  # failures that its bound does not allow


class Tally:
    def __init__(self):
        self.happenings = 0
        self.requests = self.answered = self.beyond = self.late = self.stalled = 0
        self.codes, self.outcomes = collections.Counter(), collections.Counter()
        self.twice = self.lies = self.not_run_but_run = self.again = 0
        self.times = array.array("f")  # of answers
        self.recovery = 0.0
        self.odd_keys = 0
        self.is_well = True

    def lost(self):
        return self.lies + self.outcomes[SILENT] + self.outcomes["broken"]


def records(path, form):
    with open(path, "rb") as file:
        while block := file.read(form.size * 4096):
            yield from form.iter_unpack(block[:len(block) // form.size * form.size])


def executions(play, sent):
    """How often each request began to run, by its number."""
    runs = bytearray(sent + 1)
    for instance in INSTANCES:
        for number, _ in records(play.executions_of(instance), EXECUTION):
            if number <= sent and runs[number] < 255:
                runs[number] += 1
    return runs


def add_up(play, path, sent, happenings, stalls=()):
    """(tallies by fault's name, `quiet` among them; texts on what no verdict allows)"""
    runs = executions(play, sent)
    tallies = {"quiet": Tally()}
    for one in happenings:
        tally = tallies.setdefault(one.name, Tally())
        tally.happenings += 1
        tally.recovery = max(tally.recovery, one.recovered - one.end)
        tally.odd_keys = max(tally.odd_keys, one.odd_keys)
        tally.is_well &= one.is_well
    odd, kinds = [], collections.Counter()  # (number, text); how many of a kind
    first = 0
    in_order = sorted(happenings, key=lambda one: one.start)
    seen = 0
    for number, start, end, status, code, outcome in records(path, REQUEST):
        seen += 1
        # Records come by their ends, and none lives for longer than its deadline: windows before that are over.
        while first < len(in_order) and in_order[first].recovered < start - 10.0:
            first += 1
        window = None
        for one in in_order[first:]:
            if one.start > end:
                break
            if one.recovered >= start:
                window = one
                break
        tally = tallies[window.name if window else "quiet"]
        judge(number, start, end, status, code, outcome, runs[number], window, tally, odd, kinds, stalls)
    # Of what has no record, nothing is known but that it was sent.
    tallies["quiet"].outcomes[SILENT] += sent - seen
    return tallies, where_they_ran(play, odd)


def judge(number, start, end, status, code, outcome, ran, window, tally, odd, kinds, stalls):
    bound = (window.bound or FAULTS[window.name][2]) if window else QUIET
    repeatable = is_repeatable(number)
    tally.requests += 1
    is_good = outcome == ANSWERED and 200 <= status < 300
    complaints = []
    if outcome == ANSWERED or outcome == WRONG:
        tally.times.append(end - start)
    if is_good:
        tally.answered += 1
        if not ran:
            tally.lies += 1
            complaints.append("told success, never ran")
        if repeatable and bound.slowest and end - start > bound.slowest:
            if any(first < end and start < last for first, last in stalls):
                tally.stalled += 1
            else:
                tally.late += 1
                complaints.append(f"later than {bound.slowest:g} s")
    else:
        if outcome == ANSWERED:
            tally.codes[CODES[code] if code > 1 else f"status {status}"] += 1
        else:
            tally.outcomes[outcome] += 1
            is_killed = bound.breaks and gateway_of(number) == bound.gateway
            if outcome in (BROKEN, REFUSED) and not is_killed:
                tally.outcomes["broken"] += 1
                complaints.append("the connection of a living gateway broke")
            if outcome == SILENT:
                complaints.append("no answer by its deadline and 1 s")
            if outcome == WRONG:
                complaints.append("the answer to another request")
        if window:
            window.failures += 1
        why = beyond(bound, window, repeatable, number, start)
        if why:
            tally.beyond += 1
            complaints.append(why)
    if not repeatable:
        if ran > 1:
            tally.twice += 1
            complaints.append(f"ran {ran} times")
        if status in (502, 503) and CODES[code] in NOT_RUN_CODES and ran:
            tally.not_run_but_run += 1
            complaints.append(f"told {status} {CODES[code]}, but ran")
    elif ran > 1:
        tally.again += 1
    # The first few of each kind are told; there may be thousands.
    kind = (tuple(complaint.rstrip("0123456789. s") for complaint in complaints), window.name if window else "", status, code)
    if complaints and kinds[kind] < SHOWN:
        kinds[kind] += 1
        what = OUTCOMES[outcome] if outcome != ANSWERED else f"{status} {CODES[code]}".strip()
        since = f"begun {start - window.start:+.2f} s, ended {end - window.start:+.2f} s of {window.start:.2f}" if window else f"begun {start:.2f}"
        where = f"{window.name} {window.detail}".strip() if window else "quiet"
        odd.append((number, f"{', '.join(complaints)}: {method_of(number)} {number} via gateway-{gateway_of(number) + 1}: {what}, {since} [{where}]"))


def beyond(bound, window, repeatable, number, start):
    """Why this failure is more than its fault may cost, or None."""
    if not (bound.repeatable if repeatable else bound.other):
        return "may not fail"
    if bound.gateway is not None and gateway_of(number) != bound.gateway:
        return "failed at a gateway that was not hit"
    if bound.most is not None:
        return f"more than {bound.most} failed" if window.failures > bound.most else None
    if start > window.end + bound.tail:
        return "failed, although begun after the fault's end"
    return None


def where_they_ran(play, odd):
    wanted = {number: [] for number, _ in odd}
    for instance in INSTANCES:
        for number, at in records(play.executions_of(instance), EXECUTION):
            if number in wanted:
                wanted[number].append((at, instance))
    return [text + "".join(f"; ran at {instance} {at:.2f}" for at, instance in sorted(wanted[number])) for number, text in odd]


def percentile(times, share):
    return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0


def table(head, rows, left=1):
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * left + " ---: |" * (len(head) - left)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"


def fault_table(tallies):
    head = ("fault", "times", "requests", "answered", "failed, by code", "broken with a gateway", "slowest answer", "p99", "seen well after",
            "beyond its bound", "run twice", "lost", "told not run, but run", "odd keys")
    rows = []
    for name, tally in sorted(tallies.items(), key=lambda item: list(FAULTS).index(item[0]) if item[0] in FAULTS else -1):
        times = sorted(tally.times)
        failed = ", ".join(f"{count} {code}" for code, count in tally.codes.most_common())
        broken = tally.outcomes[BROKEN] + tally.outcomes[REFUSED] - tally.outcomes["broken"]
        rows.append((f"`{name}`" if name in FAULTS else name, tally.happenings or "", tally.requests, tally.answered, failed or "-", broken or "-",
                     f"{times[-1] if times else 0:.2f} s", f"{percentile(times, 0.99) * 1e3:.0f} ms",
                     f"{tally.recovery:.1f} s" + ("" if tally.is_well else " (not)") if tally.happenings else "-", tally.beyond + tally.late,
                     tally.twice, tally.lost(), tally.not_run_but_run, tally.odd_keys))
    return table(head, rows)


def bound_table(names):
    rows = []
    for name in names:
        _, what, bound = FAULTS[name]
        may = {(False, False): "none", (False, True): "only what may not run twice", (True, True): "any", (True, False): "only what may run twice"}
        limits = [may[bound.repeatable, bound.other]]
        if bound.most is not None:
            limits.append(f"at most {bound.most}")
        elif bound.repeatable or bound.other:
            limits.append(f"begun until {bound.tail:g} s after its end")
        if bound.slowest:
            limits.append(f"what may run twice is answered within {bound.slowest:g} s")
        rows.append((f"`{name}`", what, "; ".join(limits), bound.why))
    return table(("fault", "what happens", "may fail", "why"), rows, left=4)
