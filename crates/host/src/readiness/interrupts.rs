//! Interrupts of network cards, disks and accelerators: `/proc/interrupts` and `/proc/irq`.

use crate::Root;
use machine::{CpuSet, Interrupt, Machine, PciAddress, PciTree};
use std::collections::BTreeMap;

/// Interrupts of more devices are not looked at.
const MOST: usize = 8192;

/// Those of the devices that carry data. Empty where the tree has no `/proc/interrupts`.
pub fn interrupts(root: &Root, machine: &Machine, pci: &PciTree) -> Vec<Interrupt> {
    let Some(text) = root.text("proc/interrupts") else { return vec![] };
    let counts = counts(&text);
    let carries = |class: u16, at: PciAddress| {
        matches!(class, 0x0108 | 0x0200 | 0x0207) || machine.devices.iter().any(|device| device.pci == Some(at))
    };
    let mut found = vec![];
    for function in pci.functions().iter().filter(|function| carries(function.class16(), function.address)) {
        for number in root.numbered(&format!("{}/msi_irqs", function.path), "") {
            let Some((count, name)) = counts.get(&number) else { continue };
            if found.len() == MOST {
                return found;
            }
            let list = |file: &str| root.value::<CpuSet>(&format!("proc/irq/{number}/{file}")).filter(|set| !set.is_empty());
            let cpus = list("effective_affinity_list").or_else(|| list("smp_affinity_list")).unwrap_or_default();
            found.push(Interrupt { number, name: name.clone(), device: function.address, cpus, count: *count });
        }
    }
    found
}

/// How often each numbered interrupt came, and the name its driver gave it, by number.
fn counts(text: &str) -> BTreeMap<u32, (u64, String)> {
    let mut lines = text.lines();
    let cpus = lines.next().unwrap_or_default().split_whitespace().filter(|word| word.starts_with("CPU")).count();
    let read = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let number = number.trim().parse().ok()?;
        let mut words = rest.split_whitespace();
        let count = words.by_ref().take(cpus).map_while(|word| word.parse::<u64>().ok()).fold(0, u64::saturating_add);
        Some((number, (count, words.last().unwrap_or_default().to_owned())))
    };
    lines.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_are_summed_over_cpus_and_the_last_word_is_the_name() {
        let text = "           CPU0       CPU1       \n  0:         44          0   IO-APIC   2-edge      timer\n 35:     100000       2345  IR-PCI-MSIX-0000:3b:00.0    1-edge      mlx5_comp0@pci:0000:3b:00.0\nNMI:          0          0   Non-maskable interrupts\n";
        let found = counts(text);
        assert_eq!(found[&0], (44, "timer".to_owned()));
        assert_eq!(found[&35], (102_345, "mlx5_comp0@pci:0000:3b:00.0".to_owned()));
        assert_eq!(found.len(), 2);
    }

    proptest! {
        #[test]
        fn no_table_breaks_the_reader(text in "[ CPU0-9:\n a-z]{0,300}") {
            counts(&text);
        }
    }
}
