//! Groups of the IOMMU: how many of which type, and those that several cards share.

use super::{Block, CARD, LINE, UNIT, card, text, wrapped};
use crate::picture::iommu::Groups;
use machine::topology::Topology;

pub(super) fn groups(topology: &Topology) -> Option<Block> {
    let groups = Groups::of(topology)?;
    let mut body = String::new();
    let mut y = 0.0;
    let types = groups.types.iter().map(|(kind, count)| format!("{count} {kind}"));
    let shared = groups.shared.iter().map(|(group, names)| format!("group {group} is shared: {names}"));
    let none = groups.shared.is_empty().then(|| "each card has a group of its own".to_owned());
    for words in types.chain(shared).chain(none) {
        for line in wrapped(&words, CARD - 3.0 * UNIT) {
            text(&mut body, "", 0.0, y + 13.0, &line);
            y += LINE;
        }
    }
    if groups.more > 0 {
        text(&mut body, "f", 0.0, y + 13.0, &format!("and {} more groups of several devices", groups.more));
        y += LINE;
    }
    let plural = if groups.count == 1 { "" } else { "s" };
    Some(card(
        &format!("IOMMU  {} group{plural}", groups.count),
        "what shares a group can only be handed out together",
        vec![Block { height: y, body }],
    ))
}
