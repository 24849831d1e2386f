#!/usr/bin/env python3
"""The table in docs/metrics.md names exactly the families that a real scrape shows, with their types,
labels and what they mean. usage: metrics_test.py ROOT BALLASTD
With --print it prints the table that the page should have: metrics_test.py ROOT BALLASTD --print
"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)
FAMILY = re.compile(r"# HELP (\S+) (.*)\n# TYPE \S+ (\w+)\n((?:[^#].*\n)*)")
# Families that have no sample before the first check is done, and the loop has told of it.
LATE = ("ballast_service_down", "ballast_check_failures_total")
LABEL = re.compile(r'(\w+)="')

root = "."
program = "ballastd"


def free_port():
    """Below the ephemeral ones, which connections take."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def scrape():
    """The page of a ballastd with one service, which has every family."""
    with tempfile.TemporaryDirectory() as folder:
        port, upstream = free_port(), free_port() + 1
        config = os.path.join(folder, "ballast.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'[metrics]\nlisten = "127.0.0.1:{port}"\n[service.a]\n'
                       f'instances = ["127.0.0.1:{upstream}"]\n'
                       f'[[service.a.sources]]\nfile = "{folder}/targets.json"\n')
        with subprocess.Popen([program, "--config", config, "--directory", folder + "/files"],
                              stderr=subprocess.DEVNULL) as ballastd:
            try:
                return wait_for_page(f"http://127.0.0.1:{port}/metrics")
            finally:
                ballastd.terminate()


def wait_for_page(url):
    """Until its first check is done, of which some families tell."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                page = answer.read().decode()
            if all("\n" + name + "{" in page for name in LATE):
                return page
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("no page with a checked instance")
        time.sleep(0.05)


def families(page):
    """name -> (type, labels, help)"""
    found = {}
    for name, text, kind, samples in FAMILY.findall(page):
        labels = []
        for label in LABEL.findall(samples):
            if label not in labels and label != "le":
                labels.append(label)
        found[name] = (kind, ", ".join(labels), text)
    return found


class Metrics(unittest.TestCase):
    def test_the_table(self):
        with open(os.path.join(root, "docs/metrics.md"), encoding="utf-8") as file:
            page = file.read()
        rows = ROW.findall(page)
        table = {name: (kind, labels, text) for name, kind, labels, text in rows}
        self.assertEqual(len(rows), len(table), "a family is there twice")
        wanted = families(scrape())
        self.assertGreater(len(wanted), 60)
        # Shown only of instances whose strategy keeps one, and that have been used.
        seldom = "ballast_instance_latency_seconds"
        wanted[seldom] = (wanted[seldom][0], "service, instance", wanted[seldom][2])
        self.assertEqual(table, wanted)


if __name__ == "__main__":
    root, program = sys.argv[1:3]
    if sys.argv[3:] == ["--print"]:
        for family, (kind, labels, text) in families(scrape()).items():
            print(f"| `{family}` | {kind} | {labels} | {text} |")
    else:
        unittest.main(argv=sys.argv[:1])
