//! Neural and vector engines, and FPGAs.

use super::sources::*;
use super::{BLANK, DISPLAY_OR_ENGINE, ENGINE, Evidence, Fact, Field, Metric, Node, Read, Row, Telemetry, gpus, sure, unsure};
use machine::{DeviceClass, Vendor};

const ACCEL: Node = Node::Own("accel/accel[0-9]*", "accel/");

const fn metric(file: &'static str, field: Field, times: u64, over: u64) -> Metric {
    Metric { file, field, read: Read::Number(times, over) }
}

const NEURON_METRICS: &[Fact<Metric>] = &[
    // The tree moved in driver 2.31; both places are asked.
    unsure(metric("/sys/devices/virtual/neuron_device/neuron{n}/stats/hardware/mem_ecc_uncorrected", Field::EccUncorrected, 1, 1), NEURON),
    unsure(metric("/sys/devices/virtual/neuron_device/neuron{n}/stats/power/utilization", Field::Busy, 1, 1), NEURON),
    unsure(metric("/sys/devices/virtual/neuron_device/neuron{n}/stats/memory_usage/device_mem/present", Field::MemoryUsed, 1, 1), NEURON),
];

pub(super) const ROWS: &[Row] = &[
    // Inside Ryzen processors.
    Row {
        key: "amd-xdna",
        title: "AMD XDNA NPU",
        vendor: Vendor::Amd,
        maker: sure(0x1022, PCI_IDS),
        ids: &[sure((0x1502, 0x1502), AMDXDNA), sure((0x17f0, 0x17f3), AMDXDNA), sure((0x1b0a, 0x1b0c), AMDXDNA)],
        drivers: &[sure("amdxdna", AMDXDNA)],
        module: sure("amdxdna", AMDXDNA),
        nodes: &[sure(ACCEL, AMDXDNA)],
        sysfs: &[sure("accel", AMDXDNA)],
        libraries: &[sure("libxrt_coreutil.so.2", XRT)],
        tools: &[sure("xrt-smi", XRT)],
        ..BLANK
    },
    // Inside Core Ultra processors.
    Row {
        key: "intel-npu",
        title: "Intel NPU",
        vendor: Vendor::Intel,
        maker: sure(0x8086, PCI_IDS),
        ids: &[sure((0x7d1d, 0x7d1d), IVPU), sure((0xad1d, 0xad1d), IVPU), sure((0x643e, 0x643e), IVPU), sure((0xb03e, 0xb03e), IVPU)],
        drivers: &[sure("intel_vpu", IVPU)],
        module: sure("intel_vpu", IVPU),
        nodes: &[sure(ACCEL, IVPU)],
        sysfs: &[sure("accel", IVPU)],
        libraries: &[sure("libze_loader.so.1", LEVEL_ZERO)],
        telemetry: sure(Telemetry::Kernel, IVPU),
        metrics: &[
            sure(Metric { file: "npu_busy_time_us", field: Field::Busy, read: Read::BusyTime }, IVPU),
            unsure(metric("npu_memory_utilization", Field::MemoryUsed, 1, 1), IVPU),
            unsure(metric("npu_current_frequency_mhz", Field::Clock, 1, 1), IVPU),
        ],
        ..BLANK
    },
    Row {
        key: "gaudi",
        title: "Intel Gaudi",
        vendor: Vendor::Gaudi,
        maker: sure(0x1da3, PCI_IDS),
        classes: sure(ENGINE, PCI_IDS),
        drivers: &[sure("habanalabs", HABANALABS)],
        module: sure("habanalabs", HABANALABS),
        nodes: &[
            sure(ACCEL, HABANALABS),
            sure(Node::Own("habanalabs/hl[0-9]*", ""), HABANALABS),
            sure(Node::Own("accel/accel_controlD*", "accel/"), HABANALABS),
        ],
        sysfs: &[sure("accel", HABANALABS), sure("habanalabs", HABANALABS)],
        libraries: &[sure("libhlml.so", GAUDI_DOCS)],
        tools: &[sure("hl-smi", GAUDI_DOCS)],
        masks: &[sure("HABANA_VISIBLE_MODULES", GAUDI_DOCS), sure("HABANA_VISIBLE_DEVICES", GAUDI_DOCS)],
        telemetry: sure(Telemetry::Kernel, HABANALABS),
        metrics: &[
            sure(
                Metric { file: "status", field: Field::Status(&["Operational", "In reset after device release"]), read: Read::Word },
                HABANALABS,
            ),
            sure(metric("clk_cur_freq_mhz", Field::Clock, 1, 1), HABANALABS),
            sure(metric("max_power", Field::PowerLimit, 1, 1), HABANALABS),
        ],
        ..BLANK
    },
    Row {
        key: "ascend",
        title: "Huawei Ascend",
        vendor: Vendor::Ascend,
        maker: sure(0x19e5, PCI_IDS),
        // The board management chip (1711) is a display, network cards are 02, compression engines share class 1200.
        classes: sure(ENGINE, PCI_IDS),
        ids: &[sure((0xd100, 0xd802), PCI_IDS), unsure((0xd803, 0xdfff), ASCEND)],
        drivers: &[
            unsure("devdrv_device_driver", HEARSAY),
            unsure("drv_devdrv", HEARSAY),
            unsure("drv_davinci", HEARSAY),
            unsure("davinci", HEARSAY),
            unsure("ascend", HEARSAY),
        ],
        module: unsure("drv_davinci_intf_host", HEARSAY),
        nodes: &[
            unsure(Node::Numbered("/dev/davinci{n}"), ASCEND),
            sure(Node::Shared("/dev/davinci_manager"), ASCEND),
            sure(Node::Shared("/dev/devmm_svm"), ASCEND),
            sure(Node::Shared("/dev/hisi_hdc"), ASCEND),
            sure(Node::SharedIfThere("/dev/dvpp_cmdlist"), ASCEND),
        ],
        libraries: &[sure("libdcmi.so", ASCEND)],
        tools: &[sure("npu-smi", ASCEND)],
        masks: &[sure("ASCEND_RT_VISIBLE_DEVICES", ASCEND), sure("ASCEND_VISIBLE_DEVICES", ASCEND)],
        telemetry: unsure(Telemetry::Tool("npu-smi"), ASCEND),
        ..BLANK
    },
    Row {
        key: "cambricon",
        title: "Cambricon MLU",
        vendor: Vendor::Cambricon,
        maker: sure(0xcabc, PCI_IDS),
        classes: sure(ENGINE, PCI_IDS),
        drivers: &[unsure("cambricon-drv", CAMBRICON), unsure("cambricon_drv", CAMBRICON), unsure("cambricon", CAMBRICON)],
        module: unsure("cambricon-drv", CAMBRICON),
        nodes: &[
            sure(Node::Numbered("/dev/cambricon_dev{n}"), CAMBRICON),
            sure(Node::Shared("/dev/cambricon_ctl"), CAMBRICON),
            sure(Node::SharedIfThere("/dev/cambricon-caps/cap_dev0"), CAMBRICON),
        ],
        libraries: &[sure("libcndev.so", CAMBRICON)],
        tools: &[sure("cnmon", CAMBRICON)],
        masks: &[sure("MLU_VISIBLE_DEVICES", GPUSTACK), sure("CAMBRICON_VISIBLE_DEVICES", GPUSTACK)],
        telemetry: unsure(Telemetry::Tool("cnmon"), CAMBRICON),
        ..BLANK
    },
    Row {
        key: "kunlunxin",
        title: "Kunlunxin XPU",
        vendor: Vendor::Kunlunxin,
        maker: sure(0x1d22, PCI_IDS),
        ids: &[sure((0x3684, 0x3685), PCI_IDS), unsure((0x3686, 0x36ff), HEARSAY)],
        drivers: &[unsure("kunlun", HEARSAY), unsure("xpu", HEARSAY)],
        module: unsure("kunlun", HEARSAY),
        nodes: &[sure(Node::Numbered("/dev/xpu{n}"), GPUSTACK), unsure(Node::Shared("/dev/xpuctrl"), GPUSTACK)],
        libraries: &[unsure("libxpuml.so", HEARSAY)],
        tools: &[unsure("xpu-smi", HEARSAY)],
        masks: &[unsure("XPU_VISIBLE_DEVICES", HEARSAY)],
        telemetry: unsure(Telemetry::BusOnly, HEARSAY),
        ..BLANK
    },
    Row {
        key: "enflame",
        title: "Enflame GCU",
        vendor: Vendor::Enflame,
        maker: sure(0x1e36, PCI_IDS),
        classes: unsure(DISPLAY_OR_ENGINE, NVTOP),
        drivers: &[unsure("enflame", NVTOP), unsure("gcu", HEARSAY), unsure("efgcu", HEARSAY)],
        module: unsure("enflame", HEARSAY),
        nodes: &[sure(Node::Numbered("/dev/gcu{n}"), NVTOP), unsure(Node::SharedIfThere("/dev/gcuctl"), HEARSAY)],
        libraries: &[sure("libefml.so", NVTOP)],
        tools: &[sure("efsmi", NVTOP)],
        masks: &[unsure("TOPS_VISIBLE_DEVICES", HEARSAY)],
        telemetry: unsure(Telemetry::Tool("efsmi"), HEARSAY),
        ..BLANK
    },
    Row {
        key: "google-tpu",
        title: "Google TPU",
        vendor: Vendor::Google,
        maker: sure(0x1ae0, PCI_IDS),
        // all-smi's table has other ids for some of them; this is JAX's.
        ids: &[
            sure((0x0027, 0x0027), JAX_RAY),
            sure((0x0056, 0x0056), JAX_RAY),
            sure((0x005e, 0x005e), JAX_RAY),
            sure((0x0062, 0x0063), JAX_RAY),
            sure((0x006f, 0x006f), JAX_RAY),
            sure((0x0076, 0x0076), JAX_RAY),
            unsure((0x007c, 0x007c), JAX_RAY),
            unsure((0x0083, 0x0083), JAX_RAY),
        ],
        drivers: &[sure("vfio-pci", JAX_RAY), unsure("accel", JAX_RAY), unsure("tpu", HEARSAY)],
        module: sure("vfio-pci", JAX_RAY),
        nodes: &[
            sure(Node::Numbered("/dev/accel{n}"), JAX_RAY),
            sure(Node::VfioGroup, JAX_RAY),
            sure(Node::SharedIfThere("/dev/vfio/vfio"), JAX_RAY),
        ],
        libraries: &[sure("libtpu.so", JAX_RAY)],
        tools: &[sure("tpu-info", JAX_RAY)],
        masks: &[sure("TPU_VISIBLE_CHIPS", JAX_RAY), sure("TPU_VISIBLE_DEVICES", JAX_RAY)],
        ..BLANK
    },
    Row {
        key: "edge-tpu",
        title: "Google Coral Edge TPU",
        vendor: Vendor::Google,
        maker: sure(0x1ac1, PCI_IDS),
        ids: &[sure((0x089a, 0x089a), PCI_IDS)],
        drivers: &[sure("apex", GASKET), unsure("gasket", GASKET)],
        module: sure("apex", GASKET),
        nodes: &[sure(Node::Own("apex/apex_*", ""), GASKET)],
        sysfs: &[sure("apex", GASKET)],
        libraries: &[sure("libedgetpu.so.1", GASKET)],
        telemetry: sure(Telemetry::Kernel, GASKET),
        metrics: &[
            sure(metric("apex/apex_*/temp", Field::Temperature, 1, 1000), GASKET),
            sure(Metric { file: "apex/apex_*/status", field: Field::Status(&["ALIVE"]), read: Read::Word }, GASKET),
        ],
        ..BLANK
    },
    Row {
        key: "aws-neuron",
        title: "AWS Inferentia and Trainium",
        vendor: Vendor::Aws,
        maker: sure(0x1d0f, PCI_IDS),
        // Disks and network cards of the same maker are outside.
        ids: &[
            sure((0x7064, 0x7064), NEURON),
            sure((0x7164, 0x7164), NEURON),
            sure((0x7264, 0x7264), NEURON),
            sure((0x7364, 0x7364), NEURON),
            sure((0x7564, 0x7565), NEURON),
        ],
        drivers: &[sure("neuron", NEURON), unsure("neuron-driver", NEURON)],
        module: sure("neuron", NEURON),
        nodes: &[sure(Node::Numbered("/dev/neuron{n}"), NEURON)],
        sysfs: &[sure("neuron_device", NEURON)],
        libraries: &[sure("libnrt.so.1", NEURON)],
        tools: &[sure("neuron-ls", NEURON), sure("neuron-monitor", NEURON)],
        masks: &[sure("NEURON_RT_VISIBLE_CORES", NEURON)],
        telemetry: unsure(Telemetry::Kernel, NEURON),
        metrics: NEURON_METRICS,
        ..BLANK
    },
    Row {
        key: "tenstorrent",
        title: "Tenstorrent",
        vendor: Vendor::Tenstorrent,
        maker: sure(0x1e52, PCI_IDS),
        drivers: &[sure("tenstorrent", TT_KMD)],
        module: sure("tenstorrent", TT_KMD),
        nodes: &[sure(Node::Own("tenstorrent/tenstorrent!*", ""), TT_KMD)],
        sysfs: &[sure("tenstorrent", TT_KMD)],
        tools: &[sure("tt-smi", TT_KMD)],
        masks: &[sure("TT_VISIBLE_DEVICES", TT_KMD)],
        telemetry: sure(Telemetry::Kernel, TT_KMD),
        metrics: &[
            sure(metric("tenstorrent/tenstorrent!*/tt_aiclk", Field::Clock, 1, 1), TT_KMD),
            sure(metric("hwmon/hwmon*/power1_max", Field::PowerLimit, 1, 1000), TT_KMD),
        ],
        ..BLANK
    },
    Row {
        key: "rebellions",
        title: "Rebellions ATOM",
        vendor: Vendor::Rebellions,
        // all-smi has 1f3f; the PCI id list says otherwise.
        maker: sure(0x1eff, PCI_IDS),
        ids: &[unsure((0x1000, 0x2fff), REBELLIONS)],
        drivers: &[sure("rebellions", REBELLIONS)],
        module: sure("rebellions", REBELLIONS),
        nodes: &[sure(Node::Numbered("/dev/rbln{n}"), REBELLIONS)],
        sysfs: &[unsure("rebellions", REBELLIONS)],
        libraries: &[unsure("librbln-ml.so", ALL_SMI)],
        tools: &[sure("rbln-stat", REBELLIONS), unsure("rbln-smi", ALL_SMI)],
        masks: &[unsure("RBLN_DEVICES", HEARSAY)],
        ..BLANK
    },
    Row {
        key: "furiosa-rngd",
        title: "Furiosa RNGD",
        vendor: Vendor::Furiosa,
        maker: sure(0x1ed2, PCI_IDS),
        ids: &[sure((0x0001, 0x0001), PCI_IDS), unsure((0x2222, 0x2222), HEARSAY)],
        drivers: &[unsure("rngd", HEARSAY), unsure("furiosa-rngd", HEARSAY), unsure("furiosa_rngd", HEARSAY)],
        module: unsure("furiosa_rngd", HEARSAY),
        nodes: &[sure(Node::Numbered("/dev/rngd/npu{n}"), FURIOSA), sure(Node::SharedIfThere("/dev/rngd/npu0mgmt"), FURIOSA)],
        sysfs: &[sure("rngd_mgmt", FURIOSA)],
        libraries: &[sure("libfuriosa_smi.so", FURIOSA)],
        tools: &[sure("furiosa-smi", FURIOSA)],
        masks: &[sure("FURIOSA_DEVICES", FURIOSA)],
        ..BLANK
    },
    Row {
        key: "furiosa-warboy",
        title: "Furiosa Warboy",
        vendor: Vendor::Furiosa,
        maker: sure(0x1ed2, PCI_IDS),
        ids: &[sure((0x0000, 0x0000), PCI_IDS)],
        drivers: &[unsure("npu", HEARSAY), unsure("furiosa-warboy", HEARSAY), unsure("warboy", HEARSAY)],
        module: unsure("warboy", HEARSAY),
        nodes: &[unsure(Node::Numbered("/dev/npu{n}"), FURIOSA)],
        tools: &[sure("furiosa-smi", FURIOSA)],
        masks: &[sure("FURIOSA_DEVICES", FURIOSA)],
        ..BLANK
    },
    Row {
        key: "qualcomm",
        title: "Qualcomm Cloud AI",
        vendor: Vendor::Qualcomm,
        maker: sure(0x17cb, PCI_IDS),
        ids: &[sure((0xa100, 0xa100), QAIC), unsure((0xa080, 0xa080), HEARSAY)],
        drivers: &[sure("qaic", QAIC)],
        module: sure("qaic", QAIC),
        // The node belongs to a child of the card on the mhi bus.
        nodes: &[
            sure(ACCEL, QAIC),
            unsure(Node::Own("mhi*/*/accel/accel[0-9]*", "accel/"), QAIC),
            unsure(Node::Own("mhi*/accel/accel[0-9]*", "accel/"), QAIC),
        ],
        sysfs: &[sure("accel", QAIC)],
        tools: &[sure("qaic-util", QAIC)],
        masks: &[unsure("QAIC_VISIBLE_DEVICES", HEARSAY)],
        ..BLANK
    },
    Row {
        key: "nec-ve",
        title: "NEC Vector Engine",
        vendor: Vendor::Nec,
        class: DeviceClass::Vector,
        maker: sure(0x1bcf, PCI_IDS),
        classes: sure(&[0x0b40, 0x1200], VE_CAPTURE),
        drivers: &[sure("ve_drv", VE_CAPTURE), unsure("vp", VE_DOCS)],
        module: sure("ve_drv", VE_CAPTURE),
        nodes: &[sure(Node::Own("ve/ve*", ""), VE_CAPTURE)],
        sysfs: &[sure("ve", VE_CAPTURE)],
        tools: &[sure("vecmd", VE_DOCS)],
        masks: &[sure("VE_NODE_NUMBER", VE_DOCS)],
        memory: &[sure(("ve/ve*/memory_size", 1 << 30), VE_CAPTURE)],
        identity: Some(sure(("ve/ve*/serial", "VE-"), VE_CAPTURE)),
        telemetry: sure(Telemetry::Kernel, VE_CAPTURE),
        // Its sensors have no names in the tree; the clock has.
        metrics: &[sure(metric("ve/ve*/clock_chip", Field::Clock, 1, 1), VE_CAPTURE)],
        evidence: Evidence::CapturedMachine,
        ..BLANK
    },
    // User functions of Alveo cards; the management function of the same card (even ids) is the administrator's.
    Row {
        key: "xilinx",
        title: "AMD Xilinx Alveo FPGA",
        vendor: Vendor::Xilinx,
        class: DeviceClass::Fpga,
        maker: sure(0x10ee, PCI_IDS),
        ids: &[
            sure((0x5001, 0x5001), XRT),
            sure((0x5005, 0x5005), XRT),
            sure((0x500d, 0x500d), XRT),
            sure((0x5021, 0x5021), XRT),
            sure((0x505d, 0x505d), XRT),
            sure((0x5045, 0x5045), XRT),
            sure((0x5049, 0x5049), XRT),
            sure((0x5095, 0x5095), XRT),
            sure((0x513d, 0x513d), XRT),
        ],
        drivers: &[sure("xocl", XRT), unsure("xuser", XRT)],
        module: sure("xocl", XRT),
        nodes: &[sure(gpus::RENDER, XRT)],
        sysfs: &[sure("drm", XRT)],
        libraries: &[sure("libxrt_coreutil.so.2", XRT)],
        tools: &[sure("xbutil", XRT), sure("xbmgmt", XRT)],
        telemetry: unsure(Telemetry::Kernel, XRT),
        metrics: &[
            unsure(metric("xmc.*/xmc_fpga_temp", Field::Temperature, 1, 1), XRT),
            unsure(metric("xmc.*/xmc_power", Field::Power, 1, 1000), XRT),
        ],
        ..BLANK
    },
];
