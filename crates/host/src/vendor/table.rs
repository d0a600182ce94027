//! What is known of each maker's cards, as data.
//!
//! PCI ids are those of the public PCI id list and of the drivers' own tables; device nodes those of the drivers and of the
//! makers' container toolkits. [`Row::seen`] says how far a row was checked.

use machine::{DeviceClass, Vendor};
use std::ops::RangeInclusive;

/// How a row came to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Tested on a captured tree of a machine with such a card.
    Captured,
    /// Taken from the source of the kernel's own driver or from the maker's published one.
    Driver,
    /// Taken from documents only.
    Documents,
}

/// A device node that a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Children of the card's own sysfs folder that match: `drm/renderD*`. Their `dev` has the numbers, their `uevent` the
    /// name below `/dev`; the second text goes before the bare name where there is no such line.
    Own(&'static str, &'static str),
    /// `{n}` counts this row's cards in PCI order from 0: for drivers that do not link card and node in sysfs.
    Numbered(&'static str),
    /// `{n}` is the card's minor number as NVIDIA's driver tells it.
    NvidiaMinor(&'static str),
    /// The card's VFIO group, for cards driven from user space.
    VfioGroup,
    /// One node for all cards of the row.
    Shared(&'static str),
    /// As `Shared`, but its absence is no fault.
    SharedIfThere(&'static str),
}

#[derive(Debug)]
pub struct Row {
    pub vendor: Vendor,
    pub class: DeviceClass,
    /// PCI maker id.
    pub maker: u16,
    /// PCI classes (base and sub-class); empty: any.
    pub classes: &'static [u16],
    /// PCI device ids; empty: any.
    pub ids: &'static [RangeInclusive<u16>],
    /// Kernel drivers that make the card usable.
    pub drivers: &'static [&'static str],
    pub nodes: &'static [Node],
    /// Sysfs files below the card's folder that hold its memory, and what one unit there is in bytes.
    pub memory: &'static [(&'static str, u64)],
    /// The memory window (BAR) that maps all of the card's memory, where there is one.
    pub memory_bar: Option<usize>,
    /// A sysfs file below the card's folder with a serial number, and what to put before it to get the vendor's UUID.
    pub serial: Option<(&'static str, &'static str)>,
    pub seen: Seen,
}

const DISPLAY: &[u16] = &[0x0300, 0x0302, 0x0380];
/// Processing accelerators.
const ENGINE: &[u16] = &[0x1200];
const DISPLAY_OR_ENGINE: &[u16] = &[0x0300, 0x0302, 0x0380, 0x1200, 0x0b40];

const BLANK: Row = Row {
    vendor: Vendor::Unknown,
    class: DeviceClass::Npu,
    maker: 0,
    classes: &[],
    ids: &[],
    drivers: &[],
    nodes: &[],
    memory: &[],
    memory_bar: None,
    serial: None,
    seen: Seen::Documents,
};

const RENDER: Node = Node::Own("drm/renderD*", "dri/");
const ACCEL: Node = Node::Own("accel/accel[0-9]*", "accel/");

/// The first row that fits a card is taken.
pub const ROWS: &[Row] = &[
    Row {
        vendor: Vendor::Nvidia,
        class: DeviceClass::Gpu,
        maker: 0x10de,
        // Bridges of class 0680 are NVSwitches, 0403 the sound of display cards.
        classes: &[0x0300, 0x0302],
        drivers: &["nvidia"],
        nodes: &[
            Node::NvidiaMinor("/dev/nvidia{n}"),
            Node::Shared("/dev/nvidiactl"),
            Node::Shared("/dev/nvidia-uvm"),
            Node::SharedIfThere("/dev/nvidia-uvm-tools"),
            Node::SharedIfThere("/dev/nvidia-modeset"),
        ],
        seen: Seen::Captured,
        ..BLANK
    },
    // Display cards that ROCm knows: gfx7 to gfx12. Integrated graphics (ids below 2000 and 9600-9fff), older cards and the
    // ATI chips of server boards (4752, 515e) are outside the ranges.
    Row {
        vendor: Vendor::Amd,
        class: DeviceClass::Gpu,
        maker: 0x1002,
        classes: DISPLAY,
        ids: &[0x66a0..=0x66af, 0x67b0..=0x67ff, 0x6860..=0x687f, 0x69a0..=0x69af, 0x6fdf..=0x6fdf, 0x7300..=0x7fff],
        ..AMD
    },
    Row { classes: ENGINE, ..AMD },
    // XDNA engines inside Ryzen processors (amdxdna's id table).
    Row {
        vendor: Vendor::Amd,
        class: DeviceClass::Npu,
        maker: 0x1022,
        ids: &[0x1502..=0x1502, 0x17f0..=0x17f3, 0x1b0a..=0x1b0c],
        drivers: &["amdxdna"],
        nodes: &[ACCEL],
        seen: Seen::Driver,
        ..BLANK
    },
    // Discrete only: DG1, Alchemist and Flex, Max (Ponte Vecchio), Battlemage. Every other id is integrated graphics.
    Row {
        vendor: Vendor::Intel,
        class: DeviceClass::Gpu,
        maker: 0x8086,
        classes: DISPLAY,
        ids: &[0x4905..=0x4909, 0x5690..=0x56c2, 0x0bd0..=0x0bdb, 0xe200..=0xe22f],
        drivers: &["i915", "xe"],
        nodes: &[RENDER],
        memory: &[("drm/card*/lmem_total_bytes", 1), ("tile*/physical_vram_size_bytes", 1)],
        memory_bar: Some(2),
        seen: Seen::Driver,
        ..BLANK
    },
    // The NPU inside Core Ultra processors (ivpu's id table).
    Row {
        vendor: Vendor::Intel,
        class: DeviceClass::Npu,
        maker: 0x8086,
        ids: &[0x7d1d..=0x7d1d, 0xad1d..=0xad1d, 0x643e..=0x643e, 0xb03e..=0xb03e],
        drivers: &["intel_vpu"],
        nodes: &[ACCEL],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Gaudi,
        maker: 0x1da3,
        classes: ENGINE,
        drivers: &["habanalabs"],
        nodes: &[ACCEL, Node::Own("habanalabs/hl[0-9]*", ""), Node::Own("accel/accel_controlD*", "accel/")],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Ascend,
        maker: 0x19e5,
        // The maker's board management chip (1711) is a display, its network cards are 02.
        classes: ENGINE,
        drivers: &["devdrv_device_driver", "drv_devdrv", "drv_davinci", "davinci", "ascend"],
        nodes: &[
            Node::Numbered("/dev/davinci{n}"),
            Node::Shared("/dev/davinci_manager"),
            Node::Shared("/dev/devmm_svm"),
            Node::Shared("/dev/hisi_hdc"),
            Node::SharedIfThere("/dev/dvpp_cmdlist"),
        ],
        ..BLANK
    },
    Row {
        vendor: Vendor::Cambricon,
        maker: 0xcabc,
        classes: ENGINE,
        drivers: &["cambricon-drv", "cambricon_drv", "cambricon"],
        nodes: &[
            Node::Numbered("/dev/cambricon_dev{n}"),
            Node::Shared("/dev/cambricon_ctl"),
            Node::SharedIfThere("/dev/cambricon-caps/cap_dev0"),
        ],
        ..BLANK
    },
    Row {
        vendor: Vendor::Hygon,
        class: DeviceClass::Gpu,
        maker: 0x1d94,
        // The same maker id is on every bridge of Hygon processors.
        classes: DISPLAY_OR_ENGINE,
        drivers: &["hycu", "hydcu", "amdgpu"],
        nodes: &[RENDER, Node::Shared("/dev/kfd"), Node::SharedIfThere("/dev/mkfd")],
        memory: &[("mem_info_vram_total", 1)],
        ..BLANK
    },
    Row {
        vendor: Vendor::MooreThreads,
        class: DeviceClass::Gpu,
        maker: 0x1ed5,
        classes: DISPLAY_OR_ENGINE,
        drivers: &["mtgpu"],
        nodes: &[RENDER, Node::SharedIfThere("/dev/mtgpu.0")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Metax,
        class: DeviceClass::Gpu,
        maker: 0x9999,
        classes: DISPLAY_OR_ENGINE,
        drivers: &["metax", "mxgpu", "mxcd"],
        nodes: &[RENDER, Node::Shared("/dev/mxcd"), Node::SharedIfThere("/dev/mxgd"), Node::SharedIfThere("/dev/mxnd")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Iluvatar,
        class: DeviceClass::Gpu,
        maker: 0x1e3e,
        classes: DISPLAY_OR_ENGINE,
        drivers: &["iluvatar", "bi_driver", "iluvatar-itr"],
        nodes: &[Node::Numbered("/dev/iluvatar{n}"), Node::SharedIfThere("/dev/itrctl")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Kunlunxin,
        maker: 0x1d22,
        ids: &[0x3684..=0x36ff],
        drivers: &["kunlun", "xpu"],
        nodes: &[Node::Numbered("/dev/xpu{n}"), Node::Shared("/dev/xpuctrl")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Enflame,
        maker: 0x1e36,
        classes: DISPLAY_OR_ENGINE,
        drivers: &["enflame", "gcu", "efgcu"],
        nodes: &[Node::Numbered("/dev/gcu{n}"), Node::SharedIfThere("/dev/gcuctl")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Biren,
        class: DeviceClass::Gpu,
        maker: 0x1ee0,
        classes: DISPLAY_OR_ENGINE,
        drivers: &["biren"],
        nodes: &[Node::Numbered("/dev/biren/card_{n}")],
        ..BLANK
    },
    Row {
        vendor: Vendor::THead,
        maker: 0x1ded,
        // Network cards (02) and the performance monitors of the maker's processors share the id.
        classes: &[0x0302, 0x1200],
        drivers: &["alixpu"],
        nodes: &[Node::Numbered("/dev/alixpu_ppu{n}"), Node::Shared("/dev/alixpu"), Node::SharedIfThere("/dev/alixpu_ctl")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Google,
        maker: 0x1ae0,
        ids: &[
            0x0027..=0x0027,
            0x0056..=0x0056,
            0x005e..=0x005e,
            0x0062..=0x0063,
            0x006f..=0x006f,
            0x0076..=0x0076,
            0x007c..=0x007c,
            0x0083..=0x0083,
        ],
        drivers: &["vfio-pci", "accel", "tpu"],
        nodes: &[Node::Numbered("/dev/accel{n}"), Node::VfioGroup, Node::SharedIfThere("/dev/vfio/vfio")],
        ..BLANK
    },
    // Coral Edge TPU.
    Row {
        vendor: Vendor::Google,
        maker: 0x1ac1,
        ids: &[0x089a..=0x089a],
        drivers: &["apex", "gasket"],
        nodes: &[Node::Own("apex/apex_*", "")],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Aws,
        maker: 0x1d0f,
        // Disks and network cards of the same maker are outside.
        ids: &[0x7064..=0x7064, 0x7164..=0x7164, 0x7264..=0x7264, 0x7364..=0x7364, 0x7564..=0x7565],
        drivers: &["neuron"],
        nodes: &[Node::Numbered("/dev/neuron{n}")],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Tenstorrent,
        maker: 0x1e52,
        drivers: &["tenstorrent"],
        nodes: &[Node::Own("tenstorrent/tenstorrent!*", "")],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Rebellions,
        maker: 0x1eff,
        ids: &[0x1000..=0x2fff],
        drivers: &["rebellions"],
        nodes: &[Node::Numbered("/dev/rbln{n}")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Furiosa,
        maker: 0x1ed2,
        ids: &[0x0001..=0x0001, 0x2222..=0x2222],
        drivers: &["rngd", "furiosa-rngd", "furiosa_rngd"],
        nodes: &[Node::Numbered("/dev/rngd/npu{n}"), Node::SharedIfThere("/dev/rngd/npu0mgmt")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Furiosa,
        maker: 0x1ed2,
        ids: &[0x0000..=0x0000],
        drivers: &["npu", "furiosa-warboy", "warboy"],
        nodes: &[Node::Numbered("/dev/npu{n}")],
        ..BLANK
    },
    Row {
        vendor: Vendor::Qualcomm,
        maker: 0x17cb,
        ids: &[0xa080..=0xa080, 0xa100..=0xa100],
        drivers: &["qaic"],
        // The node belongs to a child of the card on the mhi bus.
        nodes: &[ACCEL, Node::Own("mhi*/*/accel/accel[0-9]*", "accel/"), Node::Own("mhi*/accel/accel[0-9]*", "accel/")],
        seen: Seen::Driver,
        ..BLANK
    },
    Row {
        vendor: Vendor::Nec,
        class: DeviceClass::Vector,
        maker: 0x1bcf,
        classes: &[0x0b40, 0x1200],
        drivers: &["ve_drv", "vp"],
        nodes: &[Node::Own("ve/ve*", "")],
        memory: &[("ve/ve*/memory_size", 1 << 30)],
        serial: Some(("ve/ve*/serial", "VE-")),
        seen: Seen::Captured,
        ..BLANK
    },
    // User functions of Alveo cards; the management function of the same card (even ids) is the administrator's.
    Row {
        vendor: Vendor::Xilinx,
        class: DeviceClass::Fpga,
        maker: 0x10ee,
        ids: &[
            0x5001..=0x5001,
            0x5005..=0x5005,
            0x500d..=0x500d,
            0x5021..=0x5021,
            0x505d..=0x505d,
            0x5045..=0x5045,
            0x5049..=0x5049,
            0x5095..=0x5095,
            0x513d..=0x513d,
        ],
        drivers: &["xocl", "xuser"],
        nodes: &[RENDER],
        seen: Seen::Driver,
        ..BLANK
    },
];

const AMD: Row = Row {
    vendor: Vendor::Amd,
    class: DeviceClass::Gpu,
    maker: 0x1002,
    drivers: &["amdgpu"],
    nodes: &[RENDER, Node::Shared("/dev/kfd")],
    memory: &[("mem_info_vram_total", 1)],
    // ROCm writes the same number as "GPU-..." and takes it in its masks.
    serial: Some(("unique_id", "GPU-")),
    seen: Seen::Driver,
    ..BLANK
};

/// Makers of emulated hardware: QEMU, virtio, VMware, Hyper-V, Bochs, Cirrus. What they put on an accelerator class computes nothing.
const EMULATED: &[u16] = &[0x1af4, 0x1b36, 0x1234, 0x1013, 0x15ad, 0x1414, 0x80ee];

/// The row of a card; `None` for what is no accelerator.
pub fn row(maker: u16, device: u16, class: u16) -> Option<&'static Row> {
    let fits = |row: &&Row| {
        row.maker == maker
            && (row.classes.is_empty() || row.classes.contains(&class))
            && (row.ids.is_empty() || row.ids.iter().any(|ids| ids.contains(&device)))
    };
    ROWS.iter().find(fits)
}

/// A processing accelerator of a maker without a row.
pub fn is_unknown_accelerator(maker: u16, device: u16, class: u16) -> bool {
    let known_maker = ROWS.iter().any(|row| row.maker == maker);
    class == 0x1200 && row(maker, device, class).is_none() && !known_maker && !EMULATED.contains(&maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_has_a_row_that_can_work() {
        for vendor in Vendor::ALL.into_iter().filter(|vendor| *vendor != Vendor::Unknown) {
            assert!(ROWS.iter().any(|row| row.vendor == vendor), "{vendor}");
        }
        for row in ROWS {
            assert!(row.maker != 0 && !row.drivers.is_empty() && !row.nodes.is_empty(), "{:?}", row.vendor);
            assert!(row.nodes.iter().any(|node| !matches!(node, Node::Shared(_) | Node::SharedIfThere(_))), "{:?}", row.vendor);
            assert!(!row.classes.is_empty() || !row.ids.is_empty() || row.vendor == Vendor::Tenstorrent, "{:?}", row.vendor);
        }
    }

    #[test]
    fn cards_are_told_from_their_neighbours() {
        let vendor = |maker, device, class| row(maker, device, class).map(|row| (row.vendor, row.class));
        for (maker, device, class, expected) in [
            (0x10de, 0x2330, 0x0302, Some((Vendor::Nvidia, DeviceClass::Gpu))),
            (0x10de, 0x2684, 0x0300, Some((Vendor::Nvidia, DeviceClass::Gpu))),
            (0x10de, 0x22a3, 0x0680, None),
            (0x10de, 0x22ba, 0x0403, None),
            (0x1002, 0x74a1, 0x1200, Some((Vendor::Amd, DeviceClass::Gpu))),
            (0x1002, 0x744c, 0x0300, Some((Vendor::Amd, DeviceClass::Gpu))),
            (0x1002, 0x1681, 0x0300, None),
            (0x1002, 0x164e, 0x0380, None),
            (0x1002, 0x515e, 0x0300, None),
            (0x1002, 0xab28, 0x0403, None),
            (0x1022, 0x17f0, 0x1180, Some((Vendor::Amd, DeviceClass::Npu))),
            (0x1022, 0x1486, 0x1080, None),
            (0x8086, 0x0bd5, 0x0380, Some((Vendor::Intel, DeviceClass::Gpu))),
            (0x8086, 0xe211, 0x0300, Some((Vendor::Intel, DeviceClass::Gpu))),
            (0x8086, 0xa780, 0x0300, None),
            (0x8086, 0x7d55, 0x0300, None),
            (0x8086, 0x7d1d, 0x1200, Some((Vendor::Intel, DeviceClass::Npu))),
            (0x8086, 0x4940, 0x0b40, None),
            (0x19e5, 0xd802, 0x1200, Some((Vendor::Ascend, DeviceClass::Npu))),
            (0x19e5, 0x1711, 0x0300, None),
            (0x1d94, 0x1450, 0x0600, None),
            (0x1d94, 0x6211, 0x0380, Some((Vendor::Hygon, DeviceClass::Gpu))),
            (0x1d0f, 0xec20, 0x0200, None),
            (0x1d0f, 0x7364, 0x0880, Some((Vendor::Aws, DeviceClass::Npu))),
            (0x1ae0, 0x0042, 0x0200, None),
            (0x1ae0, 0x0063, 0x1200, Some((Vendor::Google, DeviceClass::Npu))),
            (0x10ee, 0x5000, 0x1200, None),
            (0x10ee, 0x5001, 0x1200, Some((Vendor::Xilinx, DeviceClass::Fpga))),
            (0x1a03, 0x2000, 0x0300, None),
            (0x102b, 0x0536, 0x0300, None),
            (0x1013, 0x00b8, 0x0300, None),
        ] {
            assert_eq!(vendor(maker, device, class), expected, "{maker:04x}:{device:04x} {class:04x}");
        }
    }

    #[test]
    fn only_real_accelerators_of_strangers_are_shown() {
        assert!(is_unknown_accelerator(0x1e60, 0x2864, 0x1200));
        assert!(!is_unknown_accelerator(0x1b36, 0x0005, 0x1200));
        assert!(!is_unknown_accelerator(0x8086, 0x0b25, 0x0880));
        assert!(!is_unknown_accelerator(0x10ee, 0x5000, 0x1200));
    }
}
