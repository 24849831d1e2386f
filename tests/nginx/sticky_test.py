#!/usr/bin/env python3
"""Sticky cookies of the nginx module, with a real nginx, ballastd and backends: where they lead, when
they are replaced, and that each is of one service.
usage: sticky_test.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [TEST...]
"""
import os
import re
import signal
import sys

import harness
from harness import check, equal, free_port, get, server, service, upstream, wait_for

KEY = "0123456789abcdef" * 4 + "\n"
NEXT_KEY = "fedcba9876543210" * 4 + "\n"


def with_key(world):
    """The line of ballastd's configuration that names a file with KEY."""
    path = world.write("sticky.key", KEY)
    os.chmod(path, 0o600)
    return f'sticky_key_file = "{path}"'


def test_sticky(world):
    """The cookie leads back to its instance whatever the key, and is replaced when that is drained."""
    port = free_port()
    instances = harness.addresses(4, free_port())
    world.backends(*instances)
    ballastd = world.ballastd(service(instances, 'strategy = "round_robin"'), with_key(world))
    world.nginx(upstream(world, arguments="sticky=cookie srv path=/ httponly") + server(port))
    answer = get(port)
    cookie = answer.headers["set-cookie"]
    found = re.fullmatch(r"srv=([A-Za-z0-9_-]{32}); Path=/; HttpOnly", cookie)
    check(found, f"the cookie is {cookie!r}")
    for _ in range(12):
        again = get(port, headers={"Cookie": f"other=1; srv={found[1]}"})
        equal((again.body, again.headers.get("set-cookie")), (answer.body, None), "where the cookie leads")
    equal(len({get(port).body for _ in range(12)}), 4, "instances without a cookie")
    forged = get(port, headers={"Cookie": "srv=AAAA" + found[1][4:]})
    check("set-cookie" in forged.headers, "no cookie for a forged one")
    world.operate("drain", "checkout", answer.body, "--wait")
    moved = get(port, headers={"Cookie": f"srv={found[1]}"})
    check(moved.body != answer.body and "set-cookie" in moved.headers, f"not moved: {moved}")
    check(moved.headers["set-cookie"] != cookie, "the cookie is the old one")
    old = moved.headers["set-cookie"].split(";")[0]
    world.write("sticky.key", NEXT_KEY + KEY)
    ballastd.send_signal(signal.SIGHUP)
    renewed = wait_for(lambda: "set-cookie" in (one := get(port, headers={"Cookie": old})).headers and one,
                       "a cookie made with the new key")
    equal(renewed.body, moved.body, "where a cookie of the key before leads")


def test_sticky_twice(world):
    """A cookie is of one service: two with the same name, path and domain are refused, with both places."""
    port = free_port()
    instances = harness.addresses(3, free_port())
    world.backends(*instances)
    world.ballastd(service(instances) + service(instances, name="cart"), with_key(world))

    def conf(first, second, name="cart"):
        return (upstream(world, arguments=f"sticky=cookie {first}") +
                upstream(world, name, arguments=f"sticky=cookie {second}", name="other") +
                server(port, more="location /a { proxy_pass http://other; }"))
    for first, second in (("one", "one"), ("one path=/", "one"), ("one path=/a domain=x", "one domain=x path=/a")):
        status, told = world.judge(world.nginx_conf(conf(first, second), name="judged"))
        check(status != 0 and len(re.findall(r"judged/nginx\.conf:\d+", told)) == 2 and '"one"' in told,
              f"{first}, {second}: {status} {told}")
    for first, second, name in (("one", "two", "cart"), ("one", "one path=/a", "cart"), ("one", "one", "checkout"),
                                ("one", "one domain=x", "cart")):
        status, told = world.judge(world.nginx_conf(conf(first, second, name), name="judged"))
        check(status == 0, f"{first}, {second} of {name}: {status} {told}")
    world.nginx(conf("one", "two"))
    tokens = {path: get(port, path).headers["set-cookie"].split(";")[0] for path in ("/", "/a")}
    places = {path: get(port, path, {"Cookie": "; ".join(tokens.values())}) for path in tokens}
    for path, place in places.items():
        for _ in range(5):
            again = get(port, path, {"Cookie": "; ".join(tokens.values())})
            equal((again.body, again.headers.get("set-cookie")), (place.body, None), f"where both cookies lead {path}")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(harness.main(TESTS, sys.argv[1:]))
