use super::*;
use proptest::prelude::*;

/// A form with @ for what is said, who says it, when.
type Case = (&'static str, Speaker, Option<(i64, Base)>);

#[test]
fn a_line_is_read_in_every_form() {
    use Base::{Boot, Clock, Year};
    use Speaker::{Forged, Kernel, Program, Unknown};
    let said = "Aborting journal on device sda1-8.";
    let cases: [Case; 23] = [
        ("6,3964,206764307,-;@", Kernel, Some((206_764_307, Boot))),
        ("3,3964,206764307,c,caller=T12;@", Kernel, Some((206_764_307, Boot))),
        ("12,3964,206764307,-;@", Forged, Some((206_764_307, Boot))),
        ("<4>[ 1140.475887] @", Kernel, Some((1_140_475_887, Boot))),
        ("<12>[ 1140.475887] @", Forged, Some((1_140_475_887, Boot))),
        ("<3>@", Kernel, None),
        ("kern  :err   : [   15.582246] @", Kernel, Some((15_582_246, Boot))),
        ("user  :warn  : [   15.582246] @", Forged, Some((15_582_246, Boot))),
        ("kern  :warn  : 2025-01-21T04:41:44,283302+00:00 @", Kernel, Some((1_737_434_504_283_302, Clock))),
        ("[   15.582246] @", Unknown, Some((15_582_246, Boot))),
        ("[   15.582246][  T123] @", Unknown, Some((15_582_246, Boot))),
        ("[   15.582246][  C1] @", Unknown, Some((15_582_246, Boot))),
        ("[   15.582246] box7 kernel: @", Kernel, Some((15_582_246, Boot))),
        ("[Mon Aug 17 00:00:24 2026] @", Unknown, Some((1_786_924_824_000_000, Clock))),
        ("2025-01-21T04:41:44,283302+00:00 @", Unknown, Some((1_737_434_504_283_302, Clock))),
        ("2025-01-21T05:41:44.283302+01:00 box7 kernel: @", Kernel, Some((1_737_434_504_283_302, Clock))),
        ("2025-01-21T04:41:44+0000 box7 kernel: [ 12.5] @", Kernel, Some((1_737_434_504_000_000, Clock))),
        ("2025-01-21T04:41:44Z box7 logger[9]: @", Program, Some((1_737_434_504_000_000, Clock))),
        ("2020-12-31T00:39:25.857705+08:00|warning|kernel[-]|[21202265.886150] @", Kernel, Some((1_609_346_365_857_705, Clock))),
        ("Mar 15 03:40:50 box7 kernel: [16794.247724] @", Kernel, Some((6_406_850_000_000, Year))),
        ("Mar  5 03:40:50 rack 7 kernel: @", Kernel, Some((5_542_850_000_000, Year))),
        ("Mar 15 03:40:50 box7 python[77]: @", Program, Some((6_406_850_000_000, Year))),
        ("@", Unknown, None),
    ];
    for (form, speaker, at) in cases {
        let line = form.replace('@', said);
        let read = parse(&line);
        assert_eq!((read.speaker, read.at), (speaker, at.map(|(micros, base)| Moment { micros, base })), "{form}");
        assert_eq!(read.text, said, "{form}");
    }
}

#[test]
fn a_program_that_speaks_in_the_kernels_log_is_known() {
    for line in ["[ 1.5] systemd[1]: text", "[ 1.5] evil-7[77]: NVRM: Xid (PCI:0000:38:00): 79", "2025-01-21T04:41:44,283302+00:00 a[1]: b"]
    {
        assert_eq!(parse(line).speaker, Speaker::Forged, "{line}");
    }
    for line in
        ["[ 1.5] h[200]: segfault at 10 ip 0", "[ 1.5] BUG: soft lockup - CPU#1 stuck for 101s! [sh:315]", "[ 1.5] amdgpu 0: ACA[01/01]: x"]
    {
        assert_eq!(parse(line).speaker, Speaker::Unknown, "{line}");
    }
}

#[test]
fn times_are_written_as_they_were_read() {
    let cases = [
        ("[   15.582246] a", "15.582 s after the start"),
        ("[Mon Aug 17 00:00:24 2026] a", "2026-08-17 00:00:24"),
        ("Mar 15 03:40:50 a kernel: b", "Mar 15 03:40:50"),
        ("Dec 31 23:59:59 a kernel: b", "Dec 31 23:59:59"),
        ("2024-02-29T17:01:48.358351+00:00 a kernel: b", "2024-02-29 17:01:48"),
    ];
    for (line, text) in cases {
        assert_eq!(parse(line).at.unwrap().to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_a_line(text in "\\PC{0,200}") {
        let read = parse(&text);
        prop_assert!(text.contains(read.text));
        let _ = read.at.map(|at| at.to_string());
    }

    #[test]
    fn what_looks_like_a_form_and_is_none_does_no_harm(
        text in "(<[0-9]{0,12}>|[0-9,]{0,30};|\\[ *[0-9A-Z.]{0,30}\\]|Feb [ 0-9:]{0,20}|[0-9T:+,.Z|-]{0,40}|kern *: *warn *:)[ -~]{0,40}"
    ) {
        prop_assert!(text.contains(parse(&text).text));
    }

    #[test]
    fn days_come_back(days in -700_000i64..700_000) {
        let (year, month, day) = civil_from_days(days);
        prop_assert_eq!(days_from_civil(year, month, day), days);
    }
}
