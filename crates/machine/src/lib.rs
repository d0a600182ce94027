//! What hardware is.
//!
//! Everything else in Ashlar talks about a machine through these values: the cores and
//! memory nodes the kernel reports, the accelerators on its buses, and the [`Grant`] of them that one run
//! holds. They are plain data: `host` fills them from `/sys` and `/proc`, `placement` decides over them,
//! `sandbox` enforces them. Nothing here reads a file, a clock or the environment.

mod bytes;
mod cpuset;
mod device;
mod facts;
mod grant;
mod infiniband;
mod inventory;
mod kernel_faults;
pub mod ladder;
mod links;
pub mod paths;
mod pci;
mod peer_link;
mod readings;
mod share;
mod software;
pub mod telemetry;
pub mod topology;

pub use bytes::Bytes;
pub use cpuset::{CpuSet, CpuSetError};
pub use device::{Device, DeviceClass, DeviceId, DeviceNode, Health, PciAddress, PciAddressError, Slice, SliceKind, Vendor};
pub use facts::{CgroupMode, Facts, IsolationLevel, IsolationOffer};
pub use grant::{CpuShare, Grant, PortRange, RankGrant};
pub use infiniband::{InfinibandPort, PortState, rate as rdma_rate};
pub use inventory::{Cpu, Machine, Nic, NumaNode, Package};
pub use kernel_faults::{KernelFaults, Meaning as XidMeaning, meaning as xid_meaning};
pub use ladder::{Ladder, Rung, Stop, StopKind};
pub use links::{Accelerator, CpuKind, Distance, Distances, FabricDomain, HostPart, Link, LinkGraph, NetPort, Vertex, Way, nccl, undriven};
pub use pci::{PciBuses, PciFunction, PciIds, PciLink, PciPort, PciRate, PciTree, Sriov};
pub use peer_link::{LinkDomain, LinkKind, PeerLink};
pub use readings::{Interrupt, NodeFacts, ProcessLimits, Readings, Source, captures, fits};
pub use share::{Enforcement, Percent, SHARING, Share, Sharing, SharingRule, part_of};
pub use software::{Release, Software};
pub use telemetry::{LastSeen, ProcessMemory, Telemetry};
