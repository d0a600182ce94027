//! The PCI bus: links below what they can do, errors, translation and redirection on the way between devices.

use crate::Severity::{Critical, Error, Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Rule, Scope, Test, WORKERS};
use machine::Source::Text;
use machine::{PciFunction, PciRate, Vendor};

const AER: &str = "PCI Express Base Specification 6.0, 6.2; Linux Documentation/PCI/pcieaer-howto";
const P2P: &str = "Linux Documentation/driver-api/pci/p2pdma; NVIDIA, GPUDirect RDMA; RCCL warns when iommu=pt is missing";

/// The fastest and widest that both ends of a function's link can.
fn possible(look: &Look, function: &PciFunction) -> Option<PciRate> {
    let own = function.link?.max;
    let above = function.parent.and_then(|parent| look.facts.pci.get(parent)).and_then(|bridge| bridge.link).map(|link| link.max);
    let least = |a: u32, b: u32| if b == 0 { a } else { a.min(b) };
    Some(PciRate {
        mega_transfers: least(own.mega_transfers, above.map_or(0, |rate| rate.mega_transfers)),
        lanes: least(own.lanes.into(), above.map_or(0, |rate| rate.lanes.into())) as u8,
    })
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "pcie.lost",
        checks: "every function on the bus answers",
        severity: Critical,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "its configuration space reads as ones: it fell off the bus, or has no power",
        cost: "the device cannot be used, and a driver that asks it may hang",
        source: "PCI Express Base Specification 6.0, 2.3.2",
        test: Test::Judge(|look| {
            let lost = look.facts.pci.functions().iter().filter(|function| function.lost);
            lost.map(|function| {
                let name = look.called(function);
                Claim::new(name.clone(), format!("{name} does not answer"))
                    .wanted("an answer")
                    .because(format!("/{}/config: all ones", function.path))
                    .hint("switch the machine off and on; if it comes back so, have the card or its riser changed")
            })
            .collect()
        }),
    },
    Rule {
        id: "pcie.width",
        checks: "links have all the lanes that both ends have",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "lanes that were lost in training stay lost: a bad contact, riser or cable",
        cost: "that share of the device's bandwidth, on every transfer",
        source: "PCI Express Base Specification 6.0, 4.2.7 and 7.5.3",
        test: Test::Judge(|look| {
            links(look, |now, most| now.lanes > 0 && now.lanes < most.lanes)
                .map(|(_, claim)| claim.hint("reseat the card, look at riser and cable; then rescan or reboot"))
                .collect()
        }),
    },
    Rule {
        id: "pcie.speed",
        checks: "links run at the generation that both ends have",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "the link trained at a lower generation, or the device saves power while idle",
        cost: "half the bandwidth for each generation",
        source: "PCI Express Base Specification 6.0, 4.2.7; NVIDIA, nvidia-smi: links slow down while idle",
        test: Test::Judge(slow_links),
    },
    Rule {
        id: "pcie.slot",
        checks: "cards sit in slots that can do what they can",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "the slot or bridge above has fewer lanes than the card",
        cost: "the difference, for ever",
        source: "PCI Express Base Specification 6.0, 7.5.3.6",
        test: Test::Judge(|look| {
            let narrow = look.carriers().filter_map(|function| {
                let (own, both) = (function.link?.max, possible(look, function)?);
                (both.lanes < own.lanes).then(|| {
                    let name = look.called(function);
                    Claim::new(name.clone(), format!("{name} can do x{} and its slot x{}", own.lanes, both.lanes))
                        .because(format!("/{}/max_link_width: {}", function.path, own.lanes))
                        .hint("move it to a wider slot where there is one")
                })
            });
            narrow.collect()
        }),
    },
    Rule {
        id: "pcie.fatal-errors",
        checks: "no device had a fatal error on its link",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/bus/pci/devices/*/aer_dev_fatal")],
        why: "the link broke and was trained again, or the device was reset",
        cost: "whatever used it was lost; it will happen again",
        source: AER,
        test: Test::Judge(|look| aer(look, "sys/bus/pci/devices/*/aer_dev_fatal", "TOTAL_ERR_FATAL", 1)),
    },
    Rule {
        id: "pcie.uncorrected-errors",
        checks: "no transfer on a link was lost",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/bus/pci/devices/*/aer_dev_nonfatal")],
        why: "transfers were lost that the link could not repeat",
        cost: "jobs that end with errors of their runtime",
        source: AER,
        test: Test::Judge(|look| aer(look, "sys/bus/pci/devices/*/aer_dev_nonfatal", "TOTAL_ERR_NONFATAL", 1)),
    },
    Rule {
        id: "pcie.corrected-errors",
        checks: "few transfers on a link had to be repeated",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/bus/pci/devices/*/aer_dev_correctable")],
        why: "a link that repeats often has a bad contact or cable",
        cost: "bandwidth now, lost transfers later",
        source: AER,
        test: Test::Judge(|look| aer(look, "sys/bus/pci/devices/*/aer_dev_correctable", "TOTAL_ERR_COR", 1000)),
    },
    Rule {
        id: "pcie.errors-off",
        checks: "errors on links are reported",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/cmdline")],
        why: "with pci=noaer nobody is told of errors on links",
        cost: "a failing riser is found after weeks of crashing jobs",
        source: AER,
        test: Test::Judge(|look| match look.parameter("pci") {
            Some(value) if value.split(',').any(|word| word == "noaer") => vec![
                Claim::new("kernel", "errors on PCIe links are switched off (pci=noaer)")
                    .wanted("no pci=noaer")
                    .seen("proc/cmdline", format!("pci={value}"))
                    .drop_parameter("pci=noaer")
                    .hint("take `pci=noaer` from the kernel command line"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "pcie.power-saving",
        checks: "links do not sleep between transfers",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "a link that sleeps wakes up for each transfer",
        cost: "microseconds to tens of them on each message",
        source: "Linux Documentation/admin-guide/kernel-parameters, pcie_aspm.policy",
        test: Test::Knob(Knob {
            path: "sys/module/pcie_aspm/parameters/policy",
            want: |_, at| if matches!(at.now().as_str(), "powersave" | "powersupersave") { at.choose("performance") } else { None },
            keep: Keep::Tmpfiles,
            risk: "some watts",
        }),
    },
    Rule {
        id: "pcie.translation",
        checks: "the IOMMU passes addresses of accelerators and RDMA ports as they are",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Hardware,
        reads: &[Text("sys/kernel/iommu_groups/*/type")],
        why: "with translation on, transfers between devices go up to the processor, and each buffer is mapped first",
        cost: "direct transfers between cards and the network are refused or at half speed",
        source: P2P,
        test: Test::Judge(translated),
    },
    Rule {
        id: "pcie.unknown-node",
        checks: "firmware says which processor a device hangs off",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Numa,
        scope: Scope::Hardware,
        reads: &[Text("sys/bus/pci/devices/*/numa_node")],
        why: "a device without a memory node is placed blindly: cores, memory and interrupts may be on the far side",
        cost: "half the bandwidth to the host for half the jobs",
        source: "Linux Documentation/ABI/testing/sysfs-bus-pci, numa_node",
        test: Test::Judge(|look| {
            let carriers: Vec<_> = look.carriers().collect();
            let unknown =
                |address: &machine::PciAddress| look.text(&format!("sys/bus/pci/devices/{address}/numa_node")).map(str::trim) == Some("-1");
            let lost: Vec<String> = carriers.iter().filter(|one| unknown(&one.address)).map(|one| look.called(one)).collect();
            if lost.is_empty() {
                return vec![];
            }
            vec![
                Claim::new("PCI devices", format!("{} of {} devices have no memory node", lost.len(), carriers.len()))
                    .wanted("a node for each")
                    .because(format!("numa_node is -1: {}", lost.join(", ")))
                    .hint("look for an update of the firmware, or a setting for NUMA (NPS, SNC) there"),
            ]
        }),
    },
    Rule {
        id: "pcie.small-window",
        checks: "all memory of an accelerator can be reached over the bus",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Accelerators,
        scope: Scope::Hardware,
        reads: &[Text("sys/bus/pci/devices/*/resource")],
        why: "a window of 256 MiB means that Resizable BAR, or decoding above 4 GiB, is off in firmware",
        cost: "direct transfers from network cards and other accelerators work only on that window, or not at all",
        source: "PCI Express Base Specification 6.0, 7.8.6; NVIDIA, GPUDirect RDMA, BAR sizes",
        test: Test::Judge(small_windows),
    },
];

/// Links of the devices that carry data, where what runs is worse than what both ends can.
fn links<'l>(look: &'l Look, worse: fn(PciRate, PciRate) -> bool) -> impl Iterator<Item = (String, Claim)> + 'l {
    look.carriers().filter_map(move |function| {
        let (now, most) = (function.link?.now, possible(look, function)?);
        // Functions inside a chipset show a link of one lane that is not there.
        (most.lanes > 1 && worse(now, most)).then(|| {
            let name = look.called(function);
            let claim = Claim::new(name.clone(), format!("the link of {name} runs at {now} of {most}"))
                .wanted(most.to_string())
                .because(format!("/{}/current_link_speed, current_link_width: {now}", function.path));
            (name, claim)
        })
    })
}

fn slow_links(look: &Look) -> Vec<Claim> {
    let slow = |now: PciRate, most: PciRate| now.mega_transfers > 0 && now.mega_transfers < most.mega_transfers && now.lanes == most.lanes;
    let accelerators: Vec<String> = look
        .facts
        .pci
        .functions()
        .iter()
        .filter(|one| look.accelerators().any(|d| d.pci == Some(one.address)))
        .map(|one| look.called(one))
        .collect();
    links(look, slow)
        .map(|(name, claim)| {
            // Accelerators slow their links down while nothing runs.
            match accelerators.contains(&name) {
                true => claim.severity(Info).hint("look again while a job uses it: idle cards slow their link down to save power"),
                false => claim.hint("reseat the card, look at riser and cable; then rescan or reboot"),
            }
        })
        .collect()
}

fn aer(look: &Look, pattern: &str, total: &str, least: u64) -> Vec<Claim> {
    let mut claims = vec![];
    for at in look.settings(pattern) {
        let line = at.value.lines().find_map(|line| line.strip_prefix(total)?.trim().parse::<u64>().ok());
        let Some(count) = line.filter(|count| *count >= least) else { continue };
        let address = at.parts.first().copied().unwrap_or_default();
        let function = address.parse().ok().and_then(|address| look.facts.pci.get(address));
        let name = function.map_or_else(|| address.to_owned(), |function| look.called(function));
        let kinds: Vec<&str> = at.value.lines().filter(|line| !line.starts_with("TOTAL") && !line.ends_with(" 0")).collect();
        claims.push(
            Claim::new(name.clone(), format!("{name} counted {count} errors on its link"))
                .wanted(if least > 1 { "few" } else { "0" })
                .seen(at.path, kinds.join(", "))
                .hint("reseat the card, look at riser and cable; `ashlar devices` tells how far it works"),
        );
    }
    claims
}

fn translated(look: &Look) -> Vec<Claim> {
    let ports = look.facts.machine.infiniband.iter().filter_map(|port| port.pci);
    let wanted: Vec<_> = look.accelerators().filter_map(|device| device.pci).chain(ports).collect();
    let mut bad = vec![];
    for address in wanted {
        let Some(function) = look.facts.pci.get(address) else { continue };
        let Some(group) = function.iommu_group else { continue };
        let path = format!("sys/kernel/iommu_groups/{group}/type");
        if look.text(&path).is_some_and(|kind| matches!(kind.trim(), "DMA" | "DMA-FQ")) {
            bad.push((look.called(function), path));
        }
    }
    let Some((_, path)) = bad.first() else { return vec![] };
    let names: Vec<&str> = bad.iter().map(|(name, _)| name.as_str()).collect();
    vec![
        Claim::new("IOMMU", format!("addresses of {} are translated", names.join(", ")))
            .wanted("identity")
            .seen(path, look.text(path).unwrap_or_default())
            .add_parameter(if look.facts.software.architecture == "aarch64" { "iommu.passthrough=1" } else { "iommu=pt" })
            .hint("add `iommu=pt` to the kernel command line (on Arm `iommu.passthrough=1`) and reboot"),
    ]
}

fn small_windows(look: &Look) -> Vec<Claim> {
    let mut claims = vec![];
    for device in look.accelerators().filter(|device| matches!(device.vendor, Vendor::Nvidia | Vendor::Amd)) {
        let (Some(address), Some(memory)) = (device.pci, device.memory) else { continue };
        let path = format!("sys/bus/pci/devices/{address}/resource");
        let Some(text) = look.text(&path) else { continue };
        let largest = text.lines().take(6).filter_map(window).max().unwrap_or(0);
        if largest == 0 || largest > 256 << 20 || memory.0 <= largest {
            continue;
        }
        let name = format!("{} {}", device.vendor, device.index);
        claims.push(
            Claim::new(name.clone(), format!("{name} shows {} of its {} on the bus", machine::Bytes(largest), memory))
                .wanted(format!("a window of {memory}"))
                .seen(&path, text.lines().next().unwrap_or_default())
                .hint("switch on `Above 4G decoding` and `Resizable BAR` in firmware"),
        );
    }
    claims
}

/// Bytes of one memory window of a `resource` file: start, end, flags.
fn window(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace().map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (start, end, flags) = (words.next()??, words.next()??, words.next()??);
    // IORESOURCE_MEM of linux/ioport.h.
    (flags & 0x200 != 0 && end > start).then(|| (end - start).saturating_add(1))
}
