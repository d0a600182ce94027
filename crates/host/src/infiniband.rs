//! Ports of RDMA devices, from `/sys/class/infiniband` (Documentation/ABI/stable/sysfs-class-infiniband).

use crate::{Root, text};
use machine::{InfinibandPort, PortState, rdma_rate};
use std::path::Path;

const CLASS: &str = "sys/class/infiniband";
/// More ports than any card has.
const MOST_PORTS: usize = 64;
/// Entries of one table of global addresses that are counted.
const MOST_GIDS: usize = 512;

/// Ports in the order of their devices' names; of virtual functions too, because a container has nothing else.
pub fn ports(root: &Root) -> Vec<InfinibandPort> {
    root.names(CLASS).iter().flat_map(|device| ports_of(root, device)).collect()
}

fn ports_of(root: &Root, device: &str) -> Vec<InfinibandPort> {
    let at = format!("{CLASS}/{device}");
    let text = |file: &str| root.text(&format!("{at}/{file}")).unwrap_or_default();
    let guid = u64::from_str_radix(&text("node_guid").replace(':', ""), 16).ok().filter(|guid| *guid != 0);
    let of_device = InfinibandPort {
        device: device.to_owned(),
        firmware: text("fw_ver"),
        model: text("hca_type"),
        guid,
        pci: address(root, &at),
        numa: root.value(&format!("{at}/device/numa_node")),
        ..InfinibandPort::default()
    };
    let numbers = root.numbered(&format!("{at}/ports"), "");
    numbers.into_iter().take(MOST_PORTS).map(|port| read(root, &at, port, &of_device)).collect()
}

fn read(root: &Root, at: &str, port: u32, of_device: &InfinibandPort) -> InfinibandPort {
    let at = format!("{at}/ports/{port}");
    let text = |file: &str| root.text(&format!("{at}/{file}")).unwrap_or_default();
    let physical = text("phys_state");
    let (rate_mbps, rate_name) = rdma_rate(&text("rate"));
    let gids = root.names(&format!("{at}/gids"));
    let is_set = |name: &&String| root.text(&format!("{at}/gids/{name}")).is_some_and(|gid| gid.bytes().any(|b| !matches!(b, b'0' | b':')));
    let table = format!("{at}/gid_attrs/ndevs");
    let mut interfaces: Vec<String> = root
        .names(&table)
        .iter()
        .take(4)
        .filter_map(|entry| root.text(&format!("{table}/{entry}")))
        .filter(|name| !name.is_empty())
        .collect();
    interfaces.dedup();
    InfinibandPort {
        port,
        state: PortState::from_kernel(&text("state")),
        physical: physical.split_once(": ").map_or(physical.clone(), |(_, name)| name.to_owned()),
        link_layer: text("link_layer"),
        rate_mbps,
        rate_name,
        has_lid: root.hex(&format!("{at}/lid")).is_some_and(|lid| lid != 0 && lid != 0xffff),
        gids: gids.iter().take(MOST_GIDS).filter(is_set).count() as u32,
        interfaces,
        ..of_device.clone()
    }
}

/// The PCI function behind a class device: the last part of its `device` link, or of its own path.
pub(crate) fn address(root: &Root, at: &str) -> Option<machine::PciAddress> {
    let by_uevent = || text::assignment(&root.text(&format!("{at}/device/uevent"))?, "PCI_SLOT_NAME")?.parse().ok();
    let by_link = || Path::new(&root.link(&format!("{at}/device"))?).file_name()?.to_str()?.parse().ok();
    by_link().or_else(by_uevent)
}
