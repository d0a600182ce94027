#!/usr/bin/env python3
"""What Ashlar costs while nothing happens: memory and processor time of the daemon and of one supervisor.

    cargo build --release && sudo bench/idle.py --seconds 30
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import peers


def status(pid: int) -> dict:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    kib = lambda name: int(fields[name].split()[0])
    return {"rss_mib": round(kib("VmRSS") / 1024, 1), "anonymous_mib": round(kib("RssAnon") / 1024, 1)}


def is_gone(pid: int) -> bool:
    return "VmRSS" not in pathlib.Path(f"/proc/{pid}/status").read_text()


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="target/release/ashlar")
    arguments.add_argument("--seconds", type=float, default=30)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="ashlar-bench-", dir=peers.place()) as name:
        node = peers.Ashlar(options.program, pathlib.Path(name))
        try:
            for _ in range(20):  # so that it has done some work before it rests
                subprocess.run(node.command("run", "--memory", "64MiB", "--", "/bin/true"), check=True, capture_output=True)
            job = subprocess.run(node.command("run", "--detach", "--memory", "64MiB", "--", "/bin/sleep", "1000"), check=True,
                                 capture_output=True, text=True).stdout.strip()
            journal = node.state / "runs" / f"{job}-1" / "journal"
            peers.wait_until(lambda: journal.exists() and '"running"' in journal.read_text(), "the job")
            supervisor = json.loads(journal.read_text().splitlines()[0])["pid"]
            children = pathlib.Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
            before = {pid: cpu_seconds(pid) for pid in (node.daemon.pid, supervisor)}
            time.sleep(options.seconds)
            share = lambda pid: round(100 * (cpu_seconds(pid) - before[pid]) / options.seconds, 3)
            print(json.dumps({
                "daemon": {**status(node.daemon.pid), "percent_of_a_core": share(node.daemon.pid)},
                "supervisor": {**status(supervisor), "percent_of_a_core": share(supervisor)},
                "init of the container": [status(int(pid)) for pid in children if not is_gone(int(pid))],
            }, indent=2))
            subprocess.run(node.command("cancel", job, "--now"), check=True, capture_output=True)
            subprocess.run(node.command("wait", job), capture_output=True)
        finally:
            node.stop()


main()
