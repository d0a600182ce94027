//! NVIDIA's Xid codes: which ones say something about the card, and what to do.
//!
//! Source: NVIDIA, "Xid Errors" (GPU deployment and management documentation), the column "immediate action".

/// What a code means for the card that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A program's own mistake, or a report that all is handled: nothing is wrong with the card.
    NotTheCard,
    /// Something is wrong with the card until it is reset or looked at: what, and what to do.
    Card(&'static str, &'static str),
    /// Not in the table.
    Unknown,
}

const RESET: &str = "reset it (`nvidia-smi --gpu-reset -i ID`) once nothing uses it; if it comes back, have it tested";
const LINK: &str = "`nvidia-smi nvlink -e` counts the errors; reset all cards of the board together, and reseat or replace if they return";

/// Codes that are about the card, by number.
pub(super) const CARD_CODES: &[(u32, &str, &str)] = &[
    (46, "the GPU stopped processing", RESET),
    (48, "a double-bit memory error", RESET),
    (54, "the auxiliary power cable is not connected", "plug in the card's power cable"),
    (62, "its micro-controller halted", RESET),
    (64, "a memory row could not be replaced", "reset it; if it comes back, have the card replaced"),
    (74, "an NVLink error", LINK),
    (79, "the GPU has fallen off the bus", "reseat the card and look at its power; a restart with power off usually brings it back"),
    (95, "an uncontained memory error", RESET),
    (109, "a context switch timed out", RESET),
    (110, "a security fault", RESET),
    (119, "its GSP firmware does not answer", RESET),
    (120, "an error of its GSP firmware", RESET),
    (136, "the training of a link failed", RESET),
    (140, "a memory error that could not be put right", RESET),
    (142, "an error of its video encoder", "ask the maker's support"),
    (143, "it could not be initialised", RESET),
    (144, "an NVLink error (SAW)", LINK),
    (145, "an NVLink error (RLW)", LINK),
    (146, "an NVLink error (TLW)", LINK),
    (147, "an NVLink error (TREX)", LINK),
    (148, "an NVLink error (NVLPW_CTRL)", LINK),
    (149, "an NVLink error (NETIR)", LINK),
    (150, "an NVLink error (MSE)", LINK),
    (151, "an error of key rotation", "restart the virtual machine"),
    (155, "an NVLink error that software defines", RESET),
    (156, "a part of it was retired", RESET),
    (158, "a fatal timeout", RESET),
    (165, "its power smoothing has reached the end of its life", "have the card replaced"),
    (167, "a fatal timeout of PCIe", "reseat the card or its riser"),
    (168, "errors in write-protected memory", RESET),
    (169, "its micro-controller halted", RESET),
];

/// Codes that ask for nothing but a look at the program that ran, as first and last of each range.
const NOT_THE_CARD: &[(u32, u32)] = &[
    (8, 8),
    (11, 14),
    (25, 25),
    (31, 32),
    (37, 45),
    (60, 60),
    (63, 63),
    (66, 72),
    (75, 78),
    (80, 80),
    (82, 86),
    (88, 89),
    (92, 94),
    (96, 108),
    (121, 121),
    (126, 135),
    (137, 137),
    (139, 139),
    (141, 141),
    (157, 157),
    (159, 164),
    (166, 166),
    (170, 172),
];

/// What a code says.
pub fn meaning(code: u32) -> Meaning {
    if let Some((_, what, hint)) = CARD_CODES.iter().find(|(known, ..)| *known == code) {
        return Meaning::Card(what, hint);
    }
    if is_in_a_range(code) { Meaning::NotTheCard } else { Meaning::Unknown }
}

pub(super) fn is_in_a_range(code: u32) -> bool {
    NOT_THE_CARD.iter().any(|(first, last)| (*first..=*last).contains(&code))
}
