use super::*;
use proptest::prelude::*;

#[test]
fn masks_count_from_the_last_group() {
    for (text, list) in [("0", ""), ("f", "0-3"), ("00000001,0000000f\n", "0-3,32"), ("80000000,00000000", "63")] {
        assert_eq!(mask(text).unwrap().to_string(), list, "{text:?}");
    }
    for text in ["", "g", "000000001", ",f", "f,", "+f", "0x1"] {
        assert_eq!(mask(text), None, "{text:?}");
    }
}

#[test]
fn memory_is_found_by_its_whole_name() {
    let text = "MemTotal:       33018776 kB\nMemFree: 1 kB\nHugePages_Total:     12\nSwapTotal: 0 kB\n";
    assert_eq!(meminfo(text, "MemTotal"), Some(Bytes::kib(33_018_776)));
    assert_eq!(meminfo(text, "HugePages_Total"), Some(Bytes(12)));
    assert_eq!(meminfo(text, "Mem"), None);
    assert_eq!(meminfo("Node 10 MemTotal:   4 kB\n", "MemTotal"), Some(Bytes::kib(4)));
    assert_eq!(meminfo("MemTotal: 18446744073709551615 kB", "MemTotal"), None);
}

#[test]
fn mount_tables_read_with_optional_fields_and_escapes() {
    let line = "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 shared:2 - cgroup2 /dev/root rw,nsdelegate\n";
    let [mount] = &mountinfo(line)[..] else { panic!("one mount") };
    assert_eq!((mount.root.as_str(), mount.point.as_str(), mount.kind.as_str()), ("/mnt1", "/mnt two", "cgroup2"));
    assert_eq!(mount.options, ["rw", "nsdelegate"]);
    let [mount] = &mounts("cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n")[..] else { panic!("one mount") };
    assert_eq!((mount.point.as_str(), mount.options.len()), ("/sys/fs/cgroup/cpuset", 2));
    assert_eq!(unescape("a\\134b\\777\\04"), "a\\b\\777\\04");
}

#[test]
fn control_group_paths_may_hold_colons() {
    let paths = cgroup_paths("4:cpu,cpuacct:/a:b\n0::/user.slice\nnonsense\n");
    assert_eq!(paths, [(vec!["cpu".to_owned(), "cpuacct".to_owned()], "/a:b".to_owned()), (vec![], "/user.slice".to_owned())]);
}

#[test]
fn processors_of_several_architectures() {
    let x86 = cpuinfo(
        "processor\t: 0\nmodel name\t: Intel(R)  Xeon(R)   CPU\nphysical id\t: 1\ncore id\t\t: 3\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\n",
    );
    assert_eq!((x86[0].package, x86[0].core, x86[0].model.as_str(), x86[0].hypervisor), (Some(1), Some(3), "Intel(R) Xeon(R) CPU", true));
    assert_eq!((x86[1].processor, x86[1].package, x86[1].hypervisor), (1, None, false));
    let old_arm = cpuinfo(
        "Processor\t: ARMv7 Processor rev 1 (v7l)\nprocessor\t: 0\nBogoMIPS\t: 1\n\nprocessor\t: 1\n\nFeatures\t: swp\nCPU implementer\t: 0x41\nCPU part\t: 0xc09\n",
    );
    assert!(old_arm.iter().all(|cpu| cpu.arm == Some((0x41, 0xc09)) && cpu.model == "ARMv7 Processor rev 1 (v7l)"), "{old_arm:?}");
    let power = cpuinfo("processor\t: 88\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 2300.000000MHz\n");
    assert_eq!((power[0].processor, power[0].model.as_str()), (88, "POWER9, altivec supported"));
}

#[test]
fn a_command_cannot_forge_the_fields_behind_it() {
    let tail = "S 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 10000 321 18446744073709551615";
    for command in ["sh", "a b", ") R 1", "((", "x) S 1 (y", "line\nline", ""] {
        let stat = stat(&format!("42 ({command}) {tail}")).unwrap();
        assert_eq!((stat.command.as_str(), stat.state, stat.parent, stat.start, stat.rss_pages), (command, 'S', 7, 987_654, 321));
    }
    for text in ["", "42", "42 (sh", "42 (sh)", "42 (sh) S 7", ")(", "42 sh S"] {
        assert_eq!(stat(text), None, "{text:?}");
    }
}

#[test]
fn nvidia_cards_tell_what_they_know() {
    let text = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 32\nGPU UUID: \t GPU-2b4e\nVideo BIOS: \t 96\nBus Location: \t 0000:19:00.0\nDevice Minor: \t 3\nGPU Excluded:\t No\n";
    let told = nvidia_information(text);
    assert_eq!((told.model.as_deref(), told.uuid.as_deref(), told.minor), (Some("NVIDIA H100 80GB HBM3"), Some("GPU-2b4e"), Some(3)));
    assert_eq!(told.address, "0000:19:00.0".parse().ok());
    let asleep = nvidia_information("Model: Unknown\nGPU UUID: GPU-????????-????-????-????-????????????\nDevice Minor: 0\n");
    assert_eq!(asleep, NvidiaInformation { minor: Some(0), ..NvidiaInformation::default() });
}

#[test]
fn device_numbers_windows_and_words() {
    let devices = "Character devices:\n  1 mem\n195 nvidia\n508 nvidia-uvm\n\nBlock devices:\n195 wrong\n";
    assert_eq!(char_majors(devices), [("mem", 1), ("nvidia", 195), ("nvidia-uvm", 508)].into());
    let bars = "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                0x0000006000000000 0x00000063ffffffff 0x000000000014220c\n0x000000000000e000 0x000000000000e07f 0x0000000000040101\n";
    assert_eq!(bar_sizes(bars), [Bytes::mib(16), Bytes::ZERO, Bytes::gib(16), Bytes::ZERO]);
    assert_eq!(chosen("always [madvise] never"), Some("madvise"));
    assert_eq!(chosen("always madvise"), None);
    assert_eq!(assignment("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n", "PRETTY_NAME"), Some("Debian GNU/Linux 12"));
    assert_eq!(assignment("DRIVERS=x\n", "DRIVER"), None);
}

#[test]
fn numbers_in_names_count_as_numbers() {
    let mut names = ["eth10", "eth2", "eth", "enp1s0f1", "enp1s0f0", "99999999999999999999999"];
    names.sort_by_key(|name| natural(name));
    assert_eq!(names, ["99999999999999999999999", "enp1s0f0", "enp1s0f1", "eth", "eth2", "eth10"]);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "(.|\n|[0-9a-f:,=()\\[\\]\\\\ -]){0,200}") {
        mask(&text);
        natural(&text);
        meminfo(&text, "MemTotal");
        mountinfo(&text);
        mounts(&text);
        cgroup_paths(&text);
        cpuinfo(&text);
        stat(&text);
        nvidia_information(&text);
        char_majors(&text);
        assignment(&text, "A");
        bar_sizes(&text);
        chosen(&text);
    }

    #[test]
    fn every_stat_line_reads_back(command in ".{0,15}", parent in 0u32..4_194_304, start: u64, pages: u64, state in "[RSDZTtXI]") {
        let text = format!("1 ({command}) {state} {parent} {} {start} 0 {pages} 0", "0 ".repeat(17).trim());
        let expected = Stat { command, state: state.chars().next().unwrap(), parent, start, rss_pages: pages };
        prop_assert_eq!(stat(&text), Some(expected));
    }

    #[test]
    fn every_mask_reads_back(cpus in proptest::collection::btree_set(0u32..256, 0..40)) {
        let groups: Vec<String> = (0..8).rev().map(|group| {
            let bits = cpus.iter().filter(|cpu| **cpu / 32 == group).fold(0u32, |bits, cpu| bits | 1 << (cpu % 32));
            format!("{bits:08x}")
        }).collect();
        prop_assert_eq!(mask(&groups.join(",")).unwrap(), cpus.into_iter().collect());
    }

    #[test]
    fn every_size_reads_back(kib in 0u64..1 << 50, spaces in " {1,12}") {
        let text = format!("MemFree: 1 kB\nMemTotal:{spaces}{kib} kB\n");
        prop_assert_eq!(meminfo(&text, "MemTotal"), Some(Bytes::kib(kib)));
    }

    #[test]
    fn every_mount_point_reads_back(point in "/[a-z \\\\]{0,20}", kind in "[a-z0-9]{1,8}") {
        let escaped = point.replace('\\', "\\134").replace(' ', "\\040");
        let text = format!("30 23 0:26 / {escaped} rw,nosuid shared:9 - {kind} none rw,memory\n");
        let options = vec!["rw".to_owned(), "memory".to_owned()];
        prop_assert_eq!(mountinfo(&text), vec![Mount { root: "/".into(), point, kind, options }]);
    }
}
