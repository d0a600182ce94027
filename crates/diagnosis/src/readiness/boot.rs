//! How a value lasts beyond the next start: files that systemd reads at boot, and the kernel command line.

use super::{Change, Keep};
use crate::profile::sysctl;
use std::collections::BTreeMap;

/// Read by systemd-sysctl(8), after what distributions ship.
pub const SYSCTL_FILE: &str = "etc/sysctl.d/90-ashlar.conf";
/// Read by systemd-tmpfiles(8).
pub const TMPFILES_FILE: &str = "etc/tmpfiles.d/90-ashlar.conf";

const HEADING: &str = "# Written by `ashlar tune apply --boot`; `ashlar tune undo` takes it back.\n";

/// One file as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFile {
    pub path: &'static str,
    pub text: String,
}

/// The files that set these values at the next start too. What the files already set, and is not among the values, stays.
pub fn files(values: &[(String, String, Keep)], there: impl Fn(&str) -> Option<String>) -> Vec<BootFile> {
    let mut made = vec![];
    for (path, keep) in [(SYSCTL_FILE, Keep::Sysctl), (TMPFILES_FILE, Keep::Tmpfiles)] {
        let new: Vec<_> = values.iter().filter(|(_, _, own)| *own == keep).collect();
        if new.is_empty() {
            continue;
        }
        let old = there(path).unwrap_or_default();
        let mut lines: BTreeMap<String, String> = match keep {
            Keep::Sysctl => sysctl::parse(&old).into_iter().map(|line| (line.path, line.value)).collect(),
            Keep::Tmpfiles => old.lines().filter_map(tmpfiles_line).collect(),
        };
        lines.extend(new.into_iter().map(|(path, value, _)| (path.clone(), value.clone())));
        let line = |(path, value): (&String, &String)| match keep {
            Keep::Sysctl => format!("{} = {value}\n", sysctl::key(path)),
            Keep::Tmpfiles => format!("w /{path} - - - - {value}\n"),
        };
        made.push(BootFile { path, text: HEADING.to_owned() + &lines.iter().map(line).collect::<String>() });
    }
    made
}

/// `w /sys/kernel/mm/ksm/run - - - - 1`
fn tmpfiles_line(line: &str) -> Option<(String, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = words.get(6..)?.join(" ");
    words.first().filter(|kind| kind.starts_with('w')).map(|_| (words[1].trim_start_matches('/').to_owned(), value))
}

/// What the writes of a plan would need in files of the next start.
pub fn values(changes: &[Change]) -> Vec<(String, String, Keep)> {
    changes.iter().map(|change| (change.path.clone(), change.new.clone(), change.keep)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_values_join_those_that_are_there() {
        let values = [
            ("proc/sys/vm/swappiness".to_owned(), "10".to_owned(), Keep::Sysctl),
            ("proc/sys/net/ipv4/tcp_rmem".to_owned(), "4096 131072 67108864".to_owned(), Keep::Sysctl),
            ("sys/kernel/mm/transparent_hugepage/enabled".to_owned(), "madvise".to_owned(), Keep::Tmpfiles),
        ];
        let there = |path: &str| (path == SYSCTL_FILE).then(|| "# old\nvm.swappiness = 60\nkernel.panic=60\n".to_owned());
        let made = files(&values, there);
        assert_eq!(made[0].text, format!("{HEADING}kernel.panic = 60\nnet.ipv4.tcp_rmem = 4096 131072 67108864\nvm.swappiness = 10\n"));
        assert_eq!(made[1].text, format!("{HEADING}w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n"));
        // Made from its own text it is the same.
        let again = files(&values[2..], |_| Some(made[1].text.clone()));
        assert_eq!(again, made[1..]);
    }

    #[test]
    fn lines_of_other_kinds_are_no_values() {
        for line in ["# w /sys/x - - - - 1", "d /run/x 0755 root root -", "", "w /sys/x - - -"] {
            assert_eq!(tmpfiles_line(line).filter(|_| !line.starts_with("d ")), None, "{line}");
        }
    }
}
