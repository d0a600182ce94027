//! Damaged trees: whatever is truncated, huge, no text, in a circle or not a file costs a fact, never the picture.

use host::survey::{Io, Options, survey};
use host::{HostError, Root, pci, probe};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Two packages, three memory nodes, a switch with two devices: every reader finds something to read.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = vec![
        ("sys/devices/system/cpu/online".into(), "0-3\n".into()),
        ("sys/devices/system/node/online".into(), "0-2\n".into()),
        ("proc/cpuinfo".into(), "processor : 0\nvendor_id : GenuineIntel\nmodel name : Some CPU\n\nprocessor : 1\n\n".into()),
        ("proc/meminfo".into(), "MemTotal: 4096 kB\n".into()),
        ("proc/self/cgroup".into(), "0::/a\n".into()),
        ("proc/self/mountinfo".into(), "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".into()),
        ("sys/fs/cgroup/a/cpuset.cpus.effective".into(), "0-3\n".into()),
        ("sys/devices/virtual/dmi/id/product_name".into(), "Box\n".into()),
        ("sys/devices/virtual/memory_tiering/memory_tier4/nodelist".into(), "0-1\n".into()),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages".into(), "3\n".into()),
        ("sys/firmware/dmi/entries/17-0/raw".into(), "\u{11}\u{22}".into()),
        ("sys/bus/pci/slots/1/address".into(), "0000:02:00\n".into()),
        ("sys/bus/soc/devices/soc0/family".into(), "jep106:0426\n".into()),
    ];
    for cpu in 0..4 {
        let at = format!("sys/devices/system/cpu/cpu{cpu}");
        let (package, mask) = (cpu / 2, if cpu < 2 { "3" } else { "c" });
        for (name, text) in [
            ("topology/core_cpus", format!("{:x}", 1 << cpu)),
            ("topology/package_cpus", mask.into()),
            ("topology/die_cpus", mask.into()),
            ("topology/cluster_cpus", "f".into()),
            ("topology/core_id", cpu.to_string()),
            ("topology/physical_package_id", package.to_string()),
            ("cache/index0/shared_cpu_map", mask.into()),
            ("cache/index0/level", "3".into()),
            ("cache/index0/type", "Unified".into()),
            ("cache/index0/size", "32768K".into()),
            ("cache/index0/coherency_line_size", "64".into()),
            ("cache/index0/number_of_sets", "1024".into()),
            ("cpufreq/cpuinfo_max_freq", format!("{}", 2_000_000 + 900_000 * package)),
            ("cpu_capacity", format!("{}", 500 + 500 * package)),
        ] {
            files.push((format!("{at}/{name}"), text + "\n"));
        }
    }
    for node in 0..3 {
        let at = format!("sys/devices/system/node/node{node}");
        for (name, text) in [
            ("cpumap", ["3", "c", "0"][node].to_owned()),
            ("meminfo", format!("Node {node} MemTotal: 1048576 kB")),
            ("distance", ["10 20 30", "20 10 40", "30 40 10"][node].to_owned()),
            ("access0/initiators/read_bandwidth", "1000".into()),
            ("access0/initiators/write_bandwidth", "1000".into()),
            ("access0/initiators/read_latency", "80".into()),
            ("memory_side_cache/index1/size", "1048576".into()),
            ("memory_side_cache/index1/line_size", "64".into()),
            ("memory_side_cache/index1/indexing", "0".into()),
            ("hugepages/hugepages-2048kB/nr_hugepages", "1".into()),
        ] {
            files.push((format!("{at}/{name}"), text + "\n"));
        }
    }
    for (address, class, config) in [
        (
            "0000:00:01.0",
            "60400",
            "\u{1}\u{2}\u{3}\u{4}\u{0}\u{0}\u{10}\u{0}\u{0}\u{0}\u{4}\u{6}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{2}",
        ),
        ("0000:02:00.0", "30200", ""),
        ("0000:02:00.1", "20000", ""),
    ] {
        let at = format!("sys/bus/pci/devices/{address}");
        for (name, text) in [
            ("uevent", format!("DRIVER=some\nPCI_CLASS={class}\nPCI_ID=10DE:2330\n")),
            ("config", config.to_owned()),
            ("local_cpus", "3\n".into()),
            ("numa_node", "0\n".into()),
            ("current_link_speed", "16.0 GT/s PCIe\n".into()),
            ("current_link_width", "16\n".into()),
            ("max_link_speed", "16.0 GT/s PCIe\n".into()),
            ("max_link_width", "16\n".into()),
            ("sriov_totalvfs", "4\n".into()),
        ] {
            files.push((format!("{at}/{name}"), text));
        }
    }
    for (name, file) in [("net/eth0", "address"), ("block/sda", "size"), ("infiniband/mlx5_0", "node_guid"), ("ve/ve0", "model")] {
        files.push((format!("sys/class/{name}/{file}"), "00:11:22:33:44:55\n".into()));
    }
    files.push(("sys/bus/dax/devices/dax0.0/target_node".into(), "2\n".into()));
    files.push(("sys/bus/cxl/devices/mem0/ram/size".into(), "0x10000000\n".into()));
    files.push(("proc/device-tree/cpus/cpu@0/device_type".into(), "cpu".into()));
    files
}

#[derive(Clone, Debug)]
enum Damage {
    Truncated(usize),
    /// Text that repeats to the length of the largest files.
    Huge(String, usize),
    NoText(Vec<u8>),
    Word(String),
    Missing,
    Folder,
    Loop,
    Dangling,
    /// A link to the folder above: a tree without end.
    Upwards,
}

fn damages() -> impl Strategy<Value = Damage> {
    let words = prop_oneof![
        Just("-1"),
        Just("4294967295"),
        Just("18446744073709551616"),
        Just("0-65535"),
        Just("0-4294967295"),
        Just("ffffffff,ffffffff,ffffffff"),
        Just("0x"),
        Just("9223372036854775807K"),
        Just("0"),
        Just("65535"),
        Just("NaN GT/s"),
        Just("1e308 GT/s"),
        Just(":::"),
        Just("0 0 0"),
    ];
    prop_oneof![
        (0usize..20).prop_map(Damage::Truncated),
        (prop_oneof![Just("9"), Just("ffffffff,"), Just("0-9,"), Just("x\n"), Just("processor : 1\n")], 1usize..100_000)
            .prop_map(|(text, times)| Damage::Huge(text.into(), times)),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Damage::NoText),
        words.prop_map(|word| Damage::Word(word.into())),
        Just(Damage::Missing),
        Just(Damage::Folder),
        Just(Damage::Loop),
        Just(Damage::Dangling),
        Just(Damage::Upwards),
    ]
}

fn damage(path: &Path, how: &Damage) {
    let text = fs::read(path).unwrap_or_default();
    // A folder above may be gone already.
    let _ = fs::remove_file(path);
    let _ = match how {
        Damage::Truncated(length) => fs::write(path, &text[..text.len().min(*length)]),
        Damage::Huge(text, times) => fs::write(path, text.repeat(*times)),
        Damage::NoText(bytes) => fs::write(path, bytes),
        Damage::Word(word) => fs::write(path, word),
        Damage::Missing => Ok(()),
        Damage::Folder => fs::create_dir(path),
        Damage::Loop => symlink(path.file_name().unwrap(), path),
        Damage::Dangling => symlink("../../nowhere/else", path),
        Damage::Upwards => symlink("..", path),
    };
}

fn tree() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    for (path, text) in files() {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    dir
}

#[test]
fn the_undamaged_tree_is_read_whole() {
    let dir = tree();
    let topology = survey(&Root::at(dir.path()), &Options::default()).unwrap();
    assert_eq!(topology.findings, Vec::<String>::new());
    assert_eq!((topology.machine.children.len(), topology.memory_values.len() > 3, topology.cpu_kinds.len()), (2, true, 2));
    assert_eq!(topology.pci.functions().len(), 3);
    assert!(topology.node(2).is_some());
}

#[test]
fn what_cannot_be_read_is_told() {
    let dir = tree();
    let at = |path: &str| dir.path().join(path);
    damage(&at("sys/devices/system/node/node1/cpumap"), &Damage::Loop);
    damage(&at("sys/devices/virtual/dmi/id/product_name"), &Damage::NoText(vec![0xff, 0xfe, b'x']));
    let node = at("sys/devices/system/node/node0/cpumap");
    fs::write(node, "7\n").unwrap();
    let topology = survey(&Root::at(dir.path()), &Options::default()).unwrap();
    assert!(
        topology.findings.iter().any(|finding| finding.starts_with("sys/bus/node") || finding.contains("node1/cpumap")),
        "{:?}",
        topology.findings
    );
    assert!(
        survey(&Root::at(dir.path().join("nothing")), &Options::default()).is_err_and(|error| matches!(error, HostError::NoCpus { .. }))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn no_damage_stops_the_readers(hits in proptest::collection::vec((any::<prop::sample::Index>(), damages()), 1..14), all in any::<bool>()) {
        let dir = tree();
        let files = files();
        for (at, how) in &hits {
            damage(&dir.path().join(&at.get(&files).0), how);
        }
        let root = Root::at(dir.path());
        let options = Options { io: if all { Io::All } else { Io::Important }, overlapping_nodes: all, ..Options::default() };
        match survey(&root, &options) {
            Ok(topology) => {
                prop_assert!(!topology.machine.cpus.is_empty());
                let json = serde_json::to_string(&topology).unwrap();
                prop_assert_eq!(serde_json::from_str::<machine::topology::Topology>(&json).unwrap(), topology);
            }
            Err(error) => prop_assert!(matches!(error, HostError::NoCpus { .. }), "{}", error),
        }
        let _ = (probe(&root), pci::tree(&root));
    }
}
