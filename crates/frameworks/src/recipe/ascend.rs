//! Collectives of Ascend devices by a rank table, as MindSpore before its dynamic cluster and MindIE read it.
//!
//! Newer programs need none: `mindspore` and `torchrun` start them. The table is HCCL's version 1.0 (CANN documentation,
//! "Rank table configuration"); addresses of the devices' own network ports are left out, as they may be on one machine.

use super::{BARE, Gang, HOST, Place, Recipe, Sees};
use crate::files::LaunchFile;
use crate::variables::Variables;
use machine::Vendor;
use spec::Launch;

const TABLE: &str = "rank_table.json";

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Ascend,
    name: "ascend",
    summary: "RANK_TABLE_FILE, RANK_ID and DEVICE_ID for HCCL programs that read a rank table",
    sees: Sees::Run,
    fill,
    files,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    variables.fix("RANK_TABLE_FILE", place.file(TABLE), "which device each rank has");
    variables.fix("RANK_ID", place.rank.to_string(), "this rank");
    variables.fix("RANK_SIZE", place.ranks.to_string(), "ranks of the gang");
    variables.fix("DEVICE_ID", place.rank.to_string(), "the index of this rank's device among those of the run");
    variables.set("HCCL_IF_IP", HOST, "all ranks are on this machine");
}

/// Ranks without an Ascend device have no line: HCCL has nothing to offer them.
fn files(gang: &Gang) -> Vec<LaunchFile> {
    let device = |(rank, held): (usize, &Vec<&machine::Device>)| {
        let own = held.iter().find(|device| device.vendor == Vendor::Ascend)?;
        Some(format!("{{\"device_id\": \"{}\", \"rank_id\": \"{rank}\"}}", own.index))
    };
    let devices: Vec<String> = gang.devices.iter().enumerate().filter_map(device).collect();
    let server = format!("{{\"server_id\": \"{HOST}\", \"device\": [{}], \"host_nic_ip\": \"reserve\"}}", devices.join(", "));
    let text = format!("{{\"version\": \"1.0\", \"server_count\": \"1\", \"server_list\": [{server}], \"status\": \"completed\"}}\n");
    vec![LaunchFile::new(TABLE, text, "HCCL reads the devices of all ranks from it")]
}
