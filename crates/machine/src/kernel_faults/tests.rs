use super::*;
use proptest::prelude::*;

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn read(lines: &[&str]) -> KernelFaults {
    let mut faults = KernelFaults::default();
    lines.iter().for_each(|line| faults.take(line));
    faults
}

fn texts(faults: &KernelFaults, address: &str) -> Vec<(String, bool)> {
    faults.of(at(address)).into_iter().map(|fault| (fault.text, fault.blocks)).collect()
}

#[test]
fn every_way_of_writing_an_xid_is_read() {
    for line in [
        "3,1,5000000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "3,1,5000000,-;NVRM: Xid (0000:3b:00): 79, GPU has fallen off the bus.",
        "3,1,5000000,-;NVRM: Xid (PCI:0000:3b:00.0): 79",
        "3,1,5000000,-;nvidia 0000:3b:00.0: NVRM: Xid (PCI:0000:3b:00): 79, x",
        "3,1,5000000,-,caller=T12;NVRM: Xid (PCI:00000000:3b:00): 79, x",
    ] {
        let expected = "kernel log: the GPU has fallen off the bus (Xid 79), once, at [5.000000]";
        assert_eq!(texts(&read(&[line]), "0000:3b:00.0"), vec![(expected.to_owned(), false)], "{line}");
    }
    let slice = read(&["3,1,5,-;NVRM: Xid (PCI:0000:3b:00 GPU-I:02 GPU-CI:00): 95, pid=7, uncontained"]);
    assert!(texts(&slice, "0000:3b:00.0")[0].0.contains("in MIG instance 2"));
}

#[test]
fn what_a_program_did_says_nothing_about_the_card() {
    for code in [13, 31, 43, 45, 63, 94] {
        let line = format!("4,1,5,-;NVRM: Xid (PCI:0000:3b:00): {code}, pid=7, name=python");
        assert_eq!(read(&[&line]), KernelFaults::default(), "{code}");
    }
    assert_eq!(meaning(9999), Meaning::Unknown);
    let unknown = read(&["4,1,5,-;NVRM: Xid (PCI:0000:3b:00): 9999, new"]);
    assert!(texts(&unknown, "0000:3b:00.0")[0].0.contains("Xid 9999, which is not in the table"));
}

#[test]
fn only_the_kernel_is_believed() {
    // Facility 1 is what a program writes into /dev/kmsg.
    for line in ["11,1,5,-;NVRM: Xid (PCI:0000:3b:00): 79, x", "NVRM: Xid (PCI:0000:3b:00): 79", "x,1,5,-;NVRM: Xid (PCI:0000:3b:00): 79"] {
        assert_eq!(read(&[line]), KernelFaults::default(), "{line}");
    }
}

#[test]
fn a_driver_that_is_loaded_anew_begins_anew() {
    let lost = "3,1,5,-;NVRM: Xid (PCI:0000:3b:00): 119, GSP";
    let loaded = "5,2,6,-;NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15";
    assert!(texts(&read(&[lost, loaded]), "0000:3b:00.0").is_empty());
    assert_eq!(texts(&read(&[loaded, lost]), "0000:3b:00.0").len(), 1);
}

#[test]
fn the_drivers_own_verdict_blocks_until_it_is_taken_back() {
    let bad = "3,1,5,-;NVRM: Xid (PCI:0000:3b:00): 95, x";
    let reset = "3,2,6,-;NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)";
    let fine = "3,3,7,-;NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)";
    let told = texts(&read(&[bad, reset]), "0000:3b:00.0");
    assert_eq!(told[0], ("the driver asks for recovery: GPU Reset Required".to_owned(), true));
    assert_eq!(told.len(), 2);
    assert!(texts(&read(&[bad, reset, fine]), "0000:3b:00.0").is_empty());
    assert!(texts(&read(&[bad, reset]), "0000:3c:00.0").is_empty(), "only the card that it is about");
}

#[test]
fn many_lines_are_one_fault_and_the_newest_comes_first() {
    let mut faults = KernelFaults::default();
    for second in 1..=1000u64 {
        faults.take(&format!("3,{second},{},-;NVRM: Xid (PCI:0000:3b:00): 74, x", second * 1_000_000));
    }
    faults.take("3,2000,2000000000,-;NVRM: Xid (PCI:0000:3b:00): 48, x");
    let told = texts(&faults, "0000:3b:00.0");
    assert!(told[0].0.contains("double-bit") && told[1].0.ends_with("1000 times, last at [1000.000000]"), "{told:?}");
}

#[test]
fn other_drivers_and_the_bus_are_heard_too() {
    let wedged = "2,1,5,-;xe 0000:83:00.0: [drm] device wedged, needs recovery";
    let back = "5,1,5,-;xe 0000:83:00.0: [drm] device wedged, but recovered through reset";
    let old = "3,1,5,-;nvidia 0000:83:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Receiver ID)";
    let new = "3,1,5,-;amdgpu 0000:83:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer";
    for (line, count) in [(wedged, 1), (back, 0), (old, 1), (new, 1), ("4,1,5,-;x 0000:83:00.0: PCIe Bus Error: severity=Correctable", 0)] {
        assert_eq!(texts(&read(&[line]), "0000:83:00.0").len(), count, "{line}");
    }
}

const CARD: &str = "0000:03:00.0";

fn amd(lines: &[&str]) -> Vec<(String, bool)> {
    let lines: Vec<String> = lines.iter().map(|line| format!("3,1,5000000,-;amdgpu {CARD}: {line}")).collect();
    texts(&read(&lines.iter().map(String::as_str).collect::<Vec<_>>()), CARD)
}

#[test]
fn amd_hardware_errors_are_read_in_every_wording() {
    let umc = "kernel log: hardware errors in its umc block that could not be put right, once, at [5.000000]";
    for (line, said) in [
        ("amdgpu: 3 uncorrectable hardware errors detected in umc block", umc),
        ("amdgpu: 3 new uncorrectable hardware errors detected in umc block", umc),
        ("amdgpu: socket: 0, die: 1, 2 new uncorrectable hardware errors detected in umc block, no user action is needed.", umc),
        ("{12}socket: 0, die: 1, 2 uncorrectable hardware errors detected in total in umc block", umc),
        ("amdgpu: 1 uncorrectable hardware errors detected in newest block", "in its another block"),
        ("amdgpu: 1 deferred hardware errors detected in xgmi_wafl block", "damaged data in its xgmi_wafl block"),
        ("{14}poison is consumed by client 12, kick off gpu reset flow", "a program used damaged data"),
        ("amdgpu: Saved bad pages 150 reaches threshold value 128", "more memory pages are retired"),
        ("amdgpu: GPU reset(3) failed", "could not reset the card"),
        ("amdgpu: GPU reset end with ret = -110", "could not reset the card"),
        ("{1}[Hardware Error]: ACA[01/01].STATUS=0xb8000800003e0000", "a hardware record (ACA)"),
    ] {
        let told = amd(&[line]);
        assert!(told.len() == 1 && told[0].0.contains(said) && !told[0].1, "{line}: {told:?}");
    }
}

#[test]
fn amd_lines_that_report_no_harm_are_left_alone() {
    for line in [
        "amdgpu: no uncorrectable hardware errors detected in umc block",
        "amdgpu: 0 uncorrectable hardware errors detected in umc block",
        // A counter that cannot be read.
        "amdgpu: 1048560 uncorrectable hardware errors detected in gfx block",
        "amdgpu: 7 correctable hardware errors detected in umc block",
        "{15}Poison is created",
        "amdgpu: GPU reset begin!",
        "amdgpu: GPU reset end with ret = 0",
        // Put right: neither of both bits.
        "{1}[Hardware Error]: ACA[01/01].STATUS=0x98000800003e0000",
        "{1}[Hardware Error]: ACA[01/01].STATUS=0x",
        "amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0",
    ] {
        assert!(amd(&[line]).is_empty(), "{line}");
    }
    let other = "3,1,5,-;other 0000:03:00.0: 3 uncorrectable hardware errors detected in umc block";
    assert!(texts(&read(&[other]), CARD).is_empty(), "another driver's words are not known");
}

#[test]
fn an_amd_reset_that_worked_takes_back_all_but_worn_out_memory() {
    let bad = ["{14}poison is consumed by client 12, kick off gpu reset flow", "amdgpu: Saved bad pages 150 reaches threshold value 128"];
    let told = amd(&[bad[0], bad[1], "amdgpu: GPU reset(2) succeeded!"]);
    assert!(told.len() == 1 && told[0].0.contains("retired"), "{told:?}");
    let lines = ["3,1,5,-;amdgpu 0000:03:00.0: amdgpu: GPU reset(3) failed", "6,2,9,-;[drm] amdgpu kernel modesetting enabled."];
    assert!(texts(&read(&lines), CARD).is_empty(), "the driver was loaded anew");
}

#[test]
fn an_ascend_chip_without_heartbeat_is_known_by_the_drivers_number() {
    let line = |device: &str| {
        format!(
            "3,1,1197584409,-;[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/5:1H:39365> Heartbeat lost! (device={device}; old_count=1104"
        )
    };
    let faults = read(&[&line("1"), &line("1"), &line("x"), &line("99999999999")]);
    let told = faults.of_chip(1).unwrap();
    assert_eq!(
        (told.text.as_str(), told.blocks),
        ("kernel log: the driver missed the chip's heartbeat, 2 times, last at [1197.584409]", false)
    );
    assert_eq!((faults.of_chip(0), faults.silent_chips.len()), (None, 1));
    assert_eq!(read(&[&line("1").replace("3,1", "11,1")]), KernelFaults::default(), "a program may write anything");
}

#[test]
fn codes_are_in_one_list_only() {
    for (code, ..) in xid::CARD_CODES {
        assert!(matches!(meaning(*code), Meaning::Card(..)));
        assert!(!xid::is_in_a_range(*code), "{code}");
    }
}

proptest! {
    #[test]
    fn any_log_is_read_in_bounded_room(lines in prop::collection::vec("([0-9]{0,3},[0-9]{0,20},[0-9]{0,30},-;)?(NVRM: |amdgpu 0000:03:00.0: )?(Xid \\(PCI:|amdgpu: |[{]1[}])?([0-9]{0,21} uncorrectable hardware errors detected in |GPU reset|\\[ascend\\] \\[drv_soft_fault\\] Heartbeat lost! \\(device=)?.{0,80}", 0..60)) {
        let mut faults = KernelFaults::default();
        for line in &lines {
            faults.take(line);
        }
        prop_assert!(faults.cards.len() <= lines.len().min(MOST_CARDS));
    }

    #[test]
    fn any_card_and_code_is_found_again(bus in 0u8..=255, device in 0u8..32, code in 0u32..400) {
        let mut faults = KernelFaults::default();
        faults.take(&format!("3,1,5,-;NVRM: Xid (PCI:0000:{bus:02x}:{device:02x}): {code}, x"));
        let found = faults.of(PciAddress { domain: 0, bus, device, function: 0 });
        prop_assert_eq!(found.len(), usize::from(code != 154 && meaning(code) != Meaning::NotTheCard));
    }
}
