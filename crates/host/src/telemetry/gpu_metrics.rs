//! amdgpu's binary `gpu_metrics`: one read for most figures of a card.
//!
//! Layout: Linux `drivers/gpu/drm/amd/include/kgd_pp_interface.h`, `struct gpu_metrics_v1_*`. A header of size, format and
//! content revision, then little-endian numbers; all bits set means "not told".

use machine::Telemetry;

/// Offsets in bytes of the 16-bit figures that we take.
struct Layout {
    temperature: usize,
    memory_temperature: usize,
    /// Watts.
    power: usize,
    busy: usize,
    memory_busy: usize,
    /// Megahertz.
    clocks: Option<(usize, usize)>,
}

/// Graphics cards and Instinct up to MI200.
const V1_1: Layout = Layout { temperature: 6, memory_temperature: 8, power: 22, busy: 16, memory_busy: 18, clocks: Some((54, 58)) };
/// MI300 and later; the clocks of its dies stand at places that move with the revision.
const V1_4: Layout = Layout { temperature: 4, memory_temperature: 6, power: 10, busy: 12, memory_busy: 14, clocks: None };

/// Nothing for a revision that is not known, or a file that is shorter than it says.
pub fn parse(bytes: &[u8]) -> Telemetry {
    let [low, high, format, content, ..] = *bytes else { return Telemetry::default() };
    let size = usize::from(u16::from_le_bytes([low, high]));
    let layout = match (format, content) {
        (1, 1..=3) => &V1_1,
        (1, 4..=8) => &V1_4,
        _ => return Telemetry::default(),
    };
    let bytes = &bytes[..size.min(bytes.len())];
    let word = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])).filter(|value| *value != u16::MAX);
    Telemetry {
        temperature_c: word(layout.temperature).map(i32::from),
        memory_temperature_c: word(layout.memory_temperature).map(i32::from),
        power_mw: word(layout.power).map(|watts| u64::from(watts) * 1000),
        busy_percent: word(layout.busy).map(u32::from),
        memory_busy_percent: word(layout.memory_busy).map(u32::from),
        clock_mhz: layout.clocks.and_then(|(clock, _)| word(clock)).map(u32::from),
        memory_clock_mhz: layout.clocks.and_then(|(_, clock)| word(clock)).map(u32::from),
        ..Telemetry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by hand from the structure, by documentation only.
    fn table(content: u8, size: u16, figures: &[(usize, u16)]) -> Vec<u8> {
        let mut bytes = vec![0xff; usize::from(size)];
        bytes[..4].copy_from_slice(&[size.to_le_bytes()[0], size.to_le_bytes()[1], 1, content]);
        for (at, value) in figures {
            bytes[*at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn both_families_are_read() {
        let card = parse(&table(3, 120, &[(6, 71), (8, 66), (16, 98), (22, 300), (54, 1700)]));
        assert_eq!((card.temperature_c, card.memory_temperature_c, card.busy_percent), (Some(71), Some(66), Some(98)));
        assert_eq!((card.power_mw, card.clock_mhz, card.memory_busy_percent), (Some(300_000), Some(1700), None));
        let instinct = parse(&table(5, 200, &[(4, 55), (10, 640), (12, 100), (14, 40)]));
        assert_eq!((instinct.temperature_c, instinct.power_mw, instinct.busy_percent), (Some(55), Some(640_000), Some(100)));
        assert!(parse(&table(99, 120, &[(4, 1)])).is_empty(), "an unknown revision is not guessed at");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..64), content in 0u8..12) {
            let mut bytes = bytes;
            if bytes.len() > 3 {
                bytes[2] = 1;
                bytes[3] = content;
            }
            let _ = parse(&bytes);
        }
    }
}
