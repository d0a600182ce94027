//! The fields of a CDI file that matter here. Others are let pass: later versions add some.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct File {
    pub cdi_version: String,
    pub kind: String,
    pub devices: Vec<Named>,
    #[serde(skip_serializing_if = "ContainerEdits::is_empty")]
    pub container_edits: ContainerEdits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Named {
    pub name: String,
    pub container_edits: ContainerEdits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerEdits {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
}

impl ContainerEdits {
    fn is_empty(&self) -> bool {
        *self == ContainerEdits::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceNode {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
}

/// The most entries of a kind in one file.
const MOST: usize = 4096;

/// # Errors
/// A sentence on why the file is none.
pub fn parse(bytes: &[u8], largest: usize, json: bool) -> Result<File, String> {
    if bytes.len() > largest {
        return Err(format!("larger than {largest} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())?;
    let file: File = match json {
        true => serde_json::from_str(text).map_err(|error| error.to_string())?,
        false => serde_saphyr::from_str(text).map_err(|error| error.to_string().lines().next().unwrap_or("no YAML").to_owned())?,
    };
    if file.devices.len() > MOST || file.devices.iter().any(|device| device.container_edits.device_nodes.len() > MOST) {
        return Err(format!("more than {MOST} devices or nodes"));
    }
    Ok(file)
}

/// Letters and digits, with `_-.:` inside.
pub fn is_name(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 128 && text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || "_-.:".contains(c))
}

fn is_kind(kind: &str) -> bool {
    let part = |text: &str| is_name(text) && !text.contains(':') && text.starts_with(|c: char| c.is_ascii_alphabetic());
    kind.split_once('/').is_some_and(|(vendor, class)| part(vendor) && part(class))
}

/// What the specification forbids and a container engine would stumble over.
pub fn problems(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    if !file.cdi_version.starts_with(|c: char| c.is_ascii_digit()) {
        problems.push("it has no cdiVersion".into());
    }
    if !is_kind(&file.kind) {
        problems.push(format!("its kind '{}' is not vendor/class", short(&file.kind)));
    }
    if file.devices.is_empty() {
        problems.push("it names no device".into());
    }
    let mut names = std::collections::BTreeSet::new();
    for device in &file.devices {
        if !is_name(&device.name) {
            problems.push(format!("'{}' is no name of a device", short(&device.name)));
        }
        if !names.insert(&device.name) {
            problems.push(format!("'{}' stands in it twice", short(&device.name)));
        }
    }
    let edits = file.devices.iter().map(|device| &device.container_edits).chain([&file.container_edits]);
    let paths = edits.flat_map(|edits| {
        let nodes = edits.device_nodes.iter().flat_map(|node| [Some(&node.path), node.host_path.as_ref()]).flatten();
        let mounts = edits.mounts.iter().flat_map(|mount| [&mount.host_path, &mount.container_path]);
        nodes.chain(mounts).chain(edits.hooks.iter().map(|hook| &hook.path))
    });
    for path in paths {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            problems.push(format!("'{}' is no absolute path", short(path)));
        }
    }
    problems.truncate(20);
    problems
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
