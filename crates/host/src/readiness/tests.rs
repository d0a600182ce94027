use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = Root::at(dir.path());
    (dir, root)
}

#[test]
fn patterns_become_the_files_that_are_there() {
    let (dir, root) = tree(&[
        ("sys/block/nvme0n1/queue/scheduler", "[none] mq-deadline\n"),
        ("sys/block/nvme1n1/queue/scheduler", "none [bfq]\n"),
        ("sys/block/sda/queue/scheduler", "[bfq]\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("boot/config-6.1.0", "CONFIG_HZ=250\n# CONFIG_KASAN is not set\nCONFIG_HZ_250=y\n"),
    ]);
    fs::create_dir_all(dir.path().join("sys/block/nvme0n1/device")).unwrap();
    symlink("../../../bus/pci/drivers/nvme", dir.path().join("sys/block/nvme0n1/device/driver")).unwrap();
    let wanted = [
        Source::Text("sys/block/nvme*/queue/scheduler"),
        Source::Text("proc/sys/vm/swappiness"),
        Source::Text("proc/sys/vm/gone"),
        Source::There("sys/block/*"),
        Source::There("proc/sys/vm/swappiness"),
        Source::Link("sys/block/*/device/driver"),
        Source::Build("CONFIG_HZ"),
        Source::Build("CONFIG_KASAN"),
    ];
    let found = readings(&root, &wanted.into(), "6.1.0");
    assert_eq!(found.matching("sys/block/*/queue/scheduler").count(), 2);
    assert_eq!(found.text("sys/block/nvme1n1/queue/scheduler"), Some("none [bfq]"));
    assert_eq!(found.text("proc/sys/vm/swappiness"), Some("60"));
    assert_eq!((found.there("proc/sys/vm/gone"), found.there("sys/block/sda")), (None, Some(true)));
    assert_eq!(found.text("sys/block/nvme0n1/device/driver"), Some("nvme"));
    assert_eq!((found.text("CONFIG_HZ"), found.text("CONFIG_KASAN")), (Some("250"), Some("n")));
}

#[test]
fn a_container_is_known_by_what_runtimes_leave() {
    for (path, text, name) in [
        ("run/systemd/container", "podman\n", Some("podman")),
        (".dockerenv", "", Some("Docker")),
        ("run/.containerenv", "engine=x\n", Some("Podman")),
        ("etc/hostname", "x\n", None),
    ] {
        assert_eq!(container(&tree(&[(path, text)]).1).as_deref(), name, "{path}");
    }
}

#[test]
fn this_machine_is_read_and_nothing_is_missing_by_mistake() {
    let facts = read(&Root::live(), &[Source::Text("proc/sys/vm/swappiness"), Source::There("proc/nothing")].into()).unwrap();
    assert!(facts.readings.value::<u32>("proc/sys/vm/swappiness").is_some());
    assert_eq!(facts.readings.there("proc/nothing"), Some(false));
    assert!(!facts.machine.cpus.is_empty());
}
