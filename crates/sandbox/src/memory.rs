//! Giving memory back before a long wait.

use crate::sys;
use std::fs;

/// Lets go of memory that is not needed to wait: free pieces of the heap, and pages of the program's own code, which
/// the kernel maps again from its cache when they are used. A supervisor waits for hours, and there is one a run.
pub fn shed() {
    sys::trim_heap();
    let Ok(text) = fs::read_to_string("/proc/self/smaps") else { return };
    for (start, end) in clean_file_mappings(&text) {
        sys::forget_pages(start, end);
    }
}

/// Mappings of files of which no page was ever written to (relocated data is, and must stay).
fn clean_file_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = vec![];
    let mut candidate = None;
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [range, permissions, _offset, _device, inode, ..] if range.contains('-') && permissions.len() == 4 => {
                let address = |text: &str| usize::from_str_radix(text, 16).ok();
                let bounds = range.split_once('-').and_then(|(start, end)| address(start).zip(address(end)));
                let untouchable = permissions.contains('w') || permissions.ends_with('s') || *inode == "0";
                candidate = bounds.filter(|_| !untouchable);
            }
            ["Anonymous:", "0", "kB"] => found.extend(candidate.take()),
            ["Anonymous:", ..] => candidate = None,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_without_written_pages_are_let_go() {
        let smaps = "\
55d0c0000000-55d0c0100000 r--p 00000000 fe:00 1234                       /usr/bin/ashlar
Rss:                 400 kB
Anonymous:             0 kB
55d0c0100000-55d0c0200000 r-xp 00100000 fe:00 1234                       /usr/bin/ashlar
Anonymous:             0 kB
55d0c0200000-55d0c0300000 r--p 00200000 fe:00 1234                       /usr/bin/ashlar
Anonymous:          1024 kB
55d0c0300000-55d0c0310000 rw-p 00300000 fe:00 1234                       /usr/bin/ashlar
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(clean_file_mappings(smaps), [(0x55d0_c000_0000, 0x55d0_c010_0000), (0x55d0_c010_0000, 0x55d0_c020_0000)]);
    }

    #[test]
    fn a_process_that_shed_its_memory_goes_on() {
        shed();
        assert_eq!(format!("{:?}", vec![1, 2, 3]), "[1, 2, 3]");
    }
}
