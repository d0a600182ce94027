//! One grant against the job that asked for it.

use super::Found;
use crate::Policy;
use machine::{Device, Grant, Machine, Vendor};
use spec::{DeviceRequest, JobId, JobSpec};
use std::collections::BTreeSet;

/// Numbers of ranks that the job may have.
pub(super) fn sizes(spec: &JobSpec) -> impl Iterator<Item = usize> + '_ {
    let fixed = spec.sizes.is_empty().then_some(spec.ranks.max(1));
    fixed.into_iter().chain(spec.sizes.iter().copied()).map(|size| size as usize)
}

/// The fewest ranks of the job.
pub(super) fn fewest(spec: &JobSpec) -> u64 {
    sizes(spec).min().unwrap_or(1) as u64
}

pub(super) fn cpus(id: JobId, grant: &Grant, spec: &JobSpec, machine: &Machine, found: &mut Found) {
    let (asked, given) = (u64::from(spec.cpus.0), u64::from(grant.cpu_share.0));
    // Whole CPUs are rounded up, never more than needed.
    let right = if asked < 1000 { given == asked.max(1) } else { given % 1000 == 0 && given >= asked && given - asked < 1000 };
    if !right {
        found.add("cpus", format!("job {id} asks for {asked} thousandths of a CPU a rank and is given {given}"));
    }
    let present: BTreeSet<u32> = machine.cpus.iter().map(|cpu| cpu.id).collect();
    for (number, rank) in grant.ranks.iter().enumerate() {
        if let Some(cpu) = rank.cpus.iter().find(|cpu| !present.contains(cpu)) {
            found.add("cpus", format!("rank {number} of job {id} is pinned to CPU {cpu}, which is not there"));
        }
        let pinned = rank.cpus.len() as u64;
        if pinned != given.div_ceil(1000) {
            found.add("cpus", format!("rank {number} of job {id} is pinned to {pinned} CPUs for {given} thousandths"));
        }
    }
}

pub(super) fn devices(id: JobId, grant: &Grant, spec: &JobSpec, machine: &Machine, found: &mut Found) {
    let wanted = spec.devices.as_ref().map_or(0, |request| request.count as usize);
    let mut held: Vec<&Device> = Vec::new();
    for (number, rank) in grant.ranks.iter().enumerate() {
        if rank.devices.len() != wanted {
            found.add("devices", format!("rank {number} of job {id} asks for {wanted} devices and is given {}", rank.devices.len()));
        }
        for device in &rank.devices {
            match machine.devices.iter().find(|candidate| candidate.id == *device) {
                None => found.add("devices", format!("job {id} is given device {device}, which is not there")),
                Some(device) => held.push(device),
            }
        }
    }
    for device in &held {
        if !device.health.is_ready() || device.vendor == Vendor::Unknown {
            found.add("devices", format!("job {id} is given device {}, which is not usable", device.id));
        }
        if spec.devices.as_ref().is_some_and(|request| !satisfies(device, request)) {
            found.add("devices", format!("job {id} is given device {} ({}), which it did not ask for", device.id, device.model));
        }
    }
    share(id, grant, spec, &held, machine, found);
    let Some((first, rest)) = held.split_first() else { return };
    let mixture = spec.devices.as_ref().is_some_and(|request| request.models.len() >= 2);
    if rest.iter().any(|device| device.vendor != first.vendor || (!mixture && device.model != first.model)) {
        found.add("devices", format!("the gang of job {id} is given devices of different kinds"));
    }
}

/// A part is given where one was asked for, as large and as firmly kept, and in the sizes of the vendor.
fn share(id: JobId, grant: &Grant, spec: &JobSpec, held: &[&Device], machine: &Machine, found: &mut Found) {
    let mut wrong = |what: String| found.add("share", format!("job {id} {what}"));
    let (wanted, given) = match (spec.devices.as_ref().and_then(|request| request.share), grant.share) {
        (None, None) => return,
        (Some(wanted), Some(given)) => (wanted, given),
        (Some(_), None) => return wrong("asks for parts of devices and is given whole ones".into()),
        (None, Some(_)) => return wrong("asks for whole devices and is given parts".into()),
    };
    let mut names: Vec<&str> = held.iter().map(|device| device.id.0.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        wrong("is given two parts of one device".into());
    }
    if wanted.enforced.is_some_and(|least| given.enforced < least) {
        wrong(format!(
            "demands a part kept at '{}' or better and is given '{}'",
            wanted.enforced.unwrap_or(given.enforced),
            given.enforced
        ));
    }
    for device in held {
        let memory = device.memory.unwrap_or_default().0;
        let Some(sharing) = device.sharing(&machine.facts) else {
            wrong(format!("is given a part of device {}, which is held whole only", device.id));
            continue;
        };
        if sharing.enforced != given.enforced {
            wrong(format!("is told that its part of device {} is kept '{}', and it is '{}'", device.id, given.enforced, sharing.enforced));
        }
        if sharing.one_card && grant.ranks.iter().any(|rank| rank.devices.len() > 1) {
            wrong(format!("is given parts of several devices like {} for one rank", device.id));
        }
        let asked_compute = wanted.compute.unwrap_or(0);
        if device.slice.is_some() {
            let enough = device.slice_compute().map_or(asked_compute == 0, |compute| compute >= asked_compute);
            if given.memory.0 != memory || wanted.memory.is_some_and(|least| least.0 > memory) || !enough || given.permille != 1000 {
                wrong(format!("is given slice {}, which is not what it asks for", device.id));
            }
            continue;
        }
        let exact = wanted.memory.map_or(u128::from(memory) * u128::from(asked_compute) / 1000, |asked| u128::from(asked.0));
        let step = u128::from(sharing.step.0.max(1));
        let has = u128::from(given.memory.0);
        // Amounts are rounded up to the vendor's step, proportions down.
        let right = if wanted.memory.is_some() { has >= exact && has - exact < step } else { has == (exact / step).max(1) * step };
        if !right || has % step != 0 || given.compute != asked_compute {
            wrong(format!("asks for {exact} bytes and {asked_compute} thousandths of device {} and is given {given}", device.id));
        }
        let counts = (has * 1000).div_ceil(u128::from(memory.max(1))).max(u128::from(asked_compute)).clamp(1, 1000);
        if u128::from(given.permille) != counts {
            wrong(format!("is counted {} thousandths of device {} instead of {counts}", given.permille, device.id));
        }
    }
}

fn satisfies(device: &Device, request: &DeviceRequest) -> bool {
    if request.vendor.is_some_and(|vendor| vendor != device.vendor) || request.class.is_some_and(|class| class != device.class) {
        return false;
    }
    if request.memory_min.is_some() || request.memory_max.is_some() {
        let Some(memory) = device.memory else { return false };
        if request.memory_min.is_some_and(|least| memory < least) || request.memory_max.is_some_and(|most| memory > most) {
            return false;
        }
    }
    request.models.is_empty() || request.models.iter().any(|model| has_words(&device.model, model))
}

/// Whether the letters and digits of `wanted` are found in `model` beginning and ending at word boundaries.
fn has_words(model: &str, wanted: &str) -> bool {
    let wanted: Vec<u8> = wanted.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect();
    // Letters and digits of the model, each with whether a word begins there.
    let mut letters: Vec<(u8, bool)> = Vec::new();
    let mut fresh = true;
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() {
            letters.push((byte.to_ascii_lowercase(), fresh));
            fresh = false;
        } else {
            fresh = true;
        }
    }
    let begins = |at: usize| letters.get(at).is_none_or(|(_, begins)| *begins);
    !wanted.is_empty()
        && letters
            .windows(wanted.len())
            .enumerate()
            .any(|(at, window)| begins(at) && begins(at + wanted.len()) && window.iter().map(|(byte, _)| *byte).eq(wanted.iter().copied()))
}

pub(super) fn memory(id: JobId, grant: &Grant, spec: &JobSpec, machine: &Machine, policy: &Policy, found: &mut Found) {
    let ranks = grant.ranks.len() as u128;
    let given = u128::from(grant.memory.0);
    match spec.memory {
        Some(rank) if given != u128::from(rank.0) * ranks => {
            found.add("memory", format!("job {id} asks for {} bytes a rank and is given {given} in all", rank.0));
        }
        None => {
            // In proportion to the CPUs, give or take the rounding of each rank.
            let kept = u128::from(policy.memory_reserve_permille.min(1000));
            let all = u128::from(machine.memory.0);
            let fair = (all - all * kept / 1000) * u128::from(grant.cpu_milli()) / (machine.cpus.len().max(1) as u128 * 1000);
            let least = fair.max(u128::from(spec.shm.unwrap_or_default().0));
            if given.abs_diff(least) > ranks {
                found.add("memory", format!("job {id} leaves its memory open and is given {given} instead of {least} bytes"));
            }
        }
        Some(_) => {}
    }
    if grant.shm > grant.memory {
        found.add("shm", format!("job {id} has more /dev/shm ({}) than memory ({})", grant.shm, grant.memory));
    }
    let asked = spec.shm.map_or(grant.memory.0 / 2, |shm| shm.0.min(grant.memory.0));
    if grant.shm.0 != asked {
        found.add("shm", format!("job {id} is given {} bytes of /dev/shm instead of {asked}", grant.shm.0));
    }
    let nodes: BTreeSet<u32> = machine.numa.iter().map(|node| node.id).chain(machine.cpus.iter().map(|cpu| cpu.numa)).collect();
    if let Some(node) = grant.mem_nodes.iter().find(|node| !nodes.contains(node)) {
        found.add("mem-nodes", format!("job {id} shall allocate on node {node}, which is not there"));
    }
    let local: BTreeSet<u32> = {
        let held: BTreeSet<u32> = grant.ranks.iter().flat_map(|rank| rank.cpus.iter()).collect();
        machine.cpus.iter().filter(|cpu| held.contains(&cpu.id)).map(|cpu| cpu.numa).collect()
    };
    if let Some(node) = local.iter().find(|node| !grant.mem_nodes.contains(**node)) {
        found.add("mem-nodes", format!("job {id} runs on node {node} and may not allocate there"));
    }
}
