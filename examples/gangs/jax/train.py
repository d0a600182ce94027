"""JAX: gradients averaged over the processes of jax.distributed.

A network of two layers learns a function of four variables; every rank takes its part of the points, and the gradients are
averaged over the ranks at every step. Prints `step N/STEPS loss=...`, and at the end one line of every rank with a digest of
its weights: all ranks, and every run of the same program, end with the same.
"""

import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather

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


@jax.jit
def gradients(weights, x, y):
    def loss(weights):
        return jnp.mean((jnp.tanh(x @ weights[0]) @ weights[1] - y) ** 2)
    return jax.value_and_grad(loss)(weights)


def main():
    jax.distributed.initialize()
    rank, ranks = jax.process_index(), jax.process_count()
    x, y, w1, w2 = problem()
    done, saved = load()
    w1, w2 = saved or (w1, w2)
    for number in range(done + 1, STEPS + 1):
        loss, (g1, g2) = gradients((w1, w2), x[rank::ranks], y[rank::ranks])
        loss, g1, g2 = (np.mean(part, axis=0) for part in process_allgather((loss, g1, g2)))
        w1, w2 = w1 - np.float32(RATE) * g1, w2 - np.float32(RATE) * g2
        if rank == 0:
            print(f"step {number}/{STEPS} loss={loss:.6f}\n", end="", flush=True)
            if number % 5 == 0:
                save(number, w1, w2)
        time.sleep(PAUSE)
    print(f"rank {rank} of {ranks} digest={float((w1**2).sum() + (w2**2).sum()):.5f}\n", end="", flush=True)


main()
