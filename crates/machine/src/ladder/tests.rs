use super::*;
use proptest::prelude::*;

/// A card at the top.
fn fine() -> Evidence {
    Evidence {
        driver: Some("nvidia".into()),
        drivers: vec!["nvidia".into()],
        module: Module { name: "nvidia".into(), loaded: true, on_disk: Some(true), ..Module::default() },
        nodes: ["/dev/nvidia0", "/dev/nvidia-uvm"].map(|path| NodeSeen { path: path.into(), access: Access::Fine }).into(),
        answer: Answer::Fine,
        ..Evidence::default()
    }
}

fn unbound(module: Module) -> Evidence {
    Evidence { driver: None, module: Module { name: "nvidia".into(), ..module }, ..fine() }
}

fn who() -> String {
    "libnvidia-ml.so.1".into()
}

/// One line a case: what is seen, how far it gets, why not further, and whether work may go there.
#[test]
fn every_way_to_stop_has_its_rung_and_its_sentence() {
    let node = |path: &str, access| vec![NodeSeen { path: path.into(), access }];
    let cases: Vec<(Evidence, Rung, Option<StopKind>, &str, bool)> = vec![
        (fine(), Rung::Healthy, None, "", true),
        (Evidence { on_bus: OnBus::Gone, ..fine() }, Rung::None, Some(StopKind::Gone), "gone from the bus", false),
        (Evidence { on_bus: OnBus::Dead, ..fine() }, Rung::None, Some(StopKind::Dead), "all ones", false),
        (
            Evidence { unknown_maker: Some("Hailo".into()), driver: Some("hailo".into()), ..fine() },
            Rung::Bus,
            Some(StopKind::UnknownVendor),
            "accelerators of Hailo are not known to Ashlar yet (driver hailo is bound)",
            false,
        ),
        (
            Evidence { driver: Some("vfio-pci".into()), ..fine() },
            Rung::Bus,
            Some(StopKind::SetAside),
            "set aside for a virtual machine (driver vfio-pci)",
            false,
        ),
        (
            Evidence { driver: Some("nouveau".into()), ..fine() },
            Rung::Bus,
            Some(StopKind::WrongDriver),
            "driver nouveau is bound, nvidia is needed",
            false,
        ),
        (
            unbound(Module { on_disk: Some(false), ..Module::default() }),
            Rung::Bus,
            Some(StopKind::ModuleMissing),
            "driver not bound: module nvidia not loaded: this kernel has no such module",
            false,
        ),
        (
            unbound(Module { blacklisted_by: Some("/etc/modprobe.d/x.conf".into()), ..Module::default() }),
            Rung::Bus,
            Some(StopKind::ModuleBlacklisted),
            "driver not bound: module nvidia not loaded: blacklisted by /etc/modprobe.d/x.conf",
            false,
        ),
        (
            unbound(Module { on_disk: Some(true), signed_only: Some("Secure Boot".into()), signed: Some(false), ..Module::default() }),
            Rung::Bus,
            Some(StopKind::ModuleUnsigned),
            "driver not bound: module nvidia not loaded, Secure Boot rejects unsigned module",
            false,
        ),
        (
            unbound(Module { signed_only: Some("Secure Boot".into()), signed: None, ..Module::default() }),
            Rung::Bus,
            Some(StopKind::ModuleUnsigned),
            "driver not bound: module nvidia not loaded, Secure Boot accepts signed modules only",
            false,
        ),
        (
            unbound(Module { signed_only: Some("Secure Boot".into()), signed: Some(true), ..Module::default() }),
            Rung::Bus,
            Some(StopKind::ModuleNotLoaded),
            "driver not bound: module nvidia not loaded",
            false,
        ),
        (
            unbound(Module { loaded: true, ..Module::default() }),
            Rung::Bus,
            Some(StopKind::NotClaimed),
            "driver not bound: module nvidia is loaded, but did not take this card",
            false,
        ),
        (
            Evidence { nodes: node("/dev/nvidia-uvm", Access::Missing), ..fine() },
            Rung::Driver,
            Some(StopKind::NodeMissing),
            "node missing: nvidia-uvm",
            false,
        ),
        (
            Evidence { nodes: node("/dev/kfd", Access::Denied(Some("render".into()))), ..fine() },
            Rung::Driver,
            Some(StopKind::NodeDenied),
            "permission denied for this user: /dev/kfd",
            false,
        ),
        (Evidence { answer: Answer::NotAsked, ..fine() }, Rung::Node, None, "", true),
        (
            Evidence { answer: Answer::NotInstalled(who()), ..fine() },
            Rung::Node,
            Some(StopKind::LibraryMissing),
            "libnvidia-ml.so.1 is not installed",
            true,
        ),
        // Waking eight cards takes long; half a minute is too long, and so is one card that all others pass.
        (
            Evidence { answer: Answer::Hung { who: who(), seconds: 10, at_this_card: false }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeHung),
            "probe hung: libnvidia-ml.so.1 gave no answer within 10 s",
            true,
        ),
        (
            Evidence { answer: Answer::Hung { who: who(), seconds: 30, at_this_card: false }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeHung),
            "within 30 s",
            false,
        ),
        (
            Evidence { answer: Answer::Hung { who: who(), seconds: 10, at_this_card: true }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeHung),
            "no answer at this card within 10 s",
            false,
        ),
        (
            Evidence { answer: Answer::Crashed { who: who(), how: "died of signal 11".into(), at_this_card: true }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeCrashed),
            "probe crashed: libnvidia-ml.so.1 died of signal 11 at this card",
            false,
        ),
        (
            Evidence { answer: Answer::Crashed { who: who(), how: "died of signal 11".into(), at_this_card: false }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeCrashed),
            "died of signal 11",
            true,
        ),
        (
            Evidence { answer: Answer::Nonsense { who: who(), what: "a load of 900 %".into() }, ..fine() },
            Rung::Node,
            Some(StopKind::ProbeNonsense),
            "libnvidia-ml.so.1 answers nonsense: a load of 900 %",
            true,
        ),
        (
            Evidence { answer: Answer::Refused { who: who(), error: "version mismatch".into(), hint: None }, ..fine() },
            Rung::Node,
            Some(StopKind::LibraryError),
            "libnvidia-ml.so.1: version mismatch",
            false,
        ),
        (
            Evidence { answer: Answer::Unlisted { who: who() }, ..fine() },
            Rung::Node,
            Some(StopKind::LibraryBlind),
            "libnvidia-ml.so.1 does not list the card",
            false,
        ),
        (
            Evidence { faults: vec![Fault { text: "row remapping failed".into(), hint: None, blocks: true }], ..fine() },
            Rung::Library,
            Some(StopKind::Fault),
            "row remapping failed",
            false,
        ),
        (
            Evidence { faults: vec![Fault { text: "hot".into(), hint: None, blocks: false }], ..fine() },
            Rung::Library,
            Some(StopKind::Fault),
            "hot",
            true,
        ),
        (Evidence { slices: 7, ..fine() }, Rung::Healthy, Some(StopKind::Divided), "divided into 7 slices", false),
        (
            Evidence { slices: 1, answer: Answer::NotAsked, ..fine() },
            Rung::Node,
            Some(StopKind::Divided),
            "divided into 1 slice, which",
            false,
        ),
    ];
    for (seen, reached, kind, words, ready) in cases {
        let ladder = climb(&seen);
        assert_eq!((ladder.reached, ladder.stop.as_ref().map(|stop| stop.kind)), (reached, kind), "{seen:?}");
        let reason = ladder.stop.as_ref().map_or("", |stop| stop.reason.as_str());
        assert!(reason.contains(words), "{reason:?} lacks {words:?}");
        assert_eq!(ladder.health().is_ready(), ready, "{seen:?}");
        let json = serde_json::to_string(&ladder).unwrap();
        assert_eq!(serde_json::from_str::<Ladder>(&json).unwrap(), ladder);
    }
}

#[test]
fn the_lowest_fault_is_the_one_that_is_told() {
    let seen = Evidence {
        driver: None,
        module: Module::default(),
        nodes: vec![NodeSeen { path: "/dev/nvidia0".into(), access: Access::Missing }],
        answer: Answer::Unlisted { who: who() },
        faults: vec![Fault { text: "hot".into(), hint: None, blocks: true }],
        slices: 2,
        ..fine()
    };
    let stop = climb(&seen).stop.unwrap();
    assert_eq!((stop.kind, stop.reason.as_str()), (StopKind::ModuleNotLoaded, "driver not bound: module nvidia not loaded"));
    assert_eq!(climb(&Evidence { on_bus: OnBus::Dead, ..seen }).stop.unwrap().kind, StopKind::Dead);
}

#[test]
fn hints_name_the_thing_to_do() {
    let hint = |seen: Evidence| climb(&seen).stop.and_then(|stop| stop.hint).unwrap_or_default();
    assert!(hint(Evidence { driver: Some("nouveau".into()), ..fine() }).contains("blacklist nouveau"));
    assert!(hint(unbound(Module::default())).contains("modprobe nvidia"));
    let denied = vec![NodeSeen { path: "/dev/kfd".into(), access: Access::Denied(Some("render".into())) }];
    assert!(hint(Evidence { nodes: denied, ..fine() }).contains("usermod -aG render"));
    for (path, word) in [
        ("/dev/nvidia-uvm", "nvidia-uvm"),
        ("/dev/nvidia3", "nvidia-modprobe"),
        ("/dev/kfd", "CONFIG_HSA_AMD"),
        ("/dev/vfio/12", "vfio-pci"),
        ("/dev/neuron0", "container"),
    ] {
        let nodes = vec![NodeSeen { path: path.into(), access: Access::Missing }];
        assert!(hint(Evidence { nodes, ..fine() }).contains(word), "{path}");
    }
}

#[test]
fn what_a_library_says_changes_only_the_upper_rungs() {
    let found = climb(&Evidence { answer: Answer::NotAsked, ..fine() });
    assert_eq!(found.go_on(Answer::Fine, vec![], 0), climb(&fine()));
    let lost = found.go_on(Answer::Unlisted { who: who() }, vec![], 0);
    assert_eq!((lost.reached, lost.health().is_ready()), (Rung::Node, false));
    assert!(lost.go_on(Answer::Fine, vec![], 0).health().is_ready(), "it came back");
    let unbound = climb(&unbound(Module::default()));
    assert_eq!(unbound.go_on(Answer::Fine, vec![], 3), unbound);
    assert_eq!(found.go_on(Answer::NotAsked, vec![], 4).stop.unwrap().kind, StopKind::Divided);
}

#[test]
fn rungs_are_in_order_and_have_their_names() {
    assert!(Rung::ALL.windows(2).all(|pair| pair[0] < pair[1]) && Rung::None < Rung::Bus);
    for rung in Rung::ALL {
        assert_eq!(serde_json::to_string(&rung).unwrap(), format!("\"{rung}\""));
    }
    assert!(!Ladder::default().health().is_ready(), "what was never looked at is granted to nobody");
}

proptest! {
    /// More going wrong never gets a card higher.
    #[test]
    fn a_further_fault_never_helps(dead: bool, unbind: bool, lose: bool, blind: bool, hot: bool) {
        let worse = |seen: &Evidence| {
            let mut worse = seen.clone();
            if dead { worse.on_bus = OnBus::Dead }
            if unbind { worse.driver = None }
            if lose { worse.nodes[0].access = Access::Missing }
            if blind { worse.answer = Answer::Unlisted { who: who() } }
            if hot { worse.faults.push(Fault { text: "hot".into(), hint: None, blocks: true }) }
            worse
        };
        let seen = worse(&fine());
        let ladder = climb(&seen);
        prop_assert!(ladder.reached <= Rung::Healthy);
        prop_assert_eq!(ladder.stop.is_some(), dead || unbind || lose || blind || hot);
        prop_assert_eq!(ladder.health().is_ready(), ladder.stop.is_none());
    }
}

#[test]
fn what_the_kernel_tells_counts_where_nobody_can_be_asked_and_explains_what_fails() {
    let told = || vec![Fault { text: "kernel log: Xid 79".into(), hint: None, blocks: false }];
    let silent = climb(&Evidence { answer: Answer::NotAsked, faults: told(), ..fine() });
    assert_eq!((silent.reached, silent.stop.as_ref().map(|stop| stop.kind)), (Rung::Node, Some(StopKind::Fault)));
    assert!(silent.health().is_ready());
    let refused = Answer::Refused { who: "lib".into(), error: "GPU is lost".into(), hint: None };
    let lost = climb(&Evidence { answer: refused, faults: told(), ..fine() }).stop.unwrap();
    assert_eq!((lost.kind, lost.reason.as_str(), lost.blocks), (StopKind::LibraryError, "lib: GPU is lost; kernel log: Xid 79", true));
}

#[test]
fn a_divided_card_with_a_small_fault_is_still_divided() {
    let faults = vec![Fault { text: "a link is down".into(), hint: Some("look".into()), blocks: false }];
    let ladder = climb(&Evidence { slices: 2, faults, ..fine() });
    assert!(!ladder.health().is_ready(), "the whole card must not be granted beside its slices");
    let stop = ladder.stop.unwrap();
    assert_eq!(stop.kind, StopKind::Divided);
    assert!(stop.reason.ends_with("; a link is down") && stop.hint.is_some(), "{stop:?}");
}

#[test]
fn a_fault_that_blocks_is_told_before_one_that_does_not() {
    let fault = |text: &str, blocks| Fault { text: text.into(), hint: None, blocks };
    let ladder = climb(&Evidence { faults: vec![fault("small", false), fault("large", true)], ..fine() });
    assert_eq!(ladder.stop.unwrap().reason, "large");
}
