"""Ray: two actors, one on each node of the cluster, give their gradients to the driver.

A network of two layers learns a function of four variables; every rank takes its part of the points, and the gradients are
averaged over the ranks at every step. Prints `step N/STEPS loss=...`, and at the end one line of every rank with a digest of
its weights: all ranks, and every run of the same program, end with the same.
"""

import os
import time
from pathlib import Path

import numpy as np
import ray

STEPS, RATE = 60, 0.1
FOLDER = Path(os.environ.get("ASHLAR_CHECKPOINTS", "checkpoints"))
# Lines are written with their end at once, as launchers mix the output of ranks.
PAUSE = float(os.environ.get("PAUSE", "0"))  # seconds a step, to have time to watch


def problem():
    """512 points of a smooth function and a small network to begin with: the same in every rank and every run."""
    draw = np.random.default_rng(7)
    x = draw.uniform(-1.0, 1.0, (512, 4)).astype(np.float32)
    y = np.sin(x @ np.array([1.0, -2.0, 0.5, 3.0], np.float32))[:, None].astype(np.float32)
    return x, y, draw.normal(0.0, 0.5, (4, 32)).astype(np.float32), draw.normal(0.0, 0.2, (32, 1)).astype(np.float32)


def load():
    """Where the newest checkpoint stands, and its weights: an attempt goes on where the one before it had saved."""
    if not (FOLDER / "state.npz").exists():
        return 0, None
    with np.load(FOLDER / "state.npz") as saved:
        return int(saved["step"]), (saved["w1"], saved["w2"])


def save(step, w1, w2):
    """Whole or not at all: what is there under its name can be gone on from."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "state.npz.tmp", "wb") as file:
        np.savez(file, step=step, w1=w1, w2=w2)
    os.replace(FOLDER / "state.npz.tmp", FOLDER / "state.npz")


def gradients(x, y, w1, w2):
    """Loss and gradients of the mean square error."""
    hidden = np.tanh(x @ w1)
    error = hidden @ w2 - y
    back = 2.0 / len(x) * error
    return float((error**2).mean()), x.T @ (back @ w2.T * (1.0 - hidden**2)), hidden.T @ back


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
class Worker:
    def __init__(self, rank, ranks):
        x, y, _, _ = problem()
        self.x, self.y = x[rank::ranks], y[rank::ranks]

    def gradients(self, w1, w2):
        return gradients(self.x, self.y, w1, w2)

    def place(self):
        return ray.get_runtime_context().get_node_id(), os.getpid()


def main():
    ray.init()
    ranks = int(os.environ["ASHLAR_RANKS"])
    workers = [Worker.remote(rank, ranks) for rank in range(ranks)]
    places = ray.get([worker.place.remote() for worker in workers])
    print(f"{len({node for node, _ in places})} nodes, workers {[pid for _, pid in places]}", flush=True)
    _, _, w1, w2 = problem()
    done, saved = load()
    w1, w2 = saved or (w1, w2)
    for number in range(done + 1, STEPS + 1):
        parts = ray.get([worker.gradients.remote(w1, w2) for worker in workers])
        loss, g1, g2 = (sum(part) / ranks for part in zip(*parts))
        w1, w2 = w1 - np.float32(RATE) * g1, w2 - np.float32(RATE) * g2
        print(f"step {number}/{STEPS} loss={loss:.6f}\n", end="", flush=True)
        if number % 5 == 0:
            save(number, w1, w2)
        time.sleep(PAUSE)
    print(f"rank 0 of {ranks} digest={float((w1**2).sum() + (w2**2).sum()):.5f}\n", end="", flush=True)


main()
