#!/usr/bin/env python3
"""Making an environment, beside plain `uv venv && uv pip install` in the same run.

    cargo build --release && sudo bench/environments.py --packages jax==0.10.2

Cold: nothing downloaded, nothing built; each with a cache of its own. Warm: the same again, everything in the cache. Ashlar's
time is that of `ashlar env create --no-check`: lock with hashes, build, and a job that says where it lies; trying the framework
would be timing its import. Needs uv, and a package index.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import peers


def timed(command: list, **more) -> float:
    before = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    return time.monotonic() - before


def plain(uv: str, folder: pathlib.Path, packages: list) -> float:
    environment = dict(os.environ, UV_CACHE_DIR=str(folder / "cache"))
    shutil.rmtree(folder / "venv", ignore_errors=True)
    before = time.monotonic()
    timed([uv, "venv", "--no-project", str(folder / "venv")], env=environment)
    timed([uv, "pip", "install", "--python", str(folder / "venv/bin/python"), *packages], env=environment)
    return time.monotonic() - before


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="target/release/ashlar")
    arguments.add_argument("--uv", default=shutil.which("uv"))
    arguments.add_argument("--framework", default="jax==0.10.2")
    arguments.add_argument("--packages", nargs="*", default=["jax==0.10.2"])
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    if not options.uv:
        raise SystemExit("uv is not on the search path: name it with --uv")
    os.environ["PATH"] = f"{pathlib.Path(options.uv).parent}:{os.environ['PATH']}"
    times = {"uv cold": [], "uv warm": [], "ashlar cold": [], "ashlar warm": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="ashlar-bench-", dir=peers.place()) as name:
            folder = pathlib.Path(name)
            times["uv cold"].append(plain(options.uv, folder, options.packages))
            times["uv warm"].append(plain(options.uv, folder, options.packages))
            node = peers.Ashlar(options.program, folder)
            try:
                create = lambda name: timed(node.command("env", "create", name, "--framework", options.framework, "--build", "cpu", "--no-check"))
                times["ashlar cold"].append(create("first"))
                times["ashlar warm"].append(create("second"))
            finally:
                node.stop()
    middle = {name: round(sorted(values)[len(values) // 2], 2) for name, values in times.items()}
    middle["cold: ashlar / uv"] = round(middle["ashlar cold"] / middle["uv cold"], 2)
    middle["warm: uv / ashlar"] = round(middle["uv warm"] / middle["ashlar warm"], 2)
    print(json.dumps(middle, indent=2))


main()
