#!/usr/bin/env python3
"""The audit of this machine beside `tuned-adm verify`, a process each, by turns.

Needs Debian's package tuned and its daemon with a profile (`tuned-adm profile NAME`). tuned verifies the lines of that
profile; doctor judges every rule for the role. Nothing is written by either.
"""

import argparse
import statistics
import subprocess
import sys
import time


def took(command):
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000, done.returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ashlar", default="target/release/ashlar")
    parser.add_argument("--role", default="train")
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    ours = [asked.ashlar, "doctor", "--role", asked.role, "--json"]
    theirs = ["tuned-adm", "verify"]
    times = {"doctor": [], "tuned-adm verify": []}
    for _ in range(asked.rounds):
        for name, command, fine in (("doctor", ours, (0, 1)), ("tuned-adm verify", theirs, (0, 1))):
            milliseconds, code = took(command)
            if code not in fine:
                sys.exit(f"{' '.join(command)} ended with {code}")
            times[name].append(milliseconds)
    for name, all_of in times.items():
        print(f"{name:18} median {statistics.median(all_of):7.1f} ms, least {min(all_of):7.1f}, most {max(all_of):7.1f}")
    print(f"ratio of medians   {statistics.median(times['doctor']) / statistics.median(times['tuned-adm verify']):.2f}")


if __name__ == "__main__":
    main()
