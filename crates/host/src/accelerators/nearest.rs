//! Which network port has the shortest way to a device.

use crate::Root;
use machine::{Nic, PciAddress};

/// The folders above a PCI function in sysfs, outermost first: host bridge, root port, switches. Empty where the tree has
/// no link for it.
fn way(root: &Root, address: &str) -> Vec<String> {
    let link = root.dir().join("sys/bus/pci/devices").join(address);
    let Ok(target) = std::fs::read_link(link) else { return Vec::new() };
    let parts = target.iter().filter_map(|part| part.to_str());
    parts.skip_while(|part| !part.starts_with("pci")).map(str::to_owned).collect()
}

/// The port that shares the most bridges with the device; among equals one for RDMA, then one that is up. A port under
/// another host bridge counts only where it is on the same memory node.
pub(super) fn nic(root: &Root, device: PciAddress, numa: Option<u32>, ports: &[Nic]) -> Option<String> {
    let own = way(root, &device.to_string());
    let rank = |port: &Nic| {
        let address = root.link_name(&format!("sys/class/net/{}/device", port.name))?;
        let way = way(root, &address);
        let shared = own.iter().zip(&way).take_while(|(a, b)| a == b).count();
        let near = shared > 0 || (numa.is_some() && port.numa == numa);
        near.then_some((shared, port.rdma.is_some(), port.up))
    };
    let ranked = ports.iter().filter_map(|port| Some((rank(port)?, port)));
    // The first of equals, as people number them.
    let best = ranked.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(best.1.name.clone())
}
