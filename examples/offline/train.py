"""Train a small network on drawn digits, data-parallel over the ranks of a gang, with Python's own library alone.

Each rank draws its own part of every batch (5x7 glyphs of the ten digits, moved by a pixel and covered with noise),
computes its gradient, and all ranks sum theirs over TCP before they take the step: a real all-reduce at the address in
ASHLAR_RENDEZVOUS, with no package and no network beyond this machine.

    python3 train.py [--epochs N]

Rank 0 prints one JSON line an epoch and one at the end. SIGTERM makes all ranks stop at the same epoch and leave with
code 143. Code 1: the accuracy is below 0.95, or the ranks do not hold the same parameters.
"""

import argparse
import array
import hashlib
import json
import math
import operator
import os
import random
import signal
import socket
import struct
import sys
import time

BEGAN = time.monotonic()
RANK = int(os.environ.get("ASHLAR_RANK", "0"))
RANKS = int(os.environ.get("ASHLAR_RANKS", "1"))
# One row of a glyph is five bits; seven rows from the top.
GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14), (4, 12, 4, 4, 4, 4, 14), (14, 17, 1, 2, 4, 8, 31), (31, 2, 4, 2, 1, 17, 14), (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14), (6, 8, 16, 30, 17, 17, 14), (31, 1, 2, 4, 8, 8, 8), (14, 17, 17, 14, 17, 17, 14), (14, 17, 17, 15, 1, 2, 12),
)
WIDTH, HEIGHT = 7, 9  # room for a glyph to move by one pixel each way
INPUTS, CLASSES = WIDTH * HEIGHT + 1, len(GLYPHS)  # the last input is always 1: the bias
HIDDEN, BATCH, STEPS, TEST_SIZE = 32, 24, 40, 400
LEARNING_RATE, NOISE, SEED = 0.5, 0.15, 7
NEEDED_ACCURACY = 0.95
PATIENCE_SECONDS = 300  # for a rank that starts late on a busy machine
STOPPED_BY_SIGNAL = 128 + signal.SIGTERM


def draw(source):
    """One image as a list of brightnesses, and the digit it shows."""
    digit = source.randrange(CLASSES)
    right, down = source.randrange(3), source.randrange(3)
    pixels = [source.gauss(0.0, NOISE) for _ in range(WIDTH * HEIGHT)]
    for y, row in enumerate(GLYPHS[digit]):
        for x in range(5):
            if row >> (4 - x) & 1:
                pixels[(y + down) * WIDTH + x + right] += 1.0
    return pixels + [1.0], digit


def first_weights():
    """The same on every rank. Rows of the hidden layer, then rows of the output layer (whose last input is a bias)."""
    source = random.Random(SEED)
    hidden = [[source.gauss(0.0, 1.0 / math.sqrt(INPUTS)) for _ in range(INPUTS)] for _ in range(HIDDEN)]
    return hidden + [[source.gauss(0.0, 1.0 / math.sqrt(HIDDEN)) for _ in range(HIDDEN + 1)] for _ in range(CLASSES)]


def forward(weights, image):
    """What the hidden layer says, and the chance of each digit."""
    inner = [math.tanh(sum(map(operator.mul, row, image))) for row in weights[:HIDDEN]] + [1.0]
    scores = [sum(map(operator.mul, row, inner)) for row in weights[HIDDEN:]]
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return inner, [power / total for power in powers]


def gradient(weights, samples):
    """Sum over the samples of the slope for each weight (flat, in the order of the rows), then of the loss."""
    slope, loss = [[0.0] * len(row) for row in weights], 0.0
    columns = list(zip(*weights[HIDDEN:]))
    for image, digit in samples:
        inner, errors = forward(weights, image)
        loss -= math.log(max(errors[digit], 1e-300))
        errors[digit] -= 1.0
        for row, error in enumerate(errors, HIDDEN):
            slope[row] = [old + error * value for old, value in zip(slope[row], inner)]
        for row in range(HIDDEN):
            error = sum(map(operator.mul, columns[row], errors)) * (1.0 - inner[row] * inner[row])
            slope[row] = [old + error * pixel for old, pixel in zip(slope[row], image)]
    return [value for row in slope for value in row] + [loss]


def stepped(weights, flat, rate):
    """The weights one step down the slope."""
    moved, start = [], 0
    for row in weights:
        moved.append([weight - rate * value for weight, value in zip(row, flat[start : start + len(row)])])
        start += len(row)
    return moved


class Gang:
    """The ranks of this run. Rank 0 listens at the rendezvous, the others connect to it."""

    def __init__(self):
        self.peers = []  # rank 0: one socket for each other rank, in rank order. Others: the one to rank 0.
        if RANKS == 1:
            return
        host, port = os.environ["ASHLAR_RENDEZVOUS"].rsplit(":", 1)
        if RANK == 0:
            self.peers = self.accept(host, int(port))
        else:
            self.peers = [self.connect(host, int(port))]
        for peer in self.peers:
            peer.settimeout(PATIENCE_SECONDS)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @staticmethod
    def accept(host, port):
        by_rank = {}
        with socket.create_server((host, port)) as server:
            server.settimeout(PATIENCE_SECONDS)
            while len(by_rank) < RANKS - 1:
                peer, _ = server.accept()
                peer.settimeout(10)
                try:
                    run, rank = receive(peer).decode("utf-8", "replace").rsplit(" ", 1)
                except (OSError, ValueError):
                    run = None
                # A left-over of an earlier attempt, or a stranger, must not join.
                if run == os.environ.get("ASHLAR_RUN_ID", ""):
                    by_rank[int(rank)] = peer
                else:
                    peer.close()
        return [by_rank[rank] for rank in sorted(by_rank)]

    @staticmethod
    def connect(host, port):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                peer = socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
                # While nobody listens, the kernel may give us the very port we call, and connect us to ourselves.
                if peer.getsockname() != peer.getpeername():
                    break
                peer.close()
            except ConnectionRefusedError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"rank 0 did not listen at {host}:{port}")
            time.sleep(0.02)
        send(peer, f"{os.environ.get('ASHLAR_RUN_ID', '')} {RANK}".encode())
        return peer

    def all_reduce(self, numbers):
        """The element-wise sum over all ranks, the same bits on each: rank 0 adds in rank order and sends the result."""
        if RANKS == 1:
            return list(numbers)
        if RANK != 0:
            send(self.peers[0], array.array("d", numbers).tobytes())
            return list(doubles(receive(self.peers[0])))
        total = list(numbers)
        for peer in self.peers:
            total = list(map(operator.add, total, doubles(receive(peer))))
        for peer in self.peers:
            send(peer, array.array("d", total).tobytes())
        return total


def send(peer, payload):
    peer.sendall(struct.pack("!I", len(payload)) + payload)


def receive(peer):
    (length,) = struct.unpack("!I", exactly(peer, 4))
    if length > 1 << 20:
        raise ValueError("message too long")
    return exactly(peer, length)


def exactly(peer, length):
    received = bytearray()
    while len(received) < length:
        part = peer.recv(length - len(received))
        if not part:
            raise ConnectionError("another rank closed its connection")
        received += part
    return bytes(received)


def doubles(payload):
    numbers = array.array("d")
    numbers.frombytes(payload)
    return numbers


def say(**fields):
    if RANK == 0:
        print(json.dumps(fields), flush=True)


class Stop:
    asked = False

    def __call__(self, *_):
        self.asked = True


def train(epochs, stop):
    gang = Gang()
    weights = first_weights()
    mine = random.Random(SEED * 1000 + RANK)  # every rank draws other images
    unseen = random.Random(SEED * 1000 - 1)
    test = [draw(unseen) for _ in range(TEST_SIZE)][RANK::RANKS]
    say(ranks=RANKS, platform="python", train=BATCH * STEPS, test=TEST_SIZE)
    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        began, loss = time.monotonic(), 0.0
        for _ in range(STEPS):
            share = BATCH // RANKS + (RANK < BATCH % RANKS)
            total = gang.all_reduce(gradient(weights, [draw(mine) for _ in range(share)]))
            loss += total[-1]
            weights = stepped(weights, total, LEARNING_RATE / BATCH)
        answers = [forward(weights, image)[1] for image, _ in test]
        right = sum(answer.index(max(answer)) == digit for answer, (_, digit) in zip(answers, test))
        # The signal reaches the ranks at different moments; they stop where all know of it.
        right, stopping = gang.all_reduce([right, float(stop.asked)])
        accuracy = right / TEST_SIZE
        say(epoch=epoch, of=epochs, loss=round(loss / (BATCH * STEPS), 5), test_accuracy=round(accuracy, 4),
            seconds=round(time.monotonic() - began, 3))
        if stopping and epoch < epochs:
            say(stopped=True, epoch=epoch, saved=False)
            return STOPPED_BY_SIGNAL
    return finish(gang, weights, accuracy, epochs)


def finish(gang, weights, accuracy, epochs):
    digest = hashlib.sha256(b"".join(array.array("d", row).tobytes() for row in weights)).digest()
    # Each rank fills its own row with its digest; after the sum every rank sees all rows.
    rows = gang.all_reduce([float(byte) if rank == RANK else 0.0 for rank in range(RANKS) for byte in digest])
    identical = all(bytes(map(int, rows[i : i + 32])) == digest for i in range(0, len(rows), 32))
    say(done=True, accuracy=round(accuracy, 4), parameters=digest.hex(), identical=identical, ranks=RANKS, epochs=epochs,
        seconds=round(time.monotonic() - BEGAN, 2))
    if not identical:
        print(f"rank {RANK}: the ranks hold different parameters", file=sys.stderr, flush=True)
        return 1
    if accuracy < NEEDED_ACCURACY:
        print(f"accuracy {accuracy:.4f} is below {NEEDED_ACCURACY}", file=sys.stderr, flush=True)
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=14)
    arguments = parser.parse_args()
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    return train(arguments.epochs, stop)


if __name__ == "__main__":
    sys.exit(main())
