"""The WSGI application of gunicorn_test.py: picks in batches, or takes picks and keeps them, as its
path says. The balancer is made at import: in each worker, or with --preload in the master."""
import os
import sys

import ballast

balancer = ballast.Balancer(directory=os.environ["BALLAST_DIRECTORY"])
web = balancer.service("web")
turns = balancer.service("turns")
imported_by = os.getpid()
held = []


def batch(first, count):
    """So many picks of each service."""
    for i in range(first, first + count):
        with web.pick(f"user:{i}"), turns.pick():
            pass


def application(environ, start_response):
    """/batch/FIRST/COUNT, /hold/COUNT, /who"""
    words = environ["PATH_INFO"].strip("/").split("/")
    if words[0] == "batch":
        batch(int(words[1]), int(words[2]))
    elif words[0] == "hold":
        held.extend(web.pick(str(i)) for i in range(int(words[1])))
    text = f"{os.getpid()} {imported_by} {len(held)} {balancer.warning() or 'fine'}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    sys.stdout.flush()
    return [text.encode()]
