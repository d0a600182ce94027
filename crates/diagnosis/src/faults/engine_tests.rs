use super::*;
use std::sync::LazyLock;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn read(log: &str) -> Report {
    let mut engine = Engine::new(&CATALOGUE, Limits::default());
    engine.block(log);
    engine.finish()
}

/// "kind level lines" of each incident.
fn told(report: &Report) -> Vec<String> {
    report.incidents.iter().map(|one| format!("{} {} {}", one.kind, one.level, one.count)).collect()
}

#[test]
fn a_flood_is_one_incident() {
    let line = |at: u32| {
        format!("[{:5}.{:06}] NVRM: Xid (PCI:0000:18:00): 45, pid={}, name=python, Ch {:08x}\n", at / 1000, at % 1000, at, at % 512)
    };
    let log: String = (0..169_000).map(line).collect();
    let report = read(&log);
    assert_eq!(told(&report), ["nvidia.xid.45 job-fatal 169000"]);
    assert_eq!((report.lines, report.incidents[0].evidence.len()), (169_000, FIRST_LINES + 1));
    assert_eq!(report.incidents[0].evidence[FIRST_LINES].line, 169_000);
}

#[test]
fn memory_is_bounded_and_what_is_dropped_is_counted() {
    let log: String = (0..50).map(|at| format!("EXT4-fs error (device sd{at}): x\n")).collect();
    let mut engine = Engine::new(&CATALOGUE, Limits { incidents: 10, ..Limits::default() });
    engine.block(&log);
    let report = engine.finish();
    assert_eq!((report.incidents.len(), report.dropped, report.events), (10, 40, 50));
}

#[test]
fn cleaning_up_is_a_consequence_of_the_error_before_it() {
    let log = "[ 10.0] NVRM: Xid (PCI:0000:18:00): 94, pid=7, Contained: CE\n\
               [ 10.1] NVRM: Xid (PCI:0000:18:00): 45, pid=7, Ch 1\n\
               [ 10.2] NVRM: Xid (PCI:0000:3b:00): 45, pid=8, Ch 1\n\
               [ 500.0] NVRM: Xid (PCI:0000:5e:00): 45, pid=9, Ch 1, caused by previous Xid 31\n";
    let report = read(log);
    assert_eq!(
        told(&report),
        ["nvidia.xid.94 job-fatal 1", "nvidia.xid.45 info 1", "nvidia.xid.45 job-fatal 1", "nvidia.xid.45 job-fatal 1"]
    );
    assert_eq!(report.incidents[1].cause, Some(1));
    assert_eq!(report.incidents[2].cause, None, "another device");
}

#[test]
fn every_form_of_an_xid_line_is_read() {
    let cases = [
        ("NVRM: Xid (PCI:0000:38:00): 79, pid=1", "nvidia.xid.79", "device 0000:38:00.0", Level::NodeReboot),
        ("NVRM: Xid (0000:38:00): 79, x", "nvidia.xid.79", "device 0000:38:00.0", Level::NodeReboot),
        ("NVRM: Xid (PCI:0000:38:00 GPU-I:05 GPU-CI:00): 13, pid=1", "nvidia.xid.13", "device 0000:38:00.0 GI 5 CI 0", Level::JobFatal),
        ("NVRM: Xid (PCI:0000:38:00 GPU-I:05): 13, pid=1", "nvidia.xid.13", "device 0000:38:00.0 GI 5", Level::JobFatal),
        ("NVRM: Xid (PCI:0000:38:00): 999, x", "nvidia.xid.999", "device 0000:38:00.0", Level::Degraded),
        (
            "NVRM: Xid (PCI:0000:38:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08",
            "nvidia.xid.149",
            "device 0000:38:00.0",
            Level::DeviceReset,
        ),
        ("NVRM: Xid (PCI:0000:38:00): 149, NETIR_LINK_EVT Nonfatal XC0", "nvidia.xid.149", "device 0000:38:00.0", Level::Degraded),
        (
            "NVRM: Xid (PCI:0000:38:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
            "nvidia.xid.154",
            "device 0000:38:00.0",
            Level::NodeReboot,
        ),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:86:00.0): 12028, Non-fatal, Link 61 x",
            "nvidia.sxid.12028",
            "device 0000:86:00.0",
            Level::Degraded,
        ),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:86:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
            "nvidia.sxid.20034",
            "device 0000:86:00.0",
            Level::DeviceReset,
        ),
    ];
    for (line, kind, place, level) in cases {
        let report = read(&format!("[ 100.0] {line}\n"));
        let one = &report.incidents[0];
        assert_eq!((one.kind.as_str(), one.place.to_string().as_str(), one.level), (kind, place, level), "{line}");
    }
}

#[test]
fn what_boot_logs_hold_raises_nothing_above_info() {
    let log = "[    0.000000] Linux version 6.12.0 (a@b)\n\
        [    0.1] mce: CPU supports 20 MCE banks\n\
        [    0.2] mce: [Hardware Error]: Machine check events logged\n\
        [    0.2] mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: bea0000000000108\n\
        [    0.3] pcieport 0000:00:1c.0: AER: enabled with IRQ 122\n\
        [    0.4] HEST: Table parsing has been initialized.\n\
        [    0.5] BERT: Error records from previous boot:\n\
        [    0.5] [Hardware Error]: event severity: fatal\n\
        [    0.6] EDAC MC0: Giving out device to module skx_edac controller Skylake\n\
        [    0.7] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.\n\
        [    0.8] ata2: SATA link down (SStatus 0 SControl 300)\n\
        [    0.9] AMD-Vi: Event logged [IO_PAGE_FAULT device=00:14.0 domain=0x0000 address=0xff flags=0x0010]\n\
        [    1.0] blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ)\n\
        [    1.1] Buffer I/O error on dev sr0, logical block 0, async page read\n\
        [    1.2] pcieport 0000:00:1d.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)\n\
        [    1.3] mlx5_core 0000:3b:00.0: Port module event: module 0, Cable unplugged\n\
        [    1.4] e1000e 0000:00:1f.6 eth0: NIC Link is Down\n\
        [    1.5] BTRFS info (device sda2): bdev /dev/sda2 errs: wr 0, rd 0, flush 0, corrupt 0, gen 0\n\
        [    1.6] clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:\n\
        [    1.7] ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND\n\
        [    1.8] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  575.51\n\
        [    1.9] amdgpu 0000:03:00.0: amdgpu: no uncorrectable hardware errors detected in gfx block\n\
        [    2.0] XFS (sda3): Starting recovery (logdev: internal)\n\
        [    2.1] nvme nvme0: missing or invalid SUBNQN field.\n";
    let report = read(log);
    let loud: Vec<&Incident> = report.incidents.iter().filter(|one| one.level > Level::Info).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

#[test]
fn what_goes_on_is_no_longer_information() {
    let line = |at: u32| format!("[{:4}.0] pcieport 0000:00:1d.0: PCIe Bus Error: severity=Corrected, type=Physical Layer\n", 100 + at);
    let log = |count: u32| (0..count).map(line).collect::<String>();
    assert_eq!(told(&read(&log(19))), ["pcie.corrected info 19"]);
    assert_eq!(told(&read(&log(20))), ["pcie.corrected degraded 20"]);
}

#[test]
fn a_later_line_takes_an_incident_back_at_its_own_place_only() {
    let log = "[ 10.0] nfs: server a not responding, still trying\n[ 11.0] nfs: server b not responding, still trying\n[ 12.0] nfs: server a OK\n";
    let report = read(log);
    assert_eq!(report.incidents.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Cancelled, State::Open]);
}

#[test]
fn after_long_quiet_it_is_a_new_incident() {
    let log = "[ 10.0] EXT4-fs error (device sda): x\n[ 20.0] EXT4-fs error (device sda): x\n[ 90000.0] EXT4-fs error (device sda): x\n";
    assert_eq!(told(&read(log)), ["fs.error job-fatal 2", "fs.error job-fatal 1"]);
}

#[test]
fn a_card_that_falls_off_is_told_once_and_without_an_xid_too() {
    let xid = "[ 20.4] NVRM: Xid (PCI:0000:18:00): 79, pid=4242, name=python, GPU has fallen off the bus.\n";
    let lines = [
        "[ 20.4] NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.\n",
        "[ 20.4] NVRM: GPU at PCI:0000:18:00: GPU has fallen off the bus.\n",
        "[ 20.4] NVRM: The NVIDIA GPU 0000:18:00.0 (PCI ID: 10de:2330) fell off the bus and is not responding\n",
        "[ 20.4] NVRM: GPU is lost.\n",
    ];
    assert_eq!(told(&read(xid)), ["nvidia.xid.79 node-reboot 1"]);
    for line in lines {
        assert_eq!(told(&read(line)), ["nvidia.fell-off node-reboot 1"], "{line}");
        assert_eq!(read(&format!("{xid}{line}")).incidents[1].cause, Some(1), "{line}");
    }
}
