//! NVIDIA's library through the real loading path, with a stand-in that hangs, crashes, lies and ignores signals.
//!
//! This program is also the child that loads the library: `--child LIBRARY`.

use fake_nvml::{Act, Fabric, Gpu, Mig, Script};
use host::Root;
use host::accelerators::nvml::{self, Asker, Sweep};
use host::child::Silence;
use machine::ladder::{Evidence, climb};
use machine::{Bytes, Device, DeviceId, KernelFaults, LinkKind, Rung, StopKind, Vendor};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("eight cards are known in full", eight_cards_are_known_in_full),
    ("slices are devices", slices_are_devices),
    ("a card that hangs costs only itself", a_card_that_hangs_costs_only_itself),
    ("a card that crashes the library costs only itself", a_card_that_crashes_the_library_costs_only_itself),
    ("a library that hangs at once is a finding", a_library_that_hangs_at_once_is_a_finding),
    ("a library that crashes or fails at once", a_library_that_crashes_or_fails_at_once),
    ("no library", no_library),
    ("a lost card is told from a broken library", a_lost_card_is_told_from_a_broken_library),
    ("lies are caught", lies_are_caught),
    ("a library that shouts", a_library_that_shouts),
    ("faults are judged", faults_are_judged),
    ("domains over machines are told", domains_over_machines_are_told),
    ("a child that is kept answers again and recovers", a_child_that_is_kept_answers_again_and_recovers),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, library] = &arguments[..]
        && flag == "--child"
    {
        return nvml::serve(Some(library.as_ref()), std::io::stdin().lock(), std::io::stdout());
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return CASES.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let patterns: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| name.contains(pattern.as_str()));
    let failed = CASES.iter().filter(|(name, _)| wanted(name)).filter(|(name, case)| {
        let failed = std::panic::catch_unwind(case).is_err();
        println!("test {name} ... {}", if failed { "FAILED" } else { "ok" });
        failed
    });
    if failed.count() > 0 {
        std::process::exit(101);
    }
}

/// Long enough for any machine to answer in; a test that waits for it fails by it.
const LONG: Duration = Duration::from_secs(120);
/// For children that never answer.
const SHORT: Duration = Duration::from_millis(1500);

struct Played {
    script: tempfile::NamedTempFile,
}

impl Played {
    fn new(script: &Script) -> Played {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), serde_json::to_vec(script).unwrap()).unwrap();
        Played { script: file }
    }

    fn asker(&self, patience: Duration) -> Asker {
        asker(self.script.path(), &fake_nvml::library_path(), patience)
    }

    fn sweep(&self, patience: Duration) -> Sweep {
        self.asker(patience).sweep(true)
    }
}

fn asker(script: &Path, library: &Path, patience: Duration) -> Asker {
    let (script, library) = (script.to_owned(), library.to_owned());
    Asker::new(patience, move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--child").arg(&library).env(fake_nvml::SCRIPT_VARIABLE, &script);
        command
    })
}

/// Cards as the bus shows them: by address, with their driver bound.
fn on_the_bus(count: u32) -> Vec<Device> {
    let card = |index: u32| {
        let ladder = climb(&Evidence { driver: Some("nvidia".into()), drivers: vec!["nvidia".into()], ..Evidence::default() });
        Device {
            id: DeviceId(format!("0000:{:02x}:00.0", 0x18 + index)),
            vendor: Vendor::Nvidia,
            index,
            pci: format!("0000:{:02x}:00.0", 0x18 + index).parse().ok(),
            driver: Some("nvidia".into()),
            health: ladder.health(),
            ladder,
            ..Device::default()
        }
    };
    (0..count).map(card).collect()
}

fn merged(count: u32, sweep: &Sweep) -> Vec<Device> {
    let mut devices = on_the_bus(count);
    nvml::merge(&Root::at("/nonexistent"), &mut devices, sweep, 10, &KernelFaults::default());
    devices
}

fn kinds(devices: &[Device]) -> Vec<Option<StopKind>> {
    devices.iter().map(|device| device.ladder.stop.as_ref().map(|stop| stop.kind)).collect()
}

fn ready(devices: &[Device]) -> Vec<bool> {
    devices.iter().map(|device| device.health.is_ready()).collect()
}

fn eight_cards_are_known_in_full() {
    let sweep = Played::new(&Script::board(8)).sweep(LONG);
    assert_eq!((sweep.driver.as_deref(), sweep.gpus.len(), sweep.silence.clone()), (Some("570.86.15"), 8, None));
    let devices = merged(8, &sweep);
    assert!(devices.iter().all(|device| device.ladder.reached == Rung::Healthy && device.ladder.stop.is_none()), "{:?}", devices[0].ladder);
    let card = &devices[3];
    assert_eq!(card.id.0, "GPU-00000003-1111-2222-3333-444444444444");
    assert_eq!((card.memory, card.architecture.as_deref()), (Some(Bytes(85_520_809_984)), Some("sm_90")));
    let links: Vec<_> = card.links.iter().map(|link| (link.kind, link.to.clone(), link.lanes, link.down)).collect();
    assert_eq!(links, [(LinkKind::Nvlink, None, 4, 0), (LinkKind::Nvlink, Some(devices[2].id.clone()), 1, 0)]);
    let seen = &sweep.gpus[0].telemetry;
    assert_eq!((seen.temperature_c, seen.power_mw, seen.busy_percent, seen.ecc_uncorrected), (Some(41), Some(118_000), Some(12), Some(0)));
    assert_eq!(seen.link.unwrap().speed_mt, 32_000);
}

fn slices_are_devices() {
    let mut script = Script::board(2);
    let mig =
        |number: u32| Mig { uuid: format!("MIG-{number}"), gpu_instance: number + 7, compute_instance: 0, memory_mb: 9856, sevenths: 1 };
    script.gpus[0].mig = Some((0..3).map(mig).collect());
    let devices = merged(2, &Played::new(&script).sweep(LONG));
    let ids: Vec<&str> = devices.iter().map(|device| device.id.0.as_str()).collect();
    assert_eq!((ids.len(), &ids[1..4]), (5, &["MIG-0", "MIG-1", "MIG-2"][..]));
    assert_eq!(ready(&devices), [false, true, true, true, true], "the card is not granted beside its slices");
    assert_eq!(kinds(&devices)[0], Some(StopKind::Divided));
    let slice = &devices[1];
    assert_eq!((slice.memory, slice.slice.as_ref().unwrap().profile.as_str()), (Some(Bytes::mib(9856)), "1g.10gb"));
    assert_eq!(slice.slice.as_ref().unwrap().parent, devices[0].id);
    // Asked again, they are the same devices and not three more.
    let mut again = devices.clone();
    nvml::merge(&Root::at("/nonexistent"), &mut again, &Played::new(&script).sweep(LONG), 10, &KernelFaults::default());
    assert_eq!(again, devices);
}

fn a_card_that_hangs_costs_only_itself() {
    let mut script = Script::board(8);
    script.gpus[2].sensor = Act::Hang;
    script.gpus[5].handle = Act::Hang;
    let played = Played::new(&script);
    let began = Instant::now();
    let sweep = played.sweep(SHORT);
    assert!(began.elapsed() < LONG, "two silences and no more");
    assert_eq!(sweep.stuck.keys().copied().collect::<Vec<_>>(), [2, 5]);
    assert_eq!(sweep.gpus.len(), 6);
    let devices = merged(8, &sweep);
    assert_eq!(ready(&devices), [true, true, false, true, true, false, true, true]);
    assert_eq!(kinds(&devices)[2], Some(StopKind::ProbeHung));
}

fn a_card_that_crashes_the_library_costs_only_itself() {
    let mut script = Script::board(4);
    script.gpus[0].sensor = Act::Crash;
    let sweep = Played::new(&script).sweep(LONG);
    assert_eq!(sweep.stuck.get(&0), Some(&Silence::Crashed(11)));
    let devices = merged(4, &sweep);
    assert_eq!(ready(&devices), [false, true, true, true]);
    let stop = devices[0].ladder.stop.as_ref().unwrap();
    assert_eq!(
        (stop.kind, stop.reason.as_str()),
        (StopKind::ProbeCrashed, "probe crashed: libnvidia-ml.so.1 died of signal 11 at this card")
    );
}

fn a_library_that_hangs_at_once_is_a_finding() {
    let sweep = Played::new(&Script { init: Act::Hang, ..Script::board(2) }).sweep(SHORT);
    assert_eq!(sweep.silence, Some(Silence::Hung));
    let devices = merged(2, &sweep);
    assert_eq!(kinds(&devices), [Some(StopKind::ProbeHung); 2]);
    assert_eq!(ready(&devices), [true, true], "waking cards takes long: ten seconds prove nothing");
    let mut devices = on_the_bus(2);
    nvml::merge(&Root::at("/nonexistent"), &mut devices, &sweep, 30, &KernelFaults::default());
    assert_eq!(ready(&devices), [false, false]);
}

fn a_library_that_crashes_or_fails_at_once() {
    let crashed = Played::new(&Script { init: Act::Crash, ..Script::board(2) }).sweep(LONG);
    assert_eq!(kinds(&merged(2, &crashed)), [Some(StopKind::ProbeCrashed); 2]);
    let mismatch = Played::new(&Script { init: Act::Error(18), ..Script::board(2) }).sweep(LONG);
    let devices = merged(2, &mismatch);
    assert_eq!((kinds(&devices), ready(&devices)), (vec![Some(StopKind::LibraryError); 2], vec![false, false]));
    let stop = devices[0].ladder.stop.as_ref().unwrap();
    assert!(stop.reason.contains("version mismatch") && stop.hint.as_ref().unwrap().contains("restart"), "{stop:?}");
}

fn no_library() {
    let sweep = asker(Path::new("/dev/null"), Path::new("/nonexistent/libnvidia-ml.so.1"), LONG).sweep(true);
    assert!(sweep.failed.as_ref().unwrap().no_library);
    let devices = merged(2, &sweep);
    assert_eq!((kinds(&devices), ready(&devices)), (vec![Some(StopKind::LibraryMissing); 2], vec![true, true]));
    let sweep = Asker::new(LONG, || Command::new("/nonexistent/program")).sweep(true);
    assert!(matches!(sweep.silence, Some(Silence::NotStarted(_))));
    assert_eq!(kinds(&merged(1, &sweep)), [None], "that we cannot ask says nothing about the card");
}

fn a_lost_card_is_told_from_a_broken_library() {
    let mut script = Script::board(3);
    script.gpus[1].sensor = Act::Error(15);
    let devices = merged(4, &Played::new(&script).sweep(LONG));
    assert_eq!(kinds(&devices), [None, Some(StopKind::LibraryError), None, Some(StopKind::LibraryBlind)]);
    assert!(devices[1].ladder.stop.as_ref().unwrap().reason.contains("fell off the bus"));
    assert_eq!(ready(&devices), [true, false, true, false]);
}

fn lies_are_caught() {
    let mut script = Script::board(2);
    script.gpus[0].sensor = Act::Garbage;
    script.gpus[0].memory = u64::MAX;
    script.gpus[0].capability = (-7, 4);
    let devices = merged(2, &Played::new(&script).sweep(LONG));
    assert_eq!(kinds(&devices), [Some(StopKind::ProbeNonsense), None]);
    let reason = &devices[0].ladder.stop.as_ref().unwrap().reason;
    for lie in ["a temperature", "a power", "a load of 900 %", "a memory", "a compute capability of -7.4"] {
        assert!(reason.contains(lie), "{reason}");
    }
    assert_eq!((devices[0].memory, devices[0].architecture.as_deref()), (None, None), "nothing of it is taken over");
}

fn a_library_that_shouts() {
    let mut script = Script::board(2);
    script.gpus[1].sensor = Act::Shout;
    let sweep = Played::new(&script).sweep(LONG);
    assert_eq!(sweep.stuck.get(&1), Some(&Silence::TooMuch));
    assert_eq!(kinds(&merged(2, &sweep)), [None, Some(StopKind::ProbeNonsense)]);
}

fn faults_are_judged() {
    let mut script = Script::board(7);
    script.gpus[1].ecc = (12, 2);
    script.gpus[2].remap = (0, 1, 1, 0);
    script.gpus[3].remap = (0, 8, 0, 1);
    script.gpus[4].nvlinks[1].up = false;
    script.gpus[5].link = (5, 4, 5, 16);
    script.gpus[6].throttle = 0x40;
    let devices = merged(7, &Played::new(&script).sweep(LONG));
    let words = [
        "",
        "2 uncorrected memory errors",
        "at the next reset",
        "no spare row",
        "1 of 5 NVLinks",
        "4 of 16 PCIe lanes",
        "hardware thermal",
    ];
    for (device, word) in devices.iter().zip(words) {
        let reason = device.ladder.stop.as_ref().map_or("", |stop| stop.reason.as_str());
        assert!(reason.contains(word) && (word.is_empty() == reason.is_empty()), "{reason:?} lacks {word:?}");
    }
    assert_eq!(ready(&devices), [true, false, true, false, true, true, true]);
    let links: Vec<_> = devices[4].links.iter().map(|link| (link.to.is_some(), link.lanes, link.down)).collect();
    assert_eq!(links, [(false, 3, 1), (true, 1, 0)], "where a link that is down leads is not known");
}

fn a_child_that_is_kept_answers_again_and_recovers() {
    let mut script = Script::board(2);
    let played = Played::new(&script);
    let mut asker = played.asker(LONG);
    let first = asker.sweep(true);
    let second = asker.sweep(false);
    assert_eq!((first.gpus.len(), second.gpus.len()), (2, 2));
    assert!(first.gpus[0].uuid.is_some() && second.gpus[0].uuid.is_none(), "a light sweep asks for less");
    // A card that crashed its child is left out for a while, and asked again later.
    script.gpus[1].sensor = Act::Crash;
    std::fs::write(played.script.path(), serde_json::to_vec(&script).unwrap()).unwrap();
    let mut asker = played.asker(LONG);
    assert_eq!(asker.sweep(true).stuck.len(), 1);
    script.gpus[1] = Gpu { pci: script.gpus[1].pci.clone(), ..Gpu::default() };
    std::fs::write(played.script.path(), serde_json::to_vec(&script).unwrap()).unwrap();
    // The child that lives still plays the old script; the one after its next crash does not.
    let sweeps = (1..200).find(|_| asker.sweep(true).gpus.len() == 2);
    assert_eq!(sweeps, Some(90), "thirty sweeps, then twice as many");
}

fn domains_over_machines_are_told() {
    let rack = |state, status, old| Some(Fabric { cluster: [0xab; 16], clique: 7, state, status, health: 1, old });
    let mut script = Script::board(6);
    script.gpus[0].fabric = rack(3, 0, false);
    script.gpus[1].fabric = rack(3, 0, true);
    script.gpus[2].fabric = rack(2, 0, false);
    script.gpus[3].fabric = rack(3, 999, false);
    // A board whose links stay within the machine.
    script.gpus[4].fabric = Some(Fabric { state: 3, health: 3, ..Fabric::default() });
    let devices = merged(6, &Played::new(&script).sweep(LONG));
    let domain = machine::LinkDomain { cluster: "abababab-abab-abab-abab-abababababab".into(), clique: 7, ready: true };
    assert_eq!(devices[..2].iter().map(|device| device.domain.as_ref()).collect::<Vec<_>>(), [Some(&domain); 2]);
    assert_eq!(ready(&devices), [true, true, false, false, true, true]);
    let reason = |at: usize| devices[at].ladder.stop.as_ref().map_or("", |stop| stop.reason.as_str());
    assert!(reason(2).contains("still joining") && reason(3).contains("error 999") && reason(4).contains("less than their capacity"));
    assert_eq!((devices[4].domain.clone(), devices[5].domain.clone()), (None, None));
    let machine = machine::Machine { devices, ..machine::Machine::default() };
    let [rack] = &machine.domains()[..] else { panic!("one clique") };
    assert_eq!((rack.members.len(), rack.ready), (4, false));
}
