"""What the module costs, against nginx's own ways to choose: both nginx run side by side with the same
backends, and short windows of load on the one and on the other take turns. The figure is processor time
of the nginx workers for a request (schedstat), and a ratio is taken within its pair of windows.
"""
import json
import os
import re
import shutil
import statistics
import subprocess
import time

import harness

CONNECTIONS = 64
REQUEST = r"""local n = math.random(1000000)
request = function()
  n = n + 1
  return "GET /?user=" .. (n * 7919) % 1000003 .. " HTTP/1.1\r\nHost: x\r\n\r\n"
end
"""


def processors():
    """Where load and backends run, and where nginx does: two different ones, if there are two."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1 % len(allowed)]


def at_priority(level):
    """Real-time where that is allowed, so that what else runs takes nothing from what is measured."""
    return ("chrt", "-r", str(level)) if os.geteuid() == 0 else ()


def on(processor):
    return "taskset", "-c", str(processor), *at_priority(10)


def wrk(world, port, seconds, threads=1, connections=CONNECTIONS, check=True):
    """Load for so long; how many requests were answered."""
    script = world.path("request.lua")
    if not os.path.exists(script):
        world.write("request.lua", REQUEST)
    argv = [*on(processors()[0]), "wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", script,
            f"http://127.0.0.1:{port}/"]
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    count = re.search(r"(\d+) requests in", run.stdout)
    harness.check(run.returncode == 0 and count, f"wrk: {run.stdout}{run.stderr}")
    bad = re.search(r"(Non-2xx.*|Socket errors:.*)", run.stdout)
    harness.check(not check or not bad, f"not every request was answered: {bad and bad[1]}")
    return int(count[1])


class Contender:
    """An nginx under load, and what a request costs it."""

    def __init__(self, world, name, http, workers=2):
        self.world, self.port = world, harness.free_port()
        self.nginx = world.nginx(http + harness.server(self.port), name=name, workers=workers,
                                 events="worker_connections 8192;", wrapper=on(processors()[1]))
        self.workers = self.nginx.workers()

    def measure(self, seconds):
        """Microseconds of processor for a request, and requests a second."""
        before = sum(map(harness.run_ns, self.workers))
        begin = time.monotonic()
        count = wrk(self.world, self.port, seconds)
        spent = sum(map(harness.run_ns, self.workers)) - before
        return spent / 1e3 / count, count / (time.monotonic() - begin)


def prepare(world, count, service):
    """Backends and ballastd: `count` instances behind one server."""
    backend = harness.free_port()
    world.backends(f"lo:{backend}", wrapper=on(processors()[0]))
    instances = harness.addresses(count, backend)
    world.ballastd(f"[service.checkout]\ninstances = {json.dumps(instances)}\n{service}\n"
                   'check = { kind = "http", path = "/health", interval = "10s" }\n',
                   wrapper=on(processors()[0]))
    return instances


def stock(instances, how, keepalive):
    servers = "".join(f"server {instance};\n" for instance in instances)
    return f"upstream checkout {{\n{how}\n{servers}keepalive {keepalive};\n}}\n"


def ours(world, keepalive):
    return harness.upstream(world, more=f"keepalive {keepalive};")


def compare(rows, scale, case, count, how, service, keepalive):
    """One row of ratios, ours over stock, and what each one needed; the ratios."""
    with harness.World(scale.programs) as world:
        instances = prepare(world, count, service)
        base = Contender(world, "stock", stock(instances, how, keepalive))
        subject = Contender(world, "ballast", ours(world, keepalive))
        for one in (base, subject):
            one.measure(scale.warm_s)
        ratios, base_us, subject_us = [], [], []
        for number in range(scale.rounds):
            pair = [base, subject] if number % 2 == 0 else [subject, base]
            seen = {one: one.measure(scale.window_s) for one in pair}
            base_us.append(seen[base][0])
            subject_us.append(seen[subject][0])
            ratios.append(seen[subject][0] / seen[base][0])
        counters = world.counters("checkout")
        harness.check(counters["success"] > 0 and counters["connect_failure"] == 0,
                      f"the requests are not counted: {counters}")
    rows.add(case, ratios, "x")
    head, slash, tail = case.partition("/")
    rows.add(f"{head}_stock_us{slash}{tail}", base_us, "us")
    rows.add(f"{head}_ballast_us{slash}{tail}", subject_us, "us")
    return ratios


def compare_1000(rows, scale, case, how, service, goal):
    """With a connection kept for every instance, and with so few that nearly each request connects anew,
    which is then most of its cost on both sides; the worse counts."""
    both = [compare(rows, scale, f"{case}/{name}", scale.instances, "zone checkout 4m;\n" + how, service, keepalive)
            for name, keepalive in (("keepalive_all", scale.instances + CONNECTIONS), ("keepalive_32", 32))]
    rows.add(case, max(both, key=statistics.median), "x", goal)


def least_conn_1000(rows, scale):
    compare_1000(rows, scale, "nginx.least_conn_1000", "least_conn;", 'strategy = "least_connections"', "<= 0.80x")


def chash_1000(rows, scale):
    compare_1000(rows, scale, "nginx.chash_1000", "hash $arg_user consistent;", 'strategy = "ketama"', "<= 0.90x")


def round_robin_16(rows, scale):
    ratios = compare(rows, scale, "nginx.round_robin_16/keepalive_32", 16, "", 'strategy = "round_robin"', 32)
    rows.add("nginx.round_robin_16", ratios, "x", "<= 1.03x")


def sampled(world, contender, seconds):
    """Samples of perf in the workers while they are under load: {file of code: how many}."""
    data = world.path("perf.data")
    record = subprocess.Popen(
        [*at_priority(20), "perf", "record", "-q", "-e", "cpu-clock", "-F", "4000", "-o", data,
         "-p", ",".join(map(str, contender.workers)), "--", "sleep", str(seconds)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wrk(world, contender.port, seconds + 1)
    told = record.communicate()[1]
    harness.check(record.returncode == 0, f"perf record: {told}")
    script = subprocess.run(["perf", "script", "-i", data, "-F", "ip,dso"], capture_output=True, text=True,
                            check=True)
    counts = {}
    for file in re.findall(r"^\s*[0-9a-f]+ \((.*)\)\s*$", script.stdout, re.MULTILINE):
        name = os.path.basename(file)
        counts[name] = counts.get(name, 0) + 1
    harness.check(sum(counts.values()) > 500 * seconds, f"perf saw too little: {counts}")
    return counts


def pick_share(rows, scale):
    """All samples in the module, which has libballast in it, and in the vDSO, where it reads the clock twice
    a request (nginx's own reading, once a round of events, is in that too), of all in the workers, kernel
    included."""
    if shutil.which("perf") is None:
        rows.note("nginx.pick_share is not measured: perf is not there (Debian's linux-perf)")
        return
    worst = None
    for name, count, service in (("n1000", scale.instances, 'strategy = "least_connections"'),
                                 ("n16", 16, 'strategy = "round_robin"')):
        with harness.World(scale.programs) as world:
            prepare(world, count, service)
            contender = Contender(world, "ballast", ours(world, 32))
            contender.measure(scale.warm_s)
            shares = []
            for _ in range(max(2, scale.rounds // 2)):
                counts = sampled(world, contender, 2)
                picking = sum(n for file, n in counts.items()
                              if file.startswith("ngx_http_ballast") or file == "[vdso]")
                shares.append(100 * picking / sum(counts.values()))
        rows.add(f"nginx.pick_share/{name}", shares, "%")
        if worst is None or statistics.median(shares) > statistics.median(worst):
            worst = shares
    rows.add("nginx.pick_share", worst, "%", "<= 0.5 %")
