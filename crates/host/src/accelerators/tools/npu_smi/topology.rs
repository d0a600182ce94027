//! `npu-smi info -t topo`: a matrix of what lies between each two chips.
//!
//! The heading line names the columns, each row begins with its own name: `NPU0`, on boards of two dies `Phy-ID0`, and
//! `NIC0` where newer programs list network ports too. Rows end with the CPUs that are near. Words of the legend: `HCCS`
//! (newer: `XLink`), `HCCS_SW` where a switch is between, `SIO` between the two dies of a package; the others are ways over PCI,
//! which the bus itself tells better (Huawei, npu-smi command reference, "topo"; CANN, `aclrtGetDevicesTopo`).

use machine::LinkKind;

/// More chips than any machine has: a matrix grows with the square.
const MOST_CHIPS: usize = 128;

/// What a row or column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program's own number of a board with one chip.
    Npu(u32),
    /// The driver's number of a chip.
    Chip(u32),
    Other,
}

/// A link of one chip. Both ends have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub from: End,
    pub to: End,
    pub kind: LinkKind,
    /// Over a switch, which leads to all that are on it.
    pub switched: bool,
}

fn end(word: &str) -> Option<End> {
    let number = |prefix: &str| word.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok());
    number("NPU").map(End::Npu).or_else(|| number("Phy-ID").map(End::Chip)).or_else(|| number("NIC").map(|_| End::Other))
}

fn kind(word: &str) -> Option<(LinkKind, bool)> {
    match word {
        "HCCS" | "XLink" => Some((LinkKind::Hccs, false)),
        "HCCS_SW" | "XLink_SW" => Some((LinkKind::Hccs, true)),
        "SIO" => Some((LinkKind::Sio, false)),
        _ => None,
    }
}

/// Every link that is no way over PCI. An output that is no matrix, as from boards without such links, has none.
pub fn parse(text: &str) -> Vec<Way> {
    let mut columns: Vec<End> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next().and_then(end) else { continue };
        if columns.is_empty() {
            columns = std::iter::once(Some(first)).chain(words.map(end)).map_while(|end| end).take(MOST_CHIPS).collect();
            continue;
        }
        if first == End::Other || found.len() > MOST_CHIPS * MOST_CHIPS {
            continue;
        }
        let cells = columns.iter().zip(words).filter(|(to, _)| **to != End::Other && **to != first);
        found.extend(cells.filter_map(|(to, word)| {
            let (kind, switched) = kind(word)?;
            Some(Way { from: first, to: *to, kind, switched })
        }));
    }
    found
}
