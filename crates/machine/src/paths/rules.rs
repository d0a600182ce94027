//! The rules. Each looks at one thing and says what it stands in the way of.

use super::{Acs, Judgement, Obstacle, PairEvidence, PathEvidence, Side, Translation, Verdict};
use crate::{Distance, Vendor};

const GPUDIRECT: &str = "NVIDIA, GPUDirect RDMA design guide, Supported Systems";
const CUDA: &str = "NVIDIA, CUDA C++ Programming Guide, IOMMU on Linux";
const NCCL: &str = "NVIDIA, NCCL user guide, Troubleshooting, PCI Access Control Services";
const P2PDMA: &str = "Linux, drivers/pci/p2pdma.c, cpu_supports_p2pdma";
const RCCL: &str = "AMD, RCCL rocmwrap.cc, check of the kernel's configuration";
const HABANA: &str = "Linux 5.16, habanalabs, export of device memory as DMA-BUF";
const ROCM: &str = "AMD, ROCm documentation, Input-Output Memory Management Unit";

/// Cards whose driver refuses: a word of the model's name, and how sure that is.
struct Consumer {
    vendor: Vendor,
    mark: &'static str,
    text: &'static str,
    source: &'static str,
}

const CONSUMER: [Consumer; 2] = [
    Consumer {
        vendor: Vendor::Nvidia,
        mark: "GeForce",
        text: "NVIDIA's driver offers neither peer-to-peer over PCI nor GPUDirect RDMA on GeForce cards",
        source: "NVIDIA, GPUDirect RDMA guide (Tesla and Quadro only); peer-to-peer: reports on GeForce 30, 40 and 50, not verified by us",
    },
    Consumer {
        vendor: Vendor::Nvidia,
        mark: "TITAN",
        text: "NVIDIA's driver offers no GPUDirect RDMA on TITAN cards, and peer-to-peer over PCI only on some",
        source: "NVIDIA, GPUDirect RDMA guide (Tesla and Quadro only); peer-to-peer not verified by us",
    },
];

fn obstacle(verdict: Verdict, text: impl Into<String>) -> Obstacle {
    Obstacle { verdict, text: text.into(), at: Vec::new(), hint: None, source: None }
}

impl Obstacle {
    fn hint(mut self, hint: impl Into<String>) -> Obstacle {
        self.hint = Some(hint.into());
        self
    }

    fn at(mut self, at: Vec<String>) -> Obstacle {
        self.at = at;
        self
    }

    fn source(mut self, source: &str) -> Obstacle {
        self.source = Some(source.to_owned());
        self
    }
}

/// Whether two accelerators can read and write each other's memory.
pub fn peer_to_peer(pair: &PairEvidence, host: &PathEvidence) -> Judgement {
    let mut found: Vec<Obstacle> = [&pair.from, &pair.to].into_iter().filter_map(unusable).collect();
    if pair.from.vendor != pair.to.vendor {
        found.push(obstacle(Verdict::Blocked, "different makers: no runtime maps the memory of another maker's device"));
        return Judgement::of(found);
    }
    // Over links of their own neither PCI nor the IOMMU is in the way.
    if pair.way.distance == Distance::Link {
        return Judgement::of(found);
    }
    found.extend(consumer(&pair.from).or_else(|| consumer(&pair.to)));
    found.extend(bus(pair, host));
    let nvidia = pair.from.vendor == Some(Vendor::Nvidia);
    found.extend(ends(pair, Translation::Translating).map(|names| {
        match host.virtualised {
            None if nvidia => obstacle(Verdict::Blocked, "the IOMMU translates addresses, and CUDA does no peer-to-peer then")
                .at(names)
                .hint(PASS_THROUGH)
                .source(CUDA),
            _ => obstacle(Verdict::Unknown, "the IOMMU translates addresses").at(names).hint(PASS_THROUGH).source(ROCM),
        }
    }));
    found.extend(untold(pair));
    Judgement::of(found)
}

/// Whether a network card can read and write an accelerator's memory (GPUDirect RDMA and its like). `pair.from` is the
/// accelerator.
pub fn rdma(pair: &PairEvidence, host: &PathEvidence) -> Judgement {
    if !pair.to.has_rdma {
        let text = format!("{} has no RDMA device", pair.to.name);
        return Judgement::of(vec![
            obstacle(Verdict::Blocked, text).hint("is the card's RDMA driver loaded (mlx5_ib, bnxt_re, irdma, efa)?"),
        ]);
    }
    let mut found: Vec<Obstacle> = [&pair.from, &pair.to].into_iter().filter_map(unusable).collect();
    found.extend(consumer(&pair.from));
    let (way_in, missing) = registration(&pair.from, host);
    found.extend(missing);
    found.extend(bus(pair, host));
    found.extend(ends(pair, Translation::Translating).map(|names| {
        match way_in {
            // It hands out bus addresses as they are.
            Some(WayIn::Peermem) => {
                obstacle(Verdict::Blocked, "the IOMMU translates addresses, which nvidia-peermem cannot work with").source(GPUDIRECT)
            }
            _ => obstacle(Verdict::Unknown, "the IOMMU translates addresses; whether the drivers map them for each other is not known"),
        }
        .at(names)
        .hint(PASS_THROUGH)
    }));
    found.extend(untold(pair));
    Judgement::of(found)
}

const PASS_THROUGH: &str = "boot with iommu=pt, or switch the IOMMU off";

fn unusable(side: &Side) -> Option<Obstacle> {
    let why = side.unusable.as_ref()?;
    Some(obstacle(Verdict::Blocked, format!("cannot be used: {why}")).at(vec![side.name.clone()]))
}

fn consumer(side: &Side) -> Option<Obstacle> {
    let row = CONSUMER.iter().find(|row| side.vendor == Some(row.vendor) && side.model.contains(row.mark))?;
    Some(obstacle(Verdict::Blocked, row.text).source(row.source))
}

/// What lies on the way over PCI.
fn bus(pair: &PairEvidence, host: &PathEvidence) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if let Some(name) = &host.virtualised {
        let text = format!("in a virtual machine ({name}) the hypervisor draws the PCI tree and holds ACS and IOMMU");
        found.push(obstacle(Verdict::Unknown, text).hint("ask whoever runs the hypervisor, or measure"));
    }
    match pair.way.over_pci {
        Distance::Unknown => found.push(obstacle(Verdict::Unknown, "where the two hang on the bus is not known")),
        Distance::System => found.push(
            obstacle(Verdict::Degraded, "the way leads from one memory node to another, over the links between processors").hint(
                "put work on devices of one node; NCCL goes over host memory here unless NCCL_P2P_LEVEL or NCCL_NET_GDR_LEVEL say SYS",
            ),
        ),
        Distance::Root | Distance::Node => found.push(root_complex(pair, host)),
        Distance::Card | Distance::Link | Distance::Switch | Distance::Switches => found.extend(acs(pair)),
    }
    found
}

/// Root complexes that are known to forward between their ports.
fn root_complex(pair: &PairEvidence, host: &PathEvidence) -> Obstacle {
    let way = if pair.way.over_pci == Distance::Root { "one root complex" } else { "several host bridges of one memory node" };
    let family = host.cpu.family.unwrap_or_default();
    match host.cpu.vendor.as_str() {
        "AuthenticAMD" if family >= 0x17 => {
            obstacle(Verdict::Degraded, format!("the way leads over {way}; AMD Zen forwards there, slower than a switch")).source(P2PDMA)
        }
        "HygonGenuine" => {
            obstacle(Verdict::Unknown, format!("the way leads over {way}; whether this Hygon processor forwards there is not known"))
        }
        "GenuineIntel" => obstacle(
            Verdict::Degraded,
            format!("the way leads over {way}; Intel servers forward there, slower than a switch, others may not"),
        )
        .source("Linux, drivers/pci/p2pdma.c, pci_p2pdma_whitelist (Xeon host bridges)"),
        _ => obstacle(Verdict::Unknown, format!("the way leads over {way}; whether this processor forwards there is not known")),
    }
}

fn acs(pair: &PairEvidence) -> Vec<Obstacle> {
    let of = |acs: Acs| -> Vec<String> { pair.ports.iter().filter(|port| port.acs == acs).map(|port| port.address.to_string()).collect() };
    let mut found = Vec::new();
    let (redirecting, unreadable) = (of(Acs::Redirects), of(Acs::Unreadable));
    if !redirecting.is_empty() {
        found.push(
            obstacle(Verdict::Degraded, "access control (ACS) sends what should stay in the switch up to the processor")
                .at(redirecting)
                .hint("on a machine of your own, not one that gives devices to virtual machines: pci=disable_acs_redir=... or switch ACS off in firmware")
                .source(NCCL),
        );
    }
    if !unreadable.is_empty() {
        found.push(
            obstacle(Verdict::Unknown, "configuration space not readable, so whether access control (ACS) redirects is not known")
                .at(unreadable)
                .hint("run as root; a capture has to be made as root"),
        );
    }
    found
}

/// The ends of which the IOMMU does this.
fn ends(pair: &PairEvidence, translation: Translation) -> Option<Vec<String>> {
    let sides = [&pair.from, &pair.to].into_iter().filter(|side| side.translation == translation);
    let names: Vec<String> = sides.map(|side| side.name.clone()).collect();
    (!names.is_empty()).then_some(names)
}

fn untold(pair: &PairEvidence) -> Option<Obstacle> {
    let names = ends(pair, Translation::Unknown)?;
    Some(obstacle(Verdict::Unknown, "whether the IOMMU translates addresses is not known").at(names))
}

/// How a network card gets at an accelerator's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayIn {
    Peermem,
    DmaBuf,
}

/// The way in for an accelerator's memory, and what is missing when there is none.
fn registration(side: &Side, host: &PathEvidence) -> (Option<WayIn>, Option<Obstacle>) {
    let at_least = |major, minor| host.kernel.map(|kernel| kernel >= (major, minor));
    match side.vendor {
        Some(Vendor::Nvidia) => nvidia(host, at_least(5, 12)),
        Some(Vendor::Amd) => match (at_least(5, 12), host.dmabuf_built) {
            (Some(true), Some(true)) => (Some(WayIn::DmaBuf), None),
            (Some(false), _) | (_, Some(false)) => {
                let text = "DMA-BUF is not usable: it needs kernel 5.12 with CONFIG_DMABUF_MOVE_NOTIFY and CONFIG_PCI_P2PDMA";
                // The driver that AMD ships beside the kernel brings another way.
                (
                    None,
                    Some(
                        obstacle(Verdict::Unknown, text)
                            .hint("amdgpu-dkms with the peer-memory interface of MLNX_OFED works too")
                            .source(RCCL),
                    ),
                )
            }
            _ => (
                None,
                Some(obstacle(Verdict::Unknown, "whether this kernel was built for DMA-BUF between devices is not known").source(RCCL)),
            ),
        },
        Some(Vendor::Gaudi) => match at_least(5, 16) {
            Some(true) => (Some(WayIn::DmaBuf), None),
            Some(false) => (
                None,
                Some(
                    obstacle(Verdict::Blocked, "the kernel is older than 5.16, the first whose habanalabs exports DMA-BUF").source(HABANA),
                ),
            ),
            None => (None, Some(obstacle(Verdict::Unknown, "the version of the kernel is not known").source(HABANA))),
        },
        Some(other) => (
            None,
            Some(obstacle(Verdict::Unknown, format!("whether {other}'s driver lets network cards at its memory is not known to Ashlar"))),
        ),
        None => (None, None),
    }
}

fn nvidia(host: &PathEvidence, new_kernel: Option<bool>) -> (Option<WayIn>, Option<Obstacle>) {
    if host.peermem == Some(true) {
        return (Some(WayIn::Peermem), None);
    }
    if host.nvidia_open == Some(true) && new_kernel == Some(true) {
        return (Some(WayIn::DmaBuf), None);
    }
    let mut why = Vec::new();
    match host.peermem {
        Some(_) => why.push("nvidia-peermem is not loaded"),
        None => why.push("whether nvidia-peermem is loaded is not known"),
    }
    match (host.nvidia_open, new_kernel) {
        (_, Some(false)) => why.push("DMA-BUF needs kernel 5.12"),
        (Some(false), _) => why.push("DMA-BUF needs NVIDIA's open kernel modules, these are the closed ones"),
        _ => why.push("whether the kernel modules are the open ones, which DMA-BUF needs, is not known"),
    }
    let sure = host.peermem.is_some() && (new_kernel == Some(false) || host.nvidia_open == Some(false));
    let verdict = if sure { Verdict::Blocked } else { Verdict::Unknown };
    (None, Some(obstacle(verdict, why.join("; ")).hint("modprobe nvidia-peermem, or install the open kernel modules").source(GPUDIRECT)))
}
