//! Cases of rules about accelerators, the bus, memory and processors.

use super::server::{Case, address, function, interrupts, on_bus, over_ethernet, put, rate, running};
use crate::readiness::Role::{Control, Serve, Train};
use machine::*;

const MEMINFO: [&str; 2] = ["sys/devices/system/node/node0/meminfo", "sys/devices/system/node/node1/meminfo"];
const FULL: &str = "Node 0 MemTotal:       268435456 kB";
const HALF: &str = "Node 1 MemTotal:       134217728 kB";
const NONE: &str = "Node 1 MemTotal:       0 kB";

/// Fails with the reason of a stop on the way up.
fn stopped(facts: &mut NodeFacts, kind: StopKind) {
    let stop = Stop { kind, reason: "driver nouveau is bound, nvidia is needed".into(), hint: None, blocks: true };
    facts.machine.devices[0].ladder.stop = Some(stop);
}

fn releases(facts: &mut NodeFacts, driver: &str, cuda: &str) {
    let release = |name: &str, version: &str| Release {
        vendor: Vendor::Nvidia,
        name: name.into(),
        version: version.into(),
        source: format!("sys/module/{name}/version"),
    };
    facts.software.drivers = vec![release("nvidia", driver)];
    facts.software.toolkits = vec![release("CUDA", cuda)];
}

fn amd(facts: &mut NodeFacts) {
    for device in &mut facts.machine.devices {
        device.vendor = Vendor::Amd;
    }
}

fn switches(facts: &mut NodeFacts) {
    let mut functions = facts.pci.functions().to_vec();
    functions.push(function("0000:05:00.0", 0x06_8000, 0x10de, 0, None));
    facts.pci = PciTree::new(functions);
}

fn in_group(facts: &mut NodeFacts, kind: &str) {
    on_bus(facts, "0000:17:00.0", |function| function.iommu_group = Some(3));
    put(facts, &[("sys/kernel/iommu_groups/3/type", kind)]);
}

pub const CASES: &[Case] = &[
    Case {
        rule: "guest.virtual-machine",
        role: Train,
        fires: |f| f.machine.facts.virtualised = Some("KVM".into()),
        quiet: |f| f.machine.facts.virtualised = None,
    },
    Case { rule: "guest.container", role: Train, fires: |f| f.container = Some("Docker".into()), quiet: |f| f.container = None },
    Case {
        rule: "accelerators.unusable",
        role: Train,
        fires: |f| stopped(f, StopKind::WrongDriver),
        quiet: |f| stopped(f, StopKind::SetAside),
    },
    Case {
        rule: "accelerators.unusable",
        role: Serve,
        fires: |f| stopped(f, StopKind::NodeMissing),
        // In a piece of a machine nobody copied the device nodes.
        quiet: |f| {
            stopped(f, StopKind::NodeMissing);
            f.readings.whole = false;
        },
    },
    Case {
        rule: "accelerators.driver-too-old",
        role: Train,
        fires: |f| releases(f, "535.104.05", "13.0.1"),
        quiet: |f| releases(f, "535.104.05", "12.4.1"),
    },
    Case {
        rule: "accelerators.driver-too-old",
        role: Serve,
        fires: |f| releases(f, "525.60.12", "12.0"),
        quiet: |f| releases(f, "580.65.06", "13.0"),
    },
    Case {
        rule: "accelerators.persistence",
        role: Train,
        fires: |f| running(f, &["systemd"]),
        quiet: |f| running(f, &["systemd", "nvidia-persistenced"]),
    },
    Case {
        rule: "accelerators.fabric-manager",
        role: Train,
        fires: |f| {
            switches(f);
            running(f, &["nvidia-persistenced"]);
        },
        quiet: |f| {
            switches(f);
            running(f, &["nv-fabricmanager"]);
        },
    },
    Case {
        rule: "accelerators.unified-memory",
        role: Serve,
        fires: |f| put(f, &[("proc/modules", "nvidia 56000000 0 - Live 0x0\n")]),
        quiet: |f| put(f, &[("proc/modules", "nvidia_uvm 1 0 - Live 0x0\nnvidia 56000000 1 nvidia_uvm, Live 0x0\n")]),
    },
    Case {
        rule: "accelerators.no-direct-path",
        role: Train,
        fires: |f| {
            put(
                f,
                &[
                    ("proc/modules", "nvidia 1 0 -\n"),
                    ("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05"),
                ],
            );
        },
        quiet: |f| {
            let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06";
            put(f, &[("proc/modules", "nvidia 1 0 -\n"), ("proc/driver/nvidia/version", open)]);
        },
    },
    Case {
        rule: "accelerators.no-direct-path",
        role: Serve,
        // The open modules need a kernel that has DMA-BUF for RDMA.
        fires: |f| {
            f.machine.facts.kernel = "5.4.0-200-generic".into();
            put(f, &[("proc/modules", "nvidia 1 0 -\n"), ("proc/driver/nvidia/version", "NVIDIA UNIX Open Kernel Module")]);
        },
        quiet: |f| put(f, &[("proc/modules", "nvidia_peermem 1 0 -\n"), ("proc/driver/nvidia/version", "NVIDIA UNIX Kernel Module")]),
    },
    Case {
        rule: "accelerators.copy-device",
        role: Train,
        fires: |f| f.readings.forget("dev/gdrdrv"),
        quiet: |f| put(f, &[("dev/gdrdrv", "")]),
    },
    Case {
        rule: "accelerators.clock-held",
        role: Train,
        fires: |f| {
            amd(f);
            put(f, &[("sys/class/drm/card1/device/power_dpm_force_performance_level", "low")]);
        },
        quiet: |f| {
            amd(f);
            put(f, &[("sys/class/drm/card1/device/power_dpm_force_performance_level", "auto")]);
        },
    },
    Case {
        rule: "accelerators.memory-errors",
        role: Train,
        fires: |f| {
            amd(f);
            put(f, &[("sys/class/drm/card1/device/ras/umc_err_count", "ue: 2\nce: 0")]);
        },
        quiet: |f| {
            amd(f);
            put(f, &[("sys/class/drm/card1/device/ras/umc_err_count", "ue: 0\nce: 17")]);
        },
    },
    Case {
        rule: "accelerators.no-container-spec",
        role: Serve,
        fires: |f| running(f, &["containerd", "nvidia-persistenced"]),
        quiet: |f| {
            running(f, &["containerd"]);
            put(f, &[("etc/cdi/nvidia.yaml", "")]);
        },
    },
    Case {
        rule: "pcie.lost",
        role: Control,
        fires: |f| on_bus(f, "0000:17:00.0", |function| function.lost = true),
        quiet: |f| on_bus(f, "0000:17:00.0", |function| function.lost = false),
    },
    Case {
        rule: "pcie.width",
        role: Train,
        fires: |f| on_bus(f, "0000:17:00.0", |function| function.link.as_mut().unwrap().now = rate(32_000, 8)),
        // The slot has no more.
        quiet: |f| {
            let narrow = PciLink { now: rate(32_000, 8), max: rate(32_000, 8) };
            on_bus(f, "0000:16:00.0", |function| function.link = Some(narrow));
            on_bus(f, "0000:17:00.0", |function| function.link.as_mut().unwrap().now = rate(32_000, 8));
        },
    },
    Case {
        rule: "pcie.speed",
        role: Train,
        fires: |f| on_bus(f, "0000:18:00.0", |function| function.link.as_mut().unwrap().now = rate(16_000, 16)),
        // One lane: a function inside a chipset.
        quiet: |f| {
            let inside = PciLink { now: rate(2_500, 1), max: rate(8_000, 1) };
            on_bus(f, "0000:31:00.0", |function| function.link = Some(inside));
        },
    },
    Case {
        rule: "pcie.slot",
        role: Train,
        fires: |f| {
            let narrow = PciLink { now: rate(32_000, 8), max: rate(32_000, 8) };
            on_bus(f, "0000:16:00.0", |function| function.link = Some(narrow));
        },
        quiet: |f| on_bus(f, "0000:16:00.0", |function| function.link = None),
    },
    Case {
        rule: "pcie.fatal-errors",
        role: Train,
        fires: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/aer_dev_fatal", "DLP 1\nTLP 0\nTOTAL_ERR_FATAL 1")]),
        quiet: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/aer_dev_fatal", "DLP 0\nTLP 0\nTOTAL_ERR_FATAL 0")]),
    },
    Case {
        rule: "pcie.uncorrected-errors",
        role: Train,
        fires: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/aer_dev_nonfatal", "CmpltTO 3\nTOTAL_ERR_NONFATAL 3")]),
        quiet: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/aer_dev_nonfatal", "CmpltTO 0\nTOTAL_ERR_NONFATAL 0")]),
    },
    Case {
        rule: "pcie.corrected-errors",
        role: Train,
        fires: |f| put(f, &[("sys/bus/pci/devices/0000:18:00.0/aer_dev_correctable", "BadTLP 40000\nTOTAL_ERR_COR 40000")]),
        quiet: |f| put(f, &[("sys/bus/pci/devices/0000:18:00.0/aer_dev_correctable", "BadTLP 12\nTOTAL_ERR_COR 12")]),
    },
    Case {
        rule: "pcie.errors-off",
        role: Control,
        fires: |f| {
            f.machine.facts.command_line = "quiet pci=nommconf,noaer".into();
            put(f, &[("proc/cmdline", "quiet pci=nommconf,noaer")]);
        },
        quiet: |f| {
            f.machine.facts.command_line = "quiet pci=realloc=off".into();
            put(f, &[("proc/cmdline", "quiet pci=realloc=off")]);
        },
    },
    Case {
        rule: "pcie.power-saving",
        role: Train,
        fires: |f| put(f, &[("sys/module/pcie_aspm/parameters/policy", "default performance [powersave] powersupersave")]),
        quiet: |f| put(f, &[("sys/module/pcie_aspm/parameters/policy", "[default] performance powersave powersupersave")]),
    },
    Case { rule: "pcie.translation", role: Train, fires: |f| in_group(f, "DMA-FQ"), quiet: |f| in_group(f, "identity") },
    Case {
        rule: "pcie.unknown-node",
        role: Train,
        fires: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/numa_node", "-1"), ("sys/bus/pci/devices/0000:18:00.0/numa_node", "0")]),
        quiet: |f| put(f, &[("sys/bus/pci/devices/0000:17:00.0/numa_node", "0")]),
    },
    Case {
        rule: "pcie.small-window",
        role: Train,
        fires: |f| {
            let windows =
                "0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n0x00000000b0000000 0x00000000bfffffff 0x000000000014220c\n";
            put(f, &[("sys/bus/pci/devices/0000:17:00.0/resource", windows)]);
        },
        quiet: |f| {
            let windows =
                "0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n0x0000200000000000 0x0000201fffffffff 0x000000000014220c\n";
            put(f, &[("sys/bus/pci/devices/0000:17:00.0/resource", windows)]);
        },
    },
    Case {
        rule: "interrupts.far",
        role: Train,
        fires: |f| interrupts(f, 8, |number| 16 + number),
        quiet: |f| interrupts(f, 8, |number| number),
    },
    Case { rule: "interrupts.one-cpu", role: Train, fires: |f| interrupts(f, 8, |_| 0), quiet: |f| interrupts(f, 8, |number| number % 2) },
    Case { rule: "interrupts.few-queues", role: Train, fires: |f| interrupts(f, 2, |_| 0), quiet: |f| interrupts(f, 9, |number| number) },
    Case {
        rule: "memory.uncorrected",
        role: Control,
        fires: |f| put(f, &[("sys/devices/system/edac/mc/mc1/ue_count", "1")]),
        quiet: |f| put(f, &[("sys/devices/system/edac/mc/mc1/ue_count", "0")]),
    },
    Case {
        rule: "memory.corrected",
        role: Control,
        fires: |f| put(f, &[("sys/devices/system/edac/mc/mc1/ce_count", "48211")]),
        quiet: |f| put(f, &[("sys/devices/system/edac/mc/mc1/ce_count", "12")]),
    },
    Case {
        rule: "memory.unwatched",
        role: Train,
        fires: |f| f.readings.forget("sys/devices/system/edac/mc/mc0"),
        quiet: |f| put(f, &[("sys/devices/system/edac/mc/mc0", "")]),
    },
    Case {
        rule: "memory.poisoned",
        role: Train,
        fires: |f| put(f, &[("proc/meminfo", "MemTotal: 528000000 kB\nHardwareCorrupted:    12 kB")]),
        quiet: |f| put(f, &[("proc/meminfo", "MemTotal: 528000000 kB\nHardwareCorrupted:     0 kB")]),
    },
    Case {
        rule: "memory.empty-node",
        role: Train,
        fires: |f| put(f, &[(MEMINFO[0], FULL), (MEMINFO[1], NONE)]),
        quiet: |f| put(f, &[(MEMINFO[0], FULL), (MEMINFO[1], FULL)]),
    },
    Case {
        rule: "memory.uneven",
        role: Train,
        fires: |f| put(f, &[(MEMINFO[0], FULL), (MEMINFO[1], HALF)]),
        // Whoever made a virtual machine chose its sizes.
        quiet: |f| {
            put(f, &[(MEMINFO[0], FULL), (MEMINFO[1], HALF)]);
            f.machine.facts.virtualised = Some("KVM".into());
        },
    },
    Case {
        rule: "memory.swap-busy",
        role: Train,
        fires: |f| put(f, &[("proc/meminfo", "SwapTotal:  8388604 kB\nSwapFree:  2097148 kB")]),
        quiet: |f| put(f, &[("proc/meminfo", "SwapTotal:  8388604 kB\nSwapFree:  8300000 kB")]),
    },
    Case {
        rule: "ports.speed-differs",
        role: Train,
        fires: |f| f.machine.infiniband[1].rate_mbps = Some(200_000),
        quiet: |f| {
            f.machine.infiniband[1].rate_mbps = Some(200_000);
            f.machine.infiniband[1].model = "MT4123".into();
        },
    },
    Case {
        rule: "ports.frames-small",
        role: Train,
        fires: |f| {
            over_ethernet(f);
            put(f, &[("sys/class/net/mlx5_0_net/mtu", "1500"), ("sys/class/net/eth0/mtu", "1500")]);
        },
        quiet: |f| {
            over_ethernet(f);
            put(f, &[("sys/class/net/mlx5_0_net/mtu", "9000"), ("sys/class/net/eth0/mtu", "1500")]);
        },
    },
    Case {
        rule: "ports.flapping",
        role: Control,
        fires: |f| put(f, &[("sys/class/net/eth0/carrier_down_count", "42")]),
        quiet: |f| put(f, &[("sys/class/net/eth0/carrier_down_count", "2"), ("sys/class/net/veth1/carrier_down_count", "99")]),
    },
    Case {
        rule: "ports.damaged-frames",
        role: Control,
        fires: |f| put(f, &[("sys/class/net/eth0/statistics/rx_crc_errors", "90210")]),
        quiet: |f| put(f, &[("sys/class/net/eth0/statistics/rx_crc_errors", "1")]),
    },
    Case {
        rule: "ports.dropped-frames",
        role: Train,
        fires: |f| put(f, &[("sys/class/net/eth0/statistics/rx_missed_errors", "1234567")]),
        quiet: |f| put(f, &[("sys/class/net/eth0/statistics/rx_missed_errors", "40")]),
    },
    Case {
        rule: "ports.link-recovered",
        role: Train,
        fires: |f| put(f, &[("sys/class/infiniband/mlx5_0/ports/1/counters/link_downed", "255")]),
        quiet: |f| put(f, &[("sys/class/infiniband/mlx5_0/ports/1/counters/link_downed", "1")]),
    },
    Case {
        rule: "ports.symbols-damaged",
        role: Train,
        fires: |f| put(f, &[("sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error", "4000")]),
        quiet: |f| put(f, &[("sys/class/infiniband/mlx5_0/ports/1/counters/symbol_error", "0")]),
    },
    Case {
        rule: "ports.no-subnet-manager",
        role: Train,
        fires: |f| f.machine.infiniband[0].state = PortState::Initialising,
        // An Ethernet port has no subnet manager to wait for.
        quiet: |f| {
            over_ethernet(f);
            f.machine.infiniband[0].state = PortState::Initialising;
        },
    },
    Case {
        rule: "ports.traffic-class",
        role: Train,
        fires: |f| {
            over_ethernet(f);
            put(f, &[("sys/class/infiniband/mlx5_0/tc/1/traffic_class", "")]);
        },
        quiet: |f| {
            over_ethernet(f);
            put(f, &[("sys/class/infiniband/mlx5_0/tc/1/traffic_class", "Global tclass=106")]);
        },
    },
    Case {
        rule: "ports.cable-without-link",
        role: Train,
        fires: |f| {
            let mut third = f.machine.infiniband[0].clone();
            third.device = "mlx5_2".into();
            third.state = PortState::Down;
            third.pci = Some(address("0000:a8:00.0"));
            f.machine.infiniband.push(third);
        },
        // A port of another model is there for something else.
        quiet: |f| {
            let mut third = f.machine.infiniband[0].clone();
            third.state = PortState::Down;
            third.model = "MT4117".into();
            f.machine.infiniband.push(third);
        },
    },
];
