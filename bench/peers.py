"""The rivals that the benchmarks measure against, set up on this machine for the length of one run.

Needs Debian's packages: runc, busybox-static (container start); slurm-wlm, munge (scheduling). All as root.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

STAMP_C = r"""
#include <stdio.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>
/* The first thing the job does: say when it is. Linked statically, so nothing is loaded before. */
int main(int argc, char **argv) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    char text[64];
    int n = snprintf(text, sizeof text, "%lld\n", (long long)t.tv_sec * 1000000000LL + t.tv_nsec);
    int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0666) : 1;
    return write(fd, text, n) == n ? 0 : 1;
}
"""


def place() -> pathlib.Path:
    """A folder that jobs can see: /tmp and /var/tmp are private to each of them."""
    folder = pathlib.Path(__file__).resolve().parent.parent / "target" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_stamp(folder: pathlib.Path) -> pathlib.Path:
    """A static program that prints the time in nanoseconds, or appends it to a file."""
    source = folder / "stamp.c"
    source.write_text(STAMP_C)
    program = folder / "stamp"
    subprocess.run(["cc", "-O1", "-static", "-o", program, source], check=True)
    return program


class Runc:
    """One OCI bundle with the limits that an Ashlar run of the same size gets."""

    def __init__(self, folder: pathlib.Path, stamp: pathlib.Path):
        self.bundle = folder / "bundle"
        (self.bundle / "rootfs").mkdir(parents=True)
        shutil.copy(stamp, self.bundle / "rootfs" / "stamp")
        subprocess.run(["runc", "spec", "--bundle", self.bundle], check=True)
        config = json.loads((self.bundle / "config.json").read_text())
        config["process"].update(args=["/stamp"], terminal=False)
        config["linux"]["resources"] = {
            "memory": {"limit": 256 << 20},
            "pids": {"limit": 4096},
            "cpu": {"shares": 1024, "cpus": "0", "mems": "0"},
            "devices": [{"allow": False, "access": "rwm"}],
        }
        config["process"].pop("oomScoreAdj", None)
        (self.bundle / "config.json").write_text(json.dumps(config))

    def command(self, name: str) -> list:
        return ["runc", "run", "--bundle", str(self.bundle), name]


class Ashlar:
    """A node of its own in a folder of its own."""

    def __init__(self, program: str, folder: pathlib.Path):
        # The path of a socket must be short.
        self.place = tempfile.TemporaryDirectory(prefix="ashlar-bench-", ignore_cleanup_errors=True)
        self.program, self.state = program, pathlib.Path(self.place.name) / "state"
        self.daemon = subprocess.Popen(self.command("up"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if not self.daemon.stdout.readline():
            raise SystemExit("the node did not start")

    def command(self, *arguments: str) -> list:
        return [self.program, "--state", str(self.state), *arguments]

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()
        self.place.cleanup()


class Slurm:
    """slurmctld and one slurmd on loopback. `tuned` sets the options that start jobs soonest; `contained` has each job in control groups
    for processes, cores, memory and devices, as sites with accelerators run it."""

    def __init__(self, folder: pathlib.Path, tuned: bool, contained: bool = False, cpus: int = 64):
        self.folder = folder
        folder.mkdir()
        host = socket.gethostname().split(".")[0]
        tuning = "batch_sched_delay=0,sched_min_interval=10000,bf_interval=1" if tuned else ""
        conf = folder / "slurm.conf"
        lines = [
            "ClusterName=bench", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root", "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/munge.socket", f"StateSaveLocation={folder}/ctld", f"SlurmdSpoolDir={folder}/d",
            f"SlurmctldPidFile={folder}/ctld.pid", f"SlurmdPidFile={folder}/d.pid", f"SlurmctldLogFile={folder}/ctld.log",
            f"SlurmdLogFile={folder}/d.log", *self.containment(contained),
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU", "SlurmctldPort=26817", "SlurmdPort=26818",
            "SwitchType=switch/none", "MpiDefault=none", "ReturnToService=2", "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
            "SlurmdParameters=config_overrides", "MaxJobCount=100000", "MaxArraySize=10001", "AccountingStorageType=accounting_storage/none",
            "JobCompType=jobcomp/none", "JobAcctGatherType=jobacct_gather/none",
            *([f"SchedulerParameters={tuning}"] if tuning else []),
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000 State=UNKNOWN",
            f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP",
        ]
        conf.write_text("\n".join(lines) + "\n")
        for name in ("ctld", "d"):
            (folder / name).mkdir()
        self.environment = dict(os.environ, SLURM_CONF=str(conf))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.processes = [
            subprocess.Popen(["munged", "-F", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
                              f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"], stderr=subprocess.DEVNULL)
        ]
        wait_until(lambda: (folder / "munge.socket").exists(), "munged")
        for daemon in ("slurmctld", "slurmd"):
            self.processes.append(subprocess.Popen([daemon, "-D", "-f", str(conf)], env=self.environment, stderr=subprocess.DEVNULL,
                                                   stdout=subprocess.DEVNULL))
        wait_until(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"), "slurm")

    def containment(self, contained: bool) -> list[str]:
        if not contained:
            return ["ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none"]
        plugin = "cgroup/v2" if pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists() else "cgroup/v1"
        limits = ["ConstrainCores=yes", "ConstrainRAMSpace=yes", "ConstrainDevices=yes"]
        (self.folder / "cgroup.conf").write_text("\n".join([f"CgroupPlugin={plugin}", "CgroupMountpoint=/sys/fs/cgroup", *limits]) + "\n")
        return ["ProctrackType=proctrack/cgroup", "TaskPlugin=task/cgroup"]

    def run(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.folder).stdout

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(true, what: str, seconds: float = 60):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not get ready")
        time.sleep(0.05)


def quantiles(values: list) -> dict:
    values = sorted(values)
    pick = lambda q: round(values[min(len(values) - 1, int(q * len(values)))], 2)
    return {"min": pick(0), "median": pick(0.5), "p90": pick(0.9), "max": round(values[-1], 2), "n": len(values)}
