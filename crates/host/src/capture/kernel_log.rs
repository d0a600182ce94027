//! The kernel's log in a capture: what the kernel itself wrote, without names.

use super::command_line;
use super::redact::{Redactor, Text};
use crate::Root;
use crate::kernel_log::KernelLog;

pub use crate::kernel_log::LOG;
/// The newest this many bytes are taken: more than any kernel's buffer of one boot.
const MOST: usize = 16 << 20;

/// The log of the running kernel, or that of a capture. `Err` says why there is none.
pub fn read(root: &Root) -> Result<String, String> {
    let mut text = String::new();
    KernelLog::open(root)?.read(|line| {
        text.push_str(line);
        text.push('\n');
        if text.len() > 2 * MOST {
            text = newest(&text, MOST).to_owned();
        }
    })?;
    Ok(newest(&text, MOST).to_owned())
}

fn newest(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let cut = &text[from..];
    if from == 0 { cut } else { cut.split_once('\n').map_or("", |(_, rest)| rest) }
}

/// The records that the kernel itself wrote, without names. What programs wrote into the log, and what the audit system
/// repeats of their command lines, is left out; the second value counts it.
pub fn redacted(log: &str, redactor: &Redactor) -> (String, usize) {
    let mut kept = String::with_capacity(log.len());
    let mut left_out = 0;
    let mut keeping = true;
    for line in log.lines() {
        // Lines that begin with a space say more about the record before them.
        if line.starts_with(' ') {
            if keeping {
                kept.push_str(&redactor.text(line, Text::Prose));
                kept.push('\n');
            }
            continue;
        }
        let Some((head, text)) = line.split_once(';') else { continue };
        let facility = head.split(',').next().and_then(|priority| priority.parse::<u32>().ok()).map(|priority| priority >> 3);
        keeping = facility == Some(0) && !text.starts_with("audit:");
        if !keeping {
            left_out += 1;
            continue;
        }
        kept.push_str(&format!("{head};{}\n", redactor.text(&without_arguments(text), Text::Prose)));
    }
    (kept, left_out)
}

/// The command line of the kernel is printed into its log.
fn without_arguments(text: &str) -> String {
    for mark in ["Command line: ", "Kernel command line: ", "Unknown kernel command line parameters "] {
        if let Some((before, line)) = text.split_once(mark) {
            return format!("{before}{mark}{}", command_line::filter(line));
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_speaks_in_a_capture() {
        let log = "6,1,0,-;Linux version 6.1.0 (jane@build7.example.com) (gcc) #1\n\
                   6,2,10,-;Command line: BOOT_IMAGE=/vmlinuz ro iommu=pt password=hunter2\n\
                   12,3,20,-;sudo: token=hunter2\n continued hunter2\n\
                   5,4,30,-;audit: type=1327 proctitle=68756E74657232\n\
                   3,5,40,-;mlx5_core 0000:3b:00.0: MAC 94:6d:ae:11:22:33 on gpu-box-7\n SUBSYSTEM=pci\n\
                   garbage\n";
        let mut redactor = Redactor::new([7; 32]);
        redactor.learn_name("host", "gpu-box-7");
        redactor.finish();
        let (kept, left_out) = redacted(log, &redactor);
        assert_eq!(left_out, 2);
        assert!(kept.contains("iommu=pt") && kept.contains("0000:3b:00.0") && kept.contains(" SUBSYSTEM=pci"), "{kept}");
        for gone in ["hunter2", "68756E74657232", "jane", "build7", "94:6d:ae", "gpu-box-7"] {
            assert!(!kept.contains(gone), "{gone}: {kept}");
        }
    }

    #[test]
    fn a_long_log_loses_its_oldest_whole_lines() {
        let log: String = (0..1000).map(|at| format!("6,{at},0,-;äöü line {at}\n")).collect();
        let cut = newest(&log, 101);
        assert!(cut.len() <= 101 && cut.starts_with("6,") && cut.ends_with("line 999\n"), "{cut}");
        assert_eq!(newest("short\n", 101), "short\n");
    }
}
