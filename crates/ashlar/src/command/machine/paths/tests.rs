use super::*;
use ::machine::paths::{Obstacle, PathReason};
use ::machine::{LinkKind, Vendor, Way};

fn end(name: String, vendor: Option<Vendor>) -> PathEnd {
    PathEnd { name, model: String::new(), pci: None, vendor }
}

/// Eight cards on NVLink and eight ports, four of each on a node: the first port is down, two cards sit behind a switch that redirects.
fn eight() -> PathReport {
    let accelerators: Vec<PathEnd> = (0..8).map(|n| end(format!("nvidia {n}"), Some(Vendor::Nvidia))).collect();
    let ports: Vec<PathEnd> = (0..8).map(|n| end(format!("mlx5_{n}"), None)).collect();
    let mut pairs = Vec::new();
    for (a, from) in accelerators.iter().enumerate() {
        for to in &accelerators[a + 1..] {
            let way = Way { distance: Distance::Link, over_pci: Distance::System, wire: Some((LinkKind::Nvlink, 18)), ..Way::default() };
            pairs.push(PathPair {
                from: from.name.clone(),
                to: to.name.clone(),
                rdma: false,
                way,
                verdict: Verdict::Works,
                reasons: vec![],
            });
        }
        for (b, to) in ports.iter().enumerate() {
            let distance = match () {
                () if a == b => Distance::Switch,
                () if a / 4 == b / 4 => Distance::Node,
                () => Distance::System,
            };
            let (verdict, reasons) = match (b, distance) {
                (0, _) => (Verdict::Blocked, vec![0]),
                (_, Distance::Switch) if a > 5 => (Verdict::Degraded, vec![2]),
                (_, Distance::Switch) => (Verdict::Works, vec![]),
                _ => (Verdict::Degraded, vec![1]),
            };
            let way = Way { distance, over_pci: distance, ..Way::default() };
            pairs.push(PathPair { from: from.name.clone(), to: to.name.clone(), rdma: true, way, verdict, reasons });
        }
    }
    let reason = |verdict, text: &str, at: &[&str], pairs, hint: Option<&str>| PathReason {
        obstacle: Obstacle {
            verdict,
            text: text.into(),
            at: at.iter().map(|at| (*at).to_owned()).collect(),
            hint: hint.map(str::to_owned),
            source: Some("somebody".into()),
        },
        pairs,
    };
    let reasons = vec![
        reason(Verdict::Blocked, "cannot be used: its port is down", &["mlx5_0"], 8, None),
        reason(Verdict::Degraded, "the way leads over processors", &[], 49, Some("stay near")),
        reason(
            Verdict::Degraded,
            "access control (ACS) sends what should stay in the switch up to the processor",
            &["0000:9a:00.0"],
            2,
            None,
        ),
    ];
    PathReport { accelerators, ports, pairs, reasons }
}

#[test]
fn eight_cards_and_eight_ports_stay_readable() {
    let text = draw(&eight(), false);
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn colour_changes_no_word() {
    let coloured = draw(&eight(), true);
    let mut plain = String::new();
    let mut inside = false;
    for c in coloured.chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            _ if !inside => plain.push(c),
            _ => {}
        }
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&plain), words(&draw(&eight(), false)));
    assert_ne!(coloured, plain);
}

#[test]
fn nothing_to_judge_is_said() {
    assert_eq!(draw(&PathReport::default(), false), "no accelerator is on the bus of this machine, so there is no path to judge\n");
    let alone = PathReport { accelerators: vec![end("nvidia 0".into(), Some(Vendor::Nvidia))], ..PathReport::default() };
    assert!(draw(&alone, false).starts_with("one accelerator and no network card"));
}
