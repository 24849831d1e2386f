"""The rows of a suite that is written in Python: what bench/support/suite.hpp is for C++. One table on
the terminal, and SUITE.json for bench/report.py. Figures never change the exit status.
"""
import json
import os
import re
import statistics


class Rows:
    def __init__(self):
        self.rows, self.notes = [], []

    def add(self, row_id, rounds, unit, goal="", better="lower"):
        """`rounds` are the figures of the rounds; the row's value is their median."""
        self.rows.append({"id": row_id, "value": statistics.median(rounds), "unit": unit, "goal": goal,
                          "better": better, "low": min(rounds), "high": max(rounds), "runs": len(rounds)})

    def note(self, text):
        self.notes.append(text)


def is_met(row):
    limit = float(re.search(r"\d+(?:\.\d+)?", row["goal"])[0])
    return row["value"] <= limit if row["better"] == "lower" else row["value"] >= limit


def number(value):
    return f"{value:.{3 if value < 10 else 2 if value < 100 else 1}f}"


def print_table(rows):
    width = max(len(row["id"]) for row in rows.rows)
    print(f"\n{'id':<{width}} {'value':>10} {'unit':<8} {'low':>10} {'high':>10} {'runs':>5}  goal")
    for row in rows.rows:
        goal = row["goal"] + ("  met" if is_met(row) else "  MISSED") if row["goal"] else ""
        print(f"{row['id']:<{width}} {number(row['value']):>10} {row['unit']:<8} {number(row['low']):>10} "
              f"{number(row['high']):>10} {row['runs']:>5}  {goal}")
    for note in rows.notes:
        print(f"note: {note}")


def write(rows, suite):
    usual = "build/bench" if os.path.isdir("build/bench") else "."
    directory = os.environ.get("BALLAST_BENCH_DIR") or usual
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, suite + ".json")
    with open(path, "w", encoding="ascii") as file:
        json.dump(rows.rows, file, indent=1)
        file.write("\n")
    print(f"wrote {path}")
