#!/usr/bin/env python3
"""nginx with the modules under valgrind: everything that they do, under load, with a reload, and then
no leak and no wrong access in any process. Memory of a request's own pool is nginx's to give back, so
of that valgrind sees only what is used without having been written.
usage: memory_test.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [TEST...]
"""
import glob
import json
import os
import re
import shutil
import signal
import socket
import sys

import harness
import protocols_test
from harness import Load, check, equal, free_port, get, server, service, upstream

SUPPRESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nginx.supp")


def valgrind(world):
    if shutil.which("valgrind") is None:
        raise harness.Skipped("valgrind is not installed (tools/dev setup test)")
    return ("valgrind", "--quiet", "--trace-children=yes", "--keep-debuginfo=yes", "--leak-check=full",
            "--show-leak-kinds=definite,possible", "--errors-for-leak-kinds=definite,possible",
            f"--suppressions={SUPPRESSIONS}", f"--log-file={world.path('valgrind')}.%p", "--num-callers=20")


def leave(world, nginx, processes):
    """Ends nginx in order, and reads what valgrind has to say about so many processes."""
    nginx.stop(signal.SIGQUIT)
    world.nginxes.remove(nginx)
    logs = glob.glob(world.path("valgrind") + ".*")
    check(len(logs) >= processes, f"valgrind saw only {logs}")
    for path in logs:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        equal(re.sub(r"==\d+==\s*\n", "", text), "", "what valgrind says")


def test_http(world):
    """Picks, retries, time-outs, clients that leave, cookies, a drained instance, a reload."""
    port, backend = free_port(), free_port()
    good, also_good, says_503, resets, hangs, refuses = harness.addresses(6, backend)
    world.backends(good, also_good, says_503 + "=503", resets + "=reset", hangs + "=hang")
    key = world.write("sticky.key", "0123456789abcdef" * 2)
    os.chmod(key, 0o600)
    quiet = "breaker = { enabled = false }\noutlier = { enabled = false }\ncheck = { kind = \"none\" }\n"
    world.ballastd("".join(f"[service.{name}]\ninstances = {json.dumps(instances)}\n{quiet}" for name, instances in (
        ("checkout", [good, also_good, says_503, resets, refuses]), ("slow", [hangs]))),
        f'sticky_key_file = "{key}"')
    log = "log_format all '$ballast_instance $ballast_reason $ballast_epoch $ballast_status';\n"
    http = (log + upstream(world, arguments="key=$arg_user tries=6 sticky=cookie srv path=/") +
            upstream(world, "slow") + upstream(world, "nobody", arguments="missing=wait") + server(
                port, more="proxy_next_upstream error timeout http_503;\nproxy_next_upstream_tries 0;\n"
                "location /slow { proxy_pass http://slow; proxy_read_timeout 100ms; }\n"
                "location /nobody { proxy_pass http://nobody; }"))
    nginx = world.nginx(http, workers=1, wrapper=valgrind(world), access_log=f"{world.path('nginx')}/access.log all")
    for round_number in range(2):
        load = Load(port, threads=3, keep_alive=round_number == 0)
        load.wait_for_more(400)
        cookie = get(port).headers["set-cookie"].split(";")[0]
        equal(get(port, headers={"Cookie": cookie}).status, 200, "status")
        equal(get(port, headers={"Cookie": "srv=" + "x" * 32}).status, 200, "status with a forged cookie")
        equal(get(port, "/slow").status, 504, "status")
        equal(get(port, "/nobody").status, 503, "status")
        with socket.create_connection(("127.0.0.1", port)) as stream:
            stream.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
            harness.wait_for(lambda: world.counters("checkout")["in_flight"] > 0, "the held request")
        world.operate("drain", "checkout", also_good)
        load.wait_for_more(100)
        world.operate("ready", "checkout", also_good)
        results = load.stop()
        equal(set(results), {200}, f"results {results}")
        if round_number == 0:
            nginx.reload()
    world.wait_in_flight("checkout", 0)
    leave(world, nginx, 3)


def test_https(world):
    """Sessions of TLS that are kept and used again."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.python(protocols_test.HTTPS_SERVER, protocols_test.certificate(world), *instances)
    world.ballastd(service(instances, 'strategy = "round_robin"'))
    nginx = world.nginx(upstream(world, more="") + server(port, "proxy_pass https://checkout;"), workers=1,
                        wrapper=valgrind(world))
    reused = [get(port).body[-1] for _ in range(12)]
    equal(reused.count("1"), 10, "sessions used again")
    leave(world, nginx, 2)


def test_stream(world):
    protocols_test.needs_stream()
    port, backend = free_port(), free_port()
    *alive, refuses = harness.addresses(3, backend)
    world.backends(*alive)
    world.ballastd(service([*alive, refuses], 'strategy = "round_robin"'))
    nginx = world.nginx(stream=protocols_test.stream_conf(world, port), workers=1, wrapper=valgrind(world))
    for _ in range(100):
        equal(get(port).status, 200, "status")
    nginx.reload()
    for _ in range(50):
        equal(get(port).status, 200, "status")
    leave(world, nginx, 3)


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(harness.main(TESTS, sys.argv[1:]))
