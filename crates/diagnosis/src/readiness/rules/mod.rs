//! The rules, by what they are about. A new one is one entry in one of these lists.

mod accelerators;
mod cpu;
mod guest;
mod interrupts;
mod kernel;
mod limits;
mod memory;
mod memory_hardware;
mod network;
mod network_ports;
mod pcie;
mod scheduler;
mod storage;

use super::rule::Rule;

/// Every rule, in the order in which findings of one severity are told.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let lists: [&'static [Rule]; 13] = [
        guest::RULES,
        accelerators::RULES,
        pcie::RULES,
        network_ports::RULES,
        network::RULES,
        interrupts::RULES,
        memory_hardware::RULES,
        memory::RULES,
        cpu::RULES,
        scheduler::RULES,
        storage::RULES,
        limits::RULES,
        kernel::RULES,
    ];
    lists.into_iter().flatten()
}
