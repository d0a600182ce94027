//! Names and memory of common cards by PCI id, for when no driver tells.

use machine::{Bytes, Vendor};

/// `(maker, device, name or "" to take the PCI list's, memory in GB or 0 when cards of one id differ)`. Memory is the
/// maker's data-sheet figure in decimal GB, which is never more than the driver reports.
const MODELS: &[(u16, u16, &str, u64)] = &[
    (0x10de, 0x15f8, "Tesla P100-PCIE-16GB", 16),
    (0x10de, 0x15f9, "Tesla P100-SXM2-16GB", 16),
    (0x10de, 0x1b06, "GeForce GTX 1080 Ti", 11),
    (0x10de, 0x1b38, "Tesla P40", 24),
    (0x10de, 0x1db1, "Tesla V100-SXM2-16GB", 16),
    (0x10de, 0x1db4, "Tesla V100-PCIE-16GB", 16),
    (0x10de, 0x1db5, "Tesla V100-SXM2-32GB", 32),
    (0x10de, 0x1db6, "Tesla V100-PCIE-32GB", 32),
    (0x10de, 0x1db8, "Tesla V100-SXM3-32GB", 32),
    (0x10de, 0x1df6, "Tesla V100S-PCIE-32GB", 32),
    (0x10de, 0x1e04, "GeForce RTX 2080 Ti", 11),
    (0x10de, 0x1e07, "GeForce RTX 2080 Ti", 11),
    (0x10de, 0x1eb8, "Tesla T4", 16),
    (0x10de, 0x20b0, "A100-SXM4-40GB", 40),
    (0x10de, 0x20b2, "A100-SXM4-80GB", 80),
    (0x10de, 0x20b5, "A100 80GB PCIe", 80),
    (0x10de, 0x20b7, "A30", 24),
    (0x10de, 0x20f1, "A100-PCIE-40GB", 40),
    (0x10de, 0x20f3, "A800-SXM4-80GB", 80),
    (0x10de, 0x20f5, "A800 80GB PCIe", 80),
    (0x10de, 0x2203, "GeForce RTX 3090 Ti", 24),
    (0x10de, 0x2204, "GeForce RTX 3090", 24),
    (0x10de, 0x2230, "RTX A6000", 48),
    (0x10de, 0x2231, "RTX A5000", 24),
    (0x10de, 0x2235, "A40", 48),
    (0x10de, 0x2236, "A10", 24),
    (0x10de, 0x2321, "H100 NVL", 94),
    (0x10de, 0x2322, "H800 PCIe", 80),
    (0x10de, 0x2324, "H800", 80),
    (0x10de, 0x2329, "H20", 96),
    (0x10de, 0x2330, "H100 80GB HBM3", 80),
    (0x10de, 0x2331, "H100 PCIe", 80),
    (0x10de, 0x2335, "H200", 141),
    (0x10de, 0x233b, "H200 NVL", 141),
    (0x10de, 0x2342, "GH200 480GB", 96),
    (0x10de, 0x25b6, "A2 / A16", 16),
    (0x10de, 0x2684, "GeForce RTX 4090", 24),
    (0x10de, 0x2685, "GeForce RTX 4090 D", 24),
    (0x10de, 0x26b1, "RTX 6000 Ada Generation", 48),
    (0x10de, 0x26b5, "L40", 48),
    (0x10de, 0x26b9, "L40S", 48),
    (0x10de, 0x26ba, "L20", 48),
    (0x10de, 0x2702, "GeForce RTX 4080 SUPER", 16),
    (0x10de, 0x2704, "GeForce RTX 4080", 16),
    (0x10de, 0x27b8, "L4", 24),
    (0x10de, 0x2901, "B200", 180),
    (0x10de, 0x2941, "GB200", 185),
    (0x10de, 0x2b85, "GeForce RTX 5090", 32),
    (0x10de, 0x2bb1, "RTX PRO 6000 Blackwell Workstation Edition", 96),
    (0x10de, 0x2bb5, "RTX PRO 6000 Blackwell Server Edition", 96),
    // Shares the memory of the machine.
    (0x10de, 0x2e12, "GB10", 0),
    (0x10de, 0x3182, "B300", 275),
    (0x1002, 0x738c, "Instinct MI100", 32),
    // Each of the two dies of an MI250 is a PCI function of its own.
    (0x1002, 0x7408, "Instinct MI250X", 64),
    (0x1002, 0x740c, "Instinct MI250X / MI250", 64),
    (0x1002, 0x740f, "Instinct MI210", 64),
    (0x1002, 0x74a0, "Instinct MI300A", 128),
    (0x1002, 0x74a1, "Instinct MI300X", 192),
    (0x1002, 0x74a2, "Instinct MI308X", 192),
    (0x1002, 0x74a5, "Instinct MI325X", 256),
    (0x1002, 0x75a0, "Instinct MI350X", 288),
    (0x1002, 0x75a3, "Instinct MI355X", 288),
    (0x8086, 0x0bd5, "Data Center GPU Max 1550", 128),
    (0x8086, 0x0bda, "Data Center GPU Max 1100", 48),
    (0x8086, 0x56c0, "Data Center GPU Flex 170", 16),
    (0x8086, 0x56c1, "Data Center GPU Flex 140", 6),
    (0x8086, 0xe20b, "Arc B580", 12),
    (0x8086, 0xe211, "Arc Pro B60", 24),
    (0x8086, 0xe212, "Arc Pro B50", 16),
    (0x1da3, 0x1000, "Gaudi", 32),
    (0x1da3, 0x1020, "Gaudi2", 96),
    (0x1da3, 0x1060, "Gaudi3", 128),
    (0x1da3, 0x1063, "Gaudi3 PCIe", 128),
    (0x19e5, 0xd100, "Ascend 310", 8),
    (0x19e5, 0xd500, "Ascend 310P", 0),
    (0x19e5, 0xd801, "Ascend 910", 32),
    (0x19e5, 0xd802, "Ascend 910B", 0),
    (0x19e5, 0xd803, "Ascend 910C", 0),
    (0xcabc, 0x0270, "MLU270", 16),
    (0xcabc, 0x0370, "MLU370", 0),
    (0x1d94, 0x54b7, "DCU Z100L", 32),
    (0x1d94, 0x6210, "DCU K100", 64),
    (0x1d94, 0x6211, "DCU K100-AI", 64),
    (0x1ed5, 0x0201, "MTT S80", 16),
    (0x1ed5, 0x0222, "MTT S3000", 32),
    (0x1ed5, 0x0323, "MTT S4000", 48),
    (0x1ed5, 0x0327, "MTT S4000", 48),
    (0x1ed5, 0x0328, "MTT S4000", 48),
    (0x9999, 0x0a01, "C500", 64),
    (0x1d22, 0x3684, "Kunlun", 0),
    (0x1d22, 0x3685, "Kunlun2", 0),
    (0x1e36, 0xc033, "S60G", 48),
    (0x1e36, 0xc035, "S60", 48),
    (0x1ae0, 0x0027, "TPU v2 / v3", 0),
    (0x1ae0, 0x0056, "TPU v4-lite", 0),
    (0x1ae0, 0x005e, "TPU v4", 32),
    (0x1ae0, 0x0062, "TPU v5p", 95),
    (0x1ae0, 0x0063, "TPU v5e", 16),
    (0x1ae0, 0x006f, "TPU v6e", 32),
    (0x1ae0, 0x0076, "TPU 7x", 0),
    (0x1ae0, 0x007c, "TPU v8", 0),
    (0x1ae0, 0x0083, "TPU v8", 0),
    (0x1ac1, 0x089a, "Coral Edge TPU", 0),
    (0x1d0f, 0x7064, "Inferentia", 8),
    (0x1d0f, 0x7164, "Trainium", 32),
    (0x1d0f, 0x7264, "Inferentia2", 32),
    (0x1d0f, 0x7364, "Trainium2", 96),
    (0x1d0f, 0x7564, "Trainium3", 0),
    (0x1d0f, 0x7565, "Trainium3", 0),
    (0x1e52, 0xfaca, "Grayskull", 8),
    (0x1e52, 0x401e, "Wormhole", 12),
    (0x1e52, 0xb140, "Blackhole", 0),
    (0x1ed2, 0x0000, "Warboy", 16),
    (0x1ed2, 0x0001, "RNGD", 48),
    (0x17cb, 0xa100, "Cloud AI 100", 0),
    (0x17cb, 0xa080, "Cloud AI 80", 0),
    (0x1022, 0x1502, "Ryzen AI (XDNA)", 0),
    (0x1022, 0x17f0, "Ryzen AI (XDNA 2)", 0),
];

/// Instruction set by PCI id, where a chip has one: compute capability as NVIDIA's compiler names it, LLVM's name for AMD.
/// Chips by id range are those of the PCI id list; the capability of each chip NVIDIA's "CUDA GPUs" page and the CUDA
/// programming guide; AMD's names the LLVM AMDGPU user guide.
const ARCHITECTURES: &[(u16, u16, u16, &str)] = &[
    (0x10de, 0x1580, 0x15ff, "sm_60"),
    (0x10de, 0x1b00, 0x1d52, "sm_61"),
    (0x10de, 0x1d80, 0x1dff, "sm_70"),
    (0x10de, 0x1e00, 0x1fff, "sm_75"),
    (0x10de, 0x2080, 0x20ff, "sm_80"),
    (0x10de, 0x2180, 0x21ff, "sm_75"),
    (0x10de, 0x2200, 0x22ff, "sm_86"),
    (0x10de, 0x2300, 0x23ff, "sm_90"),
    (0x10de, 0x2400, 0x25ff, "sm_86"),
    (0x10de, 0x2600, 0x28ff, "sm_89"),
    (0x10de, 0x2900, 0x29ff, "sm_100"),
    (0x10de, 0x2b00, 0x2dff, "sm_120"),
    (0x10de, 0x2e12, 0x2e12, "sm_121"),
    (0x10de, 0x3180, 0x31ff, "sm_103"),
    (0x1002, 0x66a0, 0x66af, "gfx906"),
    (0x1002, 0x6860, 0x687f, "gfx900"),
    (0x1002, 0x7388, 0x738e, "gfx908"),
    (0x1002, 0x7408, 0x7410, "gfx90a"),
    (0x1002, 0x744c, 0x744c, "gfx1100"),
    (0x1002, 0x74a0, 0x74bd, "gfx942"),
    (0x1002, 0x75a0, 0x75b3, "gfx950"),
];

/// What compilers call the chip.
pub fn architecture(maker: u16, device: u16) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(m, first, last, _)| *m == maker && (*first..=*last).contains(&device)).map(|(.., name)| *name)
}

/// Name and memory as far as the PCI ids tell them; the bare ids where nothing is known.
pub fn model(vendor: Vendor, maker: u16, device: u16) -> (String, Option<Bytes>) {
    let known = MODELS.iter().find(|(m, d, ..)| (*m, *d) == (maker, device));
    let memory = known.map(|(.., gb)| *gb).filter(|gb| *gb > 0).map(Bytes::gb);
    let name = known.map(|(_, _, name, _)| *name).or_else(|| crate::pci::product_name(maker, device));
    // The bus does not describe the card, but its driver has it.
    let name = name.or((vendor == Vendor::Nvidia && device == 0).then_some("GPU"));
    let Some(name) = name else { return (format!("{maker:04x}:{device:04x}"), memory) };
    // NVIDIA's driver puts the maker first; so it reads the same with and without it.
    let prefixed = vendor == Vendor::Nvidia && !name.starts_with("Tesla") && !name.starts_with("NVIDIA");
    (if prefixed { format!("NVIDIA {name}") } else { name.to_owned() }, memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accelerators::table;

    #[test]
    fn ids_are_unique_and_in_the_vendor_table() {
        for (at, (maker, device, ..)) in MODELS.iter().enumerate() {
            assert!(!MODELS[..at].iter().any(|(m, d, ..)| (m, d) == (maker, device)), "{maker:04x}:{device:04x}");
            let classes = [0x0300, 0x0302, 0x0380, 0x1200];
            assert!(classes.iter().any(|class| table::row(*maker, *device, *class).is_some()), "{maker:04x}:{device:04x}");
        }
    }

    #[test]
    fn chips_are_named_as_compilers_do_and_no_range_overlaps() {
        for (at, (maker, first, last, _)) in ARCHITECTURES.iter().enumerate() {
            assert!(first <= last);
            assert!(!ARCHITECTURES[..at].iter().any(|(m, f, l, _)| m == maker && f <= last && first <= l), "{first:04x}");
        }
        for (device, name) in
            [(0x2330, "sm_90"), (0x20b2, "sm_80"), (0x2684, "sm_89"), (0x15f8, "sm_60"), (0x1eb8, "sm_75"), (0x2901, "sm_100")]
        {
            assert_eq!(architecture(0x10de, device), Some(name));
        }
        assert_eq!((architecture(0x1002, 0x74a1), architecture(0x19e5, 0xd802)), (Some("gfx942"), None));
    }

    #[test]
    fn names_are_what_people_call_the_card() {
        for (vendor, maker, device, name, gb) in [
            (Vendor::Nvidia, 0x10de, 0x2330, "NVIDIA H100 80GB HBM3", Some(80)),
            (Vendor::Nvidia, 0x10de, 0x15f8, "Tesla P100-PCIE-16GB", Some(16)),
            (Vendor::Nec, 0x1bcf, 0x001c, "Vector Engine 1.0", None),
            (Vendor::Unknown, 0x1e60, 0xffff, "1e60:ffff", None),
        ] {
            assert_eq!(model(vendor, maker, device), (name.to_owned(), gb.map(Bytes::gb)));
        }
    }
}
