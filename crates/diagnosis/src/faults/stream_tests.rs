use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn kinds(log: &str, piece: usize) -> Vec<(String, u64)> {
    let mut stream = Stream::new(&CATALOGUE, Limits::default());
    log.as_bytes().chunks(piece).for_each(|piece| stream.push(piece));
    stream.finish().incidents.into_iter().map(|incident| (incident.kind, incident.evidence[0].line)).collect()
}

const JOURNAL_EXPORT: &str = "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1737434504283302\nPRIORITY=3\n_TRANSPORT=kernel\nMESSAGE=NVRM: Xid (PCI:0000:38:00): 79, pid=1\n\n\
     __CURSOR=s=2\n__REALTIME_TIMESTAMP=1737434504283302\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=kernel\nMESSAGE=NVRM: Xid (PCI:0000:38:00): 48, pid=1\n";
const JOURNAL_JSON: &str = "{\"_TRANSPORT\":\"kernel\",\"MESSAGE\":\"NVRM: Xid (PCI:0000:38:00): 79, pid=1\",\"__REALTIME_TIMESTAMP\":\"17\"}\n\
     {\"_TRANSPORT\":\"journal\",\"MESSAGE\":\"NVRM: Xid (PCI:0000:38:00): 48, pid=1\"}\n{\"MESSAGE\":[1,2]}\n";
const DMESG_JSON: &str = "{\n   \"dmesg\": [\n      {\n         \"pri\": 3,\n         \"time\":    15.582246,\n         \"msg\": \"NVRM: Xid (PCI:0000:38:00): 79, pid=1, name=\\\"a\\\"\"\n      },{\n\
     \x20        \"fac\": \"user\",\n         \"pri\": 3,\n         \"time\":    16.0,\n         \"msg\": \"NVRM: Xid (PCI:0000:38:00): 48, pid=1\"\n      }\n   ]\n}\n";

#[test]
fn forms_of_many_lines_are_read_and_only_the_kernel_is_believed() {
    for (log, line) in [(JOURNAL_EXPORT, 5), (JOURNAL_JSON, 1), (DMESG_JSON, 6)] {
        assert_eq!(kinds(log, log.len()), [("nvidia.xid.79".to_owned(), line)], "{log}");
    }
}

#[test]
fn the_time_of_an_entry_is_kept() {
    let mut stream = Stream::new(&CATALOGUE, Limits::default());
    stream.push(JOURNAL_EXPORT.as_bytes());
    assert_eq!(stream.finish().incidents[0].since.unwrap().to_string(), "2025-01-21 04:41:44");
}

#[test]
fn a_line_without_end_is_cut() {
    let mut stream = Stream::new(&CATALOGUE, Limits::default());
    for _ in 0..40 {
        stream.push(&[b'x'; 100_000]);
        assert!(stream.rest.len() <= LONGEST_LINE + 100_000);
    }
    assert!(stream.finish().incidents.is_empty());
}

#[test]
fn what_is_no_text_is_read_too() {
    let mut stream = Stream::new(&CATALOGUE, Limits::default());
    stream.push(b"\xff\xfe\0\n[ 1.0] Aborting journal on device sd\xffa1-8.\n[ 2.0] Aborting journal on device sda1-8.\n");
    assert_eq!(stream.finish().lines, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_size_of_the_pieces_makes_no_difference(piece in 1usize..300, which in 0usize..4) {
        let lines = "[ 1.0] a\n[ 33.8] Aborting journal on device nvme0n1-8.\n\n[ 34.0] NVRM: Xid (PCI:0000:38:00): 79, pid=1\n";
        let log = [JOURNAL_EXPORT, JOURNAL_JSON, DMESG_JSON, lines][which];
        prop_assert_eq!(kinds(log, piece), kinds(log, log.len()));
    }

    #[test]
    fn any_bytes_are_a_log(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut stream = Stream::new(&CATALOGUE, Limits::default());
        stream.push(&bytes);
        stream.finish();
    }

    #[test]
    fn a_program_never_raises_an_incident(
        name in "[a-jl-z][a-z-]{0,8}", pid in 1u32..99999, which in 0usize..6,
        said in prop::sample::select(vec![
            "NVRM: Xid (PCI:0000:38:00): 79, pid=1", "Kernel panic - not syncing: x", "EXT4-fs error (device sda): a",
            "Out of memory: Killed process 1 (a)", "Memory failure: 0x1: recovery action for x: Failed", "kernel: NVRM: Xid (PCI:0000:38:00): 79, x",
            "nvidia-nvswitch0: SXid (PCI:0000:86:00.0): 20034, Fatal, Link 30", "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]",
        ]),
    ) {
        let line = match which {
            0 => format!("12,1,1,-;{name}[{pid}]: {said}"),
            1 => format!("user  :warn  : [   15.582246] {said}"),
            2 => format!("Mar 15 03:40:50 box7 {name}[{pid}]: {said}"),
            3 => format!("2025-01-21T04:41:44+00:00 box7 {name}[{pid}]: {said}"),
            4 => format!("<13>[   15.582246] {said}"),
            _ => format!("[   15.582246] {name}[{pid}]: {said}"),
        };
        let mut stream = Stream::new(&CATALOGUE, Limits::default());
        stream.push(line.as_bytes());
        prop_assert_eq!(stream.finish().incidents, vec![]);
    }
}
