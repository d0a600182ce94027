//! Accelerators: whether each can be used, and what has to run and be installed beside its driver.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, Needs, ON_ACCELERATORS, Rule, Scope, Test, WORKERS};
use machine::Source::{Text, There};
use machine::{StopKind, Vendor};

/// CUDA's major version and the oldest driver that runs programs built with it.
const CUDA_DRIVERS: [(u32, &str); 3] = [(11, "450.80.02"), (12, "525.60.13"), (13, "580.65.06")];

/// Numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "accelerators.unusable",
        checks: "every accelerator on the bus can be used",
        severity: Error,
        roles: WORKERS,
        needs: Needs::Accelerators,
        scope: Scope::Software,
        reads: &[],
        why: "the card is on the bus and stops before it can be granted to a job",
        cost: "that card",
        source: "docs/reference/devices.md: the ladder of a device",
        test: Test::Judge(|look| {
            let stopped = look.accelerators().filter_map(|device| device.ladder.stop.as_ref().map(|stop| (device, stop)));
            // Slices are granted in a card's place, and what was handed to virtual machines was handed over on purpose. In a
            // captured tree device nodes are missing because nobody copied them.
            let on_purpose = |kind: StopKind| matches!(kind, StopKind::Divided | StopKind::SetAside);
            let not_copied = |kind: StopKind| matches!(kind, StopKind::NodeMissing | StopKind::NodeDenied) && !look.facts.readings.whole;
            stopped
                .filter(|(_, stop)| stop.blocks && !on_purpose(stop.kind) && !not_copied(stop.kind))
                .map(|(device, stop)| {
                    let name = format!("{} {}", device.vendor, device.index);
                    let claim = Claim::new(name.clone(), format!("{name} cannot be used"))
                        .wanted("usable")
                        .because(stop.reason.clone())
                        .command(format!("ashlar devices {}:{}", device.vendor, device.index));
                    // Nobody can make it usable, so it is no fault of this machine.
                    if stop.kind == StopKind::UnknownVendor { claim.severity(Info) } else { claim }
                })
                .collect()
        }),
    },
    Rule {
        id: "accelerators.driver-too-old",
        checks: "the driver is new enough for the installed CUDA",
        severity: Error,
        roles: ON_ACCELERATORS,
        needs: Needs::Of(Vendor::Nvidia),
        scope: Scope::Kernel,
        reads: &[],
        why: "programs built with a newer major version of CUDA than the driver knows do not start",
        cost: "`CUDA driver version is insufficient for CUDA runtime version`",
        source: "NVIDIA, CUDA Toolkit Release Notes, table of minimum driver versions",
        test: Test::Judge(old_driver),
    },
    Rule {
        id: "accelerators.persistence",
        checks: "NVIDIA's persistence daemon runs",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Of(Vendor::Nvidia),
        scope: Scope::Kernel,
        reads: &[],
        why: "without it the driver puts a card down when its last user ends, and brings it up for the next",
        cost: "seconds at each start of a job, and settings such as power limits are lost",
        source: "NVIDIA, Driver Persistence",
        test: Test::Judge(|look| {
            let driven = look.accelerators().any(|device| device.vendor == Vendor::Nvidia && device.driver.as_deref() == Some("nvidia"));
            match look.facts.runs("nvidia-persistenced") {
                Some(false) if driven => vec![
                    Claim::new("nvidia-persistenced", "nvidia-persistenced does not run")
                        .wanted("running")
                        .read("proc: no process of that name")
                        .command("systemctl enable --now nvidia-persistenced"),
                ],
                _ => vec![],
            }
        }),
    },
    Rule {
        id: "accelerators.fabric-manager",
        checks: "the fabric manager runs where there are NVSwitches",
        severity: Error,
        roles: ON_ACCELERATORS,
        needs: Needs::Of(Vendor::Nvidia),
        scope: Scope::Kernel,
        reads: &[],
        why: "NVSwitches are set up by it; until then cards refuse to start work",
        cost: "`system not yet initialized` from every CUDA program",
        source: "NVIDIA, Fabric Manager User Guide",
        test: Test::Judge(|look| {
            // Class 0x0680 of NVIDIA is a switch of NVLink, not of PCI.
            let switches = look.facts.pci.functions().iter().filter(|one| one.ids.vendor == 0x10de && one.class16() == 0x0680).count();
            match look.facts.runs("nv-fabricmanager") {
                Some(false) if switches > 0 => vec![
                    Claim::new("nv-fabricmanager", format!("there are {switches} NVSwitches and nv-fabricmanager does not run"))
                        .wanted("running")
                        .read("proc: no process of that name")
                        .command("systemctl enable --now nvidia-fabricmanager"),
                ],
                _ => vec![],
            }
        }),
    },
    Rule {
        id: "accelerators.unified-memory",
        checks: "the module nvidia-uvm is loaded",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Of(Vendor::Nvidia),
        scope: Scope::Kernel,
        reads: &[Text("proc/modules")],
        why: "CUDA needs it, and only root can load it; the first job that is not root's fails",
        cost: "`unknown error` or no device, until root ran something once",
        source: "NVIDIA, CUDA installation guide: device nodes and nvidia-modprobe",
        test: Test::Judge(|look| {
            let Some(modules) = look.text("proc/modules") else { return vec![] };
            let has = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
            if !has("nvidia") || has("nvidia_uvm") {
                return vec![];
            }
            vec![
                Claim::new("nvidia-uvm", "the module nvidia_uvm is not loaded")
                    .wanted("loaded")
                    .read("proc/modules: nvidia is there, nvidia_uvm is not")
                    .command("nvidia-modprobe -u -c=0"),
            ]
        }),
    },
    Rule {
        id: "accelerators.no-direct-path",
        checks: "network cards can reach the memory of NVIDIA's cards",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[Text("proc/modules"), Text("proc/driver/nvidia/version")],
        why: "either nvidia-peermem is loaded, or the open kernel modules offer DMA-BUF on kernel 5.12 or later",
        cost: "every message between machines is copied through host memory: half the bandwidth",
        source: "NVIDIA, GPUDirect RDMA; Linux 5.12: RDMA/core, dma-buf memory regions",
        test: Test::Judge(no_direct_path),
    },
    Rule {
        id: "accelerators.copy-device",
        checks: "GDRCopy's device is there",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[There("dev/gdrdrv")],
        why: "UCX and NCCL use it for small messages where it is there",
        cost: "some microseconds on small messages over MPI and UCX",
        source: "NVIDIA, GDRCopy",
        test: Test::Judge(|look| match look.facts.readings.there("dev/gdrdrv") {
            Some(false) if look.has(Vendor::Nvidia) => vec![
                Claim::new("gdrdrv", "/dev/gdrdrv is not there")
                    .read("dev/gdrdrv: not there")
                    .hint("install the package gdrdrv-dkms if jobs use UCX; `modprobe gdrdrv` when it is installed"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "accelerators.clock-held",
        checks: "AMD's cards may raise their clock",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Of(Vendor::Amd),
        scope: Scope::Kernel,
        reads: &[Text("sys/class/drm/card*/device/power_dpm_force_performance_level")],
        why: "somebody fixed the clock at a low level, for a measurement or by mistake",
        cost: "most of the card's speed",
        source: "Linux Documentation/gpu/amdgpu/thermal, power_dpm_force_performance_level",
        test: Test::Judge(|look| {
            let all = look.settings("sys/class/drm/card*/device/power_dpm_force_performance_level");
            let held = all.into_iter().filter(|at| matches!(at.value, "low" | "profile_min_sclk" | "profile_min_mclk"));
            held.map(|at| {
                let name = format!("card{}", at.parts.first().unwrap_or(&""));
                Claim::new(name.clone(), format!("the clock of {name} is held at {}", at.value))
                    .wanted("auto")
                    .seen(at.path, at.value)
                    .command(format!("echo auto > /{}", at.path))
            })
            .collect()
        }),
    },
    Rule {
        id: "accelerators.memory-errors",
        checks: "no memory error of an AMD card went uncorrected",
        severity: Error,
        roles: WORKERS,
        needs: Needs::Of(Vendor::Amd),
        scope: Scope::Hardware,
        reads: &[Text("sys/class/drm/card*/device/ras/umc_err_count")],
        why: "the card's memory controller counted errors that it could not correct",
        cost: "jobs that end, or wrong numbers",
        source: "Linux Documentation/gpu/amdgpu/ras",
        test: Test::Judge(|look| {
            let all = look.settings("sys/class/drm/card*/device/ras/umc_err_count");
            let bad = all.into_iter().filter_map(|at| {
                let count = at.value.lines().find_map(|line| line.trim().strip_prefix("ue:")?.trim().parse::<u64>().ok())?;
                (count > 0).then_some((at, count))
            });
            bad.map(|(at, count)| {
                let name = format!("card{}", at.parts.first().unwrap_or(&""));
                Claim::new(name.clone(), format!("{name} counted {count} uncorrected memory errors"))
                    .wanted("0")
                    .seen(at.path, at.value.replace('\n', ", "))
                    .hint("reset the card while it is idle; have it changed if they come back")
            })
            .collect()
        }),
    },
    Rule {
        id: "accelerators.no-container-spec",
        checks: "container runtimes know the accelerators",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::Accelerators,
        scope: Scope::Software,
        reads: &[There("etc/cdi/*"), There("var/run/cdi/*"), There("run/cdi/*")],
        why: "a container runtime runs here, and no CDI file says which device nodes belong to a card",
        cost: "containers that ask for a card by name do not start",
        source: "Container Device Interface, specification 0.8; docs/reference/devices.md",
        test: Test::Judge(|look| {
            let runtime = ["containerd", "dockerd", "crio"].into_iter().find(|name| look.facts.runs(name) == Some(true));
            let absent = ["etc/cdi/*", "var/run/cdi/*", "run/cdi/*"].iter().all(|path| look.facts.readings.any(path) == Some(false));
            match runtime {
                Some(runtime) if absent => vec![
                    Claim::new("CDI", format!("{runtime} runs, and there is no CDI file"))
                        .read("etc/cdi, /run/cdi: empty")
                        .command("ashlar devices --cdi /etc/cdi"),
                ],
                _ => vec![],
            }
        }),
    },
];

fn old_driver(look: &Look) -> Vec<Claim> {
    let software = &look.facts.software;
    let (Some(driver), Some(toolkit)) = (software.driver(Vendor::Nvidia), software.toolkit(Vendor::Nvidia)) else { return vec![] };
    let Some(major) = numbers(&toolkit.version).first().copied() else { return vec![] };
    let Some((_, least)) = CUDA_DRIVERS.into_iter().find(|(cuda, _)| *cuda == major) else { return vec![] };
    if numbers(&driver.version) >= numbers(least) {
        return vec![];
    }
    vec![
        Claim::new("NVIDIA driver", format!("driver {} is too old for CUDA {}", driver.version, toolkit.version))
            .wanted(format!("{least} or later"))
            .seen(&driver.source, &driver.version)
            .seen(&toolkit.source, &toolkit.version)
            .hint("install a newer driver, or a CUDA that the driver knows"),
    ]
}

fn no_direct_path(look: &Look) -> Vec<Claim> {
    let (Some(modules), Some(version)) = (look.text("proc/modules"), look.text("proc/driver/nvidia/version")) else { return vec![] };
    if !look.has(Vendor::Nvidia) {
        return vec![];
    }
    let peermem = modules.lines().any(|line| matches!(line.split(' ').next(), Some("nvidia_peermem" | "nv_peer_mem")));
    let open = version.contains("Open Kernel Module");
    let new_enough = look.kernel().is_none_or(|kernel| kernel >= (5, 12));
    if peermem || open && new_enough {
        return vec![];
    }
    vec![
        Claim::new("GPUDirect RDMA", "neither nvidia-peermem nor DMA-BUF is there")
            .wanted("nvidia-peermem, or the open kernel modules on kernel 5.12 or later")
            .read("proc/modules: no nvidia_peermem")
            .seen("proc/driver/nvidia/version", version.lines().next().unwrap_or_default())
            .because(format!("kernel {}", look.facts.machine.facts.kernel))
            .command("modprobe nvidia-peermem"),
    ]
}
