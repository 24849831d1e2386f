#!/usr/bin/env python3
"""Sets ballastd upon a server that answers in every wrong way, and looks at what becomes of it.

Through so many answers (40,000; `tools/dev torture` asks for a million) the checker must live, its
memory must stay flat once it has met everything, its descriptors must not leak, and a good server
that it checks besides must never be called down. What it makes of each single misbehaviour is the
unit tests' matter. usage: torture_test.py BALLASTD BALLAST HOSTILE_SERVER [ANSWERS [PARTS]]

PARTS says what ballastd was built with, of "tls,grpc".
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# What is checked: how the hostile server knows it, and how it is checked.
KINDS = {
    "http": ("http", 'kind = "http"'),
    "tcp": ("redis", 'kind = "tcp"'),
    "redis": ("redis", 'kind = "tcp"\npreset = "redis"'),
    "postgres": ("postgres", 'kind = "tcp"\npreset = "postgres"'),
    "mysql": ("mysql", 'kind = "tcp"\npreset = "mysql"'),
    "smtp": ("smtp", 'kind = "tcp"\npreset = "smtp"'),
    "agent": ("agent", 'kind = "agent"'),
    "grpc": ("grpc", 'kind = "grpc"'),
    "https": ("tls", 'kind = "http"\ntls = { verify = false }'),
    "prime": ("prime", 'kind = "http"\ntls = { verify = false }'),
    "udp": ("udp", 'kind = "udp"\nsteps = [{ send = "ping" }, { expect = "pong" }]'),
}
# What ballastd must have been built with for a kind.
NEEDS = {"https": "tls", "prime": "tls", "grpc": "grpc"}
INSTANCES = 24  # of each kind
SHARE = 0.25  # of the answers that are due to a kind if all get the same: so many it must get
WARM_SHARE = 0.4  # by then everything has been met
GROWTH_KB = 3 * 1024  # what a heap may still wander, of some 20 MB
PATIENCE_S = 100  # without a single answer more


def fail(text):
    print(f"torture_test: {text}", file=sys.stderr)
    sys.exit(1)


def free_ports(count):
    """Ports below the ephemeral range that nobody uses on loopback."""
    found = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def addresses(port):
    return [f"127.0.1.{i + 1}:{port}" for i in range(INSTANCES)]


def configuration(ports, good):
    lines = ["[ballast]", "max_workers = 1", ""]
    for kind, port in ports.items():
        lines += [f"[service.{kind}]", f"instances = {json.dumps(addresses(port))}",
                  f"[service.{kind}.check]", KINDS[kind][1], 'interval = "20ms"',
                  'fast_interval = "20ms"', 'timeout = "20ms"', ""]
    lines += ["[service.good]", f'instances = ["127.0.0.1:{good}"]', "[service.good.check]",
              'interval = "5s"', 'fast_interval = "5s"', 'timeout = "5s"', ""]
    return "\n".join(lines)


class GoodServer:
    """An HTTP server that is always right, in a process of its own."""

    def __init__(self, port):
        code = ("import http.server, sys\n"
                "class H(http.server.BaseHTTPRequestHandler):\n"
                "    protocol_version = 'HTTP/1.1'\n"
                "    def do_GET(self):\n"
                "        self.send_response(200); self.send_header('Content-Length', '0')\n"
                "        self.end_headers()\n"
                "    def log_message(self, *a): pass\n"
                "s = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)\n"
                "print('ready', flush=True); s.serve_forever()\n")
        self.process = subprocess.Popen([sys.executable, "-c", code, str(port)],
                                        stdout=subprocess.PIPE)
        self.process.stdout.readline()


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def look(ballast, directory):
    """How many checks have ended, by kind, the good instance, and why `prime` failed."""
    out = subprocess.run([ballast, "dump", "--json", "--dir", directory],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if out.returncode != 0:
        return {}, None, set()
    services = {service["name"]: service for service in json.loads(out.stdout)["services"]}
    if not {"good", *KINDS} <= services.keys():
        return {}, None, set()  # it starts
    checks = {kind: sum(instance["checks"] for instance in services[kind]["instances"])
              for kind in KINDS}
    reasons = {instance["reason"] for instance in services.get("prime", {"instances": []})["instances"]}
    return checks, services["good"]["instances"][0], reasons


def main(ballastd, ballast, hostile, answers, parts):
    for kind in [kind for kind, part in NEEDS.items() if part not in parts]:
        del KINDS[kind]
    folder = tempfile.mkdtemp(prefix="ballast-torture.", dir="/dev/shm")
    processes = []
    try:
        *kind_ports, good = free_ports(len(KINDS) + 1)
        ports = dict(zip(KINDS, kind_ports))
        listens = [f"{KINDS[kind][0]}:{address}" for kind, port in ports.items()
                   for address in addresses(port)]
        server = subprocess.Popen([hostile, "1", *listens], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        processes.append(server)
        if server.stdout.readline() != b"ready\n":
            fail("the hostile server did not start")
        processes.append(GoodServer(good).process)
        config = os.path.join(folder, "ballastd.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(configuration(ports, good))
        log = open(os.path.join(folder, "log"), "wb")
        directory = os.path.join(folder, "namespace")
        checker = subprocess.Popen([ballastd, "--config", config, "--directory", directory],
                                   stderr=log)
        processes.append(checker)

        warm = None
        seen, seen_at, reasons = 0, time.monotonic(), set()
        while seen < answers:
            time.sleep(0.1)
            if checker.poll() is not None:
                sys.stderr.write(open(log.name, errors="replace").read()[-3000:])
                fail(f"ballastd ended with {checker.returncode}")
            checks, instance, new_reasons = look(ballast, directory)
            reasons |= new_reasons
            if sum(checks.values()) > seen:
                seen, seen_at = sum(checks.values()), time.monotonic()
            elif time.monotonic() - seen_at > PATIENCE_S:
                fail(f"no answer more for {PATIENCE_S} s, after {seen}")
            if warm is None and seen >= answers * WARM_SHARE:
                warm = memory_kb(checker.pid), descriptors(checker.pid), instance["flips"]
        memory, files = memory_kb(checker.pid), descriptors(checker.pid)
        print(f"torture: answers={seen} memory_kb={warm[0]}..{memory} descriptors={warm[1]}..{files}"
              f" good_flips={instance['flips']}")
        print("torture:", *(f"{kind}={count}" for kind, count in checks.items()))
        for kind, count in checks.items():
            if count < seen / len(KINDS) * SHARE:
                fail(f"only {count} of {seen} answers were {kind}'s")
        if memory > warm[0] + GROWTH_KB:
            fail(f"memory grew from {warm[0]} kB to {memory} kB")
        if files > warm[1] + 3 * INSTANCES * len(KINDS):
            fail(f"descriptors grew from {warm[1]} to {files}")
        if "prime" in KINDS and "tls_failed" not in reasons:
            fail(f"a key exchange over a huge prime is taken part in: {reasons}")
        if instance["health"] != "up" or instance["flips"] != warm[2]:
            fail(f"the good server was called down: {instance}")
        checker.send_signal(signal.SIGTERM)
        if checker.wait(PATIENCE_S) != 0:
            fail(f"ballastd left with {checker.returncode}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 40_000,
         (sys.argv[5] if len(sys.argv) > 5 else "tls,grpc").split(","))
