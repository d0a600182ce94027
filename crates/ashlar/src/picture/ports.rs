//! Ports of RDMA devices: what each runs at, and whether it is up.

use super::Picture;
use super::line::{Line, Paint};
use machine::{InfinibandPort, PortState};

/// Ports that are told one by one; all are in the JSON.
const MOST: usize = 24;

impl Picture<'_> {
    /// The box of InfiniBand and RoCE ports; none without any.
    pub(super) fn ports(&self) -> Vec<Line> {
        let ports = &self.machine.infiniband;
        let width = ports.iter().map(|port| name(port).chars().count()).max().unwrap_or(0);
        let mut inside: Vec<Line> = ports.iter().take(MOST).map(|port| self.port(port, width)).collect();
        if ports.len() > MOST {
            let mut line = Line::new();
            line.add(Paint::Faint, format!("and {} more, see --json", ports.len() - MOST));
            inside.push(line);
        }
        let mut title = Line::new();
        title.add(Paint::Strong, "RDMA ports");
        if inside.is_empty() { inside } else { self.frame(title, inside) }
    }

    fn port(&self, port: &InfinibandPort, width: usize) -> Line {
        let mut line = Line::new();
        line.add(Paint::Plain, format!("{:<width$}  ", name(port)));
        line.add(Paint::Plain, what(port));
        let paint = match port.state {
            PortState::Active => Paint::Faint,
            PortState::Unknown => Paint::Faint,
            _ => Paint::Bad,
        };
        let physical =
            if port.state == PortState::Active || port.physical.is_empty() { String::new() } else { format!(" ({})", port.physical) };
        line.add(paint, format!("{}{}{physical}", self.style.pick(" · ", " - "), port.state));
        let place = port.pci.map(|at| at.to_string()).into_iter().chain(port.interfaces.iter().cloned());
        for word in place {
            line.add(Paint::Faint, format!("{}{word}", self.style.pick(" · ", " - ")));
        }
        line
    }
}

/// "InfiniBand 400 Gb/s 4X NDR".
pub fn what(port: &InfinibandPort) -> String {
    let rate = port.rate_mbps.map(|rate| format!("{} Gb/s", rate / 1000));
    let parts = [Some(port.link_layer.clone()), rate, Some(port.rate_name.clone())];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The device, with the port's number where that is not the first.
pub fn name(port: &InfinibandPort) -> String {
    if port.port == 1 { port.device.clone() } else { format!("{}/{}", port.device, port.port) }
}
