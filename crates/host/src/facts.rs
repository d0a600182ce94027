//! What kernel runs, what it offers, and what the machine is called.

use crate::cgroup::Cgroups;
use crate::{Root, text};
use machine::Facts;
use sha2::{Digest, Sha256};

pub fn facts(root: &Root, groups: &Cgroups, infos: &[text::CpuInfo]) -> Facts {
    let version = || root.text("proc/version")?.split_whitespace().nth(2).map(str::to_owned);
    let swap = root.text("proc/meminfo").and_then(|text| text::meminfo(&text, "SwapTotal"));
    Facts {
        kernel: root.text("proc/sys/kernel/osrelease").filter(|text| !text.is_empty()).or_else(version).unwrap_or_default(),
        command_line: root.text("proc/cmdline").unwrap_or_default(),
        os: os(root),
        cgroup: groups.mode(),
        cgroup_controllers: groups.controllers(root),
        resctrl: root.text("proc/filesystems").is_some_and(|text| text.split_whitespace().any(|word| word == "resctrl")),
        user_namespaces: user_namespaces(root),
        landlock: landlock(root),
        autogroup: root.value::<u32>("proc/sys/kernel/sched_autogroup_enabled").map(|on| on != 0),
        transparent_hugepages: root
            .text("sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|text| text::chosen(&text).map(str::to_owned)),
        swap_bytes: swap.unwrap_or_default().0,
        virtualised: virtualised(root, infos),
        isolation: None,
        measures_devices: false,
    }
}

fn os(root: &Root) -> String {
    let text = root.text("etc/os-release").or_else(|| root.text("usr/lib/os-release")).unwrap_or_default();
    text::assignment(&text, "PRETTY_NAME").or_else(|| text::assignment(&text, "NAME")).unwrap_or_default().to_owned()
}

/// Whether a person who is not root can make a user namespace. Debian's and Ubuntu's own switches count.
fn user_namespaces(root: &Root) -> bool {
    let on = |path: &str, unless: u64| root.value::<u64>(path) != Some(unless);
    root.value::<u64>("proc/sys/user/max_user_namespaces").is_some_and(|max| max > 0)
        && on("proc/sys/kernel/unprivileged_userns_clone", 0)
        && on("proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1)
}

/// The list of security modules needs securityfs; where that is not mounted, the running kernel is asked to make a
/// rule set, which is then thrown away without being applied.
pub(crate) fn landlock(root: &Root) -> bool {
    use landlock::{AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    if let Some(list) = root.text("sys/kernel/security/lsm").filter(|text| !text.is_empty()) {
        return list.split(',').any(|name| name == "landlock");
    }
    if let Some(asked) = root.asked("landlock") {
        return asked == "yes";
    }
    let rules = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::Execute)?.create();
    root.is_live() && rules().is_ok()
}

/// Fields that board makers leave unfilled.
fn meaningful(text: &str) -> bool {
    const FILLERS: [&str; 10] = [
        "to be filled",
        "default string",
        "system product name",
        "system manufacturer",
        "not specified",
        "not applicable",
        "o.e.m.",
        "123456789",
        "unknown",
        "none",
    ];
    let lower = text.to_ascii_lowercase();
    !lower.is_empty() && !FILLERS.iter().any(|filler| lower.starts_with(filler))
}

fn dmi(root: &Root, field: &str) -> Option<String> {
    let text = root.text(&format!("sys/class/dmi/id/{field}")).or_else(|| root.text(&format!("sys/devices/virtual/dmi/id/{field}")))?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    meaningful(&text).then_some(text)
}

/// Maker and product, from DMI or the device tree.
pub fn product(root: &Root) -> String {
    let maker = dmi(root, "sys_vendor").or_else(|| dmi(root, "board_vendor"));
    let product = dmi(root, "product_name").or_else(|| dmi(root, "board_name"));
    match (maker, product) {
        (Some(maker), Some(product)) if product.to_lowercase().starts_with(&maker.to_lowercase()) => product,
        (Some(maker), Some(product)) => format!("{maker} {product}"),
        (None, Some(product)) => product,
        // A maker alone says nothing about the machine.
        (_, None) => root.text("proc/device-tree/model").or_else(|| root.text("sys/firmware/devicetree/base/model")).unwrap_or_default(),
    }
}

pub fn hostname(root: &Root) -> String {
    let kernel = root.text("proc/sys/kernel/hostname").filter(|name| !name.is_empty());
    kernel.or_else(|| root.text("etc/hostname")).unwrap_or_default()
}

/// 32 hexadecimal digits. machine-id(5) asks that the id of the system be kept to the machine, so a hash of it is what
/// others see. Without one: firmware, name and network addresses, as far as everybody may read them.
pub fn machine_id(root: &Root, hostname: &str) -> String {
    let own = root.text("etc/machine-id").filter(|id| id.len() >= 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let source = own.unwrap_or_else(|| {
        let firmware = ["sys_vendor", "product_name", "product_version", "board_name"].map(|field| dmi(root, field).unwrap_or_default());
        let ports = root.names("sys/class/net").into_iter().filter(|name| root.exists(&format!("sys/class/net/{name}/device")));
        let addresses: Vec<String> = ports.filter_map(|name| root.text(&format!("sys/class/net/{name}/address"))).collect();
        format!("{}\n{hostname}\n{}", firmware.join("\n"), addresses.join("\n"))
    });
    let digest = Sha256::digest(format!("ashlar machine\n{source}"));
    hex::encode(&digest[..16])
}

/// The hypervisor's name as far as it shows itself: firmware strings, then Xen's own folder, then the clock it lends, then
/// the bare CPU flag.
fn virtualised(root: &Root, infos: &[text::CpuInfo]) -> Option<String> {
    const MAKERS: [(&str, &str); 14] = [
        ("QEMU", "QEMU"),
        ("KVM", "KVM"),
        ("VMware", "VMware"),
        ("innotek", "VirtualBox"),
        ("VirtualBox", "VirtualBox"),
        ("Xen", "Xen"),
        ("Bochs", "Bochs"),
        ("Parallels", "Parallels"),
        ("OpenStack", "OpenStack"),
        ("CloudStack", "CloudStack"),
        ("Google Compute Engine", "Google Compute Engine"),
        ("Alibaba Cloud ECS", "Alibaba Cloud"),
        ("Virtual Machine", "Hyper-V"),
        ("BHYVE", "bhyve"),
    ];
    let flag = infos.iter().any(|info| info.hypervisor);
    let texts: Vec<String> =
        ["product_name", "sys_vendor", "board_vendor", "bios_vendor"].iter().filter_map(|field| dmi(root, field)).collect();
    for (mark, name) in MAKERS {
        if texts.iter().any(|text| text.contains(mark)) {
            return Some(name.to_owned());
        }
    }
    // Amazon's bare-metal instances carry the same maker.
    let cloud = texts.iter().any(|text| text == "Amazon EC2") && !dmi(root, "product_name").is_some_and(|name| name.contains("metal"));
    if cloud {
        return Some("Amazon EC2".to_owned());
    }
    if let Some(kind) = root.text("sys/hypervisor/type").filter(|kind| !kind.is_empty()) {
        return Some(kind);
    }
    let clocks = root.text("sys/devices/system/clocksource/clocksource0/available_clocksource").unwrap_or_default();
    let lent = [("kvm-clock", "KVM"), ("hyperv_clocksource", "Hyper-V"), ("xen", "Xen")];
    let by_clock = lent.into_iter().find(|(clock, _)| clocks.contains(clock)).map(|(_, name)| name.to_owned());
    by_clock.or_else(|| flag.then(|| "unnamed hypervisor".to_owned()))
}
