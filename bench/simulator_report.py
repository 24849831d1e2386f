#!/usr/bin/env python3
"""Puts the simulator's figures into docs/simulator.md and draws its plots, from what
`tools/dev bench simulator` wrote: build/bench/simulator.json.

`tools/dev bench report` calls it. The text of docs/simulator.md is written by hand; only what stands
between its two marks is replaced.
usage: simulator_report.py [--from FILE] [--out FILE]
"""
import argparse
import json
import math
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
WORKERS = (64, 4)
MATRIX, SHARING = "simulator.svg", "simulator-sharing.svg"


class Figures:
    """The rows by what they say: value(what, scenario, workers, strategy) and the orders of names."""

    def __init__(self, rows):
        self.rows = {row["id"]: row for row in rows}
        self.scenarios, self.strategies = [], []
        for row in rows:
            parts = row["id"].split("/")
            if parts[0] == "sim.p99_ms" and len(parts) == 4:
                for names, name in ((self.scenarios, parts[1]), (self.strategies, parts[3])):
                    if name not in names:
                        names.append(name)
        uneven = [i.split("/")[1] for i in self.rows if i.startswith("sim.adaptive_over_round_robin_uneven/")]
        self.uneven = [name for name in self.scenarios if name in uneven]

    def row(self, what, scenario, workers, strategy=""):
        parts = [f"sim.{what}", scenario, f"w{workers}"] + ([strategy] if strategy else [])
        return self.rows.get("/".join(parts))

    def value(self, *names):
        row = self.row(*names)
        return row["value"] if row else None

    def is_ours_and_fixed(self, name):
        return "." not in name and not name.startswith("adaptive") and not name.endswith("_breaker")

    def shared_and_own(self):
        """The strategies whose shared state is held against state of each worker's own."""
        names = [name[:-len(".per_worker")] for name in self.strategies if name.endswith(".per_worker")]
        return [name for name in names if not name.endswith("_breaker")]

    def best_fixed(self, scenario, workers):
        values = [self.value("p99_ms", scenario, workers, name) for name in self.strategies
                  if self.is_ours_and_fixed(name)]
        return min(values) if values else None


def number(value):
    if value is None:
        return ""
    return f"{value:.{2 if value < 10 else 1 if value < 1000 else 0}f}"


def title(name):
    return name.replace("_", " ")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def scenario_tables(figures):
    out = []
    for scenario in figures.scenarios:
        out += [f"### {title(scenario)}", ""]
        head = ["strategy"]
        for workers in WORKERS:
            head += [f"p50, {workers} workers", "p99", "p99.9", "errors"]
        rows = []
        for name in figures.strategies:
            line = [f"`{name}`"]
            for workers in WORKERS:
                line += [number(figures.value(what, scenario, workers, name))
                         for what in ("p50_ms", "p99_ms", "p999_ms")]
                errors = figures.value("errors_percent", scenario, workers, name)
                line.append("" if errors is None else f"{errors:.2f} %")
            rows.append(line)
        out += table(head, rows)
    return out


def ratio(row):
    if not row:
        return ""
    return f"{row['value']:.3f} ({row['low']:.3f} - {row['high']:.3f})"


def goal_tables(figures):
    out = ["### The goals, scenario by scenario", "",
           "p99 over p99, with 64 and with 4 workers: the median of the seeds (lowest - highest). `best` "
           "is the lowest p99 of any fixed strategy, seed by seed.", ""]
    head = ["scenario", "adaptive over best, 64", "4", "adaptive over round robin, 64", "4"]
    rows = []
    for scenario in figures.scenarios:
        kind = "uneven" if scenario in figures.uneven else "even"
        line = [title(scenario) + (" (uneven)" if kind == "uneven" else "")]
        for what in ("adaptive_worst_over_best", f"adaptive_over_round_robin_{kind}"):
            line += [ratio(figures.row(what, scenario, workers)) for workers in WORKERS]
        rows.append(line)
    out += table(head, rows)
    out += ["Shared state over the same strategy with state of each worker's own:", ""]
    pairs = figures.shared_and_own()
    head = ["scenario"] + [f"`{name}`, {workers}" for name in pairs for workers in WORKERS]
    rows = []
    for scenario in figures.scenarios:
        line = [title(scenario) + (" (uneven)" if scenario in figures.uneven else "")]
        for name in pairs:
            for workers in WORKERS:
                line.append(ratio(figures.row("shared_over_per_worker_64", scenario, workers, name) or
                                  figures.row("shared_over_per_worker", scenario, workers, name)))
        rows.append(line)
    return out + table(head, rows)


def text(x, y, words, anchor="start", colour="#222222", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{extra}>{words}</text>'


def elsewhere_table(figures):
    rows = [row for row in figures.rows.values() if row["id"].startswith("sim.elsewhere_p99_ms/")]
    if not rows:
        return []
    names, lines = [], {}
    for row in rows:
        _, variant, scenario, name = row["id"].split("/")
        if name not in names:
            names.append(name)
        lines.setdefault((variant, scenario), {})[name] = row["value"]
    out = ["### Services of another make", "",
           "p99 in ms with 64 workers, one seed: the same service but for what the first column says.", ""]
    return out + table(["service", "scenario"] + [f"`{name}`" for name in names],
                       [[title(variant), title(scenario)] + [number(line.get(name)) for name in names]
                        for (variant, scenario), line in lines.items()])


def interval_table(figures):
    found = {}
    for row in figures.rows.values():
        if row["id"].startswith("sim.p99_ms_by_interval/"):
            _, scenario, interval, name = row["id"].split("/")
            found.setdefault((scenario, name), {})[int(interval[:-2])] = row["value"]
    if not found:
        return []
    intervals = sorted(next(iter(found.values())))
    out = ["### How old the published loads may be", "",
           "p99 in ms with 64 workers by the time between two looks at the rows (`load_interval`); work takes "
           "10 ms.", ""]
    return out + table(["scenario and strategy"] + [f"{interval / 1000:g} ms" for interval in intervals],
                       [[f"{title(scenario)}, `{name}`"] + [number(line.get(i)) for i in intervals]
                        for (scenario, name), line in found.items()])


def svg(width, height, parts):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>", ""])


def shade(times):
    """White at the best, through yellow, to dark red at fifty times it; by the logarithm."""
    stops = [(0.0, (224, 240, 226)), (0.04, (244, 246, 226)), (0.2, (250, 228, 160)),
             (0.55, (226, 138, 98)), (1.0, (158, 56, 50))]
    place = min(max(math.log(max(times, 1)) / math.log(50), 0), 1)
    for (low, from_), (high, to) in zip(stops, stops[1:]):
        if place <= high:
            part = (place - low) / (high - low)
            return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(from_, to)), place > 0.6
    return "#9e3832", True


def matrix(figures, workers):
    """A field for each strategy and scenario: its p99 over that of the best fixed strategy."""
    left, top, wide, high = 208, 150, 62, 22
    groups = [("production code", [n for n in figures.strategies if "." not in n]),
              ("the same, state per worker", [n for n in figures.strategies if n.endswith(".per_worker")]),
              ("models of peers, state per worker", [n for n in figures.strategies if n.startswith("peer.")])]
    parts = [text(12, 24, f"p99 over that of the best fixed strategy, {workers} workers", extra=' font-size="15"'),
             text(12, 42, "a failed request counts as late as the client's limit (2 s)", colour="#666666")]
    for column, scenario in enumerate(figures.scenarios):
        x = left + wide * column + wide / 2
        parts.append(f'<text transform="translate({x + 4:.0f},{top - 8}) rotate(-42)" fill="#222222">'
                     f'{title(scenario)}</text>')
    y = top
    for name, members in groups:
        if not members:
            continue
        y += 20
        parts.append(text(12, y - 6, name, colour="#666666"))
        for strategy in members:
            weight = ' font-weight="bold"' if strategy == "adaptive" else ""
            shown = title(strategy.replace(".per_worker", "").replace("peer.", ""))
            parts.append(text(left - 8, y + 15, shown, "end", extra=weight))
            for column, scenario in enumerate(figures.scenarios):
                value = figures.value("p99_ms", scenario, workers, strategy)
                best = figures.best_fixed(scenario, workers)
                if value is None or not best:
                    continue
                colour, dark = shade(value / best)
                x = left + wide * column
                parts.append(f'<rect x="{x}" y="{y}" width="{wide - 2}" height="{high - 2}" fill="{colour}"/>')
                parts.append(text(x + wide / 2 - 1, y + 14, f"{value / best:.{2 if value / best < 9.995 else 0}f}",
                                  "middle", "#ffffff" if dark else "#222222", weight))
            y += high
    return svg(left + wide * len(figures.scenarios) + 44, y + 14, parts)


def sharing(figures, workers):
    """For each uneven scenario and strategy: p99 with own state and with shared state, on one line."""
    left, right, top, step = 330, 560, 74, 20
    rows = [(scenario, name) for scenario in figures.uneven for name in figures.shared_and_own()]
    pairs = [(scenario, name, figures.value("p99_ms", scenario, workers, name),
              figures.value("p99_ms", scenario, workers, name + ".per_worker")) for scenario, name in rows]
    pairs = [pair for pair in pairs if pair[2] and pair[3]]
    if not pairs:
        return None
    least = min(min(p[2], p[3]) for p in pairs)
    low = max(m * 10 ** e for e in range(-3, 5) for m in (1, 2, 5) if m * 10 ** e < least)
    top_value = max(max(p[2], p[3]) for p in pairs) * 1.15

    def place(value):
        return left + right * math.log(value / low) / math.log(top_value / low)
    height = top + step * len(pairs) + 8 * len(figures.uneven) + 34
    parts = [text(12, 24, f"p99 in ms with {workers} workers: what sharing the state changes", extra=' font-size="15"'),
             f'<circle cx="18" cy="40" r="5" fill="#2f6f9f"/>', text(30, 44, "shared by all workers"),
             f'<circle cx="188" cy="40" r="5" fill="#c2703d"/>', text(200, 44, "each worker its own"),
             text(360, 44, "(2000: the client's limit; logarithmic)", colour="#666666")]
    marks = [m * 10 ** e for e in range(0, 5) for m in (1, 2, 5) if low <= m * 10 ** e <= top_value]
    for mark in marks:
        parts += [f'<line x1="{place(mark):.1f}" x2="{place(mark):.1f}" y1="{top - 14}" y2="{height - 26}" stroke="#e2e2e2"/>',
                  text(place(mark), height - 10, str(mark), "middle", "#666666")]
    y, before = top, None
    for scenario, name, shared, own in pairs:
        if scenario != before:
            y += 8 if before else 0
            parts.append(text(12, y + 4, title(scenario)))
            before = scenario
        parts += [text(left - 14, y + 4, title(name), "end", "#444444"),
                  f'<line x1="{place(shared):.1f}" x2="{place(own):.1f}" y1="{y}" y2="{y}" stroke="#b0b0b0" stroke-width="2"/>',
                  f'<circle cx="{place(own):.1f}" cy="{y}" r="5" fill="#c2703d"/>',
                  f'<circle cx="{place(shared):.1f}" cy="{y}" r="5" fill="#2f6f9f"/>']
        y += step
    return svg(left + right + 40, height, parts)


def write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def update(rows, out):
    """Writes the plots beside `out` and the tables into it. The paths that were written."""
    figures = Figures(rows)
    if not figures.strategies:
        sys.exit("simulator_report.py: no figures in these rows; run 'tools/dev bench simulator' first")
    try:
        with open(out, encoding="utf-8") as file:
            page = file.read()
        before, rest = page.split(BEGIN, maxsplit=1)
        after = rest.split(END, maxsplit=1)[1]
    except (OSError, ValueError, IndexError):
        sys.exit(f"simulator_report.py: {out} must have the lines '{BEGIN}' and '{END}'")
    folder, written = os.path.dirname(out), [out]
    for name, drawn in ((MATRIX, matrix(figures, 64)), (SHARING, sharing(figures, 64))):
        if drawn:
            write(os.path.join(folder, name), drawn)
            written.append(os.path.join(folder, name))
    block = "\n".join(goal_tables(figures) + interval_table(figures) + elsewhere_table(figures) +
                      scenario_tables(figures)).rstrip()
    write(out, f"{before}{BEGIN}\n\n{block}\n\n{END}{after}")
    return written


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--from", dest="source", default=os.path.join(ROOT, "build/bench/simulator.json"))
    parser.add_argument("--out", default=os.path.join(ROOT, "docs/simulator.md"))
    options = parser.parse_args(arguments)
    try:
        with open(options.source, encoding="utf-8") as file:
            rows = json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"simulator_report.py: {error}; run 'tools/dev bench simulator' first")
    print("wrote " + ", ".join(update(rows, options.out)))


if __name__ == "__main__":
    main(sys.argv[1:])
