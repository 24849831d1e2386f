"""What requests meet when something dies: a backend, or an nginx worker, is killed under load, with
nginx's own ways and with the module in turn. And whether the module places keys as nginx does.
"""
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import cost
import harness

LIMIT = 64  # requests in flight to the instance that leaks are looked for at
LOAD_S = 3
LOG = "log_format outcome '$status $upstream_addr';\n"


def failed_and_retried(path):
    """From an access log: requests that failed, and those that needed more than one try."""
    failed = retried = total = 0
    with open(path, encoding="ascii") as file:
        for line in file:
            status, _, tried = line.strip().partition(" ")
            if status == "499":
                continue  # the load ended before the answer
            total += 1
            failed += status != "200"
            retried += "," in tried
    harness.check(total > 1000, f"only {total} requests in {path}")
    return failed, retried


def backend_dies(world, name, http):
    """Kills one of 16 backends under load, with 8 workers."""
    port, backend = harness.free_port(), harness.free_port()
    instances = harness.addresses(16, backend)
    load_at, nginx_at = map(cost.on, cost.processors())
    victims = [world.backends(instance, wrapper=load_at) for instance in instances]
    if name == "ballast":
        world.ballastd(f"[service.checkout]\ninstances = {json.dumps(instances)}\n"
                       'strategy = "round_robin"\ncheck = { kind = "http", path = "/health" }\n',
                       wrapper=load_at)
    folder = world.path(name)
    world.nginx(LOG + http(world, instances) + harness.server(port), name=name, workers=8, wrapper=nginx_at,
                access_log=f"{folder}/access.log outcome", events="worker_connections 1024;")
    load = threading.Thread(target=cost.wrk, args=(world, port, LOAD_S), kwargs={"check": False})
    load.start()
    time.sleep(LOAD_S / 3)
    world.kill(victims[5])
    load.join()
    return failed_and_retried(f"{folder}/access.log")


def failed_after_kill(rows, scale):
    def servers(instances, zone):
        listed = "".join(f"server {one} max_fails=3;\n" for one in instances)
        return f"upstream checkout {{\n{zone}\n{listed}keepalive 32;\n}}\n"

    ways = {"stock": lambda world, instances: servers(instances, ""),
            "stock_zone": lambda world, instances: servers(instances, "zone checkout 1m;"),
            "ballast": lambda world, instances: cost.ours(world, 32)}
    seen = {name: [] for name in ways}
    for _ in range(scale.kill_rounds):
        for name, http in ways.items():
            with harness.World(scale.programs) as world:
                seen[name].append(backend_dies(world, name, http))
    rows.add("nginx.failed_after_kill", [failed for failed, _ in seen["ballast"]], "requests", "0 requests")
    for name in ("stock", "stock_zone"):
        rows.add(f"nginx.failed_after_kill_{name}", [failed for failed, _ in seen[name]], "requests")
    for name in ("ballast", "stock", "stock_zone"):
        rows.add(f"nginx.retried_after_kill_{name}", [retried for _, retried in seen[name]], "requests")


def hold(port, count):
    """Requests that stay in flight."""
    streams = []
    for _ in range(count):
        streams.append(socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S))
        streams[-1].sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
    return streams


def refused(port, count):
    """Sends `count` requests that stay in flight, and how many are refused at once."""
    streams = hold(port, count)
    time.sleep(1)
    out = 0
    for stream in streams:
        stream.setblocking(False)
        try:
            out += re.match(rb"HTTP/1.1 50[0-9] ", stream.recv(4096)) is not None
        except BlockingIOError:
            pass
        stream.close()
    return out


def worker_dies(world, name, http):
    """Kills one of two workers, which has a dozen long requests, under load. How many requests too few the
    instance takes afterwards, and what the table says is in flight when nothing is."""
    port, backend = harness.free_port(), harness.free_port()
    load_at, nginx_at = map(cost.on, cost.processors())
    world.backends(f"lo:{backend}", wrapper=load_at)
    instance = harness.addresses(1, backend)[0]
    if name == "ballast":
        world.ballastd(f"[service.checkout]\ninstances = [\"{instance}\"]\nmax_in_flight = {LIMIT}\n"
                       'check = { kind = "none" }\nbreaker = { enabled = false }\n', wrapper=load_at)
    nginx = world.nginx(http(world, instance) + harness.server(port), name=name, workers=2, wrapper=nginx_at)
    held = hold(port, LIMIT // 2)
    load = threading.Thread(target=cost.wrk, args=(world, port, 2),
                            kwargs={"check": False, "connections": LIMIT // 4})
    load.start()
    time.sleep(1)
    victim = nginx.workers()[0]
    os.kill(victim, signal.SIGKILL)
    load.join()
    for stream in held:
        stream.close()
    harness.wait_for(lambda: len(nginx.workers()) == 2 and victim not in nginx.workers(), "a new worker")
    left = 0
    if name == "ballast":
        try:
            world.wait_in_flight("checkout", 0)
        except harness.Failed:
            left = world.counters("checkout")["in_flight"]
    else:
        time.sleep(1)  # the other worker notices who has left
    return refused(port, LIMIT), left


def leaked_in_flight(rows, scale):
    def stock(_, instance):
        return (f"upstream checkout {{\nzone checkout 1m;\nserver {instance} max_conns={LIMIT} max_fails=0;\n"
                "keepalive 32;\n}\n")

    seen = {"stock": [], "ballast": []}
    for _ in range(scale.kill_rounds):
        for name, http in (("stock", stock), ("ballast", lambda world, _: cost.ours(world, 32))):
            with harness.World(scale.programs) as world:
                seen[name].append(worker_dies(world, name, http))
    rows.add("nginx.leaked_in_flight", [max(pair) for pair in seen["ballast"]], "requests", "0 requests")
    rows.add("nginx.leaked_in_flight_stock", [pair[0] for pair in seen["stock"]], "requests")


def ketama_equal(rows, scale):
    keys = 10_000
    with harness.World(scale.programs) as world:
        backend, ports = harness.free_port(), [harness.free_port() for _ in range(2)]
        world.backends(f"lo:{backend}")
        weights = random.Random(7)
        members = [(one, weights.choice((1, 1, 2, 5))) for one in harness.addresses(50, backend)]
        listed = ", ".join(f'{{ address = "{one}", weight = {weight} }}' for one, weight in members)
        world.ballastd(f'[service.checkout]\ninstances = [{listed}]\nstrategy = "ketama"\n'
                       'check = { kind = "none" }\n')
        servers = "".join(f"server {one} weight={weight};\n" for one, weight in members)
        world.nginx("upstream stock {\nhash $arg_user consistent;\n" + servers + "keepalive 64;\n}\n" +
                    harness.upstream(world, more="keepalive 64;") +
                    harness.server(ports[0], "proxy_pass http://stock;") + harness.server(ports[1]), workers=1)
        paths = [f"/?user=user-{weights.getrandbits(40):x}" for _ in range(keys)]
        stock, ours = (harness.bodies(port, paths) for port in ports)
    rows.add("nginx.ketama_equal", [sum(a == b for a, b in zip(stock, ours))], "keys", f">= {keys} keys",
             "higher")


def version():
    run = subprocess.run([harness.find_nginx(), "-v"], capture_output=True, text=True, check=False)
    return run.stderr.strip().rpartition(" ")[2]
