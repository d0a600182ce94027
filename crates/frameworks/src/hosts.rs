//! The `/etc/hosts` of a run.

/// The text of an `/etc/hosts` in which `hostname` means this machine's loopback, with everything else as it is
/// in `existing`.
///
/// Gloo, which JAX sums with between CPU ranks, looks up the name of its own host and gives up when that has no
/// answer or an address that the run's network does not have; both are ordinary inside a network namespace.
pub fn hosts_file(hostname: &str, existing: &str) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for line in existing.lines() {
        let names = line.split('#').next().unwrap_or("").split_whitespace().skip(1);
        let others: Vec<&str> = names.filter(|name| *name != hostname && *name != "localhost" && !name.starts_with("ip6-l")).collect();
        if let (Some(address), false) = (line.split_whitespace().next(), others.is_empty()) {
            text.push_str(&format!("{address}\t{}\n", others.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_name_means_loopback_and_other_names_stay() {
        let existing = "127.0.0.1 localhost\n127.0.1.1 box box.lab # ours\n# a comment\n::1 localhost ip6-localhost\n10.0.0.9 store\n\n";
        insta::assert_snapshot!(hosts_file("box", existing), @r"
        127.0.0.1	localhost box
        ::1	localhost ip6-localhost ip6-loopback
        127.0.1.1	box.lab
        10.0.0.9	store
        ");
    }

    #[test]
    fn an_empty_file_is_enough_to_start_from() {
        assert_eq!(hosts_file("a", "").lines().count(), 2);
    }
}
