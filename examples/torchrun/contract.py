"""Check, with Python's own library alone, that this rank was started the way torchrun starts its workers.

Every rank checks its own variables; then all meet at MASTER_ADDR:MASTER_PORT, as `init_process_group` would, and rank 0
checks that they form one gang. Rank 0 prints one JSON line. Code 1 and a line on stderr for each broken promise.
"""

import json
import os
import socket
import sys
import time

PATIENCE_SECONDS = 60
NUMBERS = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "OMP_NUM_THREADS",
)
TEXTS = ("MASTER_ADDR", "ROLE_NAME", "TORCHELASTIC_RUN_ID")
# Other launchers' names would make a library believe that it was started by them.
STRAY = ("SLURM_", "OMPI_", "PMI_", "JAX_", "PADDLE_", "TF_CONFIG")


def own_promises(env):
    """What this rank can say about its own variables: numbers by name, and what is wrong."""
    wrong = [f"{name} is not set" for name in TEXTS if not env.get(name)]
    wrong += [f"{name} belongs to another launcher" for name in env if name.startswith(STRAY)]
    numbers = {}
    for name in NUMBERS:
        try:
            numbers[name] = int(env[name])
        except (KeyError, ValueError):
            wrong.append(f"{name} is not a number: {env.get(name)!r}")
    if not wrong:
        one_machine = [("LOCAL_RANK", "RANK"), ("ROLE_RANK", "RANK"), ("LOCAL_WORLD_SIZE", "WORLD_SIZE"), ("ROLE_WORLD_SIZE", "WORLD_SIZE")]
        wrong += [f"{a} is {numbers[a]}, {b} is {numbers[b]}" for a, b in one_machine if numbers[a] != numbers[b]]
        if not 0 <= numbers["RANK"] < numbers["WORLD_SIZE"]:
            wrong.append(f"rank {numbers['RANK']} of {numbers['WORLD_SIZE']}")
        if env.get("TORCHELASTIC_USE_AGENT_STORE") != "False":
            wrong.append("no agent holds a store here, so rank 0 must: TORCHELASTIC_USE_AGENT_STORE is not 'False'")
        if numbers["OMP_NUM_THREADS"] < 1:
            wrong.append("OMP_NUM_THREADS is below 1")
    return numbers, wrong


def meet(numbers, run):
    """Rank 0 hears `rank world run` of every other rank and says what is wrong with the gang."""
    address = (os.environ["MASTER_ADDR"], numbers["MASTER_PORT"])
    if numbers["WORLD_SIZE"] == 1:
        return []
    if numbers["RANK"] == 0:
        return hear_all(address, numbers, run)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.create_connection(address, timeout=PATIENCE_SECONDS) as peer:
                if peer.getsockname() != peer.getpeername():  # else the kernel connected us to ourselves
                    peer.sendall(f"{numbers['RANK']} {numbers['WORLD_SIZE']} {run}\n".encode())
                    return [] if peer.recv(1) == b"." else ["rank 0 went away"]
        except ConnectionRefusedError:
            pass
        if time.monotonic() > deadline:
            return [f"rank 0 does not listen at {address[0]}:{address[1]}"]
        time.sleep(0.02)


def hear_all(address, numbers, run):
    heard, peers = {0: (numbers["WORLD_SIZE"], run)}, []
    with socket.create_server(address) as server:
        server.settimeout(PATIENCE_SECONDS)
        while len(peers) < numbers["WORLD_SIZE"] - 1:
            try:
                peer, _ = server.accept()
            except socket.timeout:
                return [f"only ranks {sorted(heard)} of {numbers['WORLD_SIZE']} came"]
            peer.settimeout(PATIENCE_SECONDS)
            with peer.makefile("r") as lines:
                rank, world, theirs = lines.readline().rstrip("\n").split(" ", 2)
            peers.append(peer)
            heard[int(rank)] = (int(world), theirs)
    for peer in peers:
        peer.sendall(b".")
        peer.close()
    wrong = []
    if sorted(heard) != list(range(numbers["WORLD_SIZE"])):
        wrong.append(f"the ranks that came are {sorted(heard)}")
    if len(set(heard.values())) != 1:
        wrong.append(f"the ranks disagree about the gang: {heard}")
    return wrong


def main():
    numbers, wrong = own_promises(os.environ)
    run = os.environ.get("TORCHELASTIC_RUN_ID", "")
    if not wrong:
        wrong = meet(numbers, run)
    for line in wrong:
        print(f"rank {numbers.get('RANK', '?')}: {line}", file=sys.stderr, flush=True)
    if numbers.get("RANK") == 0:
        print(json.dumps({"ok": not wrong, "ranks": numbers.get("WORLD_SIZE"), "run": run,
                          "restart": numbers.get("TORCHELASTIC_RESTART_COUNT")}), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
