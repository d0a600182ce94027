//! Fixtures by documentation only: written by hand from the makers' manuals, never printed by a card.

use super::*;
use crate::accelerators::table::{self, Telemetry as How};
use proptest::prelude::*;

#[test]
fn every_tool_of_the_table_has_a_parser() {
    for row in table::rows() {
        if let How::Tool(name) = row.telemetry.value {
            assert!(tool(name).is_some(), "{}: {name}", row.key);
        }
    }
}

#[test]
fn npu_smi_boxes_give_a_card_for_two_lines() {
    let text = "\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.6        38                0    / 0             |
| 0                         | 0000:C1:00.0  | 17          0    / 0          3404 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Alarm         | 91.1        41                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3395 / 65536         |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
";
    let found = npu_smi::parse(text);
    assert_eq!(found.len(), 2);
    let first = &found[0];
    assert_eq!((first.pci.unwrap().to_string().as_str(), first.name.as_deref()), ("0000:c1:00.0", Some("910B3")));
    let seen = &first.telemetry;
    assert_eq!((seen.power_mw, seen.temperature_c, seen.busy_percent), (Some(93_600), Some(38), Some(17)));
    assert_eq!((seen.memory_used, seen.memory_total), (Some(Bytes::mib(3404)), Some(Bytes::gib(64))));
    assert_eq!(found[1].telemetry.complaints, ["npu-smi calls its health Alarm"]);
}

fn printed(question: &Question) -> Option<&'static str> {
    match question.file.as_str() {
        "npu-smi-topo.txt" => Some(include_str!("../../../../../testdata/npu-smi/topo-eight-910b.txt")),
        "npu-smi-vnpu-0-0.txt" => Some(include_str!("../../../../../testdata/npu-smi/vnpu-two-halves.txt")),
        "npu-smi-vnpu-1-0.txt" => Some(include_str!("../../../../../testdata/npu-smi/vnpu-none.txt")),
        "npu-smi-vnpu-2-0.txt" => Some("The vnpu is not in docker mode, does not support querying info-vnpu.\n"),
        _ => None,
    }
}

fn learned(info: &str, answers: impl Fn(&Question) -> Option<&'static str>) -> Vec<Told> {
    let mut told = npu_smi::parse(info);
    for question in (npu_smi::FURTHER.questions)(&told, true) {
        if let Some(text) = answers(&question) {
            (npu_smi::FURTHER.learn)(&mut told, &question, text);
        }
    }
    told
}

#[test]
fn eight_npus_are_linked_each_to_each_and_two_vnpus_are_cut_from_the_first() {
    let told = learned(include_str!("../../../../../testdata/npu-smi/info-eight-910b.txt"), printed);
    assert_eq!(told.len(), 8);
    for (at, card) in told.iter().enumerate() {
        let ends: Vec<usize> = card.links.as_ref().unwrap().iter().filter_map(|link| link.to).collect();
        assert_eq!(ends, (0..8).filter(|other| *other != at).collect::<Vec<_>>());
        assert!(card.links.iter().flatten().all(|link| link.kind == LinkKind::Hccs));
    }
    let half = |number| ToldSlice { number, template: "vir10_3c_32g".into(), memory: Some(Bytes::gib(32)) };
    assert_eq!(told[0].slices, Some(vec![half(100), half(101)]));
    assert_eq!((told[1].slices.as_deref(), told[2].slices.as_deref()), (Some(&[][..]), None), "none, and not known");
}

#[test]
fn two_dies_of_a_board_are_told_apart_and_boards_reach_each_other_over_a_switch() {
    let told = learned(include_str!("../../../../../testdata/npu-smi/info-two-boards-of-two-dies.txt"), |question| {
        (question.file == "npu-smi-topo.txt").then_some(include_str!("../../../../../testdata/npu-smi/topo-two-boards-of-two-dies.txt"))
    });
    let places: Vec<_> = told.iter().map(|card| (card.index, card.chip, card.physical)).collect();
    assert_eq!(places, [(Some(0), 0, Some(0)), (Some(0), 1, Some(1)), (Some(1), 0, Some(2)), (Some(1), 1, Some(3))]);
    let of = |at: usize| told[at].links.clone().unwrap();
    assert_eq!(of(0), [ToldLink { kind: LinkKind::Sio, to: Some(1) }, ToldLink { kind: LinkKind::Hccs, to: None }]);
    assert_eq!(of(3), [ToldLink { kind: LinkKind::Hccs, to: None }, ToldLink { kind: LinkKind::Sio, to: Some(2) }]);
}

#[test]
fn a_template_has_its_part_of_the_memory() {
    let told = learned(&include_str!("../../../../../testdata/npu-smi/info-eight-910b.txt").replace("910B3", "310P3"), |question| {
        (question.about == Some(7)).then_some(include_str!("../../../../../testdata/npu-smi/vnpu-310p.txt"))
    });
    let parts: Vec<_> = told[7].slices.iter().flatten().map(|part| (part.number, part.template.as_str(), part.memory)).collect();
    let expected = [(212, "vir04", 12), (213, "vir02_1c", 6), (214, "vir01", 3)];
    assert_eq!(parts, expected.map(|(number, name, gib)| (number, name, Some(Bytes::gib(gib)))));
}

#[test]
fn a_matrix_that_names_other_chips_gives_no_links() {
    let info = include_str!("../../../../../testdata/npu-smi/info-two-boards-of-two-dies.txt");
    for matrix in [
        "Phy-ID0 Phy-ID9\nPhy-ID0 X SIO\nPhy-ID9 SIO X\n",
        "This device does not support querying topo.\n",
        "Phy-ID0 Phy-ID1\nPhy-ID0 X PHB\nPhy-ID1 PHB X\n",
        "Phy-ID0\n",
        "",
    ] {
        let text: &'static str = matrix;
        assert!(learned(info, |_| Some(text)).iter().all(|card| card.links.is_none()), "{matrix}");
    }
    // Newer programs have other words, and network ports in the matrix.
    let newer = "\t NPU0 NPU1 NIC0 CPU Affinity\nNPU0 X XLink PIX 0-9\nNPU1 XLink X PHB 0-9\nNIC0 PIX PHB X\n";
    let told =
        learned(include_str!("../../../../../testdata/npu-smi/info-eight-910b.txt"), |question| question.about.is_none().then_some(newer));
    assert_eq!(told[1].links, Some(vec![ToldLink { kind: LinkKind::Hccs, to: Some(0) }]));
    assert_eq!(told[2].links, None);
}

#[test]
fn lines_with_commas_need_all_their_fields() {
    let text = "0, 00000000:3B:00.0, GPU-0a, Iluvatar BI-V150, 47, 101.5, 350, 1500, 33, 1024, 32768\n1, [N/A], x\n, , , , , , , , , , \n";
    let found = separated::parse(text);
    assert_eq!(found.len(), 1);
    let seen = &found[0].telemetry;
    assert_eq!((seen.temperature_c, seen.power_mw, seen.power_limit_mw), (Some(47), Some(101_500), Some(350_000)));
    assert_eq!((seen.clock_mhz, seen.busy_percent, seen.memory_used), (Some(1500), Some(33), Some(Bytes::gib(1))));
}

#[test]
fn sections_of_four_makers_are_understood() {
    let cnmon = "\
Card 0
    Product Name              : MLU370-X8
    UUID                      : 7b5f1e
    PCIe
        Domain Id : Bus Id : Device Id.Function : 0000:4f:00.0
    Physical Memory Usage
        Total                 : 24576 MiB
        Used                  : 512 MiB
    Utilization
        MLU Average           : 42 %
    Temperature
        Board                 : 36 C
    Power
        Usage                 : 63 W
        Cap                   : 250 W
Card 1
    Temperature
        Board                 : 35 C
";
    let found = sections::parse(cnmon);
    assert_eq!((found.len(), found[0].index, found[0].name.as_deref()), (2, Some(0), Some("MLU370-X8")));
    let seen = &found[0].telemetry;
    assert_eq!(
        (seen.temperature_c, seen.power_mw, seen.power_limit_mw, seen.busy_percent),
        (Some(36), Some(63_000), Some(250_000), Some(42))
    );
    assert_eq!((seen.memory_used, seen.memory_total), (Some(Bytes::mib(512)), Some(Bytes::gib(24))));
    assert_eq!(found[1].telemetry.temperature_c, Some(35));

    let gmi = "\
GPU0 0000:01:00.0
GPU 0000:01:00.0
    Product Name     : MTT S4000
    GPU UUID         : 0f8a
    PCI
        Bus          : 0x01
        Bus Id       : 00000000:01:00.0
    FB Memory Usage
        Total        : 49152MiB
        Used         : 3MiB
    Utilization
        Gpu          : 7%
        Memory       : 0%
    Temperature
        GPU Current Temp      : 41C
        GPU Shutdown Temp     : 110C
    Power Readings
        Power Draw   : 62.41W
    Clocks
        Graphics     : 1200MHz
        Memory       : 8000MHz
";
    let found = sections::parse(gmi);
    assert_eq!((found.len(), found[0].pci.unwrap().to_string()), (1, "0000:01:00.0".into()));
    let seen = &found[0].telemetry;
    assert_eq!(
        (seen.temperature_c, seen.power_mw, seen.busy_percent, seen.memory_busy_percent),
        (Some(41), Some(62_410), Some(7), Some(0))
    );
    assert_eq!((seen.clock_mhz, seen.memory_clock_mhz, seen.memory_total), (Some(1200), Some(8000), Some(Bytes::gib(48))));

    let hygon = "\
============================ System Management Interface =============================
HCU[0]\t\t: Temperature (Sensor junction) (C): 45.0
HCU[0]\t\t: Average Graphics Package Power (W): 118.0
HCU[0]\t\t: HCU use (%): 12
HCU[1]\t\t: Temperature (Sensor junction) (C): 44.0
HCU[0]\t\t: PCI Bus: 0000:33:00.0
";
    let found = sections::parse_numbered(hygon);
    assert_eq!((found.len(), found[0].pci.unwrap().to_string()), (2, "0000:33:00.0".into()));
    let seen = &found[0].telemetry;
    assert_eq!((seen.temperature_c, seen.power_mw, seen.busy_percent), (Some(45), Some(118_000), Some(12)));
}

#[test]
fn units_are_the_ones_that_stand_there() {
    assert_eq!((memory("64 GB"), memory("1024"), memory("12 KiB")), (Some(Bytes::gib(64)), Some(Bytes::gib(1)), Some(Bytes::kib(12))));
    assert_eq!((milliwatts("5 W"), milliwatts("5 mW"), milliwatts("N/A"), milliwatts("-3 W")), (Some(5000), Some(5), None, None));
    assert_eq!((degrees("-4 C"), whole("-4"), number("1.2.3"), number("--")), (Some(-4), None, None, None));
    let written = ["0000:3b:00.0", "00000000:3B:00.0", "3b:00.0", "3b:00"];
    assert!(written.iter().all(|text| address(text).unwrap().to_string() == "0000:3b:00.0"));
    assert_eq!(address("lots"), None);
}

proptest! {
    #[test]
    fn whatever_a_tool_prints_is_read_without_harm(text in "(\\PC{0,40}\n|Card [0-9]+\n|\\| [0-9]+ +x \\| [0-9:.]{0,14} \\| [0-9/. ]{0,30} \\|\n|[a-z ]{0,20}: [0-9.]{0,30} ?[a-zA-Z%]{0,4}\n|(NPU|Phy-ID)[0-9]{0,2} (X|HCCS|HCCS_SW|SIO|NPU[0-9]|Phy-ID[0-9]) (X|HCCS|NPU1)\n|\\| [0-9]{0,11} \\| 0 \\| x \\| 1 \\| vir[0-9]{0,21}(_[0-9]{1,21}g)? \\|\n|\\| [0-9]{1,5}/[0-9]{1,21} +1/[0-9]{1,20} \\|\n|\\| Total number of vnpu: 1 \\|\n|X\\[[0-9]{0,12}\\] : [a-z]{0,9}: [0-9]{0,40}\n){0,20}") {
        for tool in TOOLS {
            let mut found = (tool.parse)(&text);
            prop_assert!(found.len() <= text.lines().count());
            if let Some(further) = &tool.further {
                let mut known = npu_smi::parse(include_str!("../../../../../testdata/npu-smi/info-eight-910b.txt"));
                for question in (further.questions)(&known, true) {
                    (further.learn)(&mut known, &question, &text);
                    (further.learn)(&mut found, &question, &text);
                }
                let ends = known.iter().flat_map(|card| card.links.iter().flatten());
                prop_assert!(ends.filter_map(|link| link.to).all(|to| to < 8));
                prop_assert!(known.iter().flat_map(|card| card.slices.iter().flatten()).all(|part| part.number >= FIRST_VNPU));
            }
            for told in found {
                let (kept, _) = machine::telemetry::checked(told.telemetry);
                prop_assert!(kept.busy_percent.is_none_or(|busy| busy <= 100));
            }
        }
    }
}
