//! Files of sysctl.d(5).

/// One line that sets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// The file below the root, perhaps with `*`: `proc/sys/vm/swappiness`.
    pub path: String,
    pub value: String,
}

/// Every line that sets a value; comments, empty lines and what is not read are left out.
pub fn parse(text: &str) -> Vec<Line> {
    let read = |(at, line): (usize, &str)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        // A leading `-`: no complaint when it fails.
        let key = key.trim().trim_start_matches('-');
        (!key.is_empty()).then(|| Line { number: at + 1, path: path(key), value: value.split_whitespace().collect::<Vec<_>>().join(" ") })
    };
    text.lines().enumerate().filter_map(read).collect()
}

/// The file of a key. Of `.` and `/` the one that comes first separates names; the other one then stands for itself
/// (sysctl.d(5)): `net.ipv4.conf.eth0/1.rp_filter`.
pub fn path(key: &str) -> String {
    let slashes = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    let names: String = match slashes {
        true => key.to_owned(),
        false => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
    };
    format!("proc/sys/{}", names.trim_start_matches('/'))
}

/// The key of a file, as people write it.
pub fn key(path: &str) -> String {
    let names = path.trim_start_matches("proc/sys/");
    // A name with a dot in it, such as that of a VLAN, keeps its slashes.
    if names.contains('.') { names.to_owned() } else { names.replace('/', ".") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_files() {
        for (key, file) in [
            ("vm.swappiness", "proc/sys/vm/swappiness"),
            ("net/ipv4/conf/eth0.1/rp_filter", "proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("net.ipv4.conf.eth0/1.rp_filter", "proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("net.ipv4.conf.*.rp_filter", "proc/sys/net/ipv4/conf/*/rp_filter"),
        ] {
            assert_eq!(path(key), file, "{key}");
            assert_eq!(path(&super::key(file)), file, "{file}");
        }
    }

    #[test]
    fn only_lines_that_set_something_count() {
        let text =
            "# comment\n; another\n\nvm.swappiness = 10\n-kernel.nothere=1\nnet.ipv4.tcp_rmem = 4096\t87380  16777216\nnonsense\n= 3\n";
        let lines = parse(text);
        let found: Vec<(usize, &str, &str)> = lines.iter().map(|line| (line.number, line.path.as_str(), line.value.as_str())).collect();
        assert_eq!(
            found,
            [
                (4, "proc/sys/vm/swappiness", "10"),
                (5, "proc/sys/kernel/nothere", "1"),
                (6, "proc/sys/net/ipv4/tcp_rmem", "4096 87380 16777216"),
            ]
        );
    }
}
