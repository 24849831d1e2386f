#!/usr/bin/env python3
"""The nginx modules with what is spoken besides plain HTTP: HTTPS with sessions used again, gRPC,
FastCGI, WebSocket, and bare TCP and UDP by the stream module. Each backend is a real server that says
who answered. usage: protocols_test.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [TEST...]
"""
import json
import os
import socket
import subprocess
import sys

import harness
from harness import Skipped, check, equal, free_port, get, server, service, upstream, wait_for

# Servers for World.python(): they get their addresses as arguments.
HTTPS_SERVER = r"""
import socket, ssl, sys, threading
certificate, *addresses = sys.argv[1:]
def serve(stream, name, context):
    try:
        with context.wrap_socket(stream, server_side=True) as tls:
            while b'\r\n\r\n' not in tls.recv(65536):
                pass
            body = f'{name} {int(tls.session_reused)}'
            tls.sendall(f'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())
    except OSError:
        pass
def listen(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host, _, port = name.rpartition(':')
    listener = socket.create_server((host, int(port)))
    def run():
        while True:
            stream = listener.accept()[0]
            threading.Thread(target=serve, args=(stream, name, context), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
for address in addresses:
    listen(address)
print('ready', flush=True)
sys.stdin.read()
"""

GRPC_SERVER = r"""
import concurrent.futures, grpc, sys
servers = []
for name in sys.argv[1:]:
    def say(request, context, name=name):
        if request == b'fail':
            context.abort(grpc.StatusCode.UNAVAILABLE, 'asked to')
        return name.encode() + b' ' + request
    def count(request, context, name=name):
        for n in range(3):
            yield b'%d' % n
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('test.Echo', {
        'Say': grpc.unary_unary_rpc_method_handler(say),
        'Count': grpc.unary_stream_rpc_method_handler(count)}),))
    if server.add_insecure_port(name) == 0:
        sys.exit('no port')
    server.start()
    servers.append(server)
print('ready', flush=True)
sys.stdin.read()
"""

GRPC_CLIENT = r"""
import grpc, json, sys
out = []
with grpc.insecure_channel(sys.argv[1]) as channel:
    say, count = channel.unary_unary('/test.Echo/Say'), channel.unary_stream('/test.Echo/Count')
    for n in range(int(sys.argv[2])):
        out.append(say(b'%d' % n, timeout=30).decode().split())
    out.append([part.decode() for part in count(b'', timeout=30)])
    try:
        say(b'fail', timeout=30)
    except grpc.RpcError as error:
        out.append([error.code().name])
print(json.dumps(out))
"""

FASTCGI_SERVER = r"""
import socket, struct, sys, threading
def whole(stream, size):
    data = b''
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise OSError('closed')
        data += more
    return data
def record(kind, number, content):
    return struct.pack('>BBHHBB', 1, kind, number, len(content), 0, 0) + content
def serve(stream, name):
    nth = 0
    try:
        while True:
            kind = None
            while not (kind == 5 and size == 0):
                _, kind, number, size, padding, _ = struct.unpack('>BBHHBB', whole(stream, 8))
                whole(stream, size + padding)
            nth += 1
            answer = f'Status: 200 OK\r\nContent-Type: text/plain\r\nX-Nth: {nth}\r\n\r\n{name}'.encode()
            stream.sendall(record(6, number, answer) + record(6, number, b'') +
                           record(3, number, struct.pack('>IBxxx', 0, 0)))
    except OSError:
        pass
for name in sys.argv[1:]:
    host, _, port = name.rpartition(':')
    listener = socket.create_server((host, int(port)))
    def run(listener=listener, name=name):
        while True:
            stream = listener.accept()[0]
            threading.Thread(target=serve, args=(stream, name), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
print('ready', flush=True)
sys.stdin.read()
"""

UDP_SERVER = r"""
import socket, sys, threading
def serve(name):
    host, _, port = name.rpartition(':')
    stream = socket.socket(type=socket.SOCK_DGRAM)
    stream.bind((host, int(port)))
    def run():
        while True:
            data, peer = stream.recvfrom(4096)
            stream.sendto(name.encode() + b' ' + data, peer)
    threading.Thread(target=run, daemon=True).start()
for name in sys.argv[1:]:
    serve(name)
print('ready', flush=True)
sys.stdin.read()
"""


def certificate(world):
    path = world.path("certificate.pem")
    run = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                          "-nodes", "-days", "2", "-subj", "/CN=backend.test", "-addext",
                          "subjectAltName=DNS:backend.test", "-keyout", path + ".key", "-out", path],
                         capture_output=True, text=True, check=False)
    equal(run.returncode, 0, f"openssl: {run.stderr}")
    with open(path + ".key", encoding="ascii") as key, open(path, "a", encoding="ascii") as out:
        out.write(key.read())
    return path


def check_https(world, protocol):
    port = free_port()
    instances = harness.addresses(2, free_port())
    pem = certificate(world)
    world.python(HTTPS_SERVER, pem, *instances)
    world.ballastd(service(instances, 'strategy = "round_robin"'))
    world.nginx(upstream(world, more="") + server(
        port, f"proxy_pass https://checkout;\nproxy_ssl_protocols {protocol};\nproxy_ssl_verify on;\n"
        f"proxy_ssl_trusted_certificate {pem};\nproxy_ssl_name backend.test;"), workers=1)
    seen = {}
    for _ in range(12):
        answer = get(port)
        equal(answer.status, 200, "status")
        name, _, reused = answer.body.partition(" ")
        seen.setdefault(name, []).append(reused)
    equal(set(seen), set(instances), "who answered")
    for name, reused in seen.items():
        equal(reused, ["0"] + ["1"] * (len(reused) - 1), f"whether {name} was resumed")
    equal(world.counters("checkout")["success"], 12, "successes")


def test_https(world):
    """Each instance's session is its own and is used again, with tickets."""
    check_https(world, "TLSv1.3")


def test_https_sessions(world):
    check_https(world, "TLSv1.2")


def test_grpc(world):
    """Calls and streams, and a call that fails is no success."""
    if subprocess.run([harness.PYTHON, "-c", "import grpc"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skipped("python3-grpcio is not installed (tools/dev setup test)")
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.python(GRPC_SERVER, *instances)
    world.ballastd(service(instances, 'strategy = "round_robin"'))
    world.nginx(upstream(world, arguments="") + f"server {{\nlisten 127.0.0.1:{port} http2;\nlocation / {{\n"
                "grpc_pass grpc://checkout;\n}\n}\n")
    run = subprocess.run([harness.PYTHON, "-c", GRPC_CLIENT, f"127.0.0.1:{port}", "30"], capture_output=True,
                         text=True, check=False)
    equal(run.returncode, 0, f"the client: {run.stderr}")
    *said, streamed, failed = json.loads(run.stdout)
    equal({name for name, _ in said}, set(instances), "who answered")
    equal([text for _, text in said], [str(n) for n in range(30)], "what was said")
    equal((streamed, failed), (["0", "1", "2"], ["UNAVAILABLE"]), "a stream, and a failure")
    world.wait_in_flight("checkout", 0)
    counters = world.counters("checkout")
    equal((counters["started"], counters["success"]), (32, 31), f"counts {counters}")
    equal(counters["overload"] + counters["server_error"], 1, f"failures of {counters}")


def test_fastcgi(world):
    """Requests by key, on connections that are kept."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.python(FASTCGI_SERVER, *instances)
    world.ballastd(service(instances))
    world.nginx(upstream(world) + f"server {{\nlisten 127.0.0.1:{port};\nlocation / {{\nfastcgi_pass checkout;\n"
                "fastcgi_keep_conn on;\nfastcgi_param REQUEST_METHOD $request_method;\n}\n}\n", workers=1)
    nth, place = {}, {}
    for n in range(120):
        answer = get(port, f"/?user={n % 60}")
        nth[answer.body] = nth.get(answer.body, 0) + 1
        equal(answer.headers["x-nth"], str(nth[answer.body]), "requests on the connection")
        equal(place.setdefault(n % 60, answer.body), answer.body, "place of a key")
    equal(set(place.values()), set(instances), "who answered")
    equal(world.counters("checkout")["success"], 120, "successes")


def test_websocket(world):
    """An upgraded connection is one request in flight for as long as it lasts."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*instances)
    world.ballastd(service(instances))
    world.nginx(upstream(world) + server(port, "proxy_pass http://checkout;\nproxy_set_header Upgrade $http_upgrade;\n"
                                         'proxy_set_header Connection "upgrade";'))
    with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE_S) as stream:
        stream.sendall(b"GET /?user=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(4096)
        check(head.startswith(b"HTTP/1.1 101 "), f"not upgraded: {head!r}")
        for n in range(100):
            stream.sendall(b"frame %03d" % n)
            echo = b""
            while len(echo) < 9:
                echo += stream.recv(9 - len(echo))
            equal(echo, b"frame %03d" % n, "an echo")
        equal(world.counters("checkout")["in_flight"], 1, "in flight while it is open")
    world.wait_in_flight("checkout", 0)
    equal(world.counters("checkout")["success"], 1, "successes")


def stream_conf(world, port, arguments="key=$remote_addr", more=""):
    return (f"log_format ballast '$ballast_instance|$ballast_reason|$ballast_epoch|$upstream_addr';\n"
            f"access_log {world.path('nginx')}/stream.log ballast;\n{upstream(world, arguments=arguments, more='')}"
            f"server {{\nlisten 127.0.0.1:{port}{more};\nproxy_pass checkout;\n}}\n")


def stream_log(world, count):
    def lines():
        with open(os.path.join(world.path("nginx"), "stream.log"), encoding="utf-8") as file:
            return [line.split("|") for line in file.read().splitlines()]
    wait_for(lambda: len(lines()) >= count, lambda: f"{count} sessions in the log: {lines()}")
    return lines()


def needs_stream():
    if not os.path.exists(harness.STREAM_PATH):
        raise Skipped("nginx's stream module is not installed (libnginx-mod-stream)")


def test_stream(world):
    """Sessions by turns, one in flight for as long as it lasts; one that cannot connect goes elsewhere."""
    needs_stream()
    port = free_port()
    instances = harness.addresses(4, free_port())
    *alive, refuses = instances
    world.backends(*alive)
    world.ballastd(service(instances, 'strategy = "round_robin"\nbreaker = { enabled = false }'))
    world.nginx(stream=stream_conf(world, port))
    equal({get(port).body for _ in range(40)}, set(alive), "who answered")
    lines = stream_log(world, 40)
    retried = 0
    for instance, reason, epoch, tried in lines:
        order = tried.split(", ")
        equal((instance, len(set(order))), (order[-1], len(order)), f"a session that tried {tried}")
        retried += order[0] == refuses
        check(reason in ("first_choice", "moved_excluded") and int(epoch) > 0, f"{reason} at {epoch}")
    check(retried > 0, "nobody was sent to the one that refuses")
    counters = world.instances("checkout")[refuses]["counters"]
    equal((counters["connect_failure"], counters["started"]), (retried, retried), "refused")
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        world.wait_in_flight("checkout", 1)
    world.wait_in_flight("checkout", 0)
    equal(world.counters("checkout")["success"], 41, "successes")


def test_stream_key(world):
    """The same key, the same instance."""
    needs_stream()
    port = free_port()
    instances = harness.addresses(5, free_port())
    world.backends(*instances)
    world.ballastd(service(instances))
    world.nginx(stream=stream_conf(world, port))
    equal(len({get(port).body for _ in range(20)}), 1, "instances for one address")


def test_both(world):
    """One nginx with both modules: one service, the counts of both."""
    needs_stream()
    http_port, stream_port = free_port(), free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*instances)
    world.ballastd(service(instances, 'strategy = "round_robin"'))
    nginx = world.nginx(upstream(world) + server(http_port), stream_conf(world, stream_port), workers=1)
    for port in (http_port, stream_port):
        equal({get(port).body for _ in range(12)}, set(instances), "who answered")
    nginx.reload()
    for port in (http_port, stream_port):
        equal({get(port).body for _ in range(12)}, set(instances), "who answered")
    world.wait_in_flight("checkout", 0)
    equal(world.counters("checkout")["success"], 48, "successes")


def test_udp(world):
    needs_stream()
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.python(UDP_SERVER, *instances)
    world.ballastd(service(instances, 'strategy = "round_robin"'))
    world.nginx(stream=stream_conf(world, port, more=" udp").replace("proxy_pass", "proxy_responses 1;\nproxy_pass"),
                workers=1)
    seen = set()
    for n in range(12):
        with socket.socket(type=socket.SOCK_DGRAM) as stream:
            stream.settimeout(harness.PATIENCE_S)
            stream.sendto(b"ping %d" % n, ("127.0.0.1", port))
            name, _, text = stream.recv(4096).decode().partition(" ")
            equal(text, f"ping {n}", "an answer")
            seen.add(name)
    equal(seen, set(instances), "who answered")
    world.wait_in_flight("checkout", 0)
    equal(world.counters("checkout")["success"], 12, "successes")


def test_udp_outcomes(world):
    """An instance that does not answer in time, and one that refuses, also where the time is short."""
    needs_stream()
    port = free_port()
    silent, refuses = harness.addresses(2, free_port())
    world.ballastd(service([silent, refuses], 'strategy = "round_robin"\nbreaker = { enabled = false }'))
    with socket.socket(type=socket.SOCK_DGRAM) as listener, socket.socket(type=socket.SOCK_DGRAM) as client:
        host, _, backend = silent.rpartition(":")
        listener.bind((host, int(backend)))
        world.nginx(stream=stream_conf(world, port, more=" udp").replace(
            "proxy_pass", "proxy_responses 1;\nproxy_timeout 200ms;\nproxy_pass"), workers=1)
        for count in range(1, 5):
            client.sendto(b"ping", ("127.0.0.1", port))
            wait_for(lambda count=count: (counts := world.counters("checkout"))["in_flight"] == 0 and
                     counts["started"] == count, "the session's end")
    counters = {one: world.instances("checkout")[one]["counters"] for one in (silent, refuses)}
    equal([(counters[one]["timeout"], counters[one]["connect_failure"]) for one in (silent, refuses)],
          [(2, 0), (0, 2)], f"outcomes {counters}")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(harness.main(TESTS, sys.argv[1:]))
