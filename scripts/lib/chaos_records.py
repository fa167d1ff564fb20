"""What the parts of scripts/chaos say to each other: the records of requests and of executions, and what a number means.

A request is known by its number, which is in its target and in the answer to it. Times are of the monotonic clock, which all
processes of a machine share.
"""
import struct

# Of one request, written by the client: number, start, end, status (0: none), code, outcome.
REQUEST = struct.Struct("<IddHBB")
# Of one execution, written by the service as it begins: number, time.
EXECUTION = struct.Struct("<Id")

OUTCOMES = ("answered", "refused", "broken", "silent", "wrong answer")
ANSWERED, REFUSED, BROKEN, SILENT, WRONG = range(len(OUTCOMES))
# `code` of application/problem+json; what is not here is `other`.
CODES = ("", "other", "no-route", "method-not-allowed", "body-too-large", "bad-request", "rate-limited", "no-instance", "bus-unavailable",
         "queue-full", "service-unreachable", "bad-answer", "outcome-unknown", "timeout", "loop-detected")

GATEWAYS = 2
SERVICE_TIME = 0.065  # at most
METHODS = ("GET", "GET", "GET", "GET", "PUT", "PUT", "POST", "POST", "POST", "POST")  # of each ten requests to a gateway


def gateway_of(number):
    return number % GATEWAYS


def method_of(number):
    return METHODS[number // GATEWAYS % len(METHODS)]


def is_repeatable(number):
    return method_of(number) != "POST"


def service_of(number):
    return "things" if is_repeatable(number) else "counter"


def target_of(number):
    return f"/{service_of(number)}/work/{number}"


def service_time_of(number):
    """5 to 64 ms: several requests are always at a service, in all stages."""
    return 0.005 + number * 7 % 60 / 1000
