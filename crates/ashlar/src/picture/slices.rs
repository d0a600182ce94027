//! The slices of a divided card: a line for each kind, a mark for each slice.

use super::line::{Line, Paint};
use super::{Picture, indented};
use machine::{Bytes, Device, Health, StopKind};
use std::collections::BTreeMap;

/// How a divided card is marked, here and in `ashlar devices`.
pub const SIGN: &str = "▣";
/// What the sign of a divided card means.
pub const LEGEND: &str = "divided: its slices are granted in its place";

/// Granted by its slices only, which is no fault.
pub fn is_divided(device: &Device) -> bool {
    device.ladder.stop.as_ref().is_some_and(|stop| stop.kind == StopKind::Divided)
}

impl Picture<'_> {
    /// A card with its slices below it. Slices have no lines of their own.
    pub(super) fn card(&self, device: &Device, room: usize) -> Vec<Line> {
        if device.slice.as_ref().is_some_and(|slice| self.machine.device(&slice.parent).is_some()) {
            return Vec::new();
        }
        let mut lines = self.device(device, room);
        lines.extend(self.slices(device).into_iter().map(indented));
        lines
    }

    fn slices(&self, card: &Device) -> Vec<Line> {
        let mut kinds: BTreeMap<(String, Option<Bytes>), Vec<&Device>> = BTreeMap::new();
        for part in &self.machine.devices {
            if let Some(slice) = part.slice.as_ref().filter(|slice| slice.parent == card.id) {
                kinds.entry((slice.sort(), part.memory)).or_default().push(part);
            }
        }
        let line = |((name, memory), parts): (&(String, Option<Bytes>), &Vec<&Device>)| {
            let mut line = Line::new();
            let each = memory.map_or_else(String::new, |memory| format!(", {memory}{}", if parts.len() > 1 { " each" } else { "" }));
            line.add(Paint::Faint, format!("{} {} x {name}{each}  ", self.style.pick("└", "`-"), parts.len()));
            for part in parts {
                let (mark, paint) = match (&part.health, self.holders.device(part)) {
                    (Health::Unusable(_), _) => (self.style.pick("✗", "x"), Paint::Bad),
                    (Health::Ready, [run, ..]) => (self.style.pick("■", "*"), Paint::Holder(*run)),
                    (Health::Ready, []) => (self.style.pick("□", "o"), Paint::Plain),
                };
                line.add(paint, mark).add(Paint::Plain, " ");
            }
            let free = parts.iter().filter(|part| part.health.is_ready() && self.holders.device(part).is_empty()).count();
            line.add(Paint::Faint, format!(" {free} free"));
            line
        };
        kinds.iter().map(line).collect()
    }
}
