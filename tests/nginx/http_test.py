#!/usr/bin/env python3
"""The nginx module for HTTP, with a real nginx, ballastd and backends: where requests go, what is tried
again, what is counted, and what follows the table without a reload. The main worry is a module that
picks well and counts wrong. usage: http_test.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [TEST...]
"""
import os
import signal
import socket
import sys
import time

import harness
from harness import Client, Load, ask, check, equal, free_port, get, server, service, upstream, wait_for

QUIET = "breaker = { enabled = false }\noutlier = { enabled = false }\n"
LOG = ("log_format ballast '$status|$ballast_instance|$ballast_reason|$ballast_epoch|$upstream_addr|"
       "$upstream_status';\n")


def log_of(world, nginx, count):
    """The lines of the access log, once there are so many."""
    path = os.path.join(nginx.folder, "access.log")

    def lines():
        with open(path, encoding="utf-8") as file:
            return [line.split("|") for line in file.read().splitlines()]
    wait_for(lambda: len(lines()) >= count, lambda: f"{count} lines in the log: {lines()}")
    return lines()


def logged(world):
    return f"{world.path('nginx')}/access.log ballast"


def test_keys(world):
    """A key goes to one instance from every worker, keys spread, and the log says where and why."""
    port = free_port()
    instances = harness.addresses(5, free_port())
    world.backends(*instances)
    world.ballastd(service(instances))
    nginx = world.nginx(LOG + upstream(world) + server(port), access_log=logged(world))
    paths = [f"/?user=u{n}" for n in range(200)]
    first = harness.bodies(port, paths)
    equal(set(first), set(instances), "instances that got keys")
    for _ in range(3):  # a connection each, to whichever worker takes it
        equal(harness.bodies(port, paths), first, "places of keys")
    equal(len({get(port, "/?user=one").body for _ in range(20)}), 1, "places of a key")
    epoch = next(one["epoch"] for one in world.dump()["services"])
    for status, instance, reason, seen, tried, _ in log_of(world, nginx, 820):
        equal((status, instance, reason, seen), ("200", tried, "first_choice", str(epoch)), "a line of the log")
    counters = world.counters("checkout")
    equal((counters["started"], counters["success"], counters["in_flight"]), (820, 820, 0), "counts")
    equal(counters["latency_count"], 820, "latencies")


def test_no_key(world):
    """Without `key=` requests spread also where keys decide."""
    port = free_port()
    instances = harness.addresses(4, free_port())
    world.backends(*instances)
    world.ballastd(service(instances))
    world.nginx(upstream(world, arguments="") + server(port))
    equal(set(harness.bodies(port, ["/"] * 200)), set(instances), "instances that got requests")


def test_retries(world):
    """What failed is not tried again for the same request, and is counted by its kind, in the metrics too."""
    port, metrics = free_port(), free_port()
    instances = harness.addresses(5, free_port())
    good, says_503, says_500, resets, refuses = instances
    world.backends(good, says_503 + "=503", says_500 + "=500", resets + "=reset")
    world.ballastd(service(instances, QUIET) + f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n')
    nginx = world.nginx(LOG + upstream(world, arguments="key=$arg_user tries=5") + server(
        port, more="proxy_next_upstream error timeout http_500 http_503;\nproxy_next_upstream_tries 0;"),
        access_log=logged(world))
    keys = 400
    equal(set(harness.bodies(port, [f"/?user=u{n}" for n in range(keys)])), {good}, "who answered")
    tries = {instance: 0 for instance in instances}
    reasons = set()
    for status, instance, reason, _, tried, _ in log_of(world, nginx, keys):
        order = tried.split(", ")
        equal((status, instance, len(set(order))), ("200", good, len(order)), f"a request that tried {tried}")
        reasons.add((reason, len(order) > 1))
        for one in order:
            tries[one] += 1
    equal(reasons, {("first_choice", False), ("moved_excluded", True)}, "reasons")
    for instance, outcome in ((good, "success"), (says_503, "overload"), (says_500, "server_error"),
                              (resets, "reset"), (refuses, "connect_failure")):
        counters = world.instances("checkout")[instance]["counters"]
        check(tries[instance] > keys / 10, f"{instance} was tried {tries[instance]} times")
        equal((counters[outcome], counters["started"]), (tries[instance],) * 2, f"{outcome} of {instance}")
        line = (f'ballast_instance_outcomes_total{{service="checkout",instance="{instance}",outcome="{outcome}"}} '
                f"{tries[instance]}\n")
        wait_for(lambda line=line: line in get(metrics, "/metrics").body, f"{line} in the metrics")
    equal(world.counters("checkout")["in_flight"], 0, "in flight")


def test_tries(world):
    """`tries=` is the end of it, also where instances are left."""
    port = free_port()
    instances = harness.addresses(6, free_port())
    world.backends(*[one + "=503" for one in instances])
    world.ballastd(service(instances, QUIET))
    nginx = world.nginx(LOG + upstream(world, arguments="key=$arg_user tries=2") + server(
        port, more="proxy_next_upstream http_503;"), access_log=logged(world))
    for n in range(20):
        equal(get(port, f"/?user={n}").status, 503, "status")
    for line in log_of(world, nginx, 20):
        equal((line[0], len(set(line[4].split(", ")))), ("503", 2), "a line of the log")
    equal(world.counters("checkout")["overload"], 40, "overloads")


def test_last_answer(world):
    """Where all fail the client gets what the last one said, whatever `tries=` allows."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*[one + "=503" for one in instances])
    world.ballastd(service(instances, QUIET))
    nginx = world.nginx(LOG + upstream(world, arguments="key=$arg_user tries=10") + server(
        port, more="proxy_next_upstream http_503;\nproxy_next_upstream_tries 0;"), access_log=logged(world))
    for n in range(10):
        answer = get(port, f"/?user={n}")
        equal((answer.status, answer.body in instances), (503, True), f"the answer {answer}")
    for line in log_of(world, nginx, 10):
        equal(set(line[4].split(", ")), set(instances), "who was tried")
    equal(world.counters("checkout")["overload"], 30, "overloads")


def test_answers(world):
    """What else an answer says: when to try again, how busy the backend is, how long it took; and
    answers that end too soon or are not HTTP."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(*instances)
    names = ("load", "slow", "cut", "garbage", "later")
    world.ballastd("".join(service(instances[:1 if name != "later" else 2], more, name=name) for name, more in zip(
        names, (QUIET + "controller = { enabled = true }", QUIET, QUIET, QUIET, "max_ejected = '100%'"))))
    locations = "".join(f"location /{name}/ {{ proxy_pass http://{name}/; }}\n" for name in names)
    world.nginx("".join(upstream(world, name) for name in names) + server(port, "return 404;", more=locations))

    def instance(name, which=instances[0]):
        return world.instances(name)[which]
    equal(get(port, "/load/", {"X-Answer": "endpoint-load-metrics: TEXT cpu_utilization=0.25, "
                                           "rps_fractional=120"}).status, 200, "status")
    wait_for(lambda: abs(instance("load")["utilisation"] - 0.25) < 0.01, lambda: f"{instance('load')}")
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /slow/hold HTTP/1.1\r\nHost: x\r\n\r\n")
        world.wait_in_flight("slow", 1)
        time.sleep(0.1)  # not to wait for something: it is to last
        get(port, "/load/release")
        stream.recv(4096)
    world.wait_in_flight("slow", 0)
    counters = world.counters("slow")
    check(counters["latency_count"] == 1 and counters["latency_sum_us"] >= 100_000, f"latency of {counters}")
    for name, outcome in (("cut", "reset"), ("garbage", "server_error")):
        with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S) as stream:
            stream.sendall(f"GET /{name}/{name} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            while stream.recv(4096):
                pass
        world.wait_in_flight(name, 0)
        equal(world.counters(name)[outcome], 1, f"{outcome} of {world.counters(name)}")
    answer = get(port, "/later/status/503", {"X-Answer": "Retry-After: 30"})
    equal(answer.status, 503, "status")
    breaker = instance("later", answer.body)["breaker"]
    check(breaker["state"] == "open" and 10_000 < breaker["left_ms"] <= 30_000, f"the breaker is {breaker}")


def test_outcomes(world):
    """A time-out, a client that leaves, and answers that mean failure without another try."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(instances[0], instances[1] + "=hang")
    world.ballastd(service(instances, QUIET + 'strategy = "round_robin"') +
                   service(instances[:1], QUIET, name="one"))
    world.nginx(upstream(world) + upstream(world, "one") + server(
        port, more="proxy_read_timeout 200ms;\nproxy_next_upstream off;\n"
        "location /one/ { proxy_pass http://one/; proxy_read_timeout 60s; }"))
    seen = sorted(get(port).status for _ in range(4))
    equal(seen, [200, 200, 504, 504], "statuses")
    wait_for(lambda: world.counters("checkout")["timeout"] == 2, "two time-outs")
    for status in (404, 429, 500, 502, 503, 504):
        equal(get(port, f"/one/status/{status}").status, status, "status")
    before = world.counters("one")
    equal((before["success"], before["overload"], before["started"]), (1, 2, 6), f"counts {before}")
    equal(before["server_error"] + before["timeout"], 3, f"errors of {before}")
    stream = socket.create_connection(("127.0.0.1", port))
    stream.sendall(b"GET /one/hold HTTP/1.1\r\nHost: x\r\n\r\n")
    world.wait_in_flight("one", 1)
    stream.close()
    world.wait_in_flight("one", 0)
    equal(world.counters("one")["cancelled"], 1, "cancelled")


def test_stale_cache(world):
    """What the instance said counts, also when the client gets an old answer out of nginx's cache instead."""
    port = free_port()
    listen = harness.addresses(1, free_port())
    backends = world.backends(*listen)
    world.ballastd(service(listen, QUIET))
    folder = world.path("cache")
    os.mkdir(folder, 0o777)
    world.nginx(f"proxy_cache_path {folder} keys_zone=all:1m;\n" + upstream(world, more="") + server(
        port, more="proxy_cache all;\nproxy_cache_valid 200 1s;\nproxy_cache_use_stale http_503;\n"
        "add_header X-Cache $upstream_cache_status;"))
    equal(get(port).headers["x-cache"], "MISS", "the first answer")
    world.kill(backends)
    world.backends(listen[0] + "=503")
    answer = wait_for(lambda: (one := get(port)).headers["x-cache"] != "HIT" and one, "the cache to be old")
    equal((answer.status, answer.headers["x-cache"]), (200, "STALE"), f"the answer {answer}")
    counters = world.counters("checkout")
    equal((counters["success"], counters["overload"], counters["in_flight"]), (1, 1, 0), f"counts {counters}")


def test_counted_once(world):
    """A request that goes from one upstream to another, and those that it makes by the way: each pick is
    counted once, and the variables are of the last. A limit can have an answer of its own."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(instances[0], instances[1] + "=503")
    names = ("main", "mirrored", "after", "busy")
    world.ballastd("".join(service([instances[name == "busy"]], QUIET, name=name) for name in names) +
                   service(instances[:1], QUIET + "max_in_flight = 1", name="one"))
    folder = world.path("cache")
    os.mkdir(folder, 0o777)
    nginx = world.nginx(
        LOG + f"proxy_cache_path {folder} keys_zone=all:1m;\n" +
        "".join(upstream(world, name) for name in (*names, "one")) + server(port, "return 404;", more="""
        location /mirror/ { mirror /mirrored; proxy_pass http://main/; }
        location = /mirrored { internal; proxy_pass http://mirrored/; }
        location /post/ { post_action /after; proxy_pass http://main/; }
        location = /after { internal; proxy_pass http://after/; }
        location /busy/ { proxy_pass http://busy/; proxy_intercept_errors on; error_page 503 = @main; }
        location @main { proxy_pass http://main; }
        location /var/ { set $to main; proxy_pass http://$to/; }
        location = /release { proxy_pass http://main; }
        location /one/ { proxy_pass http://one/; error_page 502 = @limited; }
        location /full/ { proxy_pass http://one/; }
        location @limited { if ($ballast_status = limited) { return 503 "limited"; } return 502 "other"; }
        location /cache/ { proxy_pass http://main/; proxy_cache all; proxy_cache_valid 200 1s;
                           proxy_cache_use_stale updating; proxy_cache_background_update on;
                           add_header X-Cache $upstream_cache_status always; }"""), access_log=logged(world))

    def counts(name):
        world.wait_in_flight(name, 0)
        counters = world.counters(name)
        return counters["started"], counters["success"]
    for path, name in (("/mirror/", "mirrored"), ("/post/", "after")):
        equal(get(port, path).status, 200, f"status of {path}")
        wait_for(lambda name=name: counts(name) == (1, 1), lambda name=name: f"{name}: {world.counters(name)}")
    equal(counts("main"), (2, 2), "counts of main")
    answer = get(port, "/busy/")
    equal((answer.status, answer.body), (200, instances[0]), "the answer in place of 503")
    equal((counts("busy"), world.counters("busy")["overload"], counts("main")), ((1, 0), 1, (3, 3)), "counts")
    equal(log_of(world, nginx, 3)[2][1], instances[0], "the last instance of a request with two upstreams")
    equal((get(port, "/var/").body, counts("main")), (instances[0], (4, 4)), "an upstream that a variable names")
    equal(get(port, "/cache/").headers["x-cache"], "MISS", "the first answer")
    wait_for(lambda: get(port, "/cache/").headers["x-cache"] == "STALE", "the cache to be old")

    def updated():  # more than once, where that took longer than the answer is good
        started, success = counts("main")
        return started == success >= 6
    wait_for(updated, lambda: f"an update in the background: {world.counters('main')}")
    with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S) as stream:
        stream.sendall(b"GET /one/hold HTTP/1.1\r\nHost: x\r\n\r\n")
        world.wait_in_flight("one", 1)
        answer = get(port, "/one/")
        equal((answer.status, answer.body), (503, "limited"), "the answer at the limit")
        equal(get(port, "/full/").status, 503, "the status at the limit")
        get(port, "/release")
        check(stream.recv(4096).startswith(b"HTTP/1.1 200 "), "the answer that was held")
    equal(counts("one"), (1, 1), "counts of one")


def test_in_flight(world):
    """What is in flight is counted at the instance that has it, and no longer when it is answered."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*instances)
    world.ballastd(service(instances, 'strategy = "least_connections"\nchoices = "all"'))
    world.nginx(upstream(world) + server(port))
    streams = []
    for n in range(1, 10):
        streams.append(socket.create_connection(("127.0.0.1", port)))
        streams[-1].sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        world.wait_in_flight("checkout", n)
    each = {one["in_flight"] for one in world.instances("checkout").values()}
    check(max(each) - min(each) <= 2, f"in flight {each}: least_connections evens that out")
    get(int(instances[0].split(":")[1]) and port, "/release")
    world.wait_in_flight("checkout", 0)
    for stream in streams:
        check(stream.recv(4096).startswith(b"HTTP/1.1 200"), "an answer that was held")
        stream.close()
    equal(world.counters("checkout")["success"], 10, "successes")


def test_keepalive(world):
    """Kept connections serve the instance they are to, for clients that come one after another."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*instances)
    world.ballastd(service(instances))
    world.nginx(upstream(world) + server(port), workers=1)
    nth, place = {}, {}
    for n in range(120):
        answer = get(port, f"/?user={n % 12}")
        nth[answer.body] = nth.get(answer.body, 0) + 1
        equal(answer.headers["x-nth"], str(nth[answer.body]), "requests on the connection")
        equal(place.setdefault(n % 12, answer.body), answer.body, "place of a key")
    equal(world.counters("checkout")["success"], 120, "successes")


def test_stale(world):
    """A kept connection that its instance had closed says nothing of the instance, however often; one that
    ends when the instance has read the request does. The worker is stopped, or it would see the end in time."""
    port, backend_port = free_port(), free_port()
    instances = harness.addresses(2, backend_port)
    world.backends(*instances)
    world.ballastd(service(instances, "breaker = { consecutive = 1 }"))
    nginx = world.nginx(upstream(world) + server(port), workers=1)
    worker, = nginx.workers()
    client, backend = Client(port), Client(backend_port, instances[0].split(":")[0])
    first = client.get("/?user=1").body

    def breakers():
        return {address: one["breaker"]["state"] for address, one in world.instances("checkout").items()}
    for n in range(6):
        os.kill(worker, signal.SIGSTOP)
        client.connection.request("GET", "/?user=1")
        backend.get("/forget")
        os.kill(worker, signal.SIGCONT)
        answer = client.connection.getresponse()
        equal((answer.status, answer.read().decode() in instances), (200, True), f"what answers instead, {n}")
        equal(client.get("/?user=1").body, first, "who answers then")
    counters = world.counters("checkout")
    equal((counters["started"], counters["success"], counters["abandoned"], counters["in_flight"]), (19, 13, 6, 0),
          f"counts {counters}")
    equal(set(breakers().values()), {"closed"}, "the breakers")
    equal(client.get("/die?user=1").status, 502, "status without an answer")
    equal((world.counters("checkout")["reset"], breakers()[first]), (2, "open"), "resets, and the breaker")


def test_operators(world):
    """Draining, adding, removing and dying take effect in the workers that run."""
    port, backend = free_port(), free_port()
    *instances, more = harness.addresses(4, backend)
    world.backends(*instances[:2], more)
    victim = world.backends(instances[2])
    world.ballastd(service(instances, 'strategy = "round_robin"', '{ path = "/health", interval = "100ms" }'))
    nginx = world.nginx(upstream(world) + server(port))
    workers = nginx.workers()
    paths = ["/"] * 60

    def serving():
        return set(harness.bodies(port, paths))
    equal(serving(), set(instances), "who serves")
    world.operate("drain", "checkout", instances[0], "--wait")
    equal(serving(), set(instances[1:]), "who serves, one drained")
    world.operate("ready", "checkout", instances[0], "--wait")
    equal(serving(), set(instances), "who serves, all ready again")
    world.operate("add", "checkout", more)
    wait_for(lambda: world.instances("checkout").get(more, {}).get("usable"), "the new one to be usable")
    equal(serving(), {*instances, more}, "who serves, one added")
    world.operate("remove", "checkout", more)
    wait_for(lambda: serving() == set(instances), "the removed one to be gone")
    load = Load(port)
    load.wait_for_more(200)
    world.kill(victim)
    load.wait_for_more(400)
    equal(set(load.stop()), {200}, "statuses while an instance died")
    wait_for(lambda: not world.instances("checkout")[instances[2]]["usable"], "the dead one to be down")
    equal(serving(), set(instances[:2]), "who serves, one dead")
    equal(nginx.workers(), workers, "workers")
    equal(world.counters("checkout")["in_flight"], 0, "in flight")


def test_nobody(world):
    """With no instance that may be used there is an answer, and it works again by itself."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    backends = world.backends(*instances)
    world.ballastd(service(instances, "", '{ path = "/health", interval = "50ms", rise = 1, fall = 1 }'))
    page = world.write("page.html", "everybody is out")
    nginx = world.nginx(LOG + upstream(world) + server(port, more=f"""
        location /page/ {{ proxy_pass http://checkout/; error_page 502 /page.html; }}
        location = /page.html {{ internal; alias {page}; }}
        location /named/ {{ proxy_pass http://checkout/; error_page 502 = @named; }}
        location @named {{ return 502; }}
        location /ours/ {{ proxy_pass http://checkout/; error_page 502 =504 /page.html; }}"""),
        access_log=logged(world))
    equal(get(port).status, 200, "status")
    world.kill(backends)
    wait_for(lambda: not any(one["usable"] for one in world.instances("checkout").values()), "all to be down")
    client = Client(port)
    for _ in range(3):  # on one connection
        answer = client.get()
        equal((answer.status, "503 Service" in answer.body, "502" in answer.body), (503, True, False), f"{answer}")
    head = ask(client.connection, method="HEAD")
    equal((head.status, head.headers["content-length"]), (503, str(len(answer.body))), "the answer to HEAD")
    equal((client.get("/page/").status, client.get("/page/").body), (503, "everybody is out"), "a page for 502")
    equal((client.get("/named/").status, client.get("/ours/").status), (502, 504), "statuses that are said")
    equal(client.get().status, 503, "status on the same connection")
    for line in log_of(world, nginx, 10)[1:5]:
        equal((line[0], line[1], line[2]), ("503", "-", "no_instance"), "a line of the log")
    check('ballast service "checkout": no instance' in nginx.told(), f"no reason in the log: {nginx.told()}")
    equal(world.counters("checkout")["in_flight"], 0, "in flight")
    world.backends(*instances)
    wait_for(lambda: get(port).status == 200, "an answer again")


def test_ketama(world):
    """`ketama` places keys as `hash ... consistent` does."""
    ports = free_port(), free_port()
    weights = (1, 2, 1, 5, 1, 3, 1, 1)
    members = list(zip(harness.addresses(len(weights), free_port()), weights))
    world.backends(*[one for one, _ in members])
    listed = ", ".join(f'{{ address = "{one}", weight = {weight} }}' for one, weight in members)
    world.ballastd(f'[service.checkout]\ninstances = [{listed}]\nstrategy = "ketama"\ncheck = {{ kind = "none" }}\n')
    servers = "".join(f"server {one} weight={weight};\n" for one, weight in members)
    world.nginx("upstream stock {\nhash $arg_user consistent;\n" + servers + "keepalive 32;\n}\n" + upstream(world) +
                server(ports[0], "proxy_pass http://stock;") + server(ports[1]))
    paths = [f"/?user=%2f{n * 7919}" for n in range(2000)]
    stock, ours = (harness.bodies(port, paths) for port in ports)
    equal(len(set(stock)), len(weights), "instances with keys")
    equal(sum(a != b for a, b in zip(stock, ours)), 0, "keys elsewhere than nginx's")


def test_addresses(world):
    """Short and long addresses, also of IPv6, as nginx writes them. Nobody listens there, or need to."""
    port = free_port()
    instances = [f"127.0.0.1:{free_port()}", f"127.200.200.200:{free_port()}", f"[::1]:{free_port()}",
                 "[fe80:1234:5678:9abc:def0:1234:5678:9abc]:65535", "127.0.0.2:9"]
    world.ballastd(service(instances, QUIET + 'strategy = "round_robin"'))
    nginx = world.nginx(LOG + upstream(world, arguments="tries=1") + server(port), access_log=logged(world))
    for _ in range(10):
        equal(get(port).status, 502, "status")  # one was asked
    lines = log_of(world, nginx, 10)
    equal({line[1] for line in lines}, set(instances), "instances")
    equal([line[1] for line in lines], [line[4] for line in lines], "addresses")


def test_no_row(world):
    """With more workers than `max_workers` requests are served, and the log says that some are not counted."""
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(*instances)
    world.ballastd(service(instances), "max_workers = 1")
    nginx = world.nginx(upstream(world) + server(port), workers=3)
    load = Load(port, keep_alive=False)
    load.wait_for_more(100)
    equal(set(load.stop()), {200}, "statuses")
    check("[warn]" in nginx.told() and "max_workers" in nginx.told(), f"no warning: {nginx.told()}")
    equal(world.counters("checkout")["in_flight"], 0, "in flight")


def test_another_user(world):
    """Workers of another user, who may by `workers_group`."""
    if os.geteuid() != 0:
        raise harness.Skipped("only root can start nginx as somebody else")
    port = free_port()
    instances = harness.addresses(2, free_port())
    world.backends(*instances)
    world.ballastd(service(instances), 'workers_group = "www-data"')
    world.nginx(upstream(world) + server(port), user="www-data")
    client = Client(port)
    for n in range(50):
        equal(client.get(f"/?user={n}").status, 200, "status")
    client.close()
    equal(world.counters("checkout")["success"], 50, "successes")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(harness.main(TESTS, sys.argv[1:]))
