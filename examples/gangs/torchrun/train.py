"""PyTorch: DistributedDataParallel under torchrun.

A network of two layers learns a function of four variables; every rank takes its part of the points, and the gradients are
averaged over the ranks at every step. Prints `step N/STEPS loss=...`, and at the end one line of every rank with a digest of
its weights: all ranks, and every run of the same program, end with the same.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

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


class Net(torch.nn.Module):
    def __init__(self, w1, w2):
        super().__init__()
        self.w1 = torch.nn.Parameter(torch.tensor(w1))
        self.w2 = torch.nn.Parameter(torch.tensor(w2))

    def forward(self, x):
        return torch.tanh(x @ self.w1) @ self.w2


def main():
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    x, y, w1, w2 = problem()
    done, saved = load()
    w1, w2 = saved or (w1, w2)
    net = torch.nn.parallel.DistributedDataParallel(Net(w1, w2))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    own_x, own_y = torch.tensor(x[rank::ranks]), torch.tensor(y[rank::ranks])
    for number in range(done + 1, STEPS + 1):
        optimizer.zero_grad()
        loss = ((net(own_x) - own_y) ** 2).mean()
        loss.backward()
        optimizer.step()
        whole = loss.detach().clone()
        dist.all_reduce(whole)
        if rank == 0:
            print(f"step {number}/{STEPS} loss={whole.item() / ranks:.6f}\n", end="", flush=True)
            if number % 5 == 0:
                save(number, net.module.w1.detach().numpy(), net.module.w2.detach().numpy())
        time.sleep(PAUSE)
    digest = sum(float((weight.detach() ** 2).sum()) for weight in net.parameters())
    print(f"rank {rank} of {ranks} digest={digest:.5f}\n", end="", flush=True)
    dist.destroy_process_group()


main()
