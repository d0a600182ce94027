use super::*;
use machine::{DeviceClass, DeviceId, Health};
use proptest::prelude::*;
use std::fs;

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    let root = Root::at(dir.path());
    (dir, root)
}

const YAML: &str = "\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: \"0\"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - {hostPath: /usr/lib/libcuda.so.1, containerPath: /usr/lib/libcuda.so.1, options: [ro]}
  hooks:
  - {hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [x]}
";

#[test]
fn what_vendors_installed_is_read_in_both_spellings() {
    let json = r#"{"cdiVersion":"0.6.0","kind":"amd.com/gpu","annotations":{"x":"y"},
        "devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/dri/renderD128","major":226,"minor":128,"type":"c"}]}}]}"#;
    let (_dir, root) = tree(&[("etc/cdi/nvidia.yaml", YAML), ("var/run/cdi/amd.json", json), ("etc/cdi/README", "no spec")]);
    let (found, problems) = installed(&root);
    assert_eq!(problems, Vec::<String>::new());
    let kinds: Vec<_> =
        found.iter().map(|spec| (spec.path.as_str(), spec.kind.as_str(), spec.devices.len(), spec.problems.len())).collect();
    assert_eq!(kinds, [("etc/cdi/nvidia.yaml", "nvidia.com/gpu", 2, 0), ("var/run/cdi/amd.json", "amd.com/gpu", 1, 0)]);
    assert_eq!(
        (found[0].shared.as_slice(), found[0].devices[0].nodes.as_slice()),
        (&["/dev/nvidiactl".to_owned()][..], &["/dev/nvidia0".to_owned()][..])
    );
    assert_eq!(
        (vendor_of("nvidia.com/gpu"), vendor_of("management.nvidia.com/gpu"), vendor_of("x/y")),
        (Some(Vendor::Nvidia), Some(Vendor::Nvidia), None)
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let bad = r#"{"cdiVersion":"","kind":"gpu","devices":[{"name":"a b"},{"name":"x"},{"name":"x","containerEdits":{"deviceNodes":[{"path":"../dev/x"}]}}]}"#;
    let large = "x".repeat(LARGEST_FILE + 1);
    let (_dir, root) = tree(&[("etc/cdi/a.json", bad), ("etc/cdi/b.json", "{"), ("etc/cdi/c.yaml", "a: [b"), ("etc/cdi/d.yaml", &large)]);
    let (found, problems) = installed(&root);
    assert_eq!((found.len(), problems.len()), (1, 3), "{problems:?}");
    assert_eq!(
        found[0].problems,
        [
            "it has no cdiVersion",
            "its kind 'gpu' is not vendor/class",
            "'a b' is no name of a device",
            "'x' stands in it twice",
            "'../dev/x' is no absolute path"
        ]
    );
}

fn npu(index: u32) -> Device {
    let node = |path: String, minor, shared| machine::DeviceNode { path, major: 236, minor, shared };
    Device {
        id: DeviceId(format!("0000:0{}:00.0", index + 1)),
        vendor: Vendor::Ascend,
        class: DeviceClass::Npu,
        index,
        nodes: vec![node(format!("/dev/davinci{index}"), index, false), node("/dev/davinci_manager".into(), 99, true)],
        health: Health::Ready,
        ..Device::default()
    }
}

#[test]
fn ours_are_whole_and_read_back() {
    let mut devices = vec![npu(0), npu(1), Device { health: Health::Unusable("dead".into()), ..npu(2) }];
    devices.push(Device { vendor: Vendor::Nvidia, ..npu(3) });
    devices.push(Device { vendor: Vendor::Unknown, ..npu(4) });
    devices.push(Device { vendor: Vendor::Cambricon, health: Health::Unusable("no driver".into()), ..npu(5) });
    let dir = tempfile::tempdir().unwrap();
    let written = write(&dir.path().join("etc/cdi"), &devices).unwrap();
    assert_eq!(
        written,
        [
            Written::Left { vendor: Vendor::Nvidia, program: "nvidia-ctk cdi generate" },
            Written::File { vendor: Vendor::Ascend, path: dir.path().join("etc/cdi/ashlar-ascend.json") },
            Written::Nothing { vendor: Vendor::Cambricon },
        ]
    );
    let (found, problems) = installed(&Root::at(dir.path()));
    assert_eq!((found.len(), problems.len(), found[0].problems.len()), (1, 0, 0), "{found:?}");
    let names: Vec<(&str, usize)> = found[0].devices.iter().map(|entry| (entry.name.as_str(), entry.nodes.len())).collect();
    assert_eq!(names, [("0", 1), ("0000:01:00.0", 1), ("1", 1), ("0000:02:00.0", 1), ("all", 2)]);
    assert_eq!((found[0].shared.as_slice(), vendor_of(&found[0].kind)), (&["/dev/davinci_manager".to_owned()][..], Some(Vendor::Ascend)));
    assert_eq!(fs::read_dir(dir.path().join("etc/cdi")).unwrap().count(), 1, "no half file is left");
}

#[test]
fn a_vnpu_has_the_name_inside_that_huaweis_libraries_look_for() {
    let mut part = npu(0);
    part.nodes[0].path = "/dev/vdavinci101".into();
    let text = spec(Vendor::Ascend, &[part]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let node = &json["devices"][0]["containerEdits"]["deviceNodes"][0];
    assert_eq!((&node["path"], &node["hostPath"]), (&"/dev/davinci101".into(), &"/dev/vdavinci101".into()));
}

proptest! {
    #[test]
    fn any_bytes_are_a_spec_or_a_problem(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..400, json: bool) {
        for bytes in [bytes.as_slice(), &YAML.as_bytes()[..cut.min(YAML.len())]] {
            if let Ok(file) = format::parse(bytes, LARGEST_FILE, json) {
                let _ = format::problems(&file);
            }
        }
    }
}
