//! `npu-smi info -t info-vnpu -i BOARD -c CHIP`: what a chip has, what of it is free, and the vNPUs that are cut from it.
//!
//! A box: a line of `free/total` pairs (cores, memory in GB, ...), then a line a vNPU: number, group, container, status and the
//! name of the template that it was cut by (Huawei, npu-smi command reference, "info-vnpu"; MindCluster documentation,
//! "virtual instances").

use super::{FIRST_VNPU, ToldSlice};
use machine::Bytes;

/// No chip is cut into more than 16; an output with more is none of this program.
const MOST: usize = 64;

/// The vNPUs of a chip; `None` where the output is something else: an error, or a chip that cannot be divided.
pub fn parse(text: &str) -> Option<Vec<ToldSlice>> {
    let mut whole: Option<(u64, u64)> = None;
    let mut listed = false;
    let mut found: Vec<ToldSlice> = Vec::new();
    for line in text.lines() {
        let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        listed |= inner.trim_start().starts_with("Total number of vnpu");
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        match cells[..] {
            [pairs] if whole.is_none() => whole = totals(pairs),
            // Chips of the first kind have no groups and so one cell less.
            [number, .., template] if cells.len() >= 4 && found.len() < MOST => {
                let Some(number) = number.parse::<u32>().ok().filter(|number| *number >= FIRST_VNPU) else { continue };
                if is_name(template) && !found.iter().any(|known| known.number == number) {
                    found.push(ToldSlice { number, template: template.to_owned(), memory: memory(template, whole) });
                }
            }
            _ => {}
        }
    }
    listed.then_some(found)
}

/// Cores and gigabytes of the whole chip, from `4/8  21/42  ...`.
fn totals(pairs: &str) -> Option<(u64, u64)> {
    let mut pairs = pairs.split_whitespace();
    let mut total = || pairs.next()?.split_once('/').and_then(|(_, total)| total.parse::<u64>().ok());
    Some((total()?, total()?)).filter(|(cores, memory)| *cores > 0 && *cores <= 1024 && *memory > 0 && *memory <= 16 << 10)
}

fn is_name(template: &str) -> bool {
    !template.is_empty() && template.len() <= 32 && template.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `vir10_3c_16g` says its memory; `vir04` has four cores, and of the chip's memory the same part as of its cores.
fn memory(template: &str, whole: Option<(u64, u64)>) -> Option<Bytes> {
    let digits = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= 16 << 10);
    if let Some(gigabytes) = template.split('_').skip(1).find_map(|part| part.strip_suffix('g').and_then(digits)) {
        return Some(Bytes::gib(gigabytes)).filter(|memory| memory.0 > 0);
    }
    let cores = template.split('_').next().and_then(|part| part.strip_prefix("vir")).and_then(digits)?;
    let (all, gigabytes) = whole?;
    (cores > 0 && cores <= all).then(|| Bytes((gigabytes << 30) / all * cores))
}
