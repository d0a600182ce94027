//! Graphics processors that compute.

use super::sources::*;
use super::{BLANK, DISPLAY, DISPLAY_OR_ENGINE, ENGINE, Evidence, Fact, Field, Metric, Node, Read, Row, Telemetry, sure, unsure};
use machine::{DeviceClass, Vendor};

pub(super) const RENDER: Node = Node::Own("drm/renderD*", "dri/");

const fn metric(file: &'static str, field: Field, times: u64, over: u64) -> Metric {
    Metric { file, field, read: Read::Number(times, over) }
}

/// Documentation/gpu/amdgpu/thermal.rst and ras.rst; `gpu_metrics` first, it is one read for most figures.
const AMD_METRICS: &[Fact<Metric>] = &[
    sure(Metric { file: "gpu_metrics", field: Field::Several, read: Read::GpuMetrics }, AMDGPU),
    sure(metric("gpu_busy_percent", Field::Busy, 1, 1), AMDGPU),
    sure(metric("mem_busy_percent", Field::MemoryBusy, 1, 1), AMDGPU),
    sure(metric("mem_info_vram_used", Field::MemoryUsed, 1, 1), AMDGPU),
    sure(metric("mem_info_vram_total", Field::MemoryTotal, 1, 1), AMDGPU),
    // temp1 is the edge, temp2 the hottest point, temp3 the memory.
    sure(metric("hwmon/hwmon*/temp2_input", Field::Temperature, 1, 1000), AMDGPU),
    sure(metric("hwmon/hwmon*/temp3_input", Field::MemoryTemperature, 1, 1000), AMDGPU),
    sure(metric("hwmon/hwmon*/freq1_input", Field::Clock, 1, 1_000_000), AMDGPU),
    sure(metric("hwmon/hwmon*/freq2_input", Field::MemoryClock, 1, 1_000_000), AMDGPU),
    sure(Metric { file: "ras/umc_err_count", field: Field::Several, read: Read::RasCounts }, AMDGPU),
    sure(metric("pcie_replay_count", Field::Replays, 1, 1), AMDGPU),
];

const AMD: Row = Row {
    title: "AMD Instinct and Radeon",
    vendor: Vendor::Amd,
    class: DeviceClass::Gpu,
    maker: sure(0x1002, PCI_IDS),
    drivers: &[sure("amdgpu", AMDGPU)],
    module: sure("amdgpu", AMDGPU),
    nodes: &[sure(RENDER, AMDGPU), sure(Node::Shared("/dev/kfd"), AMDGPU)],
    sysfs: &[sure("drm", AMDGPU), sure("kfd", AMDGPU)],
    libraries: &[sure("libamd_smi.so", ROCM_DOCS), sure("librocm_smi64.so", ROCM_DOCS)],
    tools: &[sure("amd-smi", ROCM_DOCS), sure("rocm-smi", ROCM_DOCS)],
    masks: &[sure("ROCR_VISIBLE_DEVICES", ROCM_DOCS), sure("HIP_VISIBLE_DEVICES", ROCM_DOCS), sure("AMD_VISIBLE_DEVICES", GPUSTACK)],
    memory: &[sure(("mem_info_vram_total", 1), AMDGPU)],
    // ROCm writes the same number as "GPU-..." and takes it in its masks.
    identity: Some(sure(("unique_id", "GPU-"), AMDGPU)),
    telemetry: sure(Telemetry::Kernel, AMDGPU),
    metrics: AMD_METRICS,
    evidence: Evidence::CapturedMachine,
    ..BLANK
};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: "nvidia",
        title: "NVIDIA GPU",
        vendor: Vendor::Nvidia,
        class: DeviceClass::Gpu,
        maker: sure(0x10de, PCI_IDS),
        // Bridges of class 0680 are NVSwitches, 0403 the sound of display cards.
        classes: sure(&[0x0300, 0x0302], PCI_IDS),
        drivers: &[sure("nvidia", NVIDIA_OPEN)],
        module: sure("nvidia", NVIDIA_OPEN),
        nodes: &[
            sure(Node::NvidiaMinor("/dev/nvidia{n}"), NVIDIA_OPEN),
            sure(Node::Shared("/dev/nvidiactl"), NVIDIA_OPEN),
            sure(Node::Shared("/dev/nvidia-uvm"), NVIDIA_OPEN),
            sure(Node::SharedIfThere("/dev/nvidia-uvm-tools"), NVIDIA_OPEN),
            sure(Node::SharedIfThere("/dev/nvidia-modeset"), NVIDIA_OPEN),
        ],
        libraries: &[sure("libnvidia-ml.so.1", NVIDIA_DOCS)],
        tools: &[sure("nvidia-smi", NVIDIA_DOCS)],
        masks: &[sure("CUDA_VISIBLE_DEVICES", NVIDIA_DOCS), sure("NVIDIA_VISIBLE_DEVICES", NVIDIA_DOCS)],
        telemetry: sure(Telemetry::Nvml, NVIDIA_DOCS),
        evidence: Evidence::Emulator,
        ..BLANK
    },
    // Display cards that ROCm knows: gfx7 to gfx12. Integrated graphics (ids below 2000 and 9600-9fff), older cards and the
    // ATI chips of server boards (4752, 515e) are outside the ranges.
    Row {
        key: "amd",
        classes: sure(DISPLAY, PCI_IDS),
        ids: &[
            sure((0x66a0, 0x66af), PCI_IDS),
            sure((0x67b0, 0x67ff), PCI_IDS),
            sure((0x6860, 0x687f), PCI_IDS),
            sure((0x69a0, 0x69af), PCI_IDS),
            sure((0x6fdf, 0x6fdf), PCI_IDS),
            sure((0x7300, 0x7fff), PCI_IDS),
        ],
        ..AMD
    },
    Row { key: "amd-instinct", classes: sure(ENGINE, PCI_IDS), ..AMD },
    // Discrete only: DG1, Alchemist and Flex, Max (Ponte Vecchio), Battlemage. Every other id is integrated graphics.
    Row {
        key: "intel-gpu",
        title: "Intel Data Center GPU Max, Flex and Arc",
        vendor: Vendor::Intel,
        class: DeviceClass::Gpu,
        maker: sure(0x8086, PCI_IDS),
        classes: sure(DISPLAY, PCI_IDS),
        ids: &[
            sure((0x4905, 0x4909), PCI_IDS),
            sure((0x5690, 0x56c2), PCI_IDS),
            sure((0x0bd0, 0x0bdb), PCI_IDS),
            sure((0xe200, 0xe22f), PCI_IDS),
        ],
        drivers: &[sure("i915", I915_XE), sure("xe", I915_XE)],
        module: sure("xe", I915_XE),
        nodes: &[sure(RENDER, I915_XE)],
        sysfs: &[sure("drm", I915_XE)],
        libraries: &[sure("libze_loader.so.1", LEVEL_ZERO)],
        tools: &[sure("xpu-smi", LEVEL_ZERO)],
        masks: &[sure("ZE_AFFINITY_MASK", LEVEL_ZERO), sure("ONEAPI_DEVICE_SELECTOR", LEVEL_ZERO)],
        memory: &[sure(("drm/card*/lmem_total_bytes", 1), I915_XE), sure(("tile*/physical_vram_size_bytes", 1), I915_XE)],
        memory_bar: Some(sure(2, I915_XE)),
        telemetry: sure(Telemetry::Kernel, I915_XE),
        metrics: &[
            sure(metric("tile0/gt0/freq0/act_freq", Field::Clock, 1, 1), I915_XE),
            sure(metric("drm/card*/gt/gt0/rps_act_freq_mhz", Field::Clock, 1, 1), I915_XE),
            // xe: temp2 is the package, temp3 the memory; power1_max the limit of the card in microwatts.
            sure(metric("hwmon/hwmon*/temp2_input", Field::Temperature, 1, 1000), I915_XE),
            sure(metric("hwmon/hwmon*/temp3_input", Field::MemoryTemperature, 1, 1000), I915_XE),
            sure(metric("hwmon/hwmon*/power1_max", Field::PowerLimit, 1, 1000), I915_XE),
        ],
        ..BLANK
    },
    Row {
        key: "hygon",
        title: "Hygon DCU",
        vendor: Vendor::Hygon,
        class: DeviceClass::Gpu,
        maker: sure(0x1d94, PCI_IDS),
        // The same maker id is on every bridge of Hygon processors.
        classes: unsure(DISPLAY_OR_ENGINE, HYGON),
        drivers: &[unsure("hycu", HEARSAY), unsure("hydcu", HEARSAY), unsure("amdgpu", HYGON)],
        module: unsure("hycu", HEARSAY),
        nodes: &[sure(RENDER, HYGON), sure(Node::Shared("/dev/kfd"), HYGON), sure(Node::SharedIfThere("/dev/mkfd"), HYGON)],
        sysfs: &[sure("kfd", HYGON), sure("drm", HYGON)],
        libraries: &[unsure("libhydmi.so", GPUSTACK), unsure("librocm_smi64.so", HYGON)],
        tools: &[sure("hy-smi", HYGON)],
        masks: &[sure("HIP_VISIBLE_DEVICES", HYGON), sure("HYGON_VISIBLE_DEVICES", GPUSTACK)],
        memory: &[unsure(("mem_info_vram_total", 1), HYGON)],
        telemetry: unsure(Telemetry::Tool("hy-smi"), HYGON),
        metrics: &[
            unsure(metric("gpu_busy_percent", Field::Busy, 1, 1), HYGON),
            unsure(metric("mem_info_vram_used", Field::MemoryUsed, 1, 1), HYGON),
            unsure(metric("mem_info_vram_total", Field::MemoryTotal, 1, 1), HYGON),
        ],
        ..BLANK
    },
    Row {
        key: "moore-threads",
        title: "Moore Threads MTT",
        vendor: Vendor::MooreThreads,
        class: DeviceClass::Gpu,
        maker: sure(0x1ed5, PCI_IDS),
        classes: sure(DISPLAY_OR_ENGINE, PCI_IDS),
        drivers: &[sure("mtgpu", GPUSTACK)],
        module: sure("mtgpu", GPUSTACK),
        nodes: &[sure(RENDER, GPUSTACK), unsure(Node::SharedIfThere("/dev/mtgpu.0"), GPUSTACK)],
        sysfs: &[sure("drm", GPUSTACK)],
        libraries: &[sure("libmtml.so", GPUSTACK)],
        tools: &[sure("mthreads-gmi", GPUSTACK)],
        masks: &[sure("MUSA_VISIBLE_DEVICES", GPUSTACK), unsure("MTHREADS_VISIBLE_DEVICES", GPUSTACK)],
        telemetry: unsure(Telemetry::Tool("mthreads-gmi"), HEARSAY),
        ..BLANK
    },
    Row {
        key: "metax",
        title: "MetaX C series",
        vendor: Vendor::Metax,
        class: DeviceClass::Gpu,
        maker: sure(0x9999, PCI_IDS),
        classes: unsure(DISPLAY_OR_ENGINE, GPUSTACK),
        drivers: &[unsure("metax", GPUSTACK), unsure("mxgpu", HEARSAY), unsure("mxcd", HEARSAY)],
        module: unsure("metax", GPUSTACK),
        nodes: &[
            sure(RENDER, GPUSTACK),
            sure(Node::Shared("/dev/mxcd"), GPUSTACK),
            sure(Node::SharedIfThere("/dev/mxgd"), GPUSTACK),
            sure(Node::SharedIfThere("/dev/mxnd"), GPUSTACK),
        ],
        sysfs: &[sure("drm", GPUSTACK)],
        libraries: &[sure("libmxsml.so", NVTOP)],
        tools: &[sure("mx-smi", NVTOP)],
        masks: &[sure("CUDA_VISIBLE_DEVICES", GPUSTACK)],
        telemetry: unsure(Telemetry::Tool("mx-smi"), HEARSAY),
        ..BLANK
    },
    Row {
        key: "iluvatar",
        title: "Iluvatar CoreX",
        vendor: Vendor::Iluvatar,
        class: DeviceClass::Gpu,
        maker: sure(0x1e3e, PCI_IDS),
        classes: unsure(DISPLAY_OR_ENGINE, ILUVATAR),
        drivers: &[sure("iluvatar", ILUVATAR), unsure("bi_driver", HEARSAY), unsure("iluvatar-itr", HEARSAY)],
        module: unsure("iluvatar", ILUVATAR),
        nodes: &[sure(Node::Numbered("/dev/iluvatar{n}"), ILUVATAR), sure(Node::SharedIfThere("/dev/itrctl"), ILUVATAR)],
        libraries: &[sure("libixml.so", ILUVATAR)],
        tools: &[sure("ixsmi", ILUVATAR)],
        masks: &[sure("CUDA_VISIBLE_DEVICES", GPUSTACK), sure("IX_VISIBLE_DEVICES", GPUSTACK)],
        telemetry: unsure(Telemetry::Tool("ixsmi"), ILUVATAR),
        ..BLANK
    },
    Row {
        key: "biren",
        title: "Biren BR",
        vendor: Vendor::Biren,
        class: DeviceClass::Gpu,
        maker: unsure(0x1ee0, HEARSAY),
        classes: unsure(DISPLAY_OR_ENGINE, HEARSAY),
        drivers: &[unsure("biren", HEARSAY)],
        module: unsure("biren", HEARSAY),
        nodes: &[unsure(Node::Numbered("/dev/biren/card_{n}"), HEARSAY)],
        libraries: &[unsure("libbiren-ml.so", HEARSAY)],
        tools: &[unsure("brsmi", HEARSAY)],
        masks: &[unsure("SUPA_VISIBLE_DEVICES", HEARSAY)],
        telemetry: unsure(Telemetry::BusOnly, HEARSAY),
        ..BLANK
    },
    Row {
        key: "t-head",
        title: "T-Head PPU",
        vendor: Vendor::THead,
        class: DeviceClass::Gpu,
        maker: unsure(0x1ded, PCI_IDS),
        // Network cards (02) and the performance monitors of the maker's processors share the id.
        classes: unsure(&[0x0302, 0x1200], HEARSAY),
        drivers: &[unsure("alixpu", GPUSTACK)],
        module: unsure("alixpu", GPUSTACK),
        nodes: &[
            unsure(Node::Numbered("/dev/alixpu_ppu{n}"), GPUSTACK),
            unsure(Node::Shared("/dev/alixpu"), GPUSTACK),
            unsure(Node::SharedIfThere("/dev/alixpu_ctl"), GPUSTACK),
        ],
        libraries: &[unsure("libhgml.so", GPUSTACK)],
        tools: &[unsure("ppu-smi", HEARSAY)],
        masks: &[unsure("CUDA_VISIBLE_DEVICES", GPUSTACK)],
        telemetry: unsure(Telemetry::Tool("ppu-smi"), HEARSAY),
        ..BLANK
    },
];
