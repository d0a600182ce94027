//! Where the table's facts were read. Years are of the snapshot.

pub const PCI_IDS: &str = "pci.ids, 2026-08-22";
pub const PCI_SYSFS: &str = "Linux Documentation/ABI/testing/sysfs-bus-pci";
pub const HWMON: &str = "Linux Documentation/hwmon/sysfs-interface.rst";
pub const NVIDIA_OPEN: &str = "NVIDIA open-gpu-kernel-modules df1c9a3 (2026)";
pub const NVIDIA_DOCS: &str = "NVIDIA CUDA programming guide, environment variables; container toolkit";
pub const AMDGPU: &str = "Linux drivers/gpu/drm/amd, Documentation/gpu/amdgpu";
pub const ROCM_DOCS: &str = "ROCm documentation, GPU isolation techniques";
pub const I915_XE: &str = "Linux drivers/gpu/drm/i915 and xe, Documentation/ABI/testing/sysfs-driver-intel-*-hwmon";
pub const LEVEL_ZERO: &str = "Level Zero specification, environment variables; XPU Manager";
pub const HABANALABS: &str = "Linux drivers/accel/habanalabs, Documentation/ABI/testing/sysfs-driver-habanalabs";
pub const GAUDI_DOCS: &str = "Intel Gaudi documentation, system management tools";
pub const IVPU: &str = "Linux drivers/accel/ivpu";
pub const AMDXDNA: &str = "Linux drivers/accel/amdxdna, xdna-driver (2026)";
pub const ASCEND: &str = "Ascend mind-cluster 22bb3d9 (2026), device plug-in";
pub const CAMBRICON: &str = "Cambricon device plug-in (2026)";
pub const HYGON: &str = "Hygon DCU device plug-in and HAMi 4707fb0 (2026)";
pub const ILUVATAR: &str = "Iluvatar device plug-in (2026)";
/// A third party's table of visible-devices variables, nodes and libraries of many vendors.
pub const GPUSTACK: &str = "gpustack/runtime detectors (2026)";
/// A third party's reader of many vendors.
pub const ALL_SMI: &str = "all-smi b92ea0a (2026)";
pub const NVTOP: &str = "nvtop 3d4a953 (2026)";
pub const JAX_RAY: &str = "JAX hardware table, Ray accelerator managers (2026)";
pub const GASKET: &str = "gasket-driver (apex), Documentation of its sysfs files";
pub const QAIC: &str = "Linux drivers/accel/qaic, Documentation/accel/qaic";
pub const FURIOSA: &str = "Furiosa device plug-in (2026)";
pub const REBELLIONS: &str = "Rebellions device plug-in (2026)";
pub const TT_KMD: &str = "tenstorrent/tt-kmd (2026)";
pub const NEURON: &str = "aws-neuron-driver (2026)";
pub const XRT: &str = "Xilinx/XRT (2026)";
pub const VE_CAPTURE: &str = "captured machine with 8 cards (hwloc test data)";
pub const VE_DOCS: &str = "NEC VEOS documentation";
/// Names seen in passing, without a source that can be named.
pub const HEARSAY: &str = "vendor documents as quoted by third parties";
