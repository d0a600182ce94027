//! Reads the files of a simulation, plain or `.xz`.

use crate::failure::Failure;
use placement::packing::openb::{self, FormatError, Nodes, Pods};
use std::io::Read;
use std::path::Path;

pub struct Trace {
    pub nodes: Nodes,
    pub pods: Pods,
}

impl Trace {
    /// Thousandths of devices.
    pub fn capacity(&self) -> u64 {
        self.nodes.machines.iter().map(|shape| self.nodes.shapes[usize::from(*shape)].capacity()).sum()
    }

    /// Seconds each pod ran: an hour where the file does not say.
    pub fn spans(&self) -> Vec<u64> {
        self.pods.times.iter().map(|(created, deleted)| if deleted > created { deleted - created } else { 3600 }).collect()
    }
}

pub fn read(nodes: &Path, pods: &Path) -> Result<Trace, Failure> {
    let parsed = openb::parse_nodes(&text(nodes)?).map_err(|error| wrong(nodes, &error))?;
    let pods = openb::parse_pods(&text(pods)?, &parsed.models).map_err(|error| wrong(pods, &error))?;
    Ok(Trace { nodes: parsed, pods })
}

fn wrong(path: &Path, error: &FormatError) -> Failure {
    Failure::input(format!("{}: {error}", path.display())).hint(error.hint())
}

/// Row numbers, one a line.
pub fn read_order(path: &Path, rows: usize) -> Result<Vec<usize>, Failure> {
    let mut order = vec![];
    for (index, line) in text(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.trim().parse::<usize>() {
            Ok(row) if row < rows => order.push(row),
            _ => {
                let place = format!("{}: line {}, column 1", path.display(), index + 1);
                return Err(Failure::input(format!("{place}: `{}` is no row of the pod list", line.trim()))
                    .hint(format!("rows are numbered from 0 to {}, one a line", rows.saturating_sub(1))));
            }
        }
    }
    Ok(order)
}

/// Four gigabytes of text are a mistake, or a bomb.
const LARGEST: u64 = 4 << 30;

fn text(path: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::input(format!("cannot read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| cannot(error).hint("give the path of a .csv or .csv.xz file"))?;
    let mut text = String::new();
    let read = if path.extension().is_some_and(|extension| extension == "xz") {
        let reader = lzma_rust2::XzReader::new(std::io::BufReader::new(file), true);
        reader.take(LARGEST).read_to_string(&mut text)
    } else {
        file.take(LARGEST).read_to_string(&mut text)
    };
    read.map_err(|error| cannot(error).hint("it is to be text, or text compressed by xz and named .xz"))?;
    Ok(text)
}
