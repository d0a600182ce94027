use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Cursor;
use tar::{Builder, Header};

enum Item<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Node(&'a str),
}

/// Writes names as they are given: the crate's own writer refuses hostile ones.
fn archive(items: &[Item]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for item in items {
        let (path, kind, content): (&str, EntryType, &[u8]) = match item {
            Item::File(path, content) => (path, EntryType::Regular, content),
            Item::Link(path, _) => (path, EntryType::Symlink, &[]),
            Item::Hard(path, _) => (path, EntryType::Link, &[]),
            Item::Node(path) => (path, EntryType::Char, &[]),
        };
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if let Item::Link(_, target) | Item::Hard(_, target) = item {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o777);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(bytes: &[u8], limits: Limits) -> (tempfile::TempDir, Result<(), UnpackError>) {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path().join("inside");
    fs::create_dir(&dir).unwrap();
    let answer = unpack(Cursor::new(bytes), &dir, limits);
    (outside, answer)
}

fn everything(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn no_path_leads_out() {
    for path in ["../evil", "a/../../evil", "/evil", "sys/../../evil", "./../evil"] {
        let (outside, answer) = unpacked(&archive(&[Item::File(path, b"x")]), Limits::default());
        assert!(matches!(answer, Err(UnpackError::Escapes { .. })), "{path}");
        assert_eq!(everything(outside.path()), ["inside"]);
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let target = tempfile::tempdir().unwrap();
    let place = target.path().to_str().unwrap();
    let bytes = archive(&[
        Item::Link("sys/out", place),
        Item::File("sys/out/evil", b"x"),
        Item::Link("sys/up", "../../.."),
        Item::Link("sys/up/evil", place),
        Item::Hard("sys/hard", "/etc/passwd"),
        Item::Node("sys/node"),
        Item::File("sys/node2/x", b"kept"),
    ]);
    let (outside, answer) = unpacked(&bytes, Limits::default());
    answer.unwrap();
    assert_eq!(everything(target.path()), Vec::<String>::new());
    assert_eq!(everything(outside.path()), ["inside"]);
    let sys = outside.path().join("inside/sys");
    assert_eq!(everything(&sys), ["node2", "out", "up"]);
    assert!(sys.join("out").is_dir() && !sys.join("out").is_symlink() && sys.join("up").is_symlink());
    // Readers follow links inside the tree only.
    assert_eq!(Root::at(outside.path().join("inside")).text("sys/up/sys/node2/x").unwrap(), "kept");
}

#[test]
fn bombs_end_at_the_limit() {
    let zeros = vec![0u8; 4 << 20];
    let plain = archive(&[Item::File("sys/a", &zeros), Item::File("sys/b", &zeros)]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 20_000);
    for bytes in [&plain, &packed] {
        let (_, answer) = unpacked(bytes, Limits { bytes: 1 << 20, ..Limits::default() });
        assert!(matches!(answer, Err(UnpackError::TooLarge { .. })), "{answer:?}");
        let (_, answer) = unpacked(bytes, Limits { file: 1 << 20, ..Limits::default() });
        assert!(matches!(answer, Err(UnpackError::TooLarge { .. })), "{answer:?}");
        let (_, answer) = unpacked(bytes, Limits { entries: 1, ..Limits::default() });
        assert!(matches!(answer, Err(UnpackError::TooLarge { .. })), "{answer:?}");
        unpacked(bytes, Limits::default()).1.unwrap();
    }
}

#[test]
fn a_name_larger_than_any_path_is_not_read_whole() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + (200 << 10), b'a');
    assert!(matches!(unpacked(&bytes, Limits::default()).1, Err(UnpackError::TooLarge { .. })));
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("sys/{}/file", ["0000:00:01.0"; 30].join("/"));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(4);
    builder.append_data(&mut header, &long, &b"long"[..]).unwrap();
    let record = format!("path={long}2\n");
    let mut length = record.len() + 4;
    if length.to_string().len() + 1 + record.len() != length {
        length = length.to_string().len() + 1 + record.len();
    }
    let record = format!("{length} {record}");
    let mut pax = Header::new_ustar();
    pax.set_entry_type(EntryType::XHeader);
    pax.set_size(record.len() as u64);
    pax.set_cksum();
    builder.append(&pax, record.as_bytes()).unwrap();
    let mut short = Header::new_ustar();
    short.set_path("short").unwrap();
    short.set_size(3);
    short.set_cksum();
    builder.append(&short, &b"pax"[..]).unwrap();
    let (outside, answer) = unpacked(&builder.into_inner().unwrap(), Limits::default());
    answer.unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("inside").join(&long)).unwrap(), "long");
    assert_eq!(fs::read_to_string(outside.path().join("inside").join(format!("{long}2"))).unwrap(), "pax");
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, "not an archive at all, but long enough to be looked at as if it were one".repeat(20)).unwrap();
    assert!(matches!(open(&path, Limits::default()), Err(UnpackError::NotAnArchive { .. })));
    fs::write(&path, archive(&[Item::File("etc/hostname", b"x")])).unwrap();
    assert!(matches!(open(&path, Limits::default()), Err(UnpackError::NoMachine)));
    assert!(matches!(open(&dir.path().join("none"), Limits::default()), Err(UnpackError::Open { .. })));
    // One folder around the machine is common.
    fs::write(&path, archive(&[Item::File("box7/sys/x", b"1"), Item::File("box7/proc/cpuinfo", b"")])).unwrap();
    let root = open(&path, Limits::default()).unwrap();
    assert_eq!(root.text("sys/x").unwrap(), "1");
    let place = root.dir().to_owned();
    assert!(place.exists());
    drop(root.clone());
    assert!(place.exists());
    drop(root);
    assert!(!place.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_damaged_archive_is_an_error_or_a_part(at in 0usize..4000, byte in any::<u8>(), cut in 0usize..6000, packed in any::<bool>()) {
        let mut bytes = archive(&[
            Item::File("sys/a/b", b"one"), Item::Link("sys/l", "a/b"), Item::File("proc/cpuinfo", &[b'x'; 700]), Item::File("sys/c", b""),
        ]);
        if packed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(1));
        let (outside, _) = unpacked(&bytes, Limits { bytes: 1 << 20, entries: 100, file: 1 << 16 });
        prop_assert_eq!(everything(outside.path()), vec!["inside".to_owned()]);
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let (outside, _) = unpacked(&bytes, Limits { bytes: 1 << 20, entries: 100, file: 1 << 16 });
        prop_assert_eq!(everything(outside.path()), vec!["inside".to_owned()]);
    }
}
