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

#[test]
fn codes_are_in_one_list_only() {
    for (code, ..) in xid::CARD_CODES {
        assert!(matches!(meaning(*code), Meaning::Card(..)));
        assert!(!xid::is_in_a_range(*code), "{code}");
    }
}

proptest! {
    #[test]
    fn any_log_is_read_in_bounded_room(lines in prop::collection::vec("([0-9]{0,3},[0-9]{0,20},[0-9]{0,30},-;)?(NVRM: )?(Xid \\(PCI:)?.{0,80}", 0..60)) {
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
