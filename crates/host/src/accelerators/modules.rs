//! Why a kernel module is not there: what the running kernel has, refuses and is told to leave alone.

use crate::Root;
use machine::ladder::Module;
use std::io::{Read, Seek, SeekFrom};

/// Folders with modprobe's configuration, the administrator's first.
const CONFIGURATION: [&str; 4] = ["etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];
const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The last bytes of a signed module (kernel: `MODULE_SIG_STRING`).
const SIGNATURE: &[u8] = b"~Module signature appended~\n";

/// Everything that decides whether `name` is loaded.
pub fn module(root: &Root, name: &str) -> Module {
    let own = plain(name);
    let loaded = root.exists(&format!("sys/module/{own}"));
    if loaded {
        return Module { name: name.to_owned(), loaded, ..Module::default() };
    }
    let release = root.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let folder = format!("lib/modules/{release}");
    let list = root.text(&format!("{folder}/modules.dep")).filter(|_| !release.is_empty());
    let file = list.as_ref().map(|list| file_of(list, &own).map(str::to_owned));
    Module {
        name: name.to_owned(),
        loaded,
        on_disk: file.as_ref().map(Option::is_some),
        blacklisted_by: blacklisted_by(root, &own),
        signed_only: signed_only(root),
        signed: file.flatten().and_then(|file| signed(root, &format!("{folder}/{file}"))),
    }
}

/// Modules are named with `-` and `_` alike.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// The path in `modules.dep` of the module with this plain name.
fn file_of<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let paths = list.lines().filter_map(|line| line.split(':').next());
    let stem = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        plain(file.split_once(".ko").map_or(file, |(stem, _)| stem))
    };
    paths.into_iter().find(|path| stem(path) == name)
}

fn blacklisted_by(root: &Root, name: &str) -> Option<String> {
    let line = root.text("proc/cmdline").unwrap_or_default();
    for word in line.split_whitespace() {
        for key in ["module_blacklist=", "modprobe.blacklist=", "rd.driver.blacklist="] {
            if word.strip_prefix(key).is_some_and(|names| names.split(',').any(|other| plain(other) == name)) {
                return Some(format!("the kernel parameter {word}"));
            }
        }
    }
    for folder in CONFIGURATION {
        for file in root.names(folder).iter().filter(|file| file.ends_with(".conf")) {
            let path = format!("{folder}/{file}");
            if root.text(&path).is_some_and(|text| forbids(&text, name)) {
                return Some(format!("/{path}"));
            }
        }
    }
    None
}

/// Whether a file of modprobe's says `blacklist NAME`, or replaces loading it by nothing.
fn forbids(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["blacklist", other, ..] => plain(other) == name,
            ["install", other, command, ..] => plain(other) == name && (command.ends_with("/false") || command.ends_with("/true")),
            _ => false,
        }
    })
}

/// Why this kernel takes signed modules only.
fn signed_only(root: &Root) -> Option<String> {
    let secure = root.bytes(SECURE_BOOT).is_ok_and(|bytes| bytes.len() == 5 && bytes[4] == 1);
    let lockdown = root.text("sys/kernel/security/lockdown");
    let locked = lockdown.as_ref().map(|text| !text.contains("[none]"));
    let enforced = root.text("sys/module/module/parameters/sig_enforce").is_some_and(|text| text == "Y");
    match (secure, locked, enforced) {
        // Where the lockdown cannot be read, distributions' kernels tie it to Secure Boot.
        (true, Some(true) | None, _) | (true, _, true) => Some("Secure Boot".into()),
        (false, Some(true), _) => Some("kernel lockdown".into()),
        (false, _, true) => Some("module.sig_enforce".into()),
        _ => None,
    }
}

/// Whether the file ends with a signature; `None` for a packed module and for a captured machine.
fn signed(root: &Root, path: &str) -> Option<bool> {
    if !root.is_live() || !path.ends_with(".ko") {
        return None;
    }
    let mut file = std::fs::File::open(root.dir().join(path)).ok()?;
    file.seek(SeekFrom::End(-(SIGNATURE.len() as i64))).ok()?;
    let mut end = Vec::new();
    file.take(SIGNATURE.len() as u64).read_to_end(&mut end).ok()?;
    Some(end == SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, bytes).unwrap();
        }
        dir
    }

    const RELEASE: (&str, &[u8]) = ("proc/sys/kernel/osrelease", b"6.12.0\n");
    const DEPENDENCIES: (&str, &[u8]) = (
        "lib/modules/6.12.0/modules.dep",
        b"kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz: kernel/x.ko\nupdates/dkms/cambricon-drv.ko:\n",
    );

    #[test]
    fn a_module_is_found_under_both_spellings() {
        let dir = tree(&[RELEASE, DEPENDENCIES, ("sys/module/ve_drv/initstate", b"live")]);
        let root = Root::at(dir.path());
        assert_eq!(module(&root, "amdgpu").on_disk, Some(true));
        assert_eq!(module(&root, "cambricon_drv").on_disk, Some(true));
        assert_eq!(module(&root, "nvidia").on_disk, Some(false));
        assert!(module(&root, "ve-drv").loaded && !module(&root, "amdgpu").loaded);
        assert_eq!(module(&Root::at(tree(&[]).path()), "amdgpu").on_disk, None, "nothing is known of this kernel");
    }

    #[test]
    fn who_forbids_it_is_named() {
        for (path, text, by) in [
            ("etc/modprobe.d/off.conf", "# no\nblacklist nvidia\n", Some("/etc/modprobe.d/off.conf")),
            ("usr/lib/modprobe.d/a.conf", "install nvidia /bin/false\n", Some("/usr/lib/modprobe.d/a.conf")),
            ("etc/modprobe.d/off.conf", "blacklist nvidiafb\n#blacklist nvidia\noptions nvidia x=1\n", None),
            ("etc/modprobe.d/off.conf.bak", "blacklist nvidia\n", None),
            ("proc/cmdline", "quiet modprobe.blacklist=nouveau,nvidia", Some("the kernel parameter modprobe.blacklist=nouveau,nvidia")),
        ] {
            let dir = tree(&[(path, text.as_bytes())]);
            assert_eq!(module(&Root::at(dir.path()), "nvidia").blacklisted_by.as_deref(), by, "{path}: {text}");
        }
    }

    #[test]
    fn signatures_are_demanded_by_one_of_three() {
        let on = (SECURE_BOOT, b"\x06\0\0\0\x01".as_slice());
        let off = (SECURE_BOOT, b"\x06\0\0\0\0".as_slice());
        let lockdown = |text: &'static str| ("sys/kernel/security/lockdown", text.as_bytes());
        for (files, expected) in [
            (vec![on], Some("Secure Boot")),
            (vec![on, lockdown("none [integrity] confidentiality")], Some("Secure Boot")),
            (vec![on, lockdown("[none] integrity confidentiality")], None),
            (vec![off, lockdown("none integrity [confidentiality]")], Some("kernel lockdown")),
            (vec![off, ("sys/module/module/parameters/sig_enforce", b"Y\n")], Some("module.sig_enforce")),
            (vec![off], None),
            (vec![], None),
        ] {
            let dir = tree(&files);
            assert_eq!(module(&Root::at(dir.path()), "nvidia").signed_only.as_deref(), expected, "{files:?}");
        }
    }
}
