//! A good server of two processors with two accelerators and two InfiniBand ports, in which nothing is wrong.

use crate::readiness::Role;
use machine::*;

/// One rule with what makes it fire, and the same thing in order.
pub struct Case {
    pub rule: &'static str,
    pub role: Role,
    pub fires: fn(&mut NodeFacts),
    pub quiet: fn(&mut NodeFacts),
}

pub fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

pub fn put(facts: &mut NodeFacts, files: &[(&str, &str)]) {
    for (path, text) in files {
        facts.readings.insert(path, *text);
    }
}

pub fn rate(mega_transfers: u32, lanes: u8) -> PciRate {
    PciRate { mega_transfers, lanes }
}

/// A function on the bus at full speed, near a node.
pub fn function(at: &str, class: u32, vendor: u16, node: u32, parent: Option<&str>) -> PciFunction {
    let full = rate(32_000, 16);
    PciFunction {
        address: address(at),
        ids: PciIds { vendor, class, ..PciIds::default() },
        parent: parent.map(address),
        port: None,
        bridge: None,
        link: Some(PciLink { now: full, max: full }),
        numa: Some(node),
        local_cpus: None,
        driver: None,
        iommu_group: None,
        slot: None,
        sriov: Sriov::default(),
        mediated: vec![],
        lost: false,
        path: format!("sys/bus/pci/devices/{at}"),
    }
}

pub fn port(device: &str, at: &str, link_layer: &str) -> InfinibandPort {
    InfinibandPort {
        device: device.into(),
        port: 1,
        state: PortState::Active,
        physical: "LinkUp".into(),
        link_layer: link_layer.into(),
        rate_mbps: Some(400_000),
        model: "MT4129".into(),
        pci: Some(address(at)),
        interfaces: vec![format!("{device}_net")],
        ..InfinibandPort::default()
    }
}

fn accelerator(index: u32, at: &str) -> Device {
    Device {
        id: DeviceId(format!("GPU-{index}")),
        vendor: Vendor::Nvidia,
        model: "H100".into(),
        memory: Some(Bytes(80 << 30)),
        index,
        pci: Some(address(at)),
        numa: Some(index),
        driver: Some("nvidia".into()),
        ..Device::default()
    }
}

pub fn server() -> NodeFacts {
    let cpus = |from: u32| (from..from + 16).collect::<CpuSet>();
    let node = |id: u32| NumaNode { id, memory: Bytes(256 << 30), cpus: cpus(id * 16), distances: vec![] };
    let cpu = |id: u32| Cpu { id, core: id, numa: id / 16, package: id / 16, ..Cpu::default() };
    let nic =
        |name: &str, at: &str| Nic { name: name.into(), up: true, speed_mbps: Some(100_000), pci: Some(address(at)), ..Nic::default() };
    let machine = Machine {
        hostname: "box1".into(),
        cpus: (0..32).map(cpu).collect(),
        numa: vec![node(0), node(1)],
        memory: Bytes(512 << 30),
        devices: vec![accelerator(0, "0000:17:00.0"), accelerator(1, "0000:97:00.0")],
        nics: vec![nic("eth0", "0000:31:00.0")],
        infiniband: vec![port("mlx5_0", "0000:18:00.0", "InfiniBand"), port("mlx5_1", "0000:98:00.0", "InfiniBand")],
        facts: Facts {
            kernel: "6.8.0-40-generic".into(),
            cgroup: CgroupMode::V2,
            cgroup_controllers: ["cpuset", "cpu", "io", "memory", "pids"].map(String::from).into(),
            user_namespaces: true,
            ..Facts::default()
        },
        ..Machine::default()
    };
    let functions = vec![
        function("0000:16:00.0", 0x06_0400, 0x8086, 0, None),
        function("0000:17:00.0", 0x03_0200, 0x10de, 0, Some("0000:16:00.0")),
        function("0000:18:00.0", 0x02_0700, 0x15b3, 0, None),
        function("0000:31:00.0", 0x02_0000, 0x15b3, 0, None),
        function("0000:41:00.0", 0x01_0802, 0x144d, 0, None),
        function("0000:97:00.0", 0x03_0200, 0x10de, 1, None),
        function("0000:98:00.0", 0x02_0700, 0x15b3, 1, None),
    ];
    let mut facts = NodeFacts { machine, pci: PciTree::new(functions), ..NodeFacts::default() };
    facts.software.architecture = "x86_64".into();
    facts.readings.whole = true;
    // What a kernel of today shows, so that its absence can mean something.
    put(&mut facts, &[("proc/pressure/cpu", ""), ("proc/loadavg", "0"), ("sys/devices/system/edac/mc/mc0", ""), ("dev/gdrdrv", "")]);
    facts
}

/// Changes one function on the bus.
pub fn on_bus(facts: &mut NodeFacts, at: &str, change: impl Fn(&mut PciFunction)) {
    let mut functions = facts.pci.functions().to_vec();
    for function in functions.iter_mut().filter(|function| function.address == address(at)) {
        change(function);
    }
    facts.pci = PciTree::new(functions);
}

/// The ports of the server become RDMA over Ethernet.
pub fn over_ethernet(facts: &mut NodeFacts) {
    for port in &mut facts.machine.infiniband {
        port.link_layer = "Ethernet".into();
    }
}

/// The programs that run.
pub fn running(facts: &mut NodeFacts, names: &[&str]) {
    facts.processes = Some(names.iter().map(|name| name.get(..15).unwrap_or(name).to_owned()).collect());
}

/// One interrupt of the network port on the first node.
pub fn interrupts(facts: &mut NodeFacts, count: u32, cpu: fn(u32) -> u32) {
    facts.interrupts = (0..count)
        .map(|number| Interrupt {
            number: 40 + number,
            name: format!("eth0-{number}"),
            device: address("0000:31:00.0"),
            cpus: [cpu(number)].into_iter().collect(),
            count: 1000,
        })
        .collect();
}
