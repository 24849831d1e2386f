#!/usr/bin/env python3
"""docs/haproxy.md as it stands, with a real HAProxy under load: its servers follow the checker's verdicts,
drains and weights; a backend that is killed gets nothing more once it is known to be dead, and no request
fails; without checker and bridge everything stays as it was. A second service has the same bridge, a second
namespace one of its own.
usage: bridge_haproxy_test.py PAGE BALLASTD BALLAST. Skipped (77) without HAProxy.
"""
import csv
import http.client
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE_S = 60
CLIENTS = 4


def free_ports(count):
    """Below the ephemeral ones, on which nobody listens now."""
    found, port = [], 14000 + os.getpid() % 15000
    while len(found) < count:
        port = port + 1 if port < 31000 else 14000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


def backend(port):
    """The life of a backend process: says which it is, at every path."""
    body = str(port).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer takes as long as an acknowledgement is delayed

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    Server(("127.0.0.1", port), Handler).serve_forever()


class Load:
    """Clients that ask one after another, and remember who answered and what failed."""

    def __init__(self, port):
        self.port, self.stop, self.lock = port, threading.Event(), threading.Lock()
        self.answers, self.failures = [], []
        self.threads = [threading.Thread(target=self.client) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def client(self):
        connection = None
        while not self.stop.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                begun = time.monotonic()
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                with self.lock:
                    if answer.status == 200:
                        self.answers.append((begun, int(body)))
                    else:
                        self.failures.append(f"{answer.status}: {body}")
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.failures.append(repr(error))
                connection = None

    def next_answers(self, count):
        """Who gives the next answers, of requests that begin after this call."""
        now, found = time.monotonic(), []

        def enough():
            with self.lock:
                found[:] = [who for begun, who in self.answers[-2 * count:] if begun > now]
            return len(found) >= count

        until(f"{count} answers", enough)
        return found

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def until(what, holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.02)


def snippet(page, language):
    return re.search(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]


class World:
    """The page's configuration, with ports of this test's own, and all processes that belong to it."""

    def __init__(self, page, ballastd, ballast, scratch):
        self.ballast, self.scratch, self.processes = ballast, scratch, []
        self.directory = os.path.join(scratch, "files")
        self.staging = os.path.join(scratch, "staging")
        self.front, self.agent, self.staging_agent, *self.backends = free_ports(6)
        self.names = {port: f"web{i + 1}" for i, port in enumerate(self.backends)}
        for port in self.backends:
            self.start_backend(port)
        self.socket = os.path.join(scratch, "admin.sock")
        config = self.ours(snippet(page, "toml")).replace('"1s"', '"100ms"\nfast_interval = "50ms"')
        first = f"127.0.0.1:{self.backends[0]}"
        unchecked = f'instances = ["{first}"]\ncheck = {{ kind = "none" }}\n'
        self.write("ballast.toml", config + "\n[service.api]\n" + unchecked)
        self.write("staging.toml", "[service.web]\n" + unchecked)
        self.haproxy_file = os.path.join(scratch, "haproxy.cfg")
        text = self.ours(snippet(page, "haproxy"))
        for old, new in ((":8000", f"127.0.0.1:{self.front}"), ("9777", str(self.agent)),
                         ("/run/haproxy/admin.sock", self.socket), ("500ms", "100ms")):
            assert old in text, old
            text = text.replace(old, new)
        # Of one server more nobody has heard: it must stay as it is.
        text += f'    server other 127.0.0.1:{self.backends[0]} agent-send "web 10.9.9.9:1\\n"\n'
        text += "backend more\n"
        for name, port, service in (("api1", self.agent, "api"), ("staging1", self.staging_agent, "web")):
            text += (f"    server {name} {first} agent-check agent-addr 127.0.0.1 agent-port {port} "
                     f'agent-inter 100ms agent-send "{service} {first}\\n"\n')
        self.write("haproxy.cfg", text)
        self.ballastd, self.bridge = self.start_ballast(ballastd, "ballast", self.directory,
                                                         self.agent)
        self.start_ballast(ballastd, "staging", self.staging, self.staging_agent)

    def write(self, name, text):
        with open(os.path.join(self.scratch, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start_ballast(self, ballastd, name, directory, port):
        """A checker, and a bridge from its namespace."""
        checker = self.start([ballastd, "--config", os.path.join(self.scratch, name + ".toml"),
                              "--directory", directory], name + "d.log")
        until("the table", lambda: self.verb("dump", directory=directory).returncode == 0)
        return checker, self.start([self.ballast, "bridge", "haproxy", "--dir", directory, "--listen",
                                    f"127.0.0.1:{port}"],
                                   "bridge.log" if name == "ballast" else name + "-bridge.log")

    def ours(self, text):
        for i, port in enumerate(self.backends):
            text = text.replace(f"10.0.0.{i + 1}:8080", f"127.0.0.1:{port}")
        assert "10.0.0." not in text, text
        return text

    def start(self, command, log):
        with open(os.path.join(self.scratch, log), "ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def start_backend(self, port):
        process = self.start([sys.executable, os.path.abspath(__file__), "--backend", str(port)],
                             "backend.log")
        setattr(self, f"backend_{port}", process)

    def kill_backend(self, port):
        process = getattr(self, f"backend_{port}")
        process.kill()
        process.wait()

    def verb(self, name, *words, directory=None):
        return subprocess.run([self.ballast, name, *words, "--dir", directory or self.directory],
                              timeout=PATIENCE_S, capture_output=True, text=True, check=False)

    def do(self, name, *words, directory=None):
        ran = self.verb(name, *words, directory=directory)
        assert ran.returncode == 0, ran.stderr

    def show_stat(self, backend_name="web"):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.socket)
            admin.sendall(b"show stat\n")
            text = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        rows = csv.DictReader(text.lstrip("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] == backend_name}

    def is_so(self, port, status, weight=None):
        row = self.show_stat()[self.names[port]]
        return row["status"].startswith(status) and weight in (None, int(row["weight"]))

    def log(self, name):
        with open(os.path.join(self.scratch, name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


# What HAProxy says of a server that takes requests and has no check of its own.
UP = "no check"


def story(world):
    first, second, third = world.backends
    checked = subprocess.run(["haproxy", "-c", "-f", world.haproxy_file], capture_output=True, text=True,
                             check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower(), checked.stderr
    haproxy = world.start(["haproxy", "-db", "-f", world.haproxy_file], "haproxy.log")
    until("HAProxy's socket", lambda: os.path.exists(world.socket) or haproxy.poll() is not None)
    until("all are up", lambda: world.is_so(first, UP, 100) and world.is_so(second, UP, 100) and
          world.is_so(third, UP, 200))
    until("an answer for each", lambda: all(
        world.show_stat()[name]["agent_status"] == "L7OK" for name in world.names.values()))

    def statuses():
        return {name: row["status"].split()[0] for name, row in world.show_stat("more").items()
                if name in ("api1", "staging1")} | {"web1": world.show_stat()["web1"]["status"].split()[0]}

    # The same address in another service, and in another namespace.
    until("both are up", lambda: all(world.show_stat("more")[name]["agent_status"] == "L7OK"
                                     for name in ("api1", "staging1")))
    world.do("drain", "api", f"127.0.0.1:{first}")
    until("the drain of one service", lambda: statuses() == {"api1": "DRAIN", "staging1": "no", "web1": "no"})
    world.do("ready", "api", f"127.0.0.1:{first}")
    world.do("drain", "web", f"127.0.0.1:{first}", directory=world.staging)
    until("the drain of one namespace", lambda: statuses() == {"api1": "no", "staging1": "DRAIN", "web1": "no"})

    load = Load(world.front)
    try:
        assert set(load.next_answers(400)) == set(world.backends)

        world.kill_backend(second)
        until("the death is seen", lambda: world.is_so(second, "DOWN"))
        row = world.show_stat()["web2"]
        assert "agent" in row["status"] and "connect_refused" in row["agent_status"] + row["last_agt"], row
        assert second not in load.next_answers(400)
        assert world.show_stat()["web2"]["stot"] == row["stot"], "it still gets requests"
        world.start_backend(second)
        until("it is back", lambda: world.is_so(second, UP))
        assert second in load.next_answers(400)

        world.do("drain", "web", f"127.0.0.1:{second}")
        until("the drain", lambda: world.is_so(second, "DRAIN"))
        assert second not in load.next_answers(400)
        world.do("maint", "web", f"127.0.0.1:{second}")
        until("the maintenance", lambda: world.is_so(second, "MAINT"))
        world.do("ready", "web", f"127.0.0.1:{second}")
        until("it is back", lambda: world.is_so(second, UP))
        assert second in load.next_answers(400)

        # Its line says what 100 % stands for.
        world.do("weight", "web", f"127.0.0.1:{third}", "1")
        until("the weight", lambda: world.is_so(third, UP, 100))
        world.do("remove", "web", f"127.0.0.1:{third}")
        until("the one that has left is drained", lambda: world.is_so(third, "DRAIN"))
        world.do("add", "web", f"127.0.0.1:{third}")
        until("it is back", lambda: world.is_so(third, UP))

        # Nobody decides any more: everything stays, and goes on.
        world.kill_backend(second)
        until("the death is seen", lambda: world.is_so(second, "DOWN"))
        world.ballastd.send_signal(signal.SIGKILL)
        world.ballastd.wait()
        until("the bridge notices", lambda: "no checker is running" in world.log("bridge.log"))
        assert second not in load.next_answers(200)
        assert world.is_so(second, "DOWN") and world.is_so(first, UP)
        other = world.show_stat()["other"]
        assert other["status"].startswith(UP) and other["weight"] == "100", other
        world.bridge.send_signal(signal.SIGTERM)
        assert world.bridge.wait(PATIENCE_S) == 0
        assert world.log("bridge.log").endswith("stopped\n")
        assert second not in load.next_answers(200)
        assert world.is_so(second, "DOWN") and world.is_so(first, UP)
    finally:
        load.end()
    assert not load.failures, load.failures[:10]
    complaints = world.log("bridge.log").count("10.9.9.9:1, which is not in the table")
    assert 1 <= complaints < 100, complaints
    print(f"{len(load.answers)} requests, none failed")


def main(arguments):
    if arguments[0] == "--backend":
        backend(int(arguments[1]))
        return 0
    if shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin") is None:
        print("haproxy is not installed")
        return 77
    os.environ["PATH"] += ":/usr/sbin"
    with open(arguments[0], encoding="utf-8") as file:
        page = file.read()
    with tempfile.TemporaryDirectory() as scratch:
        world = World(page, arguments[1], arguments[2], scratch)
        try:
            story(world)
        except BaseException:
            for log in ("ballastd.log", "bridge.log", "haproxy.log", "backend.log"):
                if os.path.exists(os.path.join(scratch, log)):
                    print(f"---- {log}\n{world.log(log)[-4000:]}", file=sys.stderr)
            raise
        finally:
            world.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
