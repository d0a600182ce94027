//! Network ports with hardware behind them.

use crate::{Root, infiniband};
use machine::Nic;

const NET: &str = "sys/class/net";

/// Ports in the order of their names. Virtual functions are left out where their physical port is in the same tree: they
/// are another view of it.
pub fn nics(root: &Root) -> Vec<Nic> {
    let names = root.names(NET).into_iter();
    let real = names.filter(|name| root.exists(&format!("{NET}/{name}/device")) && !root.exists(&format!("{NET}/{name}/device/physfn")));
    real.map(|name| nic(root, name)).collect()
}

fn nic(root: &Root, name: String) -> Nic {
    let at = format!("{NET}/{name}");
    Nic {
        numa: root.value::<u32>(&format!("{at}/device/numa_node")),
        // A port that is down answers -1 or an error.
        speed_mbps: root.value::<u32>(&format!("{at}/speed")).filter(|speed| *speed > 0 && *speed < u32::MAX),
        up: root.text(&format!("{at}/operstate")).is_some_and(|state| state == "up"),
        rdma: rdma(root, &at, &name),
        pci: infiniband::address(root, &at),
        name,
    }
}

/// The RDMA device of this port. A card with two ports may show both RDMA devices under each.
fn rdma(root: &Root, at: &str, name: &str) -> Option<String> {
    let folder = format!("{at}/device/infiniband");
    let all = root.names(&folder);
    let names_port = |device: &&String| {
        let ports = format!("{folder}/{device}/ports");
        root.names(&ports).iter().any(|port| {
            let table = format!("{ports}/{port}/gid_attrs/ndevs");
            root.names(&table).iter().take(4).any(|gid| root.text(&format!("{table}/{gid}")).is_some_and(|net| net == name))
        })
    };
    all.iter().find(names_port).or_else(|| all.first()).cloned()
}
