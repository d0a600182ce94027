//! Who else writes a knob: whoever changes it without telling them finds it changed back.

use crate::profile::{sysctl, tuned};
use machine::{NodeFacts, Source};

/// What is read to find them.
pub const SOURCES: &[Source] = &[
    Source::Text("etc/sysctl.conf"),
    Source::Text("etc/sysctl.d/*"),
    Source::Text("run/sysctl.d/*"),
    Source::Text("usr/lib/sysctl.d/*"),
    Source::Text("etc/tuned/active_profile"),
    Source::Text("etc/tuned/*/tuned.conf"),
    Source::Text("usr/lib/tuned/*/tuned.conf"),
    Source::Text("usr/lib/tuned/profiles/*/tuned.conf"),
    Source::Text("etc/tmpfiles.d/*"),
    Source::Text("etc/tlp.conf"),
];

/// Daemons by the name of their process, with the paths that they write while they run.
const DAEMONS: [(&str, &str, &[&str]); 9] = [
    (
        "tlp",
        "TLP writes it when the power source changes",
        &["sys/devices/system/cpu/cpufreq/", "sys/devices/system/cpu/intel_pstate/", "sys/module/pcie_aspm/"],
    ),
    (
        "power-profiles-daemon",
        "power-profiles-daemon writes it with the profile",
        &["sys/devices/system/cpu/cpufreq/", "sys/devices/system/cpu/intel_pstate/"],
    ),
    ("auto-cpufreq", "auto-cpufreq writes it all the time", &["sys/devices/system/cpu/cpufreq/"]),
    ("thermald", "thermald lowers it when it is hot", &["sys/devices/system/cpu/intel_pstate/"]),
    ("irqbalance", "irqbalance moves interrupts", &["proc/irq/"]),
    (
        "kubelet",
        "kubelet sets it when it starts",
        &["proc/sys/vm/overcommit_memory", "proc/sys/vm/panic_on_oom", "proc/sys/kernel/panic", "proc/sys/kernel/panic_on_oops"],
    ),
    ("google_guest_agent", "Google's guest agent sets it on their machines", &["proc/irq/", "sys/class/net/"]),
    ("waagent", "Azure's agent may set it", &["sys/block/", "proc/irq/"]),
    ("ktuned", "ktuned writes it with memory use", &["sys/kernel/mm/ksm/"]),
];

/// Everybody else who writes the file at this path, in words for people.
pub fn of(facts: &NodeFacts, path: &str) -> Vec<String> {
    let readings = &facts.readings;
    let mut found = vec![];
    for pattern in ["etc/sysctl.conf", "etc/sysctl.d/*", "run/sysctl.d/*", "usr/lib/sysctl.d/*"] {
        for (file, text) in readings.matching(pattern).filter(|(file, _)| *file != super::boot::SYSCTL_FILE) {
            let lines = sysctl::parse(text).into_iter().filter(|line| machine::fits(&line.path, path));
            found.extend(lines.map(|line| format!("/{file}:{} sets it to '{}' at boot", line.number, line.value)));
        }
    }
    for (file, text) in readings.matching("etc/tmpfiles.d/*").filter(|(file, _)| *file != super::boot::TMPFILES_FILE) {
        let own = text.lines().enumerate().filter(|(_, line)| line.split_whitespace().nth(1) == Some(&format!("/{path}")));
        found.extend(own.map(|(number, _)| format!("/{file}:{} sets it at boot", number + 1)));
    }
    found.extend(active_profile(facts, path));
    for (name, what, paths) in DAEMONS {
        if facts.runs(name) == Some(true) && paths.iter().any(|head| path.starts_with(head)) {
            found.push(what.to_owned());
        }
    }
    found
}

/// The line of tuned's active profile, of one it includes too, that sets a path.
fn active_profile(facts: &NodeFacts, path: &str) -> Option<String> {
    let name = facts.readings.text("etc/tuned/active_profile")?.trim().to_owned();
    let running = facts.runs("tuned") != Some(false);
    let find = |profile: &str| tuned::find(&facts.readings, profile).map(|(_, text)| text.to_owned());
    for own in name.split_whitespace() {
        let lines = tuned::lines(own, &find);
        if let Some(line) = lines.iter().rev().find(|line| line.paths.iter().any(|one| machine::fits(one, path))) {
            let now = if running { "tuned sets it" } else { "tuned would set it" };
            return Some(format!("{now} to '{}' (profile {}, line {})", line.value, line.profile, line.number));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(files: &[(&str, &str)], processes: &[&str]) -> NodeFacts {
        let mut facts = NodeFacts { processes: Some(processes.iter().map(|name| (*name).to_owned()).collect()), ..NodeFacts::default() };
        for (path, text) in files {
            facts.readings.insert(path, *text);
        }
        facts
    }

    #[test]
    fn everybody_who_writes_it_is_named() {
        let facts = facts(
            &[
                ("etc/sysctl.d/10-x.conf", "# ours\nvm.swappiness=1\n"),
                ("usr/lib/sysctl.d/50-default.conf", "net.ipv4.conf.*.rp_filter = 2\n"),
                ("etc/sysctl.d/90-ashlar.conf", "vm.swappiness = 10\n"),
                ("etc/tuned/active_profile", "mine\n"),
                ("etc/tuned/mine/tuned.conf", "[main]\ninclude=base\n"),
                ("usr/lib/tuned/base/tuned.conf", "[sysctl]\nvm.swappiness=30\n\n[cpu]\ngovernor=performance\n"),
                ("etc/tmpfiles.d/thp.conf", "w /sys/kernel/mm/transparent_hugepage/enabled - - - - never\n"),
            ],
            &["tuned", "kubelet", "tlp"],
        );
        assert_eq!(
            of(&facts, "proc/sys/vm/swappiness"),
            ["/etc/sysctl.d/10-x.conf:2 sets it to '1' at boot", "tuned sets it to '30' (profile base, line 2)"]
        );
        assert_eq!(of(&facts, "proc/sys/net/ipv4/conf/eth0/rp_filter"), ["/usr/lib/sysctl.d/50-default.conf:1 sets it to '2' at boot"]);
        assert_eq!(of(&facts, "proc/sys/kernel/panic"), ["kubelet sets it when it starts"]);
        assert_eq!(of(&facts, "sys/kernel/mm/transparent_hugepage/enabled"), ["/etc/tmpfiles.d/thp.conf:1 sets it at boot"]);
        let governor = of(&facts, "sys/devices/system/cpu/cpufreq/policy3/scaling_governor");
        assert_eq!(governor.len(), 2, "{governor:?}");
        assert!(governor[0].starts_with("tuned sets it to 'performance'") && governor[1].starts_with("TLP"), "{governor:?}");
        assert_eq!(of(&facts, "proc/sys/vm/dirty_ratio"), Vec::<String>::new());
    }
}
