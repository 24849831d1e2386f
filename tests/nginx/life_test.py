#!/usr/bin/env python3
"""nginx with the module while things begin and end: reloads, a binary upgrade, workers and ballastd
that are killed, tables that are missing or replaced. What is in flight stays exact through all of it.
usage: life_test.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [TEST...]
"""
import os
import re
import signal
import socket
import sys

import harness
from harness import Load, check, equal, free_port, get, is_alive, server, service, upstream, wait_for


def hold(port):
    """A request that stays in flight until it is released."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S)
    stream.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return stream


def sums_up(world, name="checkout"):
    """Everything that was started has ended in some way."""
    counters = world.counters(name)
    ended = sum(counters[outcome] for outcome in ("success", "connect_failure", "timeout", "reset", "server_error",
                                                  "overload", "cancelled", "abandoned"))
    equal((counters["in_flight"], counters["started"]), (0, ended), f"in flight, and started, of {counters}")
    return counters


def start(world, strategy='strategy = "round_robin"', workers=2, count=3, **options):
    port, backend = free_port(), free_port()
    instances = harness.addresses(count, backend)
    world.backends(*instances)
    world.ballastd(service(instances, strategy))
    return port, world.nginx(upstream(world) + server(port), workers=workers, **options)


def test_reload(world):
    """No request fails, one that lasts stays with its old worker, and nothing is counted twice or lost."""
    port, nginx = start(world)
    held = hold(port)
    world.wait_in_flight("checkout", 1)
    load = Load(port, keep_alive=False)  # a kept connection may be closed under a request by any reload
    for _ in range(3):
        load.wait_for_more(100)
        old = nginx.reload()
    load.wait_for_more(100)
    results = load.stop()
    equal(set(results), {200}, f"results {results}")
    world.wait_in_flight("checkout", 1)
    equal(world.counters("checkout")["success"], results[200], "successes")
    equal(get(port, "/release").status, 200, "status")
    check(held.recv(4096).startswith(b"HTTP/1.1 200 "), "the request of an old worker")
    held.close()
    wait_for(lambda: not any(map(is_alive, old)), "the old workers to leave")
    equal(sums_up(world)["success"], results[200] + 2, "successes")
    wait_for(lambda: len(world.rows()) == 2, lambda: f"two rows of workers: {world.rows()}")


def test_reload_to_another(world):
    """A reload that names another service, and one that is refused, which changes nothing."""
    port, backend = free_port(), free_port()
    one, other = harness.addresses(2, backend)
    world.backends(one, other)
    world.ballastd(service([one]) + service([other], name="other"))
    nginx = world.nginx(upstream(world) + server(port))
    equal(get(port).body, one, "who answered")
    nginx.write(world.nginx_conf(upstream(world, "nobody", name="checkout") + server(port)))
    workers = nginx.workers()
    nginx.send(signal.SIGHUP)
    wait_for(lambda: "is not published" in nginx.told(), "the refusal")
    equal((get(port).body, nginx.workers()), (one, workers), "who answers, and workers")
    nginx.reload(world.nginx_conf(upstream(world, "other", name="checkout") + server(port)))
    wait_for(lambda: get(port).body == other, "the other to answer")


def test_reload_without(world):
    """Reloads that drop the module and take it back: nobody runs code that is no longer there, and no row stays."""
    port, nginx = start(world)
    with_module = world.nginx_conf(upstream(world) + server(port))
    for _ in range(3):
        old = nginx.reload(world.nginx_conf(server(port, "return 200 none;"), module=False))
        wait_for(lambda old=old: not any(map(is_alive, old)), "the old workers to leave")
        equal((get(port).body, world.rows()), ("none", []), "answer and rows without the module")
        nginx.reload(with_module)
        wait_for(lambda: get(port).body != "none", "an instance to answer")
    equal(len(world.rows()), 2, "rows")
    check("signal 11" not in nginx.told(), f"a crash: {nginx.told()}")


def test_binary_upgrade(world):
    """USR2, WINCH, QUIT: the old binary's workers drain beside the new one's."""
    port, nginx = start(world, daemon="on")  # a child of whoever started it ignores USR2
    old_master, old_workers = nginx.master(), nginx.workers()
    held = hold(port)
    world.wait_in_flight("checkout", 1)
    load = Load(port, keep_alive=False)
    load.wait_for_more(100)
    nginx.send(signal.SIGUSR2)
    wait_for(lambda: os.path.exists(nginx.pid_file) and nginx.master() != old_master and len(nginx.workers()) == 2,
             lambda: f"a new master: {nginx.told()}")
    load.wait_for_more(100)
    os.kill(old_master, signal.SIGWINCH)
    wait_for(lambda: sum(map(is_alive, old_workers)) <= 1, "the old workers that have nothing to do")
    load.wait_for_more(100)
    equal(world.counters("checkout")["in_flight"] >= 1, True, "the held request is in flight")
    equal(get(port, "/release").status, 200, "status")
    check(held.recv(4096).startswith(b"HTTP/1.1 200 "), "the request of an old worker")
    held.close()
    os.kill(old_master, signal.SIGQUIT)
    wait_for(lambda: not any(map(is_alive, [old_master, *old_workers])), "the old processes to leave")
    load.wait_for_more(100)
    results = load.stop()
    equal(set(results), {200}, f"results {results}")
    equal(sums_up(world)["success"], results[200] + 2, "successes")


def test_worker_crash(world):
    """kill -9 of a worker: what it had in flight is no longer, the others' is; twice under load."""
    port, nginx = start(world)
    streams = []
    while True:  # until both workers have some
        streams.append(hold(port))
        world.wait_in_flight("checkout", len(streams))
        by_row = {row["pid"]: row["in_flight"] for row in world.rows()}
        if len(streams) >= 8 and len(by_row) == 2 and min(by_row.values()) > 0:
            break
        check(len(streams) < 500, f"all to one worker: {by_row}")
    victim = nginx.workers()[0]
    equal(sum(by_row.values()), len(streams), "in flight by row")
    os.kill(victim, signal.SIGKILL)
    world.wait_in_flight("checkout", len(streams) - by_row[victim])
    equal(world.counters("checkout")["abandoned"], by_row[victim], "abandoned")
    wait_for(lambda: len(nginx.workers()) == 2 and victim not in nginx.workers(), "a new worker")
    load = Load(port, keep_alive=False)
    for _ in range(2):
        load.wait_for_more(200)
        victim = nginx.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(nginx.workers()) == 2 and victim not in nginx.workers(), "a new worker")
    load.wait_for_more(200)
    results = load.stop()
    check(results[200] > 500, f"results {results}")
    get(port, "/release")
    world.wait_in_flight("checkout", 0)
    sums_up(world)
    for stream in streams:
        stream.close()


def test_no_table(world):
    """`nginx -t` names file and line; with `missing=wait` there is an error page until the table is there."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(*instances)
    conf = world.nginx_conf(upstream(world) + server(port), name="judged")
    line = next(n for n, text in enumerate(conf.splitlines(), 1) if text.startswith("ballast "))
    status, told = world.judge(conf)
    check(status != 0 and re.search(rf"\[emerg\].*judged/nginx\.conf:{line}\b", told), f"nginx -t: {status} {told}")
    check("ballastd" in told, f"it does not say what to do: {told}")
    waiting = upstream(world, arguments="key=$arg_user missing=wait") + server(
        port, more="error_page 502 =503 /sorry;\nlocation = /sorry { internal; return 503 'sorry'; }")
    status, told = world.judge(world.nginx_conf(waiting, name="judged"))
    check(status == 0 and f"judged/nginx.conf:{line}" in told, f"nginx -t: {status} {told}")
    nginx = world.nginx(waiting)
    answer = get(port)
    equal((answer.status, answer.body), (503, "sorry"), "the answer without a table")
    workers = nginx.workers()
    world.ballastd(service(instances))
    wait_for(lambda: get(port).status == 200, "an answer")
    wait_for(lambda: all(get(port, f"/?user={n}").status == 200 for n in range(20)), "answers of all workers")
    equal(nginx.workers(), workers, "workers")


def test_unknown_service(world):
    port = free_port()
    instances = harness.addresses(1, free_port())
    world.backends(*instances)
    ballastd = world.ballastd(service(instances))
    conf = world.nginx_conf(upstream(world, "later") + server(port, "proxy_pass http://later;"), name="judged")
    status, told = world.judge(conf)
    check(status != 0 and re.search(r'"later".*judged/nginx\.conf:\d+', told), f"nginx -t: {status} {told}")
    world.nginx(upstream(world, "later", arguments="missing=wait") + server(port, "proxy_pass http://later;"))
    equal(get(port).status, 503, "status")
    world.write("ballastd.toml", f'[ballast]\nnamespace = "{world.namespace}"\n' + service(instances) +
                service(instances, name="later"))
    ballastd.send_signal(signal.SIGHUP)
    wait_for(lambda: get(port).status == 200, "an answer")


def test_wrong_arguments(world):
    """Every mistake is refused with file and line."""
    instances = harness.addresses(1, free_port())
    world.ballastd(service(instances))
    inside = {
        "ballast;": "arguments",
        f"ballast checkout namespace={world.namespace} tries=0;": "tries",
        f"ballast checkout namespace={world.namespace} tries=many;": "tries",
        f"ballast checkout namespace={world.namespace} keys=$arg_user;": "keys=",
        f"ballast checkout namespace={world.namespace} key=;": "key=",
        f"ballast checkout namespace={world.namespace} sticky=cookie;": "sticky",
        f"ballast checkout namespace={world.namespace} sticky=cookie 'a b';": "sticky",
        f"ballast checkout namespace={world.namespace} sticky=cookie a path=relative;": "path=relative",
        f"ballast checkout namespace={world.namespace} sticky=cookie a path=/ path=/;": "path=/",
        f"ballast checkout namespace={world.namespace} sticky=cookie a domain=$host;": "domain=",
        f"ballast checkout namespace={world.namespace} sticky=cookie a max-age=0;": "max-age=0",
        f"ballast checkout namespace={world.namespace} sticky=cookie a samesite=none;": "secure",
        f"ballast checkout namespace={world.namespace} missing=maybe;": "missing",
        f"ballast checkout namespace={world.namespace} directory=/tmp;": "directory",
        "ballast checkout directory=relative;": "directory",
        f"ballast {'x' * 64} namespace={world.namespace};": "x" * 64,
        f"ballast checkout namespace={world.namespace}; ballast checkout;": "duplicate",
        f"keepalive 8; ballast checkout namespace={world.namespace};": "keepalive",
        f"server 127.0.0.1:80; ballast checkout namespace={world.namespace};": "server",
        f"least_conn; ballast checkout namespace={world.namespace};": "balancing method",
    }
    for text, word in inside.items():
        conf = world.nginx_conf(f"upstream checkout {{\n{text}\n}}\n" + server(free_port()), name="judged")
        status, told = world.judge(conf)
        check(status != 0 and re.search(r"judged/nginx\.conf:\d+", told) and word in told,
              f"{text!r}: {status} {told}")


def test_ballastd_dies(world):
    """Without ballastd picks go on; its successor finds everything as it is."""
    port, backend = free_port(), free_port()
    instances = harness.addresses(3, backend)
    world.backends(*instances)
    services = service(instances, 'strategy = "round_robin"')
    ballastd = world.ballastd(services)
    nginx = world.nginx(upstream(world) + server(port))
    load = Load(port)
    load.wait_for_more(200)
    world.kill(ballastd)
    load.wait_for_more(300)
    world.ballastd(services)
    load.wait_for_more(300)
    results = load.stop()
    equal(set(results), {200}, f"results {results}")
    equal(sums_up(world)["success"], results[200], "successes")
    equal(len(nginx.workers()), 2, "workers")


def test_growth(world):
    """The table is replaced by a larger one while requests are served."""
    port, backend = free_port(), free_port()
    instances = harness.addresses(300, backend)
    world.backends(f"lo:{backend}")
    ballastd = world.ballastd(service(instances[:3], 'strategy = "round_robin"'))
    segment = world.dump()["segment"]["id"]
    world.nginx(upstream(world) + server(port))
    held = hold(port)
    world.wait_in_flight("checkout", 1)
    load = Load(port)
    load.wait_for_more(200)
    world.write("ballastd.toml", f'[ballast]\nnamespace = "{world.namespace}"\n' +
                service(instances, 'strategy = "round_robin"'))
    ballastd.send_signal(signal.SIGHUP)
    wait_for(lambda: len(world.instances("checkout")) == 300, "300 instances")
    check(world.dump()["segment"]["id"] != segment, "the segment is the old one")
    load.wait_for_more(1000)
    results = load.stop()
    equal(set(results), {200}, f"results {results}")
    get(port, "/release")
    check(held.recv(4096).startswith(b"HTTP/1.1 200 "), "the request that began with the old table")
    held.close()
    world.wait_in_flight("checkout", 0)
    served = sum(one["counters"]["success"] > 0 for one in world.instances("checkout").values())
    equal(served, 300, "instances that served")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(harness.main(TESTS, sys.argv[1:]))
