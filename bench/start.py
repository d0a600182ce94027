#!/usr/bin/env python3
"""Submit to first instruction: Ashlar, `runc run` and Slurm, interleaved in one run.

    cargo build --release && sudo bench/start.py --rounds 40

The same static program runs everywhere; the first thing it does is say when it is. Milliseconds on the wall.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import peers


def measured(command: list, output=None, **options) -> float:
    """Milliseconds from just before the command until the stamp that its job printed."""
    before = time.time_ns()
    result = subprocess.run(command, capture_output=True, text=True, **options)
    text = output() if output else result.stdout
    if not text.strip():
        raise SystemExit(f"{command[0]} printed nothing: {result.stderr}")
    return (int(text.split()[-1]) - before) / 1e6


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="target/release/ashlar")
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--slurm-rounds", type=int, default=15)
    arguments.add_argument("--no-slurm", action="store_true")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="ashlar-bench-", dir=peers.place()) as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        stamp = peers.build_stamp(folder)
        runc = peers.Runc(folder, stamp)
        ashlar = peers.Ashlar(options.program, folder)
        times = {"ashlar": [], "runc": []}
        try:
            for turn in range(options.rounds + 3):
                pair = {
                    "ashlar": measured(ashlar.command("run", "--memory", "256MiB", "--cpus", "1", "--", str(stamp))),
                    "runc": measured(runc.command(f"bench-{turn}")),
                }
                if turn >= 3:  # the first rounds warm the caches
                    for key, value in pair.items():
                        times[key].append(value)
        finally:
            ashlar.stop()
        for tuned in () if options.no_slurm else (False, True):
            slurm = peers.Slurm(folder / f"slurm-{tuned}", tuned)
            key = "slurm tuned" if tuned else "slurm"
            times[key] = []
            try:
                script = folder / "job.sh"
                for turn in range(options.slurm_rounds):
                    out = folder / f"stamp-{tuned}-{turn}"
                    script.write_text(f"#!/bin/sh\nexec {stamp} {out}\n")

                    def text():
                        peers.wait_until(lambda: out.exists() and out.stat().st_size > 0, "the Slurm job")
                        return out.read_text()

                    times[key].append(measured(["sbatch", "-o", "/dev/null", str(script)], text, env=slurm.environment))
            finally:
                slurm.stop()
    result = {key: peers.quantiles(values) for key, values in times.items()}
    medians = {key: value["median"] for key, value in result.items()}
    result["ashlar_to_runc"] = round(medians["ashlar"] / medians["runc"], 2)
    for key in ("slurm", "slurm tuned"):
        if key in medians:
            result[f"{key} to ashlar"] = round(medians[key] / medians["ashlar"], 1)
    print(json.dumps(result, indent=2))


main()
