use super::*;
use proptest::prelude::*;

fn sane() -> Telemetry {
    Telemetry {
        temperature_c: Some(61),
        power_mw: Some(412_000),
        power_limit_mw: Some(700_000),
        clock_mhz: Some(1980),
        busy_percent: Some(100),
        memory_used: Some(Bytes::gib(70)),
        memory_total: Some(Bytes::gib(80)),
        ecc_uncorrected: Some(0),
        link: Some(PcieLink { speed_mt: 32_000, width: 16, max_speed_mt: 32_000, max_width: 16 }),
        ..Telemetry::default()
    }
}

type Lie = fn(&mut Telemetry);

#[test]
fn what_can_be_stays_and_what_cannot_goes_with_a_word() {
    assert_eq!(checked(sane()), (sane(), vec![]));
    let lies: [(Lie, &str); 8] = [
        (|t| t.temperature_c = Some(4000), "a temperature of 4000 °C"),
        (|t| t.power_mw = Some(u64::MAX), "a power of 18446744073709551615 mW"),
        (|t| t.busy_percent = Some(101), "a load of 101 %"),
        (|t| t.memory_used = Some(Bytes::gib(81)), "used memory of 81 GiB"),
        (|t| t.memory_total = Some(Bytes(1 << 50)), "a memory of"),
        (|t| t.clock_mhz = Some(u32::MAX), "a clock of 4294967295 MHz"),
        (|t| t.ecc_uncorrected = Some(u64::MAX), "a count of uncorrected errors of"),
        (|t| t.link = Some(PcieLink { width: 255, ..PcieLink::default() }), "a link of 0 MT/s x255"),
    ];
    for (lie, word) in lies {
        let mut told = sane();
        lie(&mut told);
        let (kept, wrong) = checked(told.clone());
        assert!(wrong.len() == 1 && wrong[0].starts_with(word), "{word}: {wrong:?}");
        assert_ne!(kept, told);
        assert_eq!(checked(kept.clone()), (kept, vec![]), "checking twice changes nothing");
    }
}

#[test]
fn two_sources_complete_each_other_and_the_first_wins() {
    let library = Telemetry { temperature_c: Some(50), throttled: vec!["power cap".into()], ..Telemetry::default() };
    let both = library.clone().or(sane());
    assert_eq!((both.temperature_c, both.clock_mhz, both.throttled.len()), (Some(50), Some(1980), 1));
    assert_eq!(Telemetry::default().or(sane()), sane());
    assert_eq!(sane().or(Telemetry::default()), sane());
    assert!(Telemetry::default().is_empty() && !sane().is_empty());
}

#[test]
fn a_narrow_link_is_one_with_fewer_lanes() {
    let full = PcieLink { speed_mt: 2500, width: 16, max_speed_mt: 32_000, max_width: 16 };
    assert!(!full.is_narrow(), "slow when idle");
    assert!(PcieLink { width: 8, ..full }.is_narrow());
    assert!(!PcieLink { width: 0, ..full }.is_narrow(), "not told");
}

proptest! {
    #[test]
    fn nothing_outside_its_range_passes(temperature: i32, power: u64, busy: u32, used: u64, total: u64, width: u32) {
        let told = Telemetry {
            temperature_c: Some(temperature),
            power_mw: Some(power),
            busy_percent: Some(busy),
            memory_used: Some(Bytes(used)),
            memory_total: Some(Bytes(total)),
            link: Some(PcieLink { width, ..PcieLink::default() }),
            ..Telemetry::default()
        };
        let (kept, _) = checked(told);
        prop_assert!(kept.busy_percent.is_none_or(|busy| busy <= 100));
        prop_assert!(kept.temperature_c.is_none_or(|temperature| temperature < 201));
        prop_assert!(kept.memory_used.is_none_or(|used| used <= kept.memory_total.unwrap_or(MOST_MEMORY)));
        prop_assert!(kept.link.is_none_or(|link| link.width <= 64));
    }
}
