use super::*;
use std::collections::BTreeSet;

#[test]
fn every_vendor_has_a_row_that_can_work() {
    for vendor in Vendor::ALL.into_iter().filter(|vendor| *vendor != Vendor::Unknown) {
        assert!(rows().any(|row| row.vendor == vendor), "{vendor}");
    }
    for row in rows() {
        let key = row.key;
        assert!(!key.is_empty() && !row.title.is_empty() && row.maker.value != 0, "{key}");
        assert!(!row.drivers.is_empty() && !row.nodes.is_empty() && !row.module.value.is_empty(), "{key}");
        assert!(row.nodes.iter().any(|fact| !matches!(fact.value, Node::Shared(_) | Node::SharedIfThere(_))), "{key}");
        assert!(!row.classes.value.is_empty() || !row.ids.is_empty() || row.vendor == Vendor::Tenstorrent, "{key}");
        assert!(row.ids.iter().all(|fact| fact.value.0 <= fact.value.1), "{key}");
    }
    assert_eq!(rows().map(|row| row.key).collect::<BTreeSet<_>>().len(), rows().count(), "a key twice");
}

#[test]
fn every_cell_has_a_source() {
    for row in rows() {
        for (name, value, source, _) in row.cells() {
            assert!(!source.is_empty() && !value.is_empty(), "{}: {name} '{value}' from '{source}'", row.key);
        }
        // Hearsay is never called verified.
        for (name, value, source, verified) in row.cells() {
            assert!(!verified || source != sources::HEARSAY, "{}: {name} '{value}'", row.key);
        }
    }
    assert!(LISTED.iter().all(|fact| !fact.source.is_empty() && !fact.value.1.is_empty()));
    assert!(COMMON.iter().all(|fact| fact.verified));
}

/// Every row against every other: for each pair some of maker, class and id must keep them apart.
#[test]
fn no_card_fits_two_rows() {
    let all: Vec<&Row> = rows().collect();
    for (at, one) in all.iter().enumerate() {
        for two in &all[at + 1..] {
            let classes_meet = one.classes.value.is_empty()
                || two.classes.value.is_empty()
                || one.classes.value.iter().any(|class| two.classes.value.contains(class));
            let ids_meet = one.ids.is_empty()
                || two.ids.is_empty()
                || one.id_ranges().any(|a| two.id_ranges().any(|b| a.start() <= b.end() && b.start() <= a.end()));
            let both = one.maker.value == two.maker.value && classes_meet && ids_meet;
            assert!(!both, "{} and {} fit the same card", one.key, two.key);
        }
        let ranges: Vec<_> = one.id_ranges().collect();
        for (at, range) in ranges.iter().enumerate() {
            assert!(!ranges[at + 1..].iter().any(|other| range.start() <= other.end() && other.start() <= range.end()), "{}", one.key);
        }
    }
    for fact in LISTED {
        assert!(!all.iter().any(|row| row.maker.value == fact.value.0), "{} has a row", fact.value.1);
    }
}

#[test]
fn cards_are_told_from_their_neighbours() {
    let key = |maker, device, class| row(maker, device, class).map(|row| row.key);
    for (maker, device, class, expected) in [
        (0x10de, 0x2330, 0x0302, Some("nvidia")),
        (0x10de, 0x2684, 0x0300, Some("nvidia")),
        (0x10de, 0x22a3, 0x0680, None),
        (0x10de, 0x22ba, 0x0403, None),
        (0x1002, 0x74a1, 0x1200, Some("amd-instinct")),
        (0x1002, 0x744c, 0x0300, Some("amd")),
        (0x1002, 0x1681, 0x0300, None),
        (0x1002, 0x515e, 0x0300, None),
        (0x1022, 0x17f0, 0x1180, Some("amd-xdna")),
        (0x8086, 0x56c0, 0x0380, Some("intel-gpu")),
        (0x8086, 0xa780, 0x0300, None),
        (0x8086, 0x643e, 0x1200, Some("intel-npu")),
        (0x8086, 0x4940, 0x0b40, None),
        (0x19e5, 0xd802, 0x1200, Some("ascend")),
        (0x19e5, 0x1711, 0x0300, None),
        (0x19e5, 0xa250, 0x1200, None),
        (0x1d94, 0x6211, 0x0b40, Some("hygon")),
        (0x1d94, 0x1452, 0x0604, None),
        (0x1ae0, 0x0063, 0x1200, Some("google-tpu")),
        (0x1ae0, 0x0042, 0x0200, None),
        (0x1ac1, 0x089a, 0x0880, Some("edge-tpu")),
        (0x1d0f, 0x7164, 0x0880, Some("aws-neuron")),
        (0x1d0f, 0xefa0, 0x0200, None),
        (0x1bcf, 0x001c, 0x0b40, Some("nec-ve")),
        (0x10ee, 0x5001, 0x1200, Some("xilinx")),
        (0x10ee, 0x5000, 0x1200, None),
    ] {
        assert_eq!(key(maker, device, class), expected, "{maker:04x}:{device:04x} class {class:04x}");
    }
}

#[test]
fn strangers_in_an_accelerator_class_are_kept() {
    for (maker, device, class, expected) in [
        (0x1e60, 0x2864, 0x1200, true),
        // Hailo's own class.
        (0x1e60, 0x2864, 0x0b40, true),
        (0x1ff4, 0x0000, 0x1200, true),
        (0xbeef, 0x0001, 0x1200, true),
        (0xbeef, 0x0001, 0x0b40, true),
        // A new card of a known maker is shown too.
        (0x8086, 0xfd3e, 0x1200, true),
        (0x1ed2, 0x0009, 0x1200, true),
        // Xeon Phi: of a known maker, and an accelerator all the same.
        (0x8086, 0x225c, 0x0b40, true),
        // Compression, packets, emulators, bridges, sound.
        (0x8086, 0x4940, 0x0b40, false),
        (0x19e5, 0xa250, 0x1200, false),
        (0x10ee, 0x5000, 0x1200, false),
        (0x1234, 0x11e9, 0x1200, false),
        (0x1f1c, 0x2042, 0x0604, false),
        (0xbeef, 0x0001, 0x0300, false),
        (0x10de, 0x2330, 0x0302, false),
    ] {
        assert_eq!(is_unknown_accelerator(maker, device, class), expected, "{maker:04x}:{device:04x} class {class:04x}");
    }
    assert_eq!(maker_name(0x1e60), "Hailo");
    assert_eq!(maker_name(0x10de), "NVIDIA Corporation");
    assert_eq!(maker_name(0xbeef), "maker beef");
}
