//! Network ports as hardware: speed, frames, losses, settings for RDMA.

use crate::Severity::{Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, EVERY_ROLE, Needs, ON_ACCELERATORS, Role, Rule, Scope, Test, WORKERS};
use machine::PortState;
use machine::Source::Text;
use std::collections::BTreeMap;

const COUNTERS: &str = "Linux Documentation/ABI/stable/sysfs-class-infiniband; InfiniBand Architecture 1.4, 16.1.3.5";

pub const RULES: &[Rule] = &[
    Rule {
        id: "ports.speed-differs",
        checks: "ports of one model run at one speed",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "collectives go as fast as their slowest port, and a port of the same model can do more",
        cost: "all ports of all machines of a job at the speed of this one",
        source: "InfiniBand Architecture 1.4, 5.6: link training; Azure's health checks ask for one rate",
        test: Test::Judge(uneven_ports),
    },
    Rule {
        id: "ports.frames-small",
        checks: "RDMA over Ethernet uses frames of 4 KiB and more",
        severity: Warning,
        roles: &[Role::Train],
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Hardware,
        reads: &[Text("sys/class/net/*/mtu")],
        why: "with 1500 bytes a frame RDMA falls back to messages of 1024, four times as many for the same data",
        cost: "a tenth of the throughput and more, and four times the packets for switches",
        source: "RoCE v2 (InfiniBand Architecture, annex A17): path MTU is a power of two below the frame's",
        test: Test::Judge(small_frames),
    },
    Rule {
        id: "ports.flapping",
        checks: "links stay up",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/class/net/*/carrier_down_count")],
        why: "the link went down again and again since the machine was started",
        cost: "collectives that hang or end; it will happen again",
        source: "Linux Documentation/ABI/testing/sysfs-class-net, carrier_down_count",
        test: Test::Judge(|look| {
            let real = |name: &str| look.facts.machine.nics.iter().any(|nic| nic.name == name && nic.up);
            // Drivers take a link down a few times while they start.
            let bad =
                look.settings("sys/class/net/*/carrier_down_count").into_iter().filter(|at| at.number().is_some_and(|times| times > 10));
            bad.filter(|at| at.parts.first().is_some_and(|name| real(name)))
                .map(|at| {
                    let name = at.parts[0];
                    Claim::new(name, format!("the link of {name} went down {} times", at.value))
                        .wanted("a handful")
                        .seen(at.path, at.value)
                        .hint("look at the cable, the transceiver and the switch's log")
                })
                .collect()
        }),
    },
    Rule {
        id: "ports.damaged-frames",
        checks: "no frames arrive damaged",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/class/net/*/statistics/rx_crc_errors")],
        why: "frames with a wrong checksum come from a bad cable, transceiver or port",
        cost: "each is sent again, and RDMA without loss recovery stalls",
        source: "Linux Documentation/ABI/testing/sysfs-class-net-statistics",
        test: Test::Judge(|look| port_counters(look, "sys/class/net/*/statistics/rx_crc_errors", 100, "damaged frames")),
    },
    Rule {
        id: "ports.dropped-frames",
        checks: "the card does not drop frames for want of buffers",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Port(10_000),
        scope: Scope::Kernel,
        reads: &[Text("sys/class/net/*/statistics/rx_missed_errors")],
        why: "frames came faster than the CPU took them out of the card's ring",
        cost: "TCP slows down; NCCL over sockets with it",
        source: "Linux Documentation/networking/statistics, rx_missed_errors",
        test: Test::Judge(|look| port_counters(look, "sys/class/net/*/statistics/rx_missed_errors", 10_000, "frames it had no buffer for")),
    },
    Rule {
        id: "ports.link-recovered",
        checks: "RDMA links did not go down or recover",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[
            Text("sys/class/infiniband/*/ports/*/counters/link_downed"),
            Text("sys/class/infiniband/*/ports/*/counters/link_error_recovery"),
        ],
        why: "the port lost its link, or trained it again, since its counters were cleared",
        cost: "collectives that hang or end",
        source: COUNTERS,
        test: Test::Judge(|look| {
            let mut claims = rdma_counters(look, "link_downed", 3, "went down", "times");
            claims.extend(rdma_counters(look, "link_error_recovery", 3, "recovered its link", "times"));
            claims
        }),
    },
    Rule {
        id: "ports.symbols-damaged",
        checks: "RDMA links are clean",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[
            Text("sys/class/infiniband/*/ports/*/counters/symbol_error"),
            Text("sys/class/infiniband/*/ports/*/counters/port_rcv_errors"),
        ],
        why: "symbols arrive damaged: a bad cable, transceiver or port",
        cost: "packets are sent again, and the link goes down one day",
        source: COUNTERS,
        test: Test::Judge(|look| {
            let mut claims = rdma_counters(look, "symbol_error", 120, "counted", "damaged symbols");
            claims.extend(rdma_counters(look, "port_rcv_errors", 100, "counted", "packets with errors"));
            claims
        }),
    },
    Rule {
        id: "ports.no-subnet-manager",
        checks: "InfiniBand ports with a link are active",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "the cable is in, and no subnet manager has given the port an address",
        cost: "the port cannot be used",
        source: "InfiniBand Architecture 1.4, 14.2.5.6",
        test: Test::Judge(|look| {
            let waiting = look
                .facts
                .machine
                .infiniband
                .iter()
                .filter(|port| port.link_layer == "InfiniBand" && matches!(port.state, PortState::Initialising | PortState::Armed));
            waiting
                .map(|port| {
                    Claim::new(port.device.clone(), format!("port {} of {} is {}", port.port, port.device, port.state))
                        .wanted("active")
                        .read(format!("sys/class/infiniband/{}/ports/{}/state: {}", port.device, port.port, port.state))
                        .hint("see that a subnet manager runs in the fabric (sminfo)")
                })
                .collect()
        }),
    },
    Rule {
        id: "ports.traffic-class",
        checks: "RDMA over Ethernet is put into the class that switches protect",
        severity: Info,
        roles: &[Role::Train],
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[Text("sys/class/infiniband/*/tc/*/traffic_class")],
        why: "priority flow control and congestion marks work by class; unmarked traffic is in the class that may be dropped",
        cost: "losses under load, each a stall of the transport",
        source: "NVIDIA's documentation of mlx5, traffic class; DSCP 26, class 106, is its example",
        test: Test::Judge(|look| {
            let ports =
                look.facts.machine.infiniband.iter().filter(|port| port.link_layer == "Ethernet" && port.state == PortState::Active);
            ports
                .filter_map(|port| {
                    let path = format!("sys/class/infiniband/{}/tc/{}/traffic_class", port.device, port.port);
                    let text = look.text(&path)?;
                    let number = text.trim().rsplit('=').next()?.trim().parse::<i64>().unwrap_or(0);
                    (number <= 0).then(|| {
                        Claim::new(port.device.clone(), format!("{} has no traffic class of its own", port.device))
                            .wanted("the class of your fabric, or NCCL_IB_TC in jobs")
                            .seen(&path, text)
                            .command(format!("echo 106 > /{path}"))
                    })
                })
                .collect()
        }),
    },
    Rule {
        id: "ports.cable-without-link",
        checks: "ports without a link are known",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Hardware,
        reads: &[],
        why: "other ports of the same model are active",
        cost: "that port's bandwidth, where a job counts on it",
        source: "InfiniBand Architecture 1.4, 14.2.5.6",
        test: Test::Judge(|look| {
            let ports = &look.facts.machine.infiniband;
            let down = ports.iter().filter(|port| port.state == PortState::Down);
            let siblings = |port: &machine::InfinibandPort| {
                let same =
                    ports.iter().filter(|other| other.state == PortState::Active && other.model == port.model && !port.model.is_empty());
                same.count()
            };
            down.filter(|port| siblings(port) >= 2)
                .map(|port| {
                    Claim::new(port.device.clone(), format!("{} has no link, and {} of its model have", port.device, siblings(port)))
                        .read(format!("sys/class/infiniband/{}/ports/{}/phys_state: {}", port.device, port.port, port.physical))
                        .hint("plug it in, or leave it out of NCCL_IB_HCA")
                })
                .collect()
        }),
    },
];

fn uneven_ports(look: &Look) -> Vec<Claim> {
    let ports = look.facts.machine.infiniband.iter().filter(|port| port.state == PortState::Active && !port.model.is_empty());
    let mut by_model: BTreeMap<(&str, &str), Vec<(&str, u64)>> = BTreeMap::new();
    for port in ports {
        let Some(rate) = port.rate_mbps else { continue };
        by_model.entry((&port.model, &port.link_layer)).or_default().push((&port.device, rate));
    }
    let mut claims = vec![];
    for ((model, _), all) in by_model {
        let most = all.iter().map(|(_, rate)| *rate).max().unwrap_or(0);
        for (name, rate) in all.iter().filter(|(_, rate)| *rate < most) {
            claims.push(
                Claim::new(*name, format!("{name} runs at {} Gb/s, others of its model at {} Gb/s", rate / 1000, most / 1000))
                    .wanted(format!("{} Gb/s", most / 1000))
                    .read(format!("sys/class/infiniband/{name}: rate {} Gb/s, model {model}", rate / 1000))
                    .hint("look at its cable and at the speed its switch port is set to"),
            );
        }
    }
    claims
}

fn small_frames(look: &Look) -> Vec<Claim> {
    let ports = look.facts.machine.infiniband.iter().filter(|port| port.link_layer == "Ethernet" && port.state == PortState::Active);
    let mut claims = vec![];
    for name in ports.flat_map(|port| &port.interfaces) {
        let path = format!("sys/class/net/{name}/mtu");
        // A frame of 4096 bytes and its headers.
        let Some(mtu) = look.value::<u32>(&path).filter(|mtu| *mtu < 4200) else { continue };
        claims.push(
            Claim::new(name.clone(), format!("{name} carries RDMA in frames of {mtu} bytes"))
                .wanted("9000, or what the switches carry")
                .seen(&path, mtu)
                .command(format!("ip link set {name} mtu 9000"))
                .hint("only after every switch on the way was set"),
        );
    }
    claims
}

fn port_counters(look: &Look, pattern: &str, least: u64, what: &str) -> Vec<Claim> {
    let bad = look.settings(pattern).into_iter().filter(|at| at.number().is_some_and(|count| count >= least));
    let real = |name: &str| look.facts.machine.nics.iter().any(|nic| nic.name == name && nic.up);
    bad.filter(|at| at.parts.first().is_some_and(|name| real(name)))
        .map(|at| {
            let name = at.parts[0];
            Claim::new(name, format!("{name} counted {} {what}", at.value))
                .wanted("0")
                .seen(at.path, at.value)
                .hint(format!("ethtool -S {name} tells more; look at cable and ring size (ethtool -g {name})"))
        })
        .collect()
}

/// Counters of 32 bits and more. Those of 4 bits stop at 15, where every port ends after some restarts of the fabric: they
/// tell nothing without a second look.
fn rdma_counters(look: &Look, counter: &str, least: u64, verb: &str, what: &str) -> Vec<Claim> {
    let bad = look
        .settings(&format!("sys/class/infiniband/*/ports/*/counters/{counter}"))
        .into_iter()
        .filter(|at| at.number().is_some_and(|count| count >= least && count != u64::MAX));
    bad.map(|at| {
        // A counter of 8 bits stands at its end.
        let more = if counter == "link_downed" && at.value == "255" { " and more" } else { "" };
        let (device, port) = (at.parts.first().unwrap_or(&""), at.parts.get(1).unwrap_or(&""));
        Claim::new(*device, format!("port {port} of {device} {verb} {}{more} {what}", at.value))
            .wanted("0")
            .seen(at.path, at.value)
            .hint("look at cable and transceiver; perfquery clears the counters")
    })
    .collect()
}
