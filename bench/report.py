#!/usr/bin/env python3
"""Makes docs/benchmarks.md and its plot from what the suites wrote: build/bench/*.json.

`tools/dev bench report` runs it. The machine is described as it is now, so run it where the figures
were taken, or say with --machine where that was. What a person has to say about the figures stands in
bench/remarks.md and is taken over as it is.
usage: report.py [--from DIRECTORY] [--out FILE] [--machine TEXT]
"""
import argparse
import glob
import json
import os
import platform
import re
import subprocess
import sys

import simulator_report

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What an id means, for readers who have only this page. Rows without a text are explained by the
# row they belong to: the part of their id before the first slash, or the row that counts.
MEANINGS = {
    "pick.safe_over_floor": "full safe pick (key hash, table, state word, validation) over an "
                            "unsynchronised private table with the same loads",
    "pick.c_api_pair_over_floor": "`ballast_pick` + `ballast_report` through the shared library, "
                                  "address copied out, all counted in the row, over the same private "
                                  "table",
    "pick.rwlock_over_safe_2p": "a process-shared pthread rwlock round the same table over the safe "
                                "pick, 2 processes",
    "pick.flips_over_floor": "safe pick while another core flips states 100,000 times a second, over "
                             "the private table",
    "pick.ketama_speedup": "ketama lookup, N = 1000: plain binary search over the indexed search",
    "visible.p99_ns": "a state store seen by another process, 99th percentile",
    "rebuild.n1000_ms": "full rebuild of a table of 65537 for 1000 instances, published",
    "death.one_ms": "from SIGKILL of a server to the last worker's pick that avoids it",
    "cost.maglev_over_floor": "pick and report by `maglev`, over the same choice and counts without any "
        "sharing",
    "cost.rendezvous_over_floor": "pick and report by `rendezvous`, over the same choice and counts without any "
        "sharing",
    "cost.ketama_over_floor": "pick and report by `ketama`, over the same choice and counts without any "
        "sharing",
    "cost.bounded_maglev_over_floor": "pick and report by `maglev` with a bound of 1.25, over the same choice and counts without any "
        "sharing",
    "cost.round_robin_over_floor": "pick and report by `round_robin`, over the same choice and counts without any "
        "sharing",
    "cost.random_over_floor": "pick and report by `random`, over the same choice and counts without any "
        "sharing",
    "cost.least_connections_over_floor": "pick and report by `least_connections`, 2 choices, over the same choice and counts without any "
        "sharing",
    "cost.least_response_time_over_floor": "pick and report by `least_response_time`, 2 choices, over the same choice and counts without any "
        "sharing",
    "cost.adaptive_over_floor": "pick and report by `adaptive`, 3 choices, over the same choice and counts without any "
        "sharing",
    "cost.inflight_speedup_2p": "two random candidates compared and counted by shared padded atomics, "
                                "over rows with published totals; two processes",
    "disruption.other_keys_moved": "rendezvous table: entries moved between instances of which none "
                                   "joined, left, failed or changed its weight",
    "disruption.added_over_ideal": "rendezvous table: entries that one that joins moves over its "
                                   "share, mean of 100 joins",
    "breaker.open_all_p99_us": "from the call that reports the last failure to the pick by which the "
                               "last of five processes sees the breaker open",
    "check.http_keepalive_over_haproxy": "processor time of an HTTP check on a kept connection over that of "
                                         "HAProxy's HTTP check; 10,000 targets, each checked every second",
    "check.http_over_haproxy": "processor time of an HTTP check on a new connection over that of HAProxy's",
    "check.tcp_over_haproxy": "processor time of a TCP check over that of HAProxy's",
    "check.memory_over_haproxy": "resident memory with 10,000 instances over that of HAProxy",
    "check.burst_over_mean": "most checks started in any 10 ms over the mean around them, worst of: after a start, "
                             "in steady state, after a reload that changes every check, after a network "
                             "that was gone comes back",
    "check.http_keepalive_all_features_over_haproxy": "the same as `check.http_keepalive_over_haproxy` with all "
                                                      "that ballastd can do switched on, and its metrics scraped "
                                                      "each second; HAProxy as before",
    "check.http_all_features_over_haproxy": "the same as `check.http_over_haproxy` with all features on",
    "check.tcp_all_features_over_haproxy": "the same as `check.tcp_over_haproxy` with all features on",
    "check.memory_all_features_over_haproxy": "the same as `check.memory_over_haproxy` with all features on",
    "check.burst_over_mean_all_features": "the same as `check.burst_over_mean` with all features on",
    "check.lag_p99_all_features_ms": "the same as `check.lag_p99_ms` with all features on, from ballastd's own "
                                     "histogram: the end of the bucket that holds the 99th percentile",
    "check.kept_share": "where the time of a check on a kept connection goes",
    "check.lag_p99_ms": "how late checks start, 99th percentile; 20,000 instances, each checked every second",
    "check.false_downs": "instances called down wrongly in ten minutes; 10,000 instances, two busy loops beside",
    "check.first_verdict_s": "from the start of ballastd to a verdict on each of 10,000 instances",
    "check.adoption_flaps": "changes of health in the 5 s after ballastd was killed and started again; "
                            "10,000 instances",
    "death.one_of_10k_ms": "from SIGKILL of a server to the last worker's pick that avoids it, beside 9,999 "
                           "others that are checked every second",
    "death.thousand_of_10k_ms": "the same for a process that serves 1000 of 10,000 instances",
    "death.thousand_ms": "the same for a process that serves 1000 instances",
    "nginx.least_conn_1000": "nginx: processor time of a request with 1000 instances by `least_connections` "
                             "over that with `least_conn` and `zone`",
    "nginx.chash_1000": "the same by `ketama` over `hash ... consistent` and `zone`",
    "nginx.round_robin_16": "the same with 16 instances by `round_robin` over nginx's own round robin",
    "nginx.pick_share": "samples of perf in the module with libballast, and in the clock, of all in nginx's workers, "
                        "kernel included; the worse of 16 and 1000 instances",
    "nginx.failed_after_kill": "requests that failed when one of 16 backends was killed under load, 8 workers",
    "nginx.leaked_in_flight": "requests in flight too many for ever after an nginx worker was killed under load",
    "nginx.ketama_equal": "keys that `ketama` sends where `hash ... consistent` does, of 10,000",
    "python.pick_report_ns": "`service.pick(key).report()` in CPython, latency taken",
    "python.with_block_ns": "`with service.pick(key): pass` in CPython, latency taken",
    "sim.adaptive_worst_over_best": "simulated: p99 of `adaptive` over that of the best fixed strategy, "
                                    "the worst of all scenarios",
    "sim.adaptive_over_round_robin_uneven": "simulated: p99 of `adaptive` over that of round robin, the "
                                            "worst of the uneven scenarios",
    "sim.shared_over_per_worker_64": "simulated: p99 with state shared by 64 workers over that of the "
                                     "same strategy with state of each worker's own, the worst of the "
                                     "uneven scenarios and of three strategies",
}


# Suites with a page of their own for their many rows.
PAGES = {"simulator": "simulator.md"}


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def machine():
    info = read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", read("/proc/meminfo"), re.MULTILINE)
    virtual = ", a virtual machine" if "hypervisor" in info else ""
    parts = [f"{model[1] if model else platform.machine()}, {os.cpu_count()} processors{virtual}"]
    if memory:
        parts.append(f"{round(int(memory[1]) / 2**20)} GiB of memory")
    parts.append(f"{platform.system()} {platform.release()}")
    parts.append(compiler())
    return "; ".join(part for part in parts if part)


def compiler():
    try:
        commands = json.loads(read(os.path.join(ROOT, "build/compile_commands.json")))
        options = json.loads(read(os.path.join(ROOT, "build/meson-info/intro-buildoptions.json")))
    except ValueError:
        return ""
    cpp = next((entry["command"].split() for entry in commands if entry["file"].endswith(".cpp")), [])
    program = next((word for word in cpp if word != "ccache"), "c++")
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    build = {option["name"]: option["value"] for option in options}.get("buildtype", "")
    return f"{run.stdout.splitlines()[0]}, {build} build" if run.stdout else ""


def limit(row):
    match = re.search(r"\d+(?:\.\d+)?", row["goal"])
    return float(match[0]) if match else None


def is_met(row):
    return row["value"] <= limit(row) if row["better"] == "lower" else row["value"] >= limit(row)


def number(value):
    digits = 3 if value < 10 else 2 if value < 100 else 1
    return f"{value:.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return lines + [""]


def figures(row):
    return [f"{number(row['value'])} {row['unit']}", f"{number(row['low'])} - {number(row['high'])}",
            str(row["runs"])]


def goals_table(rows):
    out = []
    for row in rows:
        value, spread, runs = figures(row)
        out.append([f"`{row['id']}`", MEANINGS.get(row["id"], ""), row["goal"], f"**{value}**",
                    spread, runs, "met" if is_met(row) else "**missed**"])
    return table(["id", "what", "goal", "measured", "low - high", "runs", ""], out)


def plot(rows, path):
    """One bar a goal: how far the figure is from its limit. Left of the line is better."""
    width, step, top = 420, 26, 44
    left = 20 + 8 * max(len(row["id"]) for row in rows)  # what a letter needs, roughly
    height = top + step * len(rows) + 30
    scale = width / 1.6  # where the limit lies: at 1.0 of 1.6
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 120}" height="{height}" '
           f'font-family="sans-serif" font-size="13">',
           f'<rect width="{left + width + 120}" height="{height}" fill="#ffffff"/>',
           '<text x="12" y="22" fill="#222222">Figure as a share of its goal (left of the line: '
           'met); whiskers: lowest and highest run</text>']
    for i, row in enumerate(rows):
        # A goal of nothing at all is met on the line.
        share = [max(row[key], 1e-9) / (limit(row) or 1e-9) for key in ("value", "low", "high")]
        if row["better"] == "higher":
            share = [1 / part for part in share]
        value, *ends = [min(part, 1.6) * scale for part in share]
        y = top + step * i
        colour = "#3f7f4f" if is_met(row) else "#b5483a"
        out += [f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#222222">{row["id"]}</text>',
                f'<rect x="{left}" y="{y + 2}" width="{value:.1f}" height="14" fill="{colour}"/>',
                f'<line x1="{left + min(ends):.1f}" x2="{left + max(ends):.1f}" y1="{y + 9}" '
                f'y2="{y + 9}" stroke="#222222" stroke-width="1.5"/>',
                f'<text x="{left + width + 10}" y="{y + 13}" fill="#222222">{number(row["value"])} '
                f'{row["unit"]}</text>']
    bottom = top + step * len(rows)
    out += [f'<line x1="{left + scale:.1f}" x2="{left + scale:.1f}" y1="{top - 6}" y2="{bottom}" '
            f'stroke="#222222" stroke-dasharray="4 3"/>',
            f'<text x="{left + scale:.1f}" y="{bottom + 18}" text-anchor="middle" '
            f'fill="#222222">goal</text>', "</svg>", ""]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


def page(suites, where, svg):
    goals = [row for rows in suites.values() for row in rows if row["goal"]]
    missed = [row["id"] for row in goals if not is_met(row)]
    names = " ".join(suites)
    lines = ["# Benchmarks", "",
             f"Made by `tools/dev bench {names} && tools/dev bench report` from `build/bench/*.json`; "
             "do not edit.", "",
             f"Measured on: {where}.", "",
             "A figure is the median of its runs; low and high are the lowest and the highest run. "
             "In the suites pick and strategies ratios are taken pair by pair: short bursts (about 100 us) "
             "of the one and of the other take turns in the same pinned processes, a run is the median "
             "of 100 such pairs. Rows "
             "named `.../n1000/2p` are one case each: 1000 instances, two processes; where a goal has "
             "several cases, the worst is the one that counts.", "",
             "## Goals", ""]
    lines += goals_table(goals)
    lines += [f"Missed: {', '.join(f'`{name}`' for name in missed)}." if missed
              else "All goals are met.", "", f"![Figures as shares of their goals]({svg})", ""]
    remarks = read(os.path.join(ROOT, "bench/remarks.md")).strip()
    if remarks:
        lines += [remarks, ""]
    for name, rows in suites.items():
        if name in PAGES:
            lines += [f"## Suite `{name}`", "", f"`tools/dev bench {name}`; its rows are in "
                      f"[{PAGES[name]}]({PAGES[name]}).", ""]
            continue
        lines += [f"## Suite `{name}`, all rows", "", f"`tools/dev bench {name}`", ""]
        lines += table(["id", "measured", "low - high", "runs"],
                       [[f"`{row['id']}`", *figures(row)] for row in rows])
    return "\n".join(lines)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--from", dest="source", default=os.path.join(ROOT, "build/bench"))
    parser.add_argument("--out", default=os.path.join(ROOT, "docs/benchmarks.md"))
    parser.add_argument("--machine")
    options = parser.parse_args(arguments)
    suites = {}
    for path in sorted(glob.glob(os.path.join(options.source, "*.json"))):
        rows = json.loads(read(path))
        if isinstance(rows, list) and rows:
            suites[os.path.basename(path)[:-len(".json")]] = rows
    if not suites:
        sys.exit(f"report.py: {options.source} holds no figures; run 'tools/dev bench pick' first")
    svg = os.path.splitext(options.out)[0] + ".svg"
    plot([row for rows in suites.values() for row in rows if row["goal"]], svg)
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(page(suites, options.machine or machine(), os.path.basename(svg)))
    written = [options.out, svg]
    pages = os.path.join(os.path.dirname(options.out), PAGES["simulator"])
    if "simulator" in suites and os.path.exists(pages):
        written += simulator_report.update(suites["simulator"], pages)
    print("wrote " + ", ".join(written))


if __name__ == "__main__":
    main(sys.argv[1:])
