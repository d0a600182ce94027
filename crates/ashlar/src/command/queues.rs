//! `ashlar queues`

use crate::arguments::Queues;
use crate::failure::Failure;
use crate::listing;
use crate::state::Place;
use machine::CpuShare;
use spec::Limits;
use std::process::ExitCode;

pub fn run(place: &Place, queues: Queues) -> Result<ExitCode, Failure> {
    let views = place.connect()?.queues()?;
    if queues.json {
        listing::print_json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = listing::table(["QUEUE", "TENANT", "SHARE", "RUNNING", "WAITING", "CPUS", "MEMORY", "DEVICES", "GUARANTEE", "LIMITS"]);
    for view in &views {
        table.add_row([
            format!("{}{}", "  ".repeat(view.depth as usize), view.queue.name),
            view.queue.tenant.clone(),
            format!("{:.0}%", f64::from(view.share_permille) / 10.0),
            view.running.to_string(),
            view.waiting.to_string(),
            CpuShare(u32::try_from(view.held_cpu_milli).unwrap_or(u32::MAX)).to_string(),
            view.held_memory.to_string(),
            CpuShare(u32::try_from(view.held_device_milli).unwrap_or(u32::MAX)).to_string(),
            amounts(&view.queue.guarantee),
            amounts(&view.queue.limits),
        ]);
    }
    listing::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

fn amounts(limits: &Limits) -> String {
    let parts = [
        limits.cpus.map(|n| listing::counted(n.into(), "CPU")),
        limits.memory.map(|n| n.to_string()),
        limits.devices.map(|n| listing::counted(n.into(), "device")),
        limits.runs.map(|n| listing::counted(n.into(), "run")),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".into() } else { text }
}
