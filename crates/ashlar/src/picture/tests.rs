use super::*;
use api::Held;
use machine::{Cpu, CpuSet, DeviceId, Facts, Grant, Package, RankGrant, Vendor};
use spec::{RunId, Time};

/// A machine of equal packages, nodes and cores; CPU numbers as Linux gives them: all first threads, then all second ones.
fn machine(name: &str, packages: u32, nodes_each: u32, cores_each: u32, threads: u32, memory: Bytes) -> Machine {
    let nodes = packages * nodes_each;
    let cores = nodes * cores_each;
    let cpus: Vec<Cpu> = (0..cores * threads)
        .map(|id| {
            let core = id % cores;
            let numa = core / cores_each;
            Cpu { id, package: numa / nodes_each, core, numa, cache_group: core / 8 * 8 }
        })
        .collect();
    let node = |id: u32| NumaNode {
        id,
        memory: memory.scaled(1, u64::from(nodes)),
        cpus: cpus.iter().filter(|cpu| cpu.numa == id).map(|cpu| cpu.id).collect(),
        distances: (0..nodes)
            .map(|other| {
                if other == id {
                    10
                } else if other / nodes_each == id / nodes_each {
                    12
                } else {
                    32
                }
            })
            .collect(),
    };
    Machine {
        id: "0".repeat(32),
        hostname: name.into(),
        numa: (0..nodes).map(node).collect(),
        packages: (0..packages).map(|id| Package { id, model: "AMD EPYC 7742 64-Core Processor".into() }).collect(),
        cpus,
        memory,
        ..Machine::default()
    }
}

fn gpu(index: u32, numa: u32) -> Device {
    Device {
        id: DeviceId(format!("GPU-{index}")),
        vendor: Vendor::Nvidia,
        class: DeviceClass::Gpu,
        model: "NVIDIA A100-SXM4-80GB".into(),
        memory: Some(Bytes::mib(81_920)),
        index,
        pci: None,
        numa: Some(numa),
        driver: Some("nvidia".into()),
        nodes: Vec::new(),
        health: Health::Ready,
        ..Device::default()
    }
}

fn held(run: &str, name: &str, user: &str, cpus: &str, devices: &[u32], memory: Bytes, nodes: &str) -> Held {
    let cpus: CpuSet = cpus.parse().unwrap();
    let share = CpuShare::whole(cpus.len() as u32);
    let rank = RankGrant { cpus, devices: devices.iter().map(|index| DeviceId(format!("GPU-{index}"))).collect() };
    let grant = Grant {
        machine: "0".repeat(32),
        ranks: vec![rank],
        cpu_share: share,
        memory,
        shm: Bytes::ZERO,
        mem_nodes: nodes.parse().unwrap(),
        ports: None,
        share: None,
    };
    Held { run: Some(run.parse::<RunId>().unwrap()), user: Some(user.into()), name: Some(name.into()), grant }
}

fn small() -> MachineView {
    let mut machine = machine("dev", 1, 1, 2, 1, Bytes::gib(24));
    machine.packages[0].model = "Intel(R) Xeon(R) Processor @ 2.30GHz".into();
    machine.facts =
        Facts { kernel: "6.12.0".into(), os: "Debian GNU/Linux 12 (bookworm)".into(), virtualised: Some("KVM".into()), ..Facts::default() };
    machine.nics = vec![Nic { name: "eth0".into(), up: true, ..Nic::default() }];
    MachineView { machine, held: vec![], now: Time::default(), figures: Default::default() }
}

fn dgx() -> MachineView {
    let mut machine = machine("dgx-07", 2, 1, 64, 2, Bytes::gib(2048));
    machine.product = "NVIDIA DGXA100 920-23687-2530-000".into();
    machine.facts.kernel = "5.15.0-1045-nvidia".into();
    machine.facts.os = "Ubuntu 22.04.4 LTS".into();
    machine.devices = (0..8).map(|index| gpu(index, index / 4)).collect();
    machine.devices[6].health = Health::Unusable("driver nvidia is bound, but /dev/nvidia6 is not there".into());
    let port = |at: u32, numa: u32| Nic {
        name: format!("ibp{at}s0"),
        numa: Some(numa),
        speed_mbps: Some(200_000),
        up: at != 3,
        rdma: Some(format!("mlx5_{at}")),
        ..Nic::default()
    };
    machine.nics = (0..4).map(|at| port(at, 0)).chain((4..8).map(|at| port(at, 1))).collect();
    let held = vec![
        held("118-1", "llama-sft", "ada", "0-31,128-159", &[0, 1, 2, 3], Bytes::gib(512), "0"),
        held("121.4-1", "sweep", "grace", "64-71,192-199", &[4], Bytes::gib(96), "1"),
        Held { run: None, user: None, name: None, ..held("1-1", "", "", "72-79,200-207", &[5], Bytes::gib(64), "1") },
        held("130-2", "notebook", "lin", "32", &[], Bytes::gib(8), "0"),
        held("131-1", "評価 eval", "wei", "32", &[], Bytes::gib(4), "0"),
    ];
    MachineView { machine, held, now: Time::default(), figures: Default::default() }
}

fn sixteen_nodes() -> MachineView {
    let mut machine = machine("numa16", 2, 8, 8, 2, Bytes::gib(1536));
    machine.facts.kernel = "6.8.0".into();
    machine.devices = (0..8).map(|index| gpu(index, index * 2)).collect();
    machine.nics = vec![Nic { name: "eno1".into(), up: true, speed_mbps: Some(2500), ..Nic::default() }];
    let held = vec![held("7-1", "bert", "ada", "0-15,128-143", &[0, 1], Bytes::gib(150), "0-1")];
    MachineView { machine, held, now: Time::default(), figures: Default::default() }
}

/// Every line of a picture must fit, at any width, in any style.
fn fits(view: &MachineView) {
    for width in [0, 60, 61, 72, 80, 99, 100, 101, 132, 160, 500] {
        for unicode in [false, true] {
            let picture = draw(view, width, false, unicode);
            let limit = width.clamp(NARROWEST, WIDEST);
            for text in picture.lines() {
                assert!(line::width(text) <= limit, "{width}: {text}");
            }
            assert!(picture.ends_with('\n') && !picture.contains('\u{1b}'));
        }
    }
}

fn snapshot(name: &str, view: &MachineView, width: usize, unicode: bool) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, draw(view, width, false, unicode)));
    fits(view);
}

#[test]
fn a_small_virtual_machine() {
    snapshot("small", &small(), 80, true);
}

#[test]
fn eight_gpus_half_in_use() {
    snapshot("dgx", &dgx(), 100, true);
    snapshot("dgx_narrow_ascii", &dgx(), 80, false);
}

#[test]
fn sixteen_memory_nodes() {
    snapshot("sixteen_nodes", &sixteen_nodes(), 100, true);
}

#[test]
fn memory_without_cpus_and_devices_without_a_place() {
    let mut view = sixteen_nodes();
    view.machine = machine("hbm", 2, 1, 4, 1, Bytes::gib(64));
    let far = NumaNode { id: 9, memory: Bytes::gib(128), cpus: CpuSet::new(), distances: vec![40, 20, 10] };
    view.machine.numa.push(far);
    view.machine.memory = Bytes::gib(192);
    view.machine.devices = vec![Device { numa: None, ..gpu(0, 0) }, Device { model: "MI300A".into(), vendor: Vendor::Amd, ..gpu(1, 9) }];
    view.held = vec![held("3-1", "far", "ada", "4-7", &[], Bytes::gib(64), "9")];
    snapshot("far_memory", &view, 80, true);
}

#[test]
fn a_memory_node_over_several_packages_is_one_box() {
    let mut view = small();
    view.machine.packages = (0..4).map(|id| Package { id, model: "Intel(R) Xeon(TM) CPU 2.60GHz".into() }).collect();
    view.machine.cpus = (0..8).map(|id| Cpu { id, package: id / 2, core: id, numa: 0, cache_group: id / 2 }).collect();
    let picture = draw(&view, 80, false, true);
    assert!(picture.contains("packages 0-3  Intel Xeon CPU 2.60GHz"), "{picture}");
    assert!(picture.contains(".. .. .. .."), "{picture}");
    fits(&view);
}

#[test]
fn colours_go_with_runs_and_only_when_asked() {
    let picture = draw(&dgx(), 100, true, true);
    assert!(picture.contains("\u{1b}[36ma"), "{picture:?}");
    assert!(picture.contains("\u{1b}[31m"), "{picture:?}");
    let plain: String = {
        let mut rest = picture.as_str();
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        plain + rest
    };
    assert_eq!(plain, draw(&dgx(), 100, false, true));
}

#[test]
fn more_runs_than_letters_and_hostile_names() {
    let mut view = dgx();
    view.held =
        (0..70).map(|at| held(&format!("{}-1", at + 1), "x\u{1b}[2Jy\n", "u\tv", &at.to_string(), &[], Bytes::gib(1), "0")).collect();
    view.machine.product = "P\u{7}".into();
    let picture = draw(&view, 100, false, true);
    assert!(!picture.contains(['\u{1b}', '\u{7}', '\t']));
    assert!(picture.contains("x?[2Jy?") && picture.contains("* "), "{picture}");
    fits(&view);
}

#[test]
fn an_empty_machine_and_grants_of_things_that_are_gone() {
    let mut view = small();
    view.machine = Machine::default();
    view.held = dgx().held;
    fits(&view);
    let mut view = small();
    view.held = vec![held("1-1", "gone", "ada", "500-600", &[7], Bytes::gib(900), "77")];
    fits(&view);
}

#[test]
fn slices_links_and_domains_are_told_in_a_few_lines() {
    use machine::{LinkDomain, LinkKind, PeerLink, Slice, SliceKind};
    let mut board = machine("dgx", 2, 1, 8, 1, Bytes::gib(512));
    let switch = |down| PeerLink { kind: LinkKind::Nvlink, to: None, lanes: 18 - down, mb_per_s: None, down };
    let domain = LinkDomain { cluster: "c0ffee00-0000-0000-0000-000000000000".into(), clique: 3, ready: true };
    board.devices =
        (0..4).map(|at| Device { links: vec![switch(u32::from(at == 3))], domain: Some(domain.clone()), ..gpu(at, at / 2) }).collect();
    let mut cards = board.devices.split_off(0);
    use machine::ladder::{Evidence, climb};
    cards[1].ladder = climb(&Evidence { driver: Some("x".into()), drivers: vec!["x".into()], ..Evidence::default() });
    cards[1].divide(3);
    let slice = |at: u32, profile: &str, gib| Device {
        id: DeviceId(format!("MIG-{at}")),
        memory: Some(Bytes::gib(gib)),
        slice: Some(Slice { kind: SliceKind::Mig, parent: DeviceId("GPU-1".into()), profile: profile.into() }),
        links: vec![],
        ..gpu(1, 0)
    };
    let slices = [slice(0, "1g.10gb", 10), slice(1, "1g.10gb", 10), slice(2, "3g.40gb", 40)];
    let rest = cards.split_off(2);
    board.devices = cards.into_iter().chain(slices).chain(rest).collect();
    let peers = |me: u32| {
        (8..12).filter(move |to| *to != me).map(|to| PeerLink {
            kind: LinkKind::Xgmi,
            to: Some(DeviceId(format!("GPU-{to}"))),
            lanes: 1,
            mb_per_s: Some(64_000),
            down: 0,
        })
    };
    board.devices.extend((8..12).map(|at| Device { vendor: Vendor::Amd, links: peers(at).collect(), ..gpu(at, 1) }));
    let view = MachineView { machine: board, held: vec![], now: Time::default(), figures: Default::default() };
    insta::assert_snapshot!(draw(&view, 100, false, true));
}
