//! Masks: what a rank's libraries see on machines with one, several or no vendors.

mod common;

use common::*;
use frameworks::{LaunchError, LaunchInput, launch};
use machine::{Device, Vendor};
use spec::Launch;
use std::collections::BTreeMap;

const MASKS: &[&str] = &[
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "ZE_ENABLE_PCI_ID_DEVICE_ORDER",
    "ASCEND_RT_VISIBLE_DEVICES",
    "MLU_VISIBLE_DEVICES",
    "MUSA_VISIBLE_DEVICES",
    "XPU_VISIBLE_DEVICES",
    "TOPS_VISIBLE_DEVICES",
    "SUPA_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
    "TT_VISIBLE_DEVICES",
    "RBLN_DEVICES",
];

/// The masks of each rank, as `NAME=value NAME=value`.
fn masks(devices: &[Device], held: &[&[&str]], recipe: Launch, only_granted_nodes: bool) -> Result<Vec<String>, LaunchError> {
    let (spec, grant, identity) = (job(held.len() as u32, recipe), grant(held), ada());
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices,
        only_granted_nodes,
        hostname: "box",
        ports: &[20_000],
        files: "/files",
        environment: None,
        scratch: "/tmp",
        identity: &identity,
    };
    let line = |env: &[(String, String)]| {
        let shown = env.iter().filter(|(name, _)| MASKS.contains(&name.as_str()));
        shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    Ok(launch(&input)?.processes.iter().map(|process| line(&process.env)).collect())
}

fn several(vendor: Vendor, ids: &[&str]) -> Vec<Device> {
    (0..).zip(ids).map(|(index, id)| device(vendor, index, id)).collect()
}

#[test]
fn a_run_without_devices_sees_none() {
    assert_eq!(masks(&[], &[&[]], Launch::Plain, false).unwrap(), ["CUDA_VISIBLE_DEVICES="]);
    let mixed: Vec<Device> =
        [Vendor::Nvidia, Vendor::Amd, Vendor::Ascend, Vendor::Intel].map(|vendor| device(vendor, 0, vendor.name())).into();
    assert_eq!(
        masks(&mixed, &[&[]], Launch::Plain, false).unwrap(),
        ["ASCEND_RT_VISIBLE_DEVICES= CUDA_VISIBLE_DEVICES= HIP_VISIBLE_DEVICES=-1 ROCR_VISIBLE_DEVICES="]
    );
}

#[test]
fn nvidia_is_named_by_uuid_whatever_the_driver_counts() {
    let cards = several(Vendor::Nvidia, &["GPU-a", "GPU-b", "MIG-c", "0000:3b:00.0"]);
    let own = masks(&cards, &[&["GPU-b"], &["MIG-c", "GPU-a"], &["0000:3b:00.0"], &[]], Launch::Plain, false).unwrap();
    let order = "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=";
    assert_eq!(own, [format!("{order}GPU-b"), format!("{order}MIG-c,GPU-a"), format!("{order}3"), "CUDA_VISIBLE_DEVICES=".into()]);
}

#[test]
fn every_vendor_with_a_mask_lists_by_index() {
    let expected: BTreeMap<Vendor, &str> = [
        (Vendor::Nvidia, "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1"),
        (Vendor::Amd, "HIP_VISIBLE_DEVICES=0 ROCR_VISIBLE_DEVICES=1"),
        (Vendor::Intel, "ZE_AFFINITY_MASK=1 ZE_ENABLE_PCI_ID_DEVICE_ORDER=1"),
        (Vendor::Ascend, "ASCEND_RT_VISIBLE_DEVICES=1"),
        (Vendor::Cambricon, "MLU_VISIBLE_DEVICES=1"),
        (Vendor::Hygon, "HIP_VISIBLE_DEVICES=1"),
        (Vendor::MooreThreads, "MUSA_VISIBLE_DEVICES=1"),
        (Vendor::Metax, "CUDA_VISIBLE_DEVICES=1"),
        (Vendor::Iluvatar, "CUDA_VISIBLE_DEVICES=1"),
        (Vendor::THead, "CUDA_VISIBLE_DEVICES=1"),
        (Vendor::Kunlunxin, "XPU_VISIBLE_DEVICES=1"),
        (Vendor::Enflame, "TOPS_VISIBLE_DEVICES=1"),
        (Vendor::Biren, "SUPA_VISIBLE_DEVICES=1"),
        (Vendor::Google, "TPU_VISIBLE_CHIPS=1"),
        (Vendor::Tenstorrent, "TT_VISIBLE_DEVICES=1"),
        (Vendor::Rebellions, "RBLN_DEVICES=1"),
    ]
    .into();
    for vendor in Vendor::ALL {
        let cards = several(vendor, &["bus-a", "bus-b", "bus-c"]);
        let shown = masks(&cards, &[&["bus-b"]], Launch::Plain, false).unwrap();
        assert_eq!(shown[0], *expected.get(&vendor).unwrap_or(&""), "{vendor}");
        let only_own = masks(&cards, &[&["bus-b"]], Launch::Plain, true).unwrap();
        let counted = expected.get(&vendor).unwrap_or(&"").replace("S=1", "S=0").replace("CHIPS=1", "CHIPS=0").replace("MASK=1", "MASK=0");
        assert_eq!(only_own[0], counted, "{vendor}: the only card it can open is its first");
    }
}

#[test]
fn a_vendor_that_is_present_and_not_granted_is_hidden() {
    let mut cards = several(Vendor::Nvidia, &["GPU-a"]);
    cards.extend(several(Vendor::Ascend, &["npu-0", "npu-1"]));
    assert_eq!(
        masks(&cards, &[&["GPU-a"], &["npu-1"]], Launch::Plain, false).unwrap(),
        [
            "ASCEND_RT_VISIBLE_DEVICES= CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-a",
            "ASCEND_RT_VISIBLE_DEVICES=1 CUDA_VISIBLE_DEVICES="
        ]
    );
}

#[test]
fn vendors_that_share_a_variable_do_not_disturb_each_other() {
    let mut cards = several(Vendor::Nvidia, &["GPU-a"]);
    cards.extend(several(Vendor::Metax, &["mx-0", "mx-1"]));
    let shown = masks(&cards, &[&["mx-1"], &["GPU-a"], &[]], Launch::Plain, false).unwrap();
    assert_eq!(shown, ["CUDA_VISIBLE_DEVICES=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-a", "CUDA_VISIBLE_DEVICES="]);
    let error = masks(&cards, &[&["mx-1", "GPU-a"]], Launch::Plain, false).unwrap_err();
    assert_eq!(error.to_string(), "rank 0 holds devices of metax and nvidia, which both listen to CUDA_VISIBLE_DEVICES");
    assert!(error.hint().unwrap().contains("one vendor"));
}

#[test]
fn amd_beside_nvidia_does_not_read_its_mask() {
    let mut cards = several(Vendor::Nvidia, &["GPU-a"]);
    cards.extend(several(Vendor::Amd, &["GPU-0123456789abcdef", "0000:43:00.0", "0000:63:00.0"]));
    assert_eq!(
        masks(&cards, &[&["GPU-a", "GPU-0123456789abcdef", "0000:63:00.0"]], Launch::Plain, false).unwrap(),
        ["CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-a HIP_VISIBLE_DEVICES=0,1 ROCR_VISIBLE_DEVICES=GPU-0123456789abcdef,2"]
    );
    // Hygon's stack is a relative of AMD's: what hides the one must not hide the other.
    let mut cards = several(Vendor::Amd, &["amd-0"]);
    cards.extend(several(Vendor::Hygon, &["dcu-0", "dcu-1"]));
    assert_eq!(
        masks(&cards, &[&["dcu-1"], &["amd-0"]], Launch::Plain, false).unwrap(),
        ["HIP_VISIBLE_DEVICES=1", "HIP_VISIBLE_DEVICES=0 ROCR_VISIBLE_DEVICES=0"]
    );
}

#[test]
fn torchrun_ranks_see_the_cards_of_the_run_in_rank_order() {
    let cards = several(Vendor::Nvidia, &["GPU-a", "GPU-b", "GPU-c", "GPU-d"]);
    let shown = masks(&cards, &[&["GPU-c"], &["GPU-a"]], Launch::Torchrun, false).unwrap();
    assert_eq!(shown, vec!["CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-c,GPU-a"; 2]);
    let npus = several(Vendor::Ascend, &["n0", "n1", "n2", "n3"]);
    assert_eq!(
        masks(&npus, &[&["n3"], &["n1"]], Launch::Torchrun, false).unwrap()[1],
        "ASCEND_RT_VISIBLE_DEVICES=3,1 CUDA_VISIBLE_DEVICES=".replace(" CUDA_VISIBLE_DEVICES=", "")
    );
    assert_eq!(
        masks(&npus, &[&["n3"], &["n1"]], Launch::Torchrun, true).unwrap()[1],
        "ASCEND_RT_VISIBLE_DEVICES=1,0",
        "within the two it can open"
    );
}

#[test]
fn jax_takes_all_that_it_sees() {
    let cards = several(Vendor::Nvidia, &["GPU-a", "GPU-b", "GPU-c", "GPU-d"]);
    let (spec, grant, identity) = (job(2, Launch::Jax), grant(&[&["GPU-a", "GPU-b"], &["GPU-c", "GPU-d"]]), ada());
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &cards,
        only_granted_nodes: true,
        hostname: "box",
        ports: &[20_000],
        files: "/files",
        environment: None,
        scratch: "/tmp",
        identity: &identity,
    };
    let processes = launch(&input).unwrap();
    let second: BTreeMap<_, _> = processes.processes[1].env.iter().cloned().collect();
    assert_eq!(second["CUDA_VISIBLE_DEVICES"], "GPU-c,GPU-d");
    assert_eq!(second["JAX_LOCAL_DEVICE_IDS"], "0,1");
    assert_eq!(second["ASHLAR_DEVICES"], "GPU-c,GPU-d");
    assert!(!second.contains_key("JAX_PLATFORMS"));
}

#[test]
fn a_local_rank_is_the_index_of_a_ranks_own_first_device() {
    let devices = several(Vendor::Nvidia, &["GPU-a", "GPU-b", "GPU-c", "GPU-d"]);
    let seen = masks(&devices, &[&["GPU-a", "GPU-b"], &["GPU-c", "GPU-d"]], Launch::Torchrun, false).unwrap();
    for line in seen {
        assert!(line.contains("CUDA_VISIBLE_DEVICES=GPU-a,GPU-c,GPU-b,GPU-d"), "{line}");
    }
}
