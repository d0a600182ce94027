//! The network stack: buffers, queues and tables.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Role, Rule, Scope, Test, WORKERS};
use machine::Source::Text;

/// What is under way at 100 Gb/s over 5 ms.
const BUFFER: u64 = 64 << 20;
const BDP: &str = "bandwidth times delay: 100 Gb/s over 5 ms is 62.5 MB; NVIDIA's multi-node tuning sets 512 MiB; Linux Documentation/admin-guide/sysctl/net";
const IP: &str = "Linux Documentation/networking/ip-sysctl";

/// Ports that carry RDMA over Ethernet and are up.
fn roce_ports(look: &Look) -> usize {
    look.facts.machine.infiniband.iter().filter(|port| port.link_layer == "Ethernet" && port.state == machine::PortState::Active).count()
}

const fn buffer(id: &'static str, checks: &'static str, path: &'static str, cost: &'static str) -> Rule {
    Rule {
        id,
        checks,
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Port(25_000),
        scope: Scope::Kernel,
        reads: &[],
        why: "a sender stops when as many bytes are under way as the buffer holds; the default fits a slow network",
        cost,
        source: BDP,
        test: Test::Knob(Knob {
            path,
            want: |_, at| if at.value.contains(char::is_whitespace) { at.third_at_least(BUFFER) } else { at.at_least(BUFFER) },
            keep: Keep::Sysctl,
            risk: "a connection may use that much memory",
        }),
    }
}

pub const RULES: &[Rule] = &[
    buffer(
        "network.receive-limit",
        "programs may ask for a large receive buffer",
        "proc/sys/net/core/rmem_max",
        "bulk transfers over TCP stay at some gigabits a second",
    ),
    buffer(
        "network.send-limit",
        "programs may ask for a large send buffer",
        "proc/sys/net/core/wmem_max",
        "bulk transfers over TCP stay at some gigabits a second",
    ),
    buffer(
        "network.tcp-receive",
        "TCP may grow its receive buffer",
        "proc/sys/net/ipv4/tcp_rmem",
        "one connection over a longer way stays below the port's speed",
    ),
    buffer(
        "network.tcp-send",
        "TCP may grow its send buffer",
        "proc/sys/net/ipv4/tcp_wmem",
        "one connection over a longer way stays below the port's speed",
    ),
    Rule {
        id: "network.backlog",
        checks: "bursts of packets fit between card and stack",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Port(25_000),
        scope: Scope::Kernel,
        reads: &[],
        why: "packets that were steered to another CPU wait in a queue of this length; at 25 Gb/s a thousand of them are half a millisecond",
        cost: "drops that TCP takes for a full network",
        source: "NVIDIA's multi-node tuning sets 10000; Linux Documentation/admin-guide/sysctl/net",
        test: Test::Knob(Knob {
            path: "proc/sys/net/core/netdev_max_backlog",
            want: |_, at| (at.number()? < 5000).then(|| "10000".to_owned()),
            keep: Keep::Sysctl,
            risk: "packets may wait longer under load",
        }),
    },
    Rule {
        id: "network.accept-queue",
        checks: "new connections find room in a server's queue",
        severity: Warning,
        roles: &[Role::Serve, Role::Control],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "connections that come in a burst wait here until the server takes them; 128 was the default to kernel 5.3",
        cost: "clients wait a second and more for their first answer, or are refused",
        source: "listen(2); Linux Documentation/admin-guide/sysctl/net, somaxconn: 4096 since 5.4",
        test: Test::Knob(Knob {
            path: "proc/sys/net/core/somaxconn",
            want: |_, at| at.at_least(4096),
            keep: Keep::Sysctl,
            risk: "none worth mentioning",
        }),
    },
    Rule {
        id: "network.half-open",
        checks: "connections that are being opened find room",
        severity: Warning,
        roles: &[Role::Serve],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "a burst of clients fills the queue of half-open connections before the server sees any of them",
        cost: "clients try again after one, three, seven seconds",
        source: "tcp(7), tcp_max_syn_backlog; NVIDIA's multi-node tuning sets 8192",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/tcp_max_syn_backlog",
            want: |_, at| (at.number()? < 1024).then(|| "8192".to_owned()),
            keep: Keep::Sysctl,
            risk: "300 bytes for each while it is open",
        }),
    },
    Rule {
        id: "network.slow-start",
        checks: "a connection that paused goes on at its speed",
        severity: Info,
        roles: &[Role::Serve, Role::Train],
        needs: Needs::Port(10_000),
        scope: Scope::Kernel,
        reads: &[],
        why: "steps and requests pause between bursts, and TCP starts over slowly after each pause",
        cost: "several round trips more for each burst",
        source: IP,
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/tcp_slow_start_after_idle",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "bursts into a network that became slower meanwhile",
        }),
    },
    Rule {
        id: "network.neighbours",
        checks: "the table of neighbours has room",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/net/arp")],
        why: "beyond this number the kernel forgets addresses that are in use",
        cost: "connections to some machines of a large cluster stall for a second now and then",
        source: "arp(7), gc_thresh3; Azure's images set 4096, 8192 and 16384",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/neigh/default/gc_thresh3",
            want: |look, at| {
                let known = look.text("proc/net/arp")?.lines().count().saturating_sub(1) as u64;
                (known * 2 > at.number()?).then(|| (at.number().unwrap_or(0) * 16).max(16_384).to_string())
            },
            keep: Keep::Sysctl,
            risk: "a few hundred bytes for each neighbour",
        }),
    },
    Rule {
        id: "network.arp-answers",
        checks: "each of several ports answers only for its own address",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[],
        why: "with several ports in one network any of them may answer for all, and traffic of all arrives at one",
        cost: "RDMA between ranks fails, or one port carries the traffic of eight",
        source: "NVIDIA's node tuning sets arp_ignore 1; Linux Documentation/networking/ip-sysctl",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/conf/all/arp_ignore",
            want: |look, at| if roce_ports(look) > 1 && at.value == "0" { Some("1".to_owned()) } else { None },
            keep: Keep::Sysctl,
            risk: "setups that lean on answers from another port",
        }),
    },
    Rule {
        id: "network.arp-announcements",
        checks: "each of several ports speaks with its own address",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[],
        why: "with several ports in one network a question may leave one port with another's address",
        cost: "neighbours learn the wrong port",
        source: "NVIDIA's node tuning sets arp_announce 2; Linux Documentation/networking/ip-sysctl",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/conf/all/arp_announce",
            want: |look, at| if roce_ports(look) > 1 { at.at_least(2) } else { None },
            keep: Keep::Sysctl,
            risk: "none in ordinary networks",
        }),
    },
    Rule {
        id: "network.reverse-path",
        checks: "answers may come back by another port",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[],
        why: "the strict check drops packets that come in by a port the answer would not leave by; with several ports that is ordinary",
        cost: "connections between some pairs of ports time out",
        source: "RFC 3704, 2.2 and 2.4; Linux Documentation/networking/ip-sysctl, rp_filter",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/conf/all/rp_filter",
            want: |look, at| if roce_ports(look) > 1 && at.value == "1" { Some("2".to_owned()) } else { None },
            keep: Keep::Sysctl,
            risk: "forged sender addresses are checked less strictly",
        }),
    },
    Rule {
        id: "network.local-ports",
        checks: "there are enough local ports for outgoing connections",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "each connection to one server takes a local port, and for a minute after its end",
        cost: "`Cannot assign requested address`",
        source: IP,
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/ip_local_port_range",
            want: |_, at| {
                let mut ends = at.value.split_whitespace().map(str::parse::<u32>);
                let (from, to) = (ends.next()?.ok()?, ends.next()?.ok()?);
                (to.saturating_sub(from) < 16_000).then(|| "32768 60999".to_owned())
            },
            keep: Keep::Sysctl,
            risk: "servers that listen on a port within the range",
        }),
    },
    Rule {
        id: "network.connections-tracked",
        checks: "the table of tracked connections has room",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/sys/net/netfilter/nf_conntrack_count")],
        why: "more than four fifths of the table are in use; what does not fit is dropped",
        cost: "new connections fail, of everybody",
        source: "Linux Documentation/networking/nf_conntrack-sysctl",
        test: Test::Knob(Knob {
            path: "proc/sys/net/netfilter/nf_conntrack_max",
            want: |look, at| {
                let used: u64 = look.value("proc/sys/net/netfilter/nf_conntrack_count")?;
                (used > at.number()? / 5 * 4).then(|| (at.number().unwrap_or(0) * 4).to_string())
            },
            keep: Keep::Sysctl,
            risk: "about 300 bytes for each connection",
        }),
    },
    Rule {
        id: "network.window-scaling",
        checks: "TCP can scale its window",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "without window scaling at most 64 KiB are under way on a connection",
        cost: "half a gigabit a second over a millisecond, whatever the port",
        source: "RFC 7323, 2; Linux Documentation/networking/ip-sysctl, tcp_window_scaling",
        test: Test::Knob(Knob {
            path: "proc/sys/net/ipv4/tcp_window_scaling",
            want: |_, at| at.exactly("1"),
            keep: Keep::Sysctl,
            risk: "very old middle boxes",
        }),
    },
];
