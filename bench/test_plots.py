#!/usr/bin/env python3
"""test_plots AB_REPEATS [--keep DIR] - the pictures and the page of results made up here.

Shown: each picture is there in both formats and has something on it; a zero on a logarithmic axis is
"n/a"; what is invalid is red and says so, what failed is said to be left out; mmap_churn is in no
saving; the page is well formed, has every picture, and lets no text of the data be markup. With one,
two and three arms, one to five workloads, one run, and a directory cut short."""
import json
import math
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zlib

NAMES = """throughput_ratio_by_workload elapsed_ratio_by_workload pager_daemon_cpu_breakdown
fault_missing_latency_p95_p99 restore_latency_p95_p99 pager_activity_counts
mmap_churn_range_ops_vs_faults pager_cpu_vs_throughput_ratio net_memory_saved_by_workload
memory_over_time client_touch_latency_cdf savings_vs_throughput""".split()
SAVINGS = "net_memory_saved_by_workload memory_over_time savings_vs_throughput".split()
WORKLOADS = ["interactive_burst", "anon_streamer", "random_touch_heap", "half_idle_heap",
             "mmap_churn"]
MIB = {"interactive_burst": 256, "anon_streamer": 512, "random_touch_heap": 512,
       "half_idle_heap": 512, "mmap_churn": 0.5, "interactive_burst_regular": 256}

BLUE, RED = "#0072b2", "#d00000"


# Results

def row_of(rng, run, workload, arms):
    churn = workload == "mmap_churn"
    jitter = lambda about, part=0.02: about * (1 + rng.uniform(-part, part))
    base = {"anon_streamer": 1.9, "random_touch_heap": 200000, "mmap_churn": 300}.get(workload, 90000)
    paid = MIB[workload] + 1.5
    saved = {"anon_streamer": 0.31, "half_idle_heap": 0.42, "random_touch_heap": 0.02,
             "mmap_churn": -1.5}.get(workload, 0.12)
    row = {"run": run, "workload": workload, "verdict": "OK", "problem": "", "verify_errors": 0}
    for arm in arms:
        factor = {"baseline": 1, "pager": 0.70 if churn else jitter(0.995), "zram": jitter(0.97)}[arm]
        row |= {f"{arm}_units_per_sec": base * factor, f"{arm}_elapsed_ms": jitter(10000, 0.0005),
                f"{arm}_touch_over_1us_p99_ns": jitter({"baseline": 9000}.get(arm, 42000), 0.3),
                f"{arm}_touch_p99_ns": jitter(400), f"{arm}_touch_p50_ns": jitter(180),
                f"{arm}_touch_over_1us_p95_ns": jitter(7000), f"{arm}_touch_n": 2000000,
                f"{arm}_memory_paid_steady_mib": paid * (1 - {"baseline": 0, "pager": jitter(saved, 0.1),
                                                             "zram": jitter(saved * 1.1, 0.1)}[arm])}
    for arm in set(arms) & {"pager", "zram"} if "baseline" in arms else []:
        for name in ("units_per_sec", "elapsed_ms"):
            row[f"{name}_ratio_{arm}_vs_baseline"] = row[f"{arm}_{name}"] / row[f"baseline_{name}"]
    if "pager" in arms:
        fault = 11.3 if churn else jitter(0.02, 0.5)
        daemon, porter, agent = jitter(1.4, 0.3), jitter(0.2, 0.3), jitter(0.4, 0.3) + fault
        count = 0 if churn else rng.randint(60, 90000)
        row |= {"pager_daemon_process_cpu_pct": daemon, "pager_agent_cpu_pct": agent,
                "pager_porter_cpu_pct": porter, "pager_fault_cpu_pct": fault,
                "pager_bg_cpu_pct": daemon + porter + agent - fault,
                "pager_daemon_cpu_pct_total": daemon + porter + agent,
                "pager_window_cpu_pct": 0.7 * (daemon + porter + agent),
                "pager_fault_missing_p95_ns": jitter(4000, 0.3),
                "pager_fault_missing_p99_ns": jitter(28000, 0.8),
                "pager_restore_wall_p95_ns": 0 if churn else jitter(3000, 0.3),
                "pager_restore_wall_p99_ns": 0 if churn else jitter(17000, 0.3),
                "pager_client_evict_success": count, "pager_compress_success": count // 2,
                "pager_faults_missing": 245632 if churn else count + 17,
                "pager_restore_success": count, "pager_range_add_msgs": 1919 if churn else 4,
                "pager_range_del_msgs": 1919 if churn else 4,
                "pager_pages_tracked_peak": 128 if churn else 131072}
    if "baseline" in arms and "pager" in arms:
        mib = row["baseline_memory_paid_steady_mib"] - row["pager_memory_paid_steady_mib"]
        row |= {"net_memory_saved_steady_mib": mib,
                "net_memory_saved_steady_pct": 100 * mib / row["baseline_memory_paid_steady_mib"]}
    return row


def write_arm(rng, folder, workload, arm, paid_mib):
    folder.mkdir(parents=True)
    total = MIB[workload] * 1024 + 1500
    lines = ["time_ms,is_in_window,target_pss_kib,target_store_map_pss_kib,target_pager_map_pss_kib,"
             "daemon_pss_without_memfds_kib,daemon_memfd_blocks_kib,paid_kib,daemon_cpu_ms,"
             "sample_cost_us"]
    for step in range(-2, 24):
        gone = 0
        if arm != "baseline":
            gone = (total - paid_mib * 1024) * min(max(step - 4, 0) / 8, 1) * (step < 21)
        blocks = (max(gone, 0) * 0.35 + 300) if arm == "pager" else 0
        daemon, ring = (900, 128) if arm == "pager" else (0, 0)
        target = total - gone - blocks - daemon
        lines.append(f"{step * 500},{int(0 <= step <= 20)},{target + ring + 40:.0f},"
                     f"{40 if ring else 0},{ring + 40 if ring else 0},{daemon},{blocks:.0f},"
                     f"{target + ring + daemon + blocks:.0f},{step * 5},5200")
    (folder / "memory.csv").write_text("\n".join(lines) + "\n")
    lines, ns = ["upper_ns,count"], 127
    for step in range(110):
        share = math.exp(-((step - 6) / 9) ** 2) + 3e-5 * math.exp(-((step - 70) / 18) ** 2) * (
            1 if arm == "baseline" else 8)
        lines.append(f"{int(ns)},{int(300000 * share * rng.uniform(0.9, 1.1))}")
        ns *= 2 ** 0.17
    (folder / "touch_latency.csv").write_text("\n".join(lines) + "\n")


def write_table(path, rows, columns=None):
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    text = lambda value: f"{value:.6f}" if isinstance(value, float) else str(value)
    path.write_text("\n".join([",".join(columns)] + [",".join(text(row.get(c, "")) for c in columns)
                                                     for row in rows]) + "\n")


def aggregate_of(rows):
    out = []
    for workload in dict.fromkeys(row["workload"] for row in rows):
        of = [r for r in rows if r["workload"] == workload and r["verdict"] in ("OK", "UNCHECKED")]
        for metric in dict.fromkeys(name for row in rows for name in row):
            values = sorted(r[metric] for r in of if isinstance(r.get(metric), (int, float)))
            if not values or metric == "run":
                continue
            n, mean = len(values), sum(values) / len(values)
            rank = lambda part: values[max(math.ceil(part * n), 1) - 1]
            out.append({"workload": workload, "metric": metric, "n": n, "min": values[0],
                        "p50": rank(0.5), "p95": rank(0.95), "max": values[-1], "mean": mean,
                        "stddev": math.sqrt(sum((v - mean) ** 2 for v in values) / max(n - 1, 1)),
                        "iqr": rank(0.75) - rank(0.25)})
    return out


def make_results(folder, arms=("baseline", "pager"), workloads=WORKLOADS, nr_runs=3, change=None,
                 manifest=None):
    rng, rows = random.Random(1), []
    for run in range(1, nr_runs + 1):
        for workload in workloads:
            row = row_of(rng, run, workload, arms)
            if change:
                change(row)
            rows.append(row)
            for arm in arms:
                write_arm(rng, folder / f"runs/run-{run:03d}/{workload}/{arm}", workload, arm,
                          row.get(f"{arm}_memory_paid_steady_mib", MIB[workload]))
        without_run = [{k: v for k, v in row.items() if k != "run"} for row in rows if row["run"] == run]
        write_table(folder / f"runs/run-{run:03d}/comparison.csv", without_run)
    write_table(folder / "all_runs_long.csv", rows)
    write_table(folder / "aggregate.csv", aggregate_of(rows))
    manifest = manifest or {
        "run_id": "20260225-162140", "state": "complete", "commit": "b87d05c", "seed": 1,
        "command_line": "run_process_pager_ab_repeats.sh --runs 3 --only a,b", "profile": "published",
        "kernel": "Linux 6.18.9", "cpu": "A CPU", "cpus": 2, "arms": list(arms),
        "start": "2026-02-25T16:21:40Z", "end": "2026-02-25T16:31:40Z",
        "workloads": {w: {"args": "--duration-sec 10", "region_mib": MIB[w]} for w in workloads}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return rows


# Looking at pictures

def drawn_lines(path):
    """(height, how many lines of pixels are not as plain as paper). Read from the lines as they are
    filtered: of a line that is like the one above it, or of one colour, next to nothing is left."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, parts, height = 8, [], 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            height = struct.unpack(">II", body[:8])[1]
        if kind == b"IDAT":
            parts.append(body)
        at += 12 + length
    raw = zlib.decompress(b"".join(parts))
    lines = [raw[at + 1:at + len(raw) // height] for at in range(0, len(raw), len(raw) // height)]
    return height, sum(len(line) - line.count(0) > 16 for line in lines)


def has_colour(path, colour):
    """In anything that the .svg draws: gnuplot writes #rrggbb as rgb(r, g, b)."""
    numbers = ", *".join(str(int(colour[i:i + 2], 16)) for i in (1, 3, 5))
    return re.search(f"rgb\\( *{numbers}\\)|{colour}", path.read_text(), re.I) is not None


def texts_of(path):
    return [" ".join("".join(e.itertext()).split()) for e in ElementTree.parse(path).iter()
            if e.tag.endswith("}text")]


# What is shown

failures = []


def check(is_so, what):
    if not is_so:
        failures.append(what)
        print(f"not so: {what}")


def draw(plot, folder, env=None):
    done = subprocess.run([plot, "plot", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=240, env=env)
    check(done.returncode == 0, f"{folder.name}: plot ends with 0, not {done.returncode}")
    return done.stderr


def check_pictures(folder):
    for name in NAMES:
        for end in ("gp", "png", "svg"):
            check((folder / f"plots/{name}.{end}").is_file(), f"{folder.name}: {name}.{end} is there")
    extra = {p.name for p in (folder / "plots").iterdir()} - {f"{n}.{e}" for n in NAMES
                                                              for e in ("gp", "png", "svg")}
    check(not extra, f"{folder.name}: nothing else in plots/: {extra}")


def check_page(folder, nr_pictures=len(NAMES)):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = ElementTree.fromstring(text)  # stricter than HTML5 wants it
    check(text.startswith("<!DOCTYPE html>"), f"{folder.name}: the page says it is HTML")
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    check(len(ids) == len(set(ids)), f"{folder.name}: no id twice on the page")
    links = [e.get(name) for e in page.iter() for name in e.keys() if name.endswith(("href", "src"))]
    check(all(link.startswith("#") and link[1:] in ids for link in links),
          f"{folder.name}: every link stays on the page and leads somewhere")
    check(not re.search(r"url\((?!#)|@import|<script", text), f"{folder.name}: nothing is fetched")
    pictures = [e for e in page.iter() if e.tag.endswith("}svg")]
    check(len(pictures) == nr_pictures, f"{folder.name}: {nr_pictures} pictures on the page")
    return page, text


def shows_an_ordinary_result(plot, work):
    folder = work / "ordinary"
    rows = make_results(folder, ("baseline", "pager", "zram"), nr_runs=3)
    check(draw(plot, folder) == "", "ordinary: gnuplot has nothing to complain of")
    check_pictures(folder)
    for name in NAMES:
        height, drawn = drawn_lines(folder / f"plots/{name}.png")
        check(drawn > height / 4, f"{name}.png is not blank")
        check(len(texts_of(folder / f"plots/{name}.svg")) > 5, f"{name}.svg has words")
        check(has_colour(folder / f"plots/{name}.svg", BLUE), f"{name}.svg has the pager's colour")
        check(not has_colour(folder / f"plots/{name}.svg", RED), f"{name}: nothing is red when all is well")
    for name in SAVINGS:
        check("mmap_churn" not in (folder / f"plots/{name}.gp").read_text(), f"no mmap_churn in {name}")
    check("mmap_churn" in " ".join(texts_of(folder / "plots/throughput_ratio_by_workload.svg")),
          "mmap_churn is in throughput_ratio_by_workload")
    # A zero: mmap_churn brings nothing back.
    for name in ("restore_latency_p95_p99", "pager_activity_counts"):
        check(any(t.startswith("n/a") for t in texts_of(folder / f"plots/{name}.svg")),
              f"{name}: a zero on a logarithmic axis is n/a")
    check(not any(t.startswith("n/a") for t in
                  texts_of(folder / "plots/fault_missing_latency_p95_p99.svg")),
          "fault_missing_latency_p95_p99: there is no n/a where all is known")
    page, text = check_page(folder)
    median = sorted(r["units_per_sec_ratio_pager_vs_baseline"] for r in rows
                    if r["workload"] == "half_idle_heap")[1]
    check(f"{median:.3f}" in text, "the page has the median")
    check(">0 ns<" not in text and "n/a" in text, "the page tells a time of zero as n/a")
    # By hand, as a reader would.
    before = (folder / "plots/memory_over_time.svg").read_bytes()
    (folder / "plots/memory_over_time.svg").unlink()
    subprocess.run(["gnuplot", "memory_over_time.gp"], cwd=folder / "plots", check=True)
    check((folder / "plots/memory_over_time.svg").read_bytes() == before, "a script draws it again")


def shows_what_is_wrong(plot, work):
    folder = work / "wrong <&> it's"

    def change(row):
        if row["workload"] == "anon_streamer" and row["run"] == 2:
            row |= {"verdict": "INVALID", "verify_errors": 3, "problem": "<script>alert(1)</script>"}
        if row["workload"] == "half_idle_heap" and row["run"] == 1:
            for name in list(row):
                if name not in ("run", "workload"):
                    del row[name]
            row |= {"verdict": "FAILED", "problem": "it's `gone` & \"lost\""}
        if row["workload"] == "random_touch_heap":
            row["verdict"] = "UNCHECKED"

    make_results(folder, nr_runs=3, change=change,
                 manifest={"run_id": "<b>&\"'", "state": "interrupted", "cpu": None, "arms": [],
                           "nested": {"<i>": [1, {"a": True}]}})
    draw(plot, folder)
    check_pictures(folder)
    for name in NAMES:
        if name.startswith("mmap_churn"):
            continue
        words = " ".join(texts_of(folder / f"plots/{name}.svg"))
        check("INVALID" in words or "invalid" in words, f"{name}: what is invalid is marked")
        told = [line for line in (folder / f"plots/{name}.gp").read_text().splitlines()
                if "anon_streamer" in line]
        check(told and all(RED in line for line in told), f"{name}: its name is red")
        check("half_idle_heap: 1 of 3 runs failed" in words, f"{name}: says what is left out")
        check(has_colour(folder / f"plots/{name}.svg", RED), f"{name}: what is invalid is red")
    page, text = check_page(folder)
    check(any("invalid" in (e.get("class") or "").split() for e in page.iter()),
          "the page marks what is invalid")
    check("<script>" not in text and "&lt;script&gt;alert(1)" in text, "no text becomes markup")
    check("interrupted" in text, "the page says that the run was not complete")


def draws_what_there_is(plot, work):
    shapes = [("one-arm", ("pager",), WORKLOADS[:1], 1), ("baseline-only", ("baseline",), WORKLOADS[:2], 2),
              ("one-churn", ("baseline", "pager"), WORKLOADS[4:], 10),
              ("two-workloads", ("baseline", "pager"), WORKLOADS[1:3], 1)]
    for name, arms, workloads, nr_runs in shapes:
        folder = work / name
        make_results(folder, arms, workloads, nr_runs)
        check(draw(plot, folder) == "", f"{name}: gnuplot has nothing to complain of")
        check_pictures(folder)
        check_page(folder)
    check("n/a" in texts_of(work / "one-arm/plots/throughput_ratio_by_workload.svg"),
          "one-arm: a ratio without a baseline is n/a")


def draws_what_was_cut_short(plot, work):
    folder = work / "cut"
    make_results(folder, nr_runs=2)
    for path in ("manifest.json", "aggregate.csv", "all_runs_long.csv",
                 "runs/run-001/anon_streamer/pager/memory.csv"):
        (folder / path).unlink()
    for path in ("runs/run-001/half_idle_heap/pager/memory.csv", "runs/run-002/comparison.csv",
                 "runs/run-001/interactive_burst/pager/touch_latency.csv"):
        whole = (folder / path).read_text()
        (folder / path).write_text(whole[:len(whole) * 2 // 3])
    draw(plot, folder)
    check_pictures(folder)
    check_page(folder)

    moved = work / "without-runs"
    make_results(moved, nr_runs=2)
    shutil.rmtree(moved / "runs")
    draw(plot, moved)
    check_pictures(moved)
    _, text = check_page(moved)
    check("2 of 2" in text, "without runs/: all_runs_long.csv has the rows")

    empty = work / "empty"
    (empty / "runs").mkdir(parents=True)
    draw(plot, empty)
    check_pictures(empty)
    check_page(empty)

    failed = work / "all-failed"
    (failed / "runs/run-001").mkdir(parents=True)
    write_table(failed / "runs/run-001/comparison.csv",
                [{"workload": w, "verdict": "FAILED", "reason": "it broke"} for w in WORKLOADS])
    draw(plot, failed)
    check_pictures(failed)
    check_page(failed)


def goes_on_without_gnuplot(plot, work):
    folder = work / "without"
    make_results(folder, workloads=WORKLOADS[:1], nr_runs=1)
    said = draw(plot, folder, env={"PATH": str(work)})
    check(said.count("\n") == 1 and "gnuplot-nox" in said, "without gnuplot: one line says so")
    check(not list((folder / "plots").glob("*.svg")), "without gnuplot: no pictures")
    _, text = check_page(folder, 0)
    check("gnuplot" in text, "without gnuplot: the page says why it has no pictures")


def main():
    if shutil.which("gnuplot") is None:
        print("needs gnuplot, package gnuplot-nox")
        return 77
    plot, keep = pathlib.Path(sys.argv[1]).resolve(), sys.argv[3:] and pathlib.Path(sys.argv[3])
    work = keep or pathlib.Path(tempfile.mkdtemp(prefix="process-pager-plots."))
    try:
        for test in (shows_an_ordinary_result, shows_what_is_wrong, draws_what_there_is,
                     draws_what_was_cut_short, goes_on_without_gnuplot):
            test(plot, work)
    finally:
        if not keep:
            shutil.rmtree(work)
    print(f"{len(failures)} things are not so" if failures else "all is so")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
