//! Lines of AMD's graphics driver on errors that the hardware reports (RAS): Linux `drivers/gpu/drm/amd/amdgpu/amdgpu_ras.c`,
//! `amdgpu_umc.c` and `amdgpu_device.c`, 5.10 to 6.18.

/// What a line says of its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ras {
    /// Errors that were not put right, in this part of the chip.
    Uncorrected(&'static str),
    /// Found by scrubbing and not used by anybody yet.
    Deferred(&'static str),
    /// A program read damaged data; the driver resets the card.
    Poison,
    /// More memory pages are retired than the driver allows.
    BadPages,
    ResetFailed,
    /// A record of the accelerator check architecture whose status has the bit for "uncorrected".
    CheckArchitecture,
}

/// What follows from a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Fault(Ras),
    /// A reset that worked takes back what led to it.
    ResetDone,
}

/// Parts of the chip as the driver names them (`ras_block_string` of amdgpu_ras.h).
const BLOCKS: [&str; 19] = [
    "umc",
    "sdma",
    "gfx",
    "mmhub",
    "athub",
    "pcie_bif",
    "hdp",
    "xgmi_wafl",
    "df",
    "smn",
    "sem",
    "mp0",
    "mp1",
    "fuse",
    "mca",
    "vcn",
    "jpeg",
    "ih",
    "mpio",
];

/// A counter register that reads all ones shows up as this many errors.
const NO_COUNT: u64 = 0xffff0;
/// Of a status register: uncorrected, and context corrupt (AMD, MCA_STATUS).
const UNCORRECTED: u64 = 1 << 61 | 1 << 57;

/// What a line means, from behind the address of the card. `None` for all that says nothing about its health.
pub fn line(text: &str) -> Option<Line> {
    let text = text.trim_start().trim_start_matches("amdgpu: ");
    // Events are numbered: "{14}poison is consumed ...".
    let text = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest.trim_start(),
        _ => text,
    };
    let fault = if let Some(counted) = counted(text) {
        counted
    } else if text.starts_with("poison is consumed by client") || text.starts_with("Poison is consumed") {
        Ras::Poison
    } else if text.starts_with("Saved bad pages") && text.contains("reaches threshold") {
        Ras::BadPages
    } else if let Some(reset) = text.strip_prefix("GPU reset") {
        let reset = reset.trim_start_matches(|c: char| c == '(' || c == ')' || c.is_ascii_digit()).trim_start();
        match reset {
            _ if reset.starts_with("succeeded") => return Some(Line::ResetDone),
            _ if reset.starts_with("failed") || reset.starts_with("end with ret = -") => Ras::ResetFailed,
            _ => return None,
        }
    } else if text.starts_with("[Hardware Error]: ACA[") {
        let status = text.split_once("].STATUS=0x").and_then(|(_, value)| u64::from_str_radix(value.trim(), 16).ok())?;
        (status & UNCORRECTED != 0).then_some(Ras::CheckArchitecture)?
    } else {
        return None;
    };
    Some(Line::Fault(fault))
}

/// "3 new uncorrectable hardware errors detected in umc block", with more or less around it.
fn counted(text: &str) -> Option<Ras> {
    let (before, after) = text.split_once(" hardware errors detected in ")?;
    let (before, kind) = before.rsplit_once(' ')?;
    let count: u64 = before.trim_end_matches(" new").rsplit([' ', ',']).next()?.parse().ok()?;
    if count == 0 || count == NO_COUNT {
        return None;
    }
    let name = after.trim_start_matches("total in ").split_whitespace().next()?;
    let block = BLOCKS.into_iter().find(|block| *block == name).unwrap_or("another");
    match kind {
        "uncorrectable" => Some(Ras::Uncorrected(block)),
        "deferred" => Some(Ras::Deferred(block)),
        // Those that were put right are counted by the telemetry.
        _ => None,
    }
}

impl Ras {
    /// What it is, and what a person can do.
    pub fn words(self) -> (String, &'static str) {
        match self {
            Ras::Uncorrected(block) => (
                format!("hardware errors in its {block} block that could not be put right"),
                "stop what runs on it and reset it (`amd-smi reset --gpureset`); have it tested if they come back",
            ),
            Ras::Deferred(block) => {
                (format!("damaged data in its {block} block that nobody used yet"), "watch it; a reset at the next quiet time clears it")
            }
            Ras::Poison => {
                ("a program used damaged data, and the driver resets the card".into(), "the job is lost; watch whether it comes again")
            }
            Ras::BadPages => ("more memory pages are retired than the driver allows".into(), "have the card replaced"),
            Ras::ResetFailed => {
                ("the driver could not reset the card".into(), "restart the machine; switch it off and on if that does not help")
            }
            Ras::CheckArchitecture => {
                ("a hardware record (ACA) of an error that was not put right".into(), "`amd-smi ras --cper` decodes it")
            }
        }
    }
}
