//! The field `devices` written out: a part of a device as a mapping.

use crate::field_error::{FieldError, Quoted};
use crate::grammar::{parse_devices, parse_enforcement, parse_percent};
use crate::parse::job::PLAIN;
use crate::parse::node::{Kind, Node};
use crate::parse::reader::Reader;
use crate::parse::table::{self, About, Field, Shape};
use crate::{DeviceRequest, ShareRequest, limits, parse_bytes};
use machine::{Bytes, Enforcement};

#[derive(Default)]
struct Parts {
    of: Option<DeviceRequest>,
    memory: Option<Bytes>,
    compute: Option<u32>,
    enforced: Option<Enforcement>,
    count: Option<u32>,
}

pub(super) fn device_fields() -> Vec<&'static About> {
    PARTS.iter().map(|field| &field.about).collect()
}

static PARTS: [Field<Parts>; 5] = [
    Field {
        about: About {
            name: "of",
            shape: Shape::Grammar(&table::DEVICES),
            summary: "Which devices: a request without a share.",
            default: "any device",
            examples: &["A100", "nvidia:48GB.."],
            elsewhere: &["type", "model", "device", "from", "name"],
            ..PLAIN
        },
        read: |parts, reader, node| parts.of = reader.read(node, parse_devices),
    },
    Field {
        about: About {
            name: "memory",
            shape: Shape::Grammar(&table::SIZE),
            summary: "Memory of each device that is taken.",
            default: "in proportion to `compute`",
            examples: &["24GB"],
            elsewhere: &["gpu_memory", "gpumem", "vram", "size"],
            ..PLAIN
        },
        read: |parts, reader, node| parts.memory = reader.read(node, parse_bytes),
    },
    Field {
        about: About {
            name: "compute",
            shape: Shape::Grammar(&table::PERCENT),
            summary: "Part of each device's compute units that is promised.",
            default: "what others leave; with neither memory nor compute, devices are held whole",
            examples: &["25%"],
            elsewhere: &["cores", "gpucores", "sm", "fraction", "share", "threads"],
            ..PLAIN
        },
        read: |parts, reader, node| parts.compute = reader.read(node, parse_percent),
    },
    Field {
        about: About {
            name: "enforced",
            shape: Shape::Word(&["counted", "watched", "driver", "hard"]),
            summary: "How firmly the part must be kept, at least.",
            default: "as firmly as the device can",
            examples: &["driver"],
            elsewhere: &["level", "enforcement", "isolation", "mode"],
            ..PLAIN
        },
        read: |parts, reader, node| parts.enforced = reader.read(node, parse_enforcement),
    },
    Field {
        about: About {
            name: "count",
            shape: Shape::Integer(&limits::DEVICES),
            summary: "Devices of each rank.",
            default: "1",
            examples: &["2"],
            elsewhere: &["number", "devices", "gpus"],
            ..PLAIN
        },
        read: |parts, reader, node| parts.count = reader.integer(node),
    },
];

pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<DeviceRequest> {
    if node.kind() != Kind::Map {
        return reader.read(node, parse_devices);
    }
    let mut parts = Parts::default();
    reader.mapping(node, &PARTS, &mut parts);
    match request(parts) {
        Ok(request) => Some(request),
        Err(error) => {
            reader.wrong(node.place, error);
            None
        }
    }
}

fn request(parts: Parts) -> Result<DeviceRequest, FieldError> {
    let mut request = parts.of.unwrap_or(DeviceRequest { count: 1, ..DeviceRequest::default() });
    if request.share.is_some() {
        let text = request.to_string();
        return Err(FieldError::new(format!("'of' has a share in it: {}", Quoted(&text))).hint("write memory: and compute: beside it"));
    }
    if request.count > 1 && parts.count.is_some() {
        return Err(FieldError::new("the count is given twice, in 'of' and as 'count'").hint("keep one of them"));
    }
    request.count = parts.count.unwrap_or(request.count);
    if parts.memory.is_some() || parts.compute.is_some() {
        if parts.memory == Some(Bytes::ZERO) {
            return Err(FieldError::new("a device memory of 0 asks for nothing").hint("leave the memory out"));
        }
        request.share = Some(ShareRequest { memory: parts.memory, compute: parts.compute, enforced: parts.enforced });
    } else if parts.enforced.is_some() {
        return Err(FieldError::new("'enforced' is about a part of a device, and none is asked for")
            .hint("add memory: or compute:, or leave it out: whole devices are never shared"));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use crate::{ParseContext, parse_job};

    fn devices(text: &str) -> Result<String, String> {
        let read = |_: &str| Err("no files".to_string());
        let context = ParseContext { file: "job.yaml".into(), workdir: "/".into(), read: &read, default_name: "job".into() };
        let job = parse_job(&format!("command: x\ndevices: {text}\n"), &context).map_err(|problems| problems.to_string())?;
        Ok(job.devices.map(|request| request.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_mapping_reads_as_the_text_does() {
        for (mapping, text) in [
            ("{memory: 24GB, enforced: driver}", "share 24GB driver:1"),
            ("{of: A100, memory: 8GB, compute: 25%, count: 2}", "A100:share 8GB 25%:2"),
            ("{of: 'nvidia:48GB..', compute: 50%}", "nvidia:48GB:share 50%:1"),
            ("{of: 'gpu:2', memory: 1GiB}", "gpu:share 1GiB:2"),
            ("{count: 3}", "3"),
            ("{of: 'A100:2'}", "A100:2"),
            ("0.5", "share 50%:1"),
            ("gpu:share 8GB", "gpu:share 8GB:1"),
        ] {
            assert_eq!(devices(mapping), Ok(text.to_string()), "{mapping}");
        }
    }

    #[test]
    fn slips_have_a_place_and_a_fix() {
        for (mapping, says) in [
            ("{enforced: driver}", "none is asked for"),
            ("{of: 'gpu:share 8GB', memory: 4GB}", "has a share in it"),
            ("{of: 'gpu:2', memory: 4GB, count: 2}", "given twice"),
            ("{memory: 8GB, level: hard}", "did you mean 'enforced'?"),
            ("{memory: 8GB, compute: 100%}", "leave the share out"),
            ("{memory: 8}", "8GB"),
            ("{memory: 8GB, enforced: loose}", "driver"),
            ("{memory: 0GB}", "asks for nothing"),
            ("[A100]", "devices"),
        ] {
            let problems = devices(mapping).unwrap_err();
            assert!(problems.contains(says) && problems.contains("job.yaml:2:"), "{mapping}: {problems}");
        }
    }
}
