#!/usr/bin/env python3
"""How long a full look at a machine takes, beside hwloc's lstopo in the same run.

Both programs are started anew each time, turn by turn, and print everything they found. Needs `lstopo` (Debian: hwloc)
for the comparison; without it only Ashlar is measured.

    cargo build --release
    bench/probe.py [--ashlar target/release/ashlar] [--root DIR] [--times 40]

    cargo build --release -p host --example survey        # the readers alone, without the rest of the program
    bench/probe.py --survey target/release/examples/survey
"""

import argparse
import os
import shutil
import statistics
import subprocess
import time


def run(command, environment):
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1000


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ashlar", default="target/release/ashlar")
    options.add_argument("--survey", help="the example program instead of the whole one")
    options.add_argument("--root", help="a captured tree instead of this machine")
    options.add_argument("--times", type=int, default=40)
    given = options.parse_args()
    ours = [given.ashlar, "machine", "--xml"] + (["--root", given.root] if given.root else [])
    if given.survey:
        ours = [given.survey, given.root or "/", "1"]
    programs = {"survey" if given.survey else "ashlar machine --xml": (ours, dict(os.environ))}
    lstopo = shutil.which("lstopo-no-graphics") or shutil.which("lstopo")
    if lstopo:
        environment = dict(os.environ)
        if given.root:
            # Only what the tree says, as Ashlar reads it.
            environment |= {"HWLOC_FSROOT": given.root, "HWLOC_COMPONENTS": "linux,stop"}
        programs["lstopo --of console"] = ([lstopo, "--of", "console"], environment)
    else:
        print("skipped: no lstopo to compare with (Debian package hwloc)")
    taken = {name: [] for name in programs}
    for turn in range(given.times + 2):
        for name, (command, environment) in programs.items():
            milliseconds = run(command, environment)
            if turn >= 2:
                taken[name].append(milliseconds)
    medians = {}
    for name, values in taken.items():
        medians[name] = statistics.median(values)
        print(f"{name:24} median {medians[name]:7.1f} ms   least {min(values):7.1f} ms   of {len(values)}")
    if len(medians) == 2:
        us, them = medians.values()
        print(f"ratio of medians         {us / them:.2f}")


if __name__ == "__main__":
    main()
