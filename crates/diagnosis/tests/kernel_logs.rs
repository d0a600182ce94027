//! The logs of the data folder, against what a person finds in each.

use diagnosis::faults::{Catalogue, Limits, Report, Stream};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn read(log: &[u8]) -> Report {
    let mut stream = Stream::new(&CATALOGUE, Limits::default());
    stream.push(log);
    stream.finish()
}

/// "kind level lines" of each incident.
fn told(report: &Report) -> Vec<String> {
    report.incidents.iter().map(|one| format!("{} {} {}", one.kind, one.level, one.count)).collect()
}

fn data() -> Option<PathBuf> {
    let named = std::env::var_os("ASHLAR_TEST_DATA").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = path.join("hwloc-dumps/kernel-logs");
    path.is_dir().then_some(path)
}

/// What a person finds in each log, written down by hand.
const LOGS: [(&str, &[&str]); 19] = [
    (
        "public/amd-dmesg_sample.log",
        &[
            "iommu.fault degraded 1",
            "amd.poison device-reset 2",
            "amd.bad-pages hardware 1",
            "firmware.recoverable job-fatal 1",
            "amd.aca degraded 1",
        ],
    ),
    ("public/amd-dmesg_sample_with_collapsing.log", &["oom.machine job-fatal 7", "iommu.fault degraded 5"]),
    (
        "public/ascend-st_host_os_testcase-messages-fake-case.txt",
        &["net.conntrack-full degraded 1", "fs.error job-fatal 1", "oom.machine job-fatal 1", "memory.offlined degraded 1"],
    ),
    ("public/ascend-st_host_os_testcase-sysmonitor.log", &[]),
    (
        "public/ascend-st_module_testcase-kg_parse-messages",
        &["net.conntrack-full degraded 1", "fs.error job-fatal 1", "oom.machine job-fatal 1", "memory.offlined degraded 1"],
    ),
    (
        "public/ascend-st_module_testcase-kg_parse-messages_0x40F84E00",
        &["ascend.heartbeat device-reset 1", "ascend.heartbeat device-reset 1", "ascend.heartbeat device-reset 1"],
    ),
    (
        "public/ascend-st_module_testcase-rc_parse-example.log",
        &["collective.hccl-lost job-fatal 1", "collective.hccl-lost job-fatal 1", "collective.hccl-failed job-fatal 5"],
    ),
    ("public/azurehpc-0flap_syslog", &[]),
    ("public/gpud-fabric-manager-fabricmanager.log", &["nvswitch.fabric-manager degraded 1"]),
    (
        "public/gpud-memory-dmesg.decode.iso.log",
        &[
            "nvidia.xid.13 job-fatal 16",
            "nvidia.xid.43 info 1",
            "oom.reaped info 1",
            "oom.cgroup job-fatal 1",
            "oom.machine job-fatal 2",
            "oom.machine job-fatal 1",
            "oom.cgroup job-fatal 1",
        ],
    ),
    ("public/gpud-nccl-dmesg.decode.iso.log", &["process.segfault info 2", "process.library-crash job-fatal 2"]),
    ("public/gpud-pkg-kmsg-testdata-kmsg.1.log", &[]),
    ("public/gpud-pkg-kmsg-testdata-kmsg.2.peermem.log", &["nvidia.peermem info 7"]),
    ("public/gpud-pkg-pstore-testdata-7530486857247-dmesg.txt", &["kernel.panic node-reboot 1"]),
    ("public/gpud-pkg-pstore-testdata-dmesg-erst.txt", &["kernel.oops node-reboot 2"]),
    ("qemu-lab/k6.1-aer-segv.dmesg", &["pcie.corrected info 1", "pcie.non-fatal job-fatal 1", "process.segfault info 1"]),
    (
        "qemu-lab/k6.12-aer-hwpoison-segv-cgoom-mce.dmesg",
        &[
            "pcie.corrected info 1",
            "pcie.non-fatal job-fatal 1",
            "memory.process-hit job-fatal 1",
            "memory.page-lost degraded 1",
            "process.segfault info 1",
            "oom.cgroup job-fatal 2",
            "cpu.machine-check degraded 1",
        ],
    ),
    ("qemu-lab/k6.12-numa-cxl-nvme-notready-softlockup.console", &["nvme.dead device-isolate 1", "cpu.soft-lockup degraded 7"]),
    (
        "qemu-lab/k6.12-nvme-media-errors.dmesg",
        &["nvme.error degraded 10", "disk.medium degraded 10", "disk.io-error degraded 10", "fs.journal node-drain 2"],
    ),
];

#[test]
fn every_log_of_the_data_folder_gives_what_a_person_finds_in_it() {
    let Some(folder) = data() else { return eprintln!("skipped: no captured kernel logs here") };
    for (name, expected) in LOGS {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let report = read(&bytes);
        assert_eq!(told(&report), expected, "{name}");
    }
}

#[test]
fn a_disk_that_vanishes_is_the_cause_of_its_file_systems_end() {
    let Some(folder) = data() else { return eprintln!("skipped: no captured kernel logs here") };
    let log = std::fs::read(folder.join("qemu-lab/k6.12-hungtask-nvme-surprise-removal-ext4-emergency-ro.dmesg")).unwrap();
    let report = read(&log);
    let by = |kind: &str| report.incidents.iter().find(|one| one.kind == kind).unwrap();
    let gone = by("disk.beyond-end");
    for kind in ["fs.error", "fs.journal", "fs.read-only"] {
        assert_eq!(by(kind).cause, Some(gone.id), "{kind}");
        assert!(gone.consequences.contains(&by(kind).id));
    }
    assert_eq!(by("task.hung").cause, None);
}
