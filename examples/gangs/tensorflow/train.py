"""TensorFlow: MultiWorkerMirroredStrategy over the workers in TF_CONFIG.

A network of two layers learns a function of four variables; every rank takes its part of the points, and the gradients are
averaged over the ranks at every step. Prints `step N/STEPS loss=...`, and at the end one line of every rank with a digest of
its weights: all ranks, and every run of the same program, end with the same.
"""

import os
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

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


def main():
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.RING))
    ranks, rank = strategy.num_replicas_in_sync, strategy.cluster_resolver.task_id or 0
    x, y, w1, w2 = problem()
    done, saved = load()
    w1, w2 = saved or (w1, w2)
    with strategy.scope():
        weights = [tf.Variable(w1), tf.Variable(w2)]
        optimizer_rate = tf.constant(RATE)
    own = (tf.constant(x[rank::ranks]), tf.constant(y[rank::ranks]))

    @tf.function
    def step():
        def replica():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.tanh(own[0] @ weights[0]) @ weights[1] - own[1]) ** 2)
            gradients = tape.gradient(loss, weights)
            gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
            for weight, gradient in zip(weights, gradients):
                weight.assign_sub(optimizer_rate * gradient)
            return loss
        return strategy.reduce("MEAN", strategy.run(replica), axis=None)

    for number in range(done + 1, STEPS + 1):
        loss = float(step())
        if rank == 0:
            print(f"step {number}/{STEPS} loss={loss:.6f}\n", end="", flush=True)
            if number % 5 == 0:
                save(number, weights[0].numpy(), weights[1].numpy())
        time.sleep(PAUSE)
    digest = float(sum(tf.reduce_sum(weight ** 2) for weight in weights))
    print(f"rank {rank} of {ranks} digest={digest:.5f}\n", end="", flush=True)
    # Its threads wait for peers that have left.
    os._exit(0)


main()
