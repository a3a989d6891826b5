#!/usr/bin/env python3
"""test_stall STALL - a short run of bench/stall leaves what its header says: a row an arm with no wrong byte, a
histogram of each phase with as many touches as the row tells, and a picture with a curve of each arm."""
import csv
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

ARMS = {"pager": "#0072b2", "direct": "#009e73"}  # zram wants root
PHASES = ["random_paced", "random", "order_paced", "order"]


def check(folder):
    with open(folder / "stall.csv", newline="") as f:
        rows = {row["arm"]: row for row in csv.DictReader(f)}
    assert rows.keys() == ARMS.keys(), rows.keys()
    for arm, row in rows.items():
        assert row["wrong"] == "0", (arm, row["wrong"])
        for phase in PHASES:
            with open(folder / f"touches/idle-1-{arm}-0-{phase}.csv", newline="") as f:
                nr = sum(int(bucket["count"]) for bucket in csv.DictReader(f))
            assert nr > 0 and nr == int(row[f"{phase}_n"]), (arm, phase, nr, row[f"{phase}_n"])
    svg = (folder / "plots/touches-1.svg").read_text()
    text = "".join(ElementTree.fromstring(svg).itertext())
    for title in ("idle, 1 thread, paced", "idle, 1 thread, back to back"):
        assert title in text, title
    for colour in ARMS.values():  # a curve in each panel
        nr = svg.count("stroke='rgb({:3}, {:3}, {:3})'".format(*bytes.fromhex(colour[1:])))
        assert nr == 2, (colour, nr)
    assert (folder / "plots/touches-1.png").stat().st_size > 10000


def main():
    with tempfile.TemporaryDirectory(prefix="process-pager-test-stall.") as folder:
        subprocess.run([sys.argv[1], "--mib-bytes", "4M", "--repeats", "1", "--loads", "idle", "--threads", "1",
                        "--arms", ",".join(ARMS), "--paced", "200", "--results-dir", folder],
                       check=True, stdout=subprocess.DEVNULL)
        check(pathlib.Path(folder))


if __name__ == "__main__":
    main()
