"""Train a small network on scikit-learn's handwritten digits, data-parallel over the ranks of a gang.

Every rank holds the same parameters and a different part of each batch; XLA sums the gradients between the ranks
(gloo on CPUs, NCCL on GPUs). It runs with any number of ranks that divides the batch, and with one rank alone.

    python train.py [--out DIR] [--epochs N]

Rank 0 prints one JSON line an epoch and one at the end. SIGTERM makes all ranks stop at the same epoch, save and leave
with code 143; the next start with the same --out goes on from there. Code 1: the accuracy is below 0.95, or the ranks
do not hold the same parameters.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time

BEGAN = time.monotonic()
RANKS = int(os.environ.get("ASHLAR_RANKS", "1"))
BATCH = 128  # of the whole gang, so that the result does not depend on the number of ranks
WIDTHS = (64, 128, 64, 10)
STATE = ("count", "parameters", "first", "second")  # of Adam, as a checkpoint names it
LEARNING_RATE = 3e-3
SEED = 7
NEEDED_ACCURACY = 0.95
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # gloo's connection chatter
import numpy as np
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def say(**fields):
    """One JSON line for whoever watches; the ranks all know the same, so one of them speaks."""
    if jax.process_index() == 0:
        print(json.dumps(fields), flush=True)


def digits():
    """The 1,797 images of 8x8 pixels, shuffled the same way on every rank; a fifth is kept for the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    images, labels = (images[order] / 16.0).astype(np.float32), labels[order].astype(np.int32)
    held_out = len(labels) // 5
    return (images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out])


def first_parameters():
    """All weights and biases in one vector: the ranks then sum one array a step instead of one for each layer."""
    random = np.random.default_rng(SEED)
    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        layers += [random.standard_normal(inputs * outputs) * np.sqrt(2.0 / inputs), np.zeros(outputs)]
    return np.concatenate(layers).astype(np.float32)


def logits(parameters, images):
    start = 0
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        if start:
            images = jax.nn.relu(images)
        weights = parameters[start : start + inputs * outputs].reshape(inputs, outputs)
        start += inputs * outputs
        images = images @ weights + parameters[start : start + outputs]
        start += outputs
    return images


def mean_loss(parameters, images, labels):
    chances = jax.nn.log_softmax(logits(parameters, images))
    return -jnp.mean(jnp.take_along_axis(chances, labels[:, None], axis=1))


def step(state, batch):
    """One step of Adam. The mean is over the gang's batch, so its gradient is a sum over ranks."""
    count, parameters, first, second = state
    loss, slope = jax.value_and_grad(mean_loss)(parameters, *batch)
    count = count + 1
    first = 0.9 * first + 0.1 * slope
    second = 0.999 * second + 0.001 * slope * slope
    rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    return (count, parameters - rate * first / (jnp.sqrt(second) + 1e-8), first, second), loss


class Data:
    """Turns host arrays that every rank holds whole into arrays of which each rank owns one part."""

    def __init__(self, mesh):
        self.mesh = mesh

    def spread(self, array, axis):
        """`array` split along `axis` over the ranks."""
        sharding = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, "ranks"))
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    def everywhere(self, array):
        """`array` as it is on every rank."""
        return jax.make_array_from_callback(array.shape, NamedSharding(self.mesh, PartitionSpec()), lambda index: array[index])


def epoch_batches(images, labels, epoch):
    order = np.random.default_rng((SEED, epoch)).permutation(len(labels))
    steps = len(labels) // BATCH
    order = order[: steps * BATCH]
    return images[order].reshape(steps, BATCH, -1), labels[order].reshape(steps, BATCH)


def padded(images, labels, multiple):
    """The test set made divisible by the ranks; label -1 matches no answer."""
    missing = -len(labels) % multiple
    return np.pad(images, ((0, missing), (0, 0))), np.pad(labels, (0, missing), constant_values=-1)


def host_copy(array):
    return np.asarray(array.addressable_data(0))


def save(directory, epoch, state):
    """Written beside the old one and renamed, so that a kill at any moment leaves a whole checkpoint."""
    if directory is None or jax.process_index() != 0:
        return
    os.makedirs(directory, exist_ok=True)
    half_written = os.path.join(directory, f".checkpoint-{os.getpid()}.npz")
    with open(half_written, "wb") as file:
        np.savez(file, epoch=epoch, **dict(zip(STATE, map(host_copy, state))))
        file.flush()
        os.fsync(file.fileno())
    os.replace(half_written, os.path.join(directory, "checkpoint.npz"))


def resume(directory, state):
    """The newest checkpoint as rank 0 sees it, given to all ranks: they must not disagree about where to go on."""
    epoch = 0
    if directory is not None and jax.process_index() == 0:
        try:
            with np.load(os.path.join(directory, "checkpoint.npz")) as file:
                saved = tuple(file[name] for name in STATE)
                if [np.shape(array) for array in saved] == [np.shape(array) for array in state]:
                    epoch, state = int(file["epoch"]), saved
        except FileNotFoundError:
            pass
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        epoch, state = multihost_utils.broadcast_one_to_all((np.int32(epoch), state))
    return int(epoch), tuple(map(np.asarray, state))


def gathered(values):
    """One row for each rank."""
    values = np.asarray(values)
    if jax.process_count() == 1:
        return values[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def train(arguments, stop):
    mesh = Mesh(np.array(jax.devices()), ("ranks",))
    data = Data(mesh)
    if BATCH % mesh.size:
        sys.exit(f"{mesh.size} devices do not divide the batch of {BATCH}")
    (images, labels), test = digits()
    test_size = len(test[1])
    test_images, test_labels = (data.spread(part, 0) for part in padded(*test, mesh.size))
    parameters = first_parameters()
    done, state = resume(arguments.out, (np.float32(0), parameters, np.zeros_like(parameters), np.zeros_like(parameters)))
    state = tuple(map(data.everywhere, state))

    run_epoch = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))
    right_answers = jax.jit(lambda parameters, images, labels: jnp.sum(jnp.argmax(logits(parameters, images), axis=1) == labels))
    say(ranks=jax.process_count(), devices=mesh.size, platform=jax.default_backend(), train=len(labels), test=test_size, resumed=done)
    accuracy = int(right_answers(state[1], test_images, test_labels)) / test_size
    for epoch in range(done, arguments.epochs):
        began = time.monotonic()
        batches = tuple(data.spread(part, 1) for part in epoch_batches(images, labels, epoch))
        state, losses = run_epoch(state, batches)
        accuracy = int(right_answers(state[1], test_images, test_labels)) / test_size
        loss = float(np.mean(losses.addressable_data(0)))
        say(epoch=epoch + 1, of=arguments.epochs, loss=round(loss, 5), test_accuracy=round(accuracy, 4),
            seconds=round(time.monotonic() - began, 3))
        # The signal reaches the ranks at different moments; they stop where all know of it.
        stopping = bool(gathered(np.int32(stop.asked)).any())
        if stopping or (epoch + 1) % arguments.save_every == 0 or epoch + 1 == arguments.epochs:
            save(arguments.out, epoch + 1, state)
        if stopping and epoch + 1 < arguments.epochs:
            say(stopped=True, epoch=epoch + 1, saved=arguments.out is not None)
            return STOPPED_BY_SIGNAL
    return finish(state[1], accuracy, arguments.epochs)


def finish(parameters, accuracy, epochs):
    mine = hashlib.sha256(host_copy(parameters).tobytes()).digest()
    rows = gathered(np.frombuffer(mine, np.uint8))
    identical = all(row.tobytes() == mine for row in rows)
    say(done=True, accuracy=round(accuracy, 4), parameters=mine.hex(), identical=identical, ranks=len(rows), epochs=epochs,
        seconds=round(time.monotonic() - BEGAN, 2))
    if not identical:
        print(f"rank {jax.process_index()}: the ranks hold different parameters", file=sys.stderr, flush=True)
        return 1
    if accuracy < NEEDED_ACCURACY:
        print(f"accuracy {accuracy:.4f} is below {NEEDED_ACCURACY}", file=sys.stderr, flush=True)
        return 1
    return 0


class Stop:
    asked = False

    def __call__(self, *_):
        self.asked = True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="directory for checkpoints; none are kept without it")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--save-every", type=int, default=5, metavar="EPOCHS")
    arguments = parser.parse_args()
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    if RANKS > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # what newer JAX does by itself
        jax.distributed.initialize()  # finds the other ranks by what the jax recipe set
        signal.signal(signal.SIGTERM, stop)  # JAX has put its own handler in place
    code = train(arguments, stop)
    if RANKS > 1:
        jax.distributed.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
