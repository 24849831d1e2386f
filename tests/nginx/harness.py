"""What the tests and benchmarks of the nginx module stand on: a world of its own for each test, with
a folder, a namespace, ballastd, backends and nginx as real processes. Everything is ended by its
process id when the world is left, and by the kernel when this process dies before that.
"""
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from asking import (  # noqa: F401: tests have everything from here
    PATIENCE_S, Client, Failed, Load, Response, Skipped, ask, bodies, check, equal, get, wait_for)

NGINX_PATHS = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx")
# Debian's own, which has Debian's packages.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
STREAM_PATH = "/usr/lib/nginx/modules/ngx_stream_module.so"


def find_nginx():
    return next((path for path in NGINX_PATHS if os.access(path, os.X_OK)), None)


_given = set()


def free_port():
    """A port below the ephemeral range on which nobody listens at any address."""
    while True:
        port = random.randrange(10_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind(("", port))
            except OSError:
                continue
        _given.add(port)
        return port


def addresses(count, port):
    return [f"127.2.{i // 250}.{1 + i % 250}:{port}" for i in range(count)]


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def run_ns(pid):
    """Nanoseconds on a processor so far."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


_libc = ctypes.CDLL(None, use_errno=True)


def _die_with(signal_number):
    def prepare():
        _libc.prctl(1, signal_number, 0, 0, 0)  # PR_SET_PDEATHSIG
    return prepare


class Nginx:
    """nginx with a folder of its own. It listens, and all its workers are there, when this returns."""

    def __init__(self, folder, conf, wrapper=()):
        self.folder = folder
        count = int(re.search(r"worker_processes (\d+);", conf)[1])
        self.conf, self.log = os.path.join(folder, "nginx.conf"), os.path.join(folder, "error.log")
        self.pid_file = os.path.join(folder, "nginx.pid")
        self.output = os.path.join(folder, "output")
        self.write(conf)
        self.is_daemon = "daemon on;" in conf
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [*wrapper, find_nginx(), "-p", folder, "-e", self.log, "-c", self.conf],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                preexec_fn=_die_with(signal.SIGTERM))
        try:
            wait_for(lambda: self._is_complete(count), self.told)
        except Failed:
            self.stop()
            raise

    def _is_complete(self, count):
        # What was started is the master, or left once that is there.
        check(self.process.poll() in ([None, 0] if self.is_daemon else [None]), "nginx did not start: " + self.told())
        return os.path.exists(self.pid_file) and len(self.workers()) == count

    def write(self, conf):
        with open(self.conf, "w", encoding="utf-8") as file:
            file.write(conf)

    def told(self, last=3000):
        text = ""
        for path in (self.output, self.log):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += file.read()[-last:]
        return text

    def master(self, path=None):
        """0 while there is none: a binary upgrade moves the file away and writes another."""
        try:
            with open(path or self.pid_file, encoding="ascii") as file:
                return int(file.read() or 0)
        except FileNotFoundError:
            return 0

    def workers(self, master=None):
        """The workers that take connections: not those that leave."""
        out = []
        for pid in children_of(self.master() if master is None else master):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read()
            except OSError:
                continue
            # Under valgrind a process cannot change its title.
            if (b"worker process" in line and b"shutting down" not in line) or b"valgrind" in line:
                out.append(pid)
        return out

    def send(self, number):
        os.kill(self.master(), number)

    def reload(self, conf=None):
        """As `nginx -s reload`; returns the old workers, which may live on."""
        old = self.workers()
        if conf is not None:
            self.write(conf)
        self.send(signal.SIGHUP)
        wait_for(lambda: (new := self.workers()) and not set(new) & set(old) and len(new) >= len(old),
                 lambda: f"new workers: {self.told()}")
        return old

    def stop(self, number=signal.SIGTERM):
        told, everybody = set(), {self.process.pid}

        def is_gone():
            # Again and again: a new binary may be about to write who it is.
            for pid in {self.process.pid, self.master(), self.master(self.pid_file + ".oldbin")} - told - {0}:
                everybody.update([pid, *children_of(pid)])
                if is_alive(pid):
                    os.kill(pid, number)
                told.add(pid)
            return not any(map(is_alive, everybody))
        try:
            wait_for(is_gone, "nginx to leave")
        except Failed:
            for pid in filter(is_alive, everybody):
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            self.process.wait()


class Programs:
    """Where the programs and modules are that were built."""

    def __init__(self, ballastd, ballast, backend, http_module, stream_module):
        self.ballastd, self.ballast, self.backend, self.http_module, self.stream_module = map(
            os.path.abspath, (ballastd, ballast, backend, http_module, stream_module))


class World:
    def __init__(self, programs, verbose=False):
        self.programs, self.verbose = programs, verbose
        self.folder = tempfile.mkdtemp(prefix="ballast-nginx.", dir="/dev/shm")
        os.chmod(self.folder, 0o755)  # for workers of another user
        self.namespace = os.path.basename(self.folder).replace("ballast-nginx.", "nginx-test-")
        self.directory = f"/dev/shm/ballast/{self.namespace}"
        self.processes, self.nginxes, self.closing = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for action in reversed(self.closing):
            action()
        for nginx in self.nginxes:
            nginx.stop()
        for process in reversed(self.processes):
            self.kill(process)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def kill(self, process):
        """kill -9, and waits until it is gone."""
        if process in self.processes:
            self.processes.remove(process)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def start(self, argv, ready=b"ready\n", wrapper=()):
        """A process that says when it is ready, and lives until it is killed or its stdin closes."""
        process = subprocess.Popen([*wrapper, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   preexec_fn=_die_with(signal.SIGKILL))
        self.processes.append(process)
        line = process.stdout.readline()
        equal(line, ready, f"what {argv[0]} says first")
        return process

    def backends(self, *listens, wrapper=()):
        return self.start([self.programs.backend, *listens], wrapper=wrapper)

    def python(self, code, *arguments):
        """A server in a python process of its own; it prints `ready`."""
        return self.start([PYTHON, "-c", code, *map(str, arguments)])

    def ballastd(self, services, ballast="", wrapper=(), wait=True):
        """`services` is TOML below [ballast]. Ready to be picked from when this returns."""
        config = self.write("ballastd.toml", f'[ballast]\nnamespace = "{self.namespace}"\n{ballast}\n{services}')
        with open(self.path("ballastd.log"), "ab") as log:
            process = subprocess.Popen([*wrapper, self.programs.ballastd, "--config", config], stderr=log,
                                       stdin=subprocess.DEVNULL, preexec_fn=_die_with(signal.SIGKILL))
        self.processes.append(process)
        if wait:
            names = re.findall(r"^\[service\.([a-z0-9_-]+)\]", services, re.MULTILINE)
            try:
                wait_for(lambda: process.poll() is not None or all(
                    self.instances(name) and all(i["usable"] for i in self.instances(name).values())
                    for name in names), "every instance to be usable")
                check(process.poll() is None, "ballastd ended")
            except Failed as error:
                with open(self.path("ballastd.log"), encoding="utf-8") as file:
                    raise Failed(f"{error}; ballastd said:\n{file.read()[-2000:]}") from None
        return process

    def ballast(self, *arguments, may_fail=False):
        run = subprocess.run([self.programs.ballast, *arguments], capture_output=True, text=True, check=False)
        check(may_fail or run.returncode == 0, f"ballast {arguments}: {run.stdout}{run.stderr}")
        return run

    def operate(self, verb, *arguments):
        return self.ballast(verb, "--namespace", self.namespace, *arguments)

    def dump(self):
        run = self.ballast("dump", "--json", "--dir", self.directory, may_fail=True)
        return json.loads(run.stdout) if run.returncode == 0 else {"services": []}

    def instances(self, service):
        """Those of a service as `ballast dump` has them, by address."""
        for one in self.dump()["services"]:
            if one["name"] == service:
                return {instance["address"]: instance for instance in one["instances"]}
        return {}

    def counters(self, service):
        """Sums over a service's instances."""
        out = {"in_flight": 0}
        for instance in self.instances(service).values():
            out["in_flight"] += instance["in_flight"]
            for name, value in instance["counters"].items():
                out[name] = out.get(name, 0) + value
        return out

    def rows(self):
        run = self.ballast("workers", "--json", "--dir", self.directory)
        return [row for row in json.loads(run.stdout)["workers"] if row["owner"] == "alive"]

    def wait_in_flight(self, service, count):
        wait_for(lambda: self.counters(service)["in_flight"] == count,
                 lambda: f"{count} in flight: {self.counters(service)}")

    def nginx_conf(self, http="", stream="", workers=2, user=None, main="", events="worker_connections 1024;",
                   access_log="off", module=True, name="nginx", daemon="off"):
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        programs, lines = self.programs, []
        if stream:
            lines.append(f"load_module {STREAM_PATH};")
        if module and http:
            lines.append(f"load_module {programs.http_module};")
        if module and stream:
            lines.append(f"load_module {programs.stream_module};")
        lines += [f"daemon {daemon};", f"worker_processes {workers};", f"pid {folder}/nginx.pid;",
                  f"error_log {folder}/error.log notice;", main]
        if os.geteuid() == 0:
            lines.append(f"user {user or 'root'};")
        lines.append(f"events {{ {events} }}")
        if http:
            temp = "".join(f"{what}_temp_path {folder}/{what};\n" for what in
                           ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            lines.append(f"http {{\nkeepalive_requests 100000000;\n{temp}{http}\naccess_log {access_log};\n}}")
        if stream:
            lines.append(f"stream {{\n{stream}\n}}")
        return "\n".join(lines) + "\n"

    def nginx(self, http="", stream="", name="nginx", wrapper=(), conf=None, **options):
        conf = conf or self.nginx_conf(http, stream, name=name, **options)
        nginx = Nginx(self.path(name), conf, wrapper)
        self.nginxes.append(nginx)
        return nginx

    def judge(self, conf, name="judged"):
        """What `nginx -t` says: its status and its words."""
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(conf)
        run = subprocess.run([find_nginx(), "-t", "-p", folder, "-e", os.path.join(folder, "error.log"),
                              "-c", path], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr


def service(instances, more="", check_with='{ kind = "none" }', name="checkout"):
    """The configuration of a service, of which nothing is checked unless asked for."""
    return f"[service.{name}]\ninstances = {json.dumps(instances)}\n{more}\ncheck = {check_with}\n"


def upstream(world, service="checkout", arguments="key=$arg_user", more="keepalive 32;", name=None):
    return (f"upstream {name or service} {{\nballast {service} namespace={world.namespace} {arguments};\n"
            f"{more}\n}}\n")


def server(port, location="proxy_pass http://checkout;", more=""):
    return (f"server {{\nlisten 127.0.0.1:{port};\n{more}\nproxy_http_version 1.1;\n"
            f'proxy_set_header Connection "";\nlocation / {{\n{location}\n}}\n}}\n')


def main(tests, arguments):
    """Runs a file's tests, or those named behind the programs; 0, 1, or 77 if all were skipped."""
    programs, names = Programs(*arguments[:5]), arguments[5:]
    if find_nginx() is None:
        print("skipped: nginx is not installed (tools/dev setup demo)")
        return 77
    failed = skipped = 0
    for test in tests:
        name = test.__name__.removeprefix("test_")
        if names and name not in names:
            continue
        begin = time.monotonic()
        outcome = "passed"
        try:
            with World(programs) as world:
                try:
                    test(world)
                except Exception:
                    for nginx in world.nginxes:
                        sys.stdout.write(nginx.told())
                    raise
        except Skipped as reason:
            skipped += 1
            outcome = f"skipped: {reason}"
        except Failed as error:
            failed += 1
            place = traceback.extract_tb(error.__traceback__)
            where = next((f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(place)
                          if not f.filename.endswith(("harness.py", "asking.py"))), "")
            outcome = f"FAILED at {where}: {error}"
        except Exception:
            failed += 1
            outcome = f"FAILED\n{traceback.format_exc()}"
        print(f"{name}: {outcome} ({time.monotonic() - begin:.1f} s)", flush=True)
    if failed:
        return 1
    return 77 if skipped == len(tests) else 0
