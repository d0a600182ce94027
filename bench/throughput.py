#!/usr/bin/env python3
"""Trivial jobs through the whole road, a second: Ashlar and Slurm in one run, on the same cores.

    cargo build --release && sudo bench/throughput.py --jobs 400

Ashlar: durable submit, place, isolate in a container, run, exit recorded. Slurm: sbatch of single jobs, and one array; once with
processes that are only watched, once in control groups, which is nearer to what Ashlar does for each job.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import peers


def ashlar_rate(node: peers.Ashlar, jobs: int, folder: pathlib.Path, array: bool) -> float:
    job = folder / "job.yaml"
    text = 'name: nothing\ncommand: ["/bin/true"]\ncpus: 0.1\nmemory: 16MiB\n'
    job.write_text(text + (f"array: 0-{jobs - 1}\n" if array else ""))
    before = time.monotonic()
    files = [str(job)] * (1 if array else jobs)
    ids = subprocess.run(node.command("submit", *files), check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(node.command("wait", *ids), check=True)
    seconds = time.monotonic() - before
    listing = subprocess.run(node.command("jobs", "--all", "--json"), check=True, capture_output=True, text=True).stdout
    unfinished = [row["id"] for row in json.loads(listing) if row["state"] != "succeeded"]
    if unfinished:
        raise SystemExit(f"jobs did not succeed: {unfinished[:5]}")
    return jobs / seconds


def slurm_rate(slurm: peers.Slurm, jobs: int, folder: pathlib.Path, array: bool) -> float:
    script = folder / "true.sh"
    script.write_text("#!/bin/sh\nexec /bin/true\n")
    before = time.monotonic()
    if array:
        slurm.run("sbatch", "-o", "/dev/null", f"--array=0-{jobs - 1}", str(script))
    else:
        for _ in range(jobs):
            slurm.run("sbatch", "-o", "/dev/null", str(script))
    while slurm.run("squeue", "-h", "-t", "PD,R,CG,CF").strip():
        time.sleep(0.1)
    return jobs / (time.monotonic() - before)


# Slurm with its own defaults for scheduling, and made as quick as its documentation allows; with jobs that are only watched, and in
# control groups, which is nearer to what Ashlar does for each job.
SLURMS = [
    ("slurm", False, False),
    ("slurm, control groups", False, True),
    ("slurm tuned", True, False),
    ("slurm tuned, control groups", True, True),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="target/release/ashlar")
    arguments.add_argument("--jobs", type=int, default=400)
    arguments.add_argument("--no-slurm", action="store_true")
    options = arguments.parse_args()
    result = {}
    with tempfile.TemporaryDirectory(prefix="ashlar-bench-", dir=peers.place()) as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        node = peers.Ashlar(options.program, folder)
        try:
            result["ashlar single jobs/s"] = round(ashlar_rate(node, options.jobs, folder, False), 1)
            result["ashlar array jobs/s"] = round(ashlar_rate(node, options.jobs, folder, True), 1)
        finally:
            node.stop()
        for name, tuned, contained in [] if options.no_slurm else SLURMS:
            slurm = peers.Slurm(folder / name.replace(" ", "-").replace(",", ""), tuned, contained)
            try:
                for kind in ("single", "array"):
                    rate = slurm_rate(slurm, options.jobs, folder, kind == "array")
                    result[f"{name} {kind} jobs/s"] = round(rate, 1)
                    result[f"{kind} ratio to {name}"] = round(result[f"ashlar {kind} jobs/s"] / rate, 1)
            finally:
                slurm.stop()
    print(json.dumps(result, indent=2))


main()
