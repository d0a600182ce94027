//! Cases of rules about the network stack and its limits.

use super::server::{Case, over_ethernet, put};
use crate::readiness::Role::{Control, Data, Serve, Train};

pub const CASES: &[Case] = &[
    Case {
        rule: "network.receive-limit",
        role: Train,
        fires: |f| put(f, &[("proc/sys/net/core/rmem_max", "212992")]),
        quiet: |f| put(f, &[("proc/sys/net/core/rmem_max", "536870912")]),
    },
    Case {
        rule: "network.receive-limit",
        role: Train,
        fires: |f| put(f, &[("proc/sys/net/core/rmem_max", "212992")]),
        // A slow port needs no more.
        quiet: |f| {
            f.machine.nics[0].speed_mbps = Some(1000);
            f.machine.infiniband.clear();
            put(f, &[("proc/sys/net/core/rmem_max", "212992")]);
        },
    },
    Case {
        rule: "network.send-limit",
        role: Data,
        fires: |f| put(f, &[("proc/sys/net/core/wmem_max", "212992")]),
        quiet: |f| put(f, &[("proc/sys/net/core/wmem_max", "67108864")]),
    },
    Case {
        rule: "network.tcp-receive",
        role: Data,
        fires: |f| put(f, &[("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t268435456")]),
    },
    Case {
        rule: "network.tcp-send",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t67108864")]),
    },
    Case {
        rule: "network.backlog",
        role: Train,
        fires: |f| put(f, &[("proc/sys/net/core/netdev_max_backlog", "1000")]),
        quiet: |f| put(f, &[("proc/sys/net/core/netdev_max_backlog", "10000")]),
    },
    Case {
        rule: "network.accept-queue",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/net/core/somaxconn", "128")]),
        quiet: |f| put(f, &[("proc/sys/net/core/somaxconn", "4096")]),
    },
    Case {
        rule: "network.half-open",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/net/ipv4/tcp_max_syn_backlog", "256")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/tcp_max_syn_backlog", "2048")]),
    },
    Case {
        rule: "network.slow-start",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0")]),
    },
    Case {
        rule: "network.neighbours",
        role: Control,
        fires: |f| {
            let table = "IP address HW type\n".to_owned() + &"10.0.0.1 0x1\n".repeat(900);
            f.readings.insert("proc/net/arp", table);
            put(f, &[("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024")]);
        },
        quiet: |f| {
            let table = "IP address HW type\n".to_owned() + &"10.0.0.1 0x1\n".repeat(40);
            f.readings.insert("proc/net/arp", table);
            put(f, &[("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024")]);
        },
    },
    Case {
        rule: "network.arp-answers",
        role: Train,
        fires: |f| {
            over_ethernet(f);
            put(f, &[("proc/sys/net/ipv4/conf/all/arp_ignore", "0")]);
        },
        // InfiniBand resolves addresses in its own way.
        quiet: |f| put(f, &[("proc/sys/net/ipv4/conf/all/arp_ignore", "0")]),
    },
    Case {
        rule: "network.arp-announcements",
        role: Train,
        fires: |f| {
            over_ethernet(f);
            put(f, &[("proc/sys/net/ipv4/conf/all/arp_announce", "0")]);
        },
        quiet: |f| {
            over_ethernet(f);
            put(f, &[("proc/sys/net/ipv4/conf/all/arp_announce", "2")]);
        },
    },
    Case {
        rule: "network.reverse-path",
        role: Train,
        fires: |f| {
            over_ethernet(f);
            put(f, &[("proc/sys/net/ipv4/conf/all/rp_filter", "1")]);
        },
        quiet: |f| {
            over_ethernet(f);
            put(f, &[("proc/sys/net/ipv4/conf/all/rp_filter", "0")]);
        },
    },
    Case {
        rule: "network.local-ports",
        role: Control,
        fires: |f| put(f, &[("proc/sys/net/ipv4/ip_local_port_range", "50000\t60999")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999")]),
    },
    Case {
        rule: "network.connections-tracked",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/net/netfilter/nf_conntrack_max", "65536"), ("proc/sys/net/netfilter/nf_conntrack_count", "65000")]),
        quiet: |f| put(f, &[("proc/sys/net/netfilter/nf_conntrack_max", "65536"), ("proc/sys/net/netfilter/nf_conntrack_count", "900")]),
    },
    Case {
        rule: "network.window-scaling",
        role: Control,
        fires: |f| put(f, &[("proc/sys/net/ipv4/tcp_window_scaling", "0")]),
        quiet: |f| put(f, &[("proc/sys/net/ipv4/tcp_window_scaling", "1")]),
    },
];
