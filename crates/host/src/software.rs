//! Versions of drivers and toolkits, and what the processor can do beyond its architecture.

use crate::Root;
use crate::accelerators::table;
use machine::{Release, Software, Vendor};

/// Where a toolkit on the machine says its version.
struct Toolkit {
    vendor: Vendor,
    name: &'static str,
    /// Below the root, the likeliest first.
    files: &'static [&'static str],
    form: Form,
}

enum Form {
    /// The version is the first thing in the file that looks like one.
    Bare,
    /// It stands behind this text.
    After(&'static str),
    /// JSON: the member `version` of the member of this name.
    Json(&'static str),
}

/// Names of files as in the makers' install guides; none was seen on hardware by us, and a file that is not there costs
/// only the version.
const TOOLKITS: [Toolkit; 9] = [
    Toolkit { vendor: Vendor::Nvidia, name: "CUDA", files: &["usr/local/cuda/version.json"], form: Form::Json("cuda") },
    Toolkit { vendor: Vendor::Amd, name: "ROCm", files: &["opt/rocm/.info/version"], form: Form::Bare },
    Toolkit {
        vendor: Vendor::Ascend,
        name: "CANN",
        files: &[
            "usr/local/Ascend/ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info",
            "usr/local/Ascend/ascend-toolkit/latest/x86_64-linux/ascend_toolkit_install.info",
            "usr/local/Ascend/nnrt/latest/aarch64-linux/ascend_nnrt_install.info",
            "usr/local/Ascend/nnrt/latest/x86_64-linux/ascend_nnrt_install.info",
        ],
        form: Form::After("version="),
    },
    Toolkit { vendor: Vendor::Hygon, name: "DTK", files: &["opt/dtk/.info/version"], form: Form::Bare },
    Toolkit { vendor: Vendor::MooreThreads, name: "MUSA", files: &["usr/local/musa/version.json"], form: Form::Json("musa_toolkits") },
    Toolkit { vendor: Vendor::Cambricon, name: "Neuware", files: &["usr/local/neuware/version.txt"], form: Form::After("Neuware Version") },
    Toolkit { vendor: Vendor::Metax, name: "MACA", files: &["opt/maca/Version.txt"], form: Form::After("Version:") },
    Toolkit {
        vendor: Vendor::Iluvatar,
        name: "CoreX",
        files: &["usr/local/corex/version.txt", "usr/local/corex/version"],
        form: Form::Bare,
    },
    Toolkit { vendor: Vendor::Enflame, name: "TopsRider", files: &["opt/tops/version.txt"], form: Form::Bare },
];

/// The flags that builds of a framework differ by; the others would only fill the page.
const FLAGS: [&str; 16] = [
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
];

/// Reads what is there; what is missing is left out.
pub fn software(root: &Root) -> Software {
    let info = root.text("proc/cpuinfo").unwrap_or_default();
    Software { architecture: architecture(root, &info), cpu_flags: flags(&info), drivers: drivers(root), toolkits: toolkits(root) }
}

/// A captured tree is of another machine, so there only its own files count.
fn architecture(root: &Root, info: &str) -> String {
    let told = root.text("proc/sys/kernel/arch").filter(|text| !text.is_empty());
    let by_words = || {
        let has = |key: &str| info.lines().any(|line| line.split(':').next().is_some_and(|word| word.trim() == key));
        match () {
            () if has("CPU architecture") => "aarch64",
            () if has("vendor_id") && has("flags") => "x86_64",
            () if has("isa") => "riscv64",
            () if info.contains("POWER") => "ppc64le",
            () => "",
        }
    };
    told.unwrap_or_else(|| if root.is_live() { std::env::consts::ARCH.to_owned() } else { by_words().to_owned() })
}

/// Of the first CPU: a build runs on all of a machine's or on none.
fn flags(info: &str) -> Vec<String> {
    let line = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let words = line.and_then(|line| line.split_once(':')).map_or("", |(_, words)| words);
    let mut found: Vec<String> = words.split_whitespace().filter(|word| FLAGS.contains(word)).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

fn drivers(root: &Root) -> Vec<Release> {
    let mut found: Vec<Release> = table::rows().filter_map(|row| driver(root, row)).collect();
    let own = "usr/local/Ascend/driver/version.info";
    if let Some(version) = root.text(own).as_deref().and_then(|text| version_in(text, &Form::After("Version="))) {
        found.retain(|driver| driver.vendor != Vendor::Ascend);
        found.push(Release { vendor: Vendor::Ascend, name: "driver".into(), version, source: own.into() });
    }
    found.sort();
    found.dedup();
    found
}

/// The version that a loaded module tells. Modules built with the kernel tell none.
fn driver(root: &Root, row: &table::Row) -> Option<Release> {
    let names = row.drivers.iter().chain([&row.module]);
    names.filter(|name| !name.value.is_empty() && name.value != "vfio-pci").find_map(|name| {
        let source = format!("sys/module/{}/version", name.value.replace('-', "_"));
        let version = root.text(&source).as_deref().and_then(first_version)?;
        Some(Release { vendor: row.vendor, name: name.value.to_owned(), version, source })
    })
}

fn toolkits(root: &Root) -> Vec<Release> {
    let read = |toolkit: &Toolkit| {
        toolkit.files.iter().find_map(|source| {
            let version = version_in(&root.text(source)?, &toolkit.form)?;
            Some(Release { vendor: toolkit.vendor, name: toolkit.name.to_owned(), version, source: (*source).to_owned() })
        })
    };
    TOOLKITS.iter().filter_map(read).collect()
}

fn version_in(text: &str, form: &Form) -> Option<String> {
    match form {
        Form::Bare => first_version(text),
        Form::After(mark) => text.lines().find_map(|line| line.trim().strip_prefix(mark)).and_then(first_version),
        Form::Json(name) => {
            let whole: serde_json::Value = serde_json::from_str(text).ok()?;
            first_version(whole.get(name)?.get("version")?.as_str()?)
        }
    }
}

/// The first word that begins with a digit and has nothing in it but what versions are made of: `535.104.05`, `8.0.RC2`.
fn first_version(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
    let words = text.split(|c: char| !fits(c));
    let version = words.map(|word| word.trim_start_matches(['v', 'V'])).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    (version.len() <= 40).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn every_toolkit_is_read_in_its_own_form() {
        let (_dir, root) = tree(&[
            ("usr/local/cuda/version.json", r#"{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}, "nvcc": {"version": "12.4.131"}}"#),
            ("opt/rocm/.info/version", "6.2.0-66\n"),
            (
                "usr/local/Ascend/ascend-toolkit/latest/x86_64-linux/ascend_toolkit_install.info",
                "package_name=toolkit\nversion=8.0.RC2\narch=x86_64\n",
            ),
            ("opt/dtk/.info/version", "25.04.1\n"),
            ("usr/local/musa/version.json", r#"{"musa_toolkits": {"version": "4.3.4"}}"#),
            ("usr/local/neuware/version.txt", "Neuware Version 3.8.2\n"),
            ("opt/maca/Version.txt", "Version:2.32.0.6\n"),
            ("usr/local/corex/version.txt", "4.2.0"),
            ("opt/tops/version.txt", "3.4.1"),
        ]);
        let found: Vec<String> = software(&root).toolkits.iter().map(|toolkit| format!("{} {}", toolkit.name, toolkit.version)).collect();
        let expected = [
            "CUDA 12.4.1",
            "ROCm 6.2.0-66",
            "CANN 8.0.RC2",
            "DTK 25.04.1",
            "MUSA 4.3.4",
            "Neuware 3.8.2",
            "MACA 2.32.0.6",
            "CoreX 4.2.0",
            "TopsRider 3.4.1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn drivers_tell_their_version_and_what_is_not_a_version_is_none() {
        let (_dir, root) = tree(&[
            ("sys/module/nvidia/version", "535.104.05\n"),
            ("sys/module/amdgpu/version", "\n"),
            ("usr/local/Ascend/driver/version.info", "Version=24.1.rc2\nascendhal_version=7.35.19\n"),
            ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 amx_tile avx512f avx2\n"),
        ]);
        let software = software(&root);
        assert_eq!(software.driver(Vendor::Nvidia).unwrap().version, "535.104.05");
        assert_eq!(software.driver(Vendor::Ascend).unwrap().version, "24.1.rc2");
        assert_eq!(software.driver(Vendor::Amd), None);
        assert_eq!(software.cpu_flags, ["amx_tile", "avx2", "avx512f"]);
        assert_eq!(software.architecture, "x86_64");
    }

    #[test]
    fn the_architecture_of_a_captured_tree_is_that_of_its_own_processor() {
        let of = |text: &str| software(&tree(&[("proc/cpuinfo", text)]).1).architecture;
        assert_eq!(of("processor\t: 0\nFeatures\t: fp asimd sve\nCPU architecture: 8\n"), "aarch64");
        assert_eq!(of("processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"), "ppc64le");
        assert_eq!(of("processor\t: 0\nisa\t\t: rv64imafdc\n"), "riscv64");
        assert_eq!(of(""), "");
        let told = tree(&[("proc/sys/kernel/arch", "aarch64\n")]);
        assert_eq!(software(&told.1).architecture, "aarch64");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in ".{0,200}") {
            for form in [Form::Bare, Form::After("version="), Form::Json("cuda")] {
                if let Some(version) = version_in(&text, &form) {
                    prop_assert!(version.len() <= 40 && version.starts_with(|c: char| c.is_ascii_digit()));
                }
            }
        }
    }
}
