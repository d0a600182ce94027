//! Ports of RDMA devices, a line each.

use super::{Block, CARD, LINE, UNIT, card, cut, text};
use crate::picture::ports::{name, what};
use machine::{Machine, PortState};
use std::fmt::Write;

/// Ports that are told one by one; all are in the JSON.
const MOST: usize = 24;

/// The card of InfiniBand and RoCE ports; none without any.
pub(super) fn list(machine: &Machine) -> Option<Block> {
    let ports = &machine.infiniband;
    let mut body = String::new();
    let mut y = 0.0;
    for port in ports.iter().take(MOST) {
        let class = match port.state {
            PortState::Active => "net",
            PortState::Unknown => "oth",
            _ => "bad",
        };
        let _ = write!(body, "<rect class=\"{class}\" x=\"0\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\"/>", y + 4.0);
        let place = port.pci.map_or_else(String::new, |at| format!("  {at}"));
        let words = format!("{}  {}, {}{place}", name(port), what(port), port.state);
        text(&mut body, "", 16.0, y + 13.0, &cut(&words, CARD - 5.0 * UNIT));
        y += LINE;
    }
    if ports.len() > MOST {
        text(&mut body, "f", 0.0, y + 13.0, &format!("and {} more", ports.len() - MOST));
        y += LINE;
    }
    (!ports.is_empty()).then(|| card("RDMA ports", "", vec![Block { height: y, body }]))
}
