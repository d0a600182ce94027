//! Device requests: `[vendor:][class:][model,model:][memory:][share PART:][count]`.

use crate::field_error::{FieldError, Quoted, nearest};
use crate::grammar::{bounded, parse_bytes, parse_share, write_bytes};
use crate::limits;
use crate::words::{CLASSES, class_name};
use crate::{DeviceRequest, ShareRequest};
use machine::{Bytes, DeviceClass, Vendor};
use std::fmt;

/// What one part between colons says.
enum Part {
    Vendor(Vendor),
    Class(DeviceClass),
    Models(Vec<String>),
    Memory(Option<Bytes>, Option<Bytes>),
    Share(ShareRequest),
    Count(u32),
}

impl Part {
    /// Parts come in this order, each at most once.
    fn rank(&self) -> u32 {
        match self {
            Part::Vendor(_) => 1,
            Part::Class(_) => 2,
            Part::Models(_) => 3,
            Part::Memory(..) => 4,
            Part::Share(_) => 5,
            Part::Count(_) => 6,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Part::Vendor(_) => "vendor",
            Part::Class(_) => "class",
            Part::Models(_) => "model",
            Part::Memory(..) => "memory",
            Part::Share(_) => "share",
            Part::Count(_) => "count",
        }
    }
}

const ORDER: &str =
    "the order is vendor:model:memory:share:count, each may be left out: 24GB, gpu:2, A100:80GB:2, nvidia:24GB..48GB:1, gpu:share 8GB";

/// Reads a device request such as `2`, `24GB`, `gpu:2`, `A100:80GB:2`, `A100,H100:4`, `ascend:910B:4`,
/// `nvidia:24GB..48GB:1`. A vendor that is not named stays open. A part of digits only is the count when it is
/// the last one, and a model (`4090:1`) when it is not. `A100:share 8GB 25% driver` takes a part of one (see
/// [`crate::parse_share`]), and a last part such as `0.5` is short for `share 50%`.
pub fn parse_devices(text: &str) -> Result<DeviceRequest, FieldError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(FieldError::new("the device request is empty").hint(ORDER));
    }
    let pieces: Vec<&str> = text.split(':').map(str::trim).collect();
    let mut request = DeviceRequest { count: 1, ..DeviceRequest::default() };
    let mut previous: Option<Part> = None;
    for (index, piece) in pieces.iter().enumerate() {
        let part = part(piece, index + 1 == pieces.len())?;
        if let Some(previous) = previous.filter(|previous| previous.rank() >= part.rank()) {
            return Err(out_of_order(text, piece, &previous, &part, &request));
        }
        match &part {
            Part::Vendor(vendor) => request.vendor = Some(*vendor),
            Part::Class(class) => request.class = Some(*class),
            Part::Models(models) => request.models.clone_from(models),
            Part::Memory(min, max) => (request.memory_min, request.memory_max) = (*min, *max),
            Part::Share(share) => request.share = Some(*share),
            Part::Count(count) => request.count = *count,
        }
        previous = Some(part);
    }
    Ok(request)
}

fn out_of_order(text: &str, piece: &str, previous: &Part, part: &Part, request: &DeviceRequest) -> FieldError {
    // Two models in a row: the first is most often a vendor with a slip in it.
    if let (Part::Models(_), Part::Models(_)) = (previous, part) {
        let first = request.models.first().map_or("", String::as_str);
        let hint = match nearest(first, Vendor::ALL.iter().map(|vendor| vendor.name())) {
            Some(vendor) => format!("did you mean the vendor '{vendor}'?"),
            None => format!("write several models with a comma: {},{piece}", request.models.join(",")),
        };
        return FieldError::new(format!("{} has two parts that are not a memory, a class or a vendor", Quoted(text))).hint(hint);
    }
    let message = if previous.rank() == part.rank() {
        format!("{} names the {} twice", Quoted(text), part.what())
    } else {
        format!("{} has the {} after the {}", Quoted(text), part.what(), previous.what())
    };
    FieldError::new(message).hint(ORDER)
}

fn part(piece: &str, last: bool) -> Result<Part, FieldError> {
    if piece.is_empty() {
        return Err(FieldError::new("the device request has an empty part").hint(ORDER));
    }
    if let Some(vendor) = Vendor::from_name(piece).filter(|vendor| *vendor != Vendor::Unknown) {
        return Ok(Part::Vendor(vendor));
    }
    if let Some(class) = CLASSES.into_iter().find(|class| class_name(*class).eq_ignore_ascii_case(piece)) {
        return Ok(Part::Class(class));
    }
    if piece.bytes().all(|b| b.is_ascii_digit()) && last {
        return count(piece).map(Part::Count);
    }
    if let Some(rest) = piece.strip_prefix("share").filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return parse_share(rest).map(Part::Share);
    }
    if last && piece.starts_with("0.") && !piece.contains("..") && !looks_like_memory(piece) {
        return fraction(piece).map(Part::Share);
    }
    if let Some((low, high)) = piece.split_once("..") {
        return range(piece, low.trim(), high.trim());
    }
    if looks_like_memory(piece) {
        return memory(piece).map(|min| Part::Memory(Some(min), None));
    }
    models(piece).map(Part::Models)
}

/// `0.5`: that part of the memory and of the compute of one device.
fn fraction(piece: &str) -> Result<ShareRequest, FieldError> {
    let digits = piece.trim_start_matches('0').trim_start_matches('.');
    let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    match format!("{digits:0<3}").parse() {
        Ok(permille) if plain && permille > 0 => Ok(ShareRequest { memory: None, compute: Some(permille), enforced: None }),
        _ => Err(FieldError::new(format!("{} is no part of a device", Quoted(piece))).hint("write it such as 0.5, or share 8GB")),
    }
}

fn count(piece: &str) -> Result<u32, FieldError> {
    let value: i128 = piece.parse().unwrap_or(i128::MAX);
    bounded("the number of devices of a rank", value, &limits::DEVICES).map_err(|error| {
        let model = value > i128::from(*limits::DEVICES.end());
        let hint = if model {
            format!("for the model {0} write {0}:1", piece.chars().take(20).collect::<String>())
        } else {
            error.hint.unwrap_or_default()
        };
        FieldError::new(format!("{} is not a number of devices for one rank", Quoted(piece))).hint(hint)
    })?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Number and unit of memory. `910B`, `3090Ti` and `4090D` are models, so only units of device memory count;
/// a lone `G` counts because it is always meant as one, and is then refused with the right spellings.
fn looks_like_memory(piece: &str) -> bool {
    let unit = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
    let units = ["MB", "GB", "TB", "MiB", "GiB", "TiB", "G", "Gi"];
    unit.len() < piece.len() && units.iter().any(|known| known.eq_ignore_ascii_case(unit))
}

fn memory(piece: &str) -> Result<Bytes, FieldError> {
    let bytes = parse_bytes(piece)?;
    if bytes == Bytes::ZERO {
        Err(FieldError::new("a device memory of 0 asks for nothing").hint("leave the memory out"))
    } else {
        Ok(bytes)
    }
}

fn range(piece: &str, low: &str, high: &str) -> Result<Part, FieldError> {
    let end = |text: &str| if text.is_empty() { Ok(None) } else { memory(text).map(Some) };
    let (min, max) = (end(low)?, end(high)?);
    if min.is_none() && max.is_none() {
        return Err(FieldError::new("the range of memory has no ends").hint("write 24GB..48GB, 24GB.. or ..48GB"));
    }
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(
            FieldError::new(format!("the memory range {} ends below its start", Quoted(piece))).hint(format!("write {high}..{low}"))
        );
    }
    Ok(Part::Memory(min, max))
}

/// Names by which people call a vendor or a class, and that would otherwise be taken for a model nobody makes.
const ALIASES: [(&str, &str); 10] = [
    ("cuda", "nvidia"),
    ("rocm", "amd"),
    ("huawei", "ascend"),
    ("habana", "gaudi"),
    ("dcu", "hygon"),
    ("mlu", "cambricon"),
    ("gpus", "gpu"),
    ("npus", "npu"),
    ("any", "gpu"),
    ("accelerator", "gpu"),
];

/// Begins with a letter or digit and has a letter, or is digits only (`4090`): a `1.5` or `-1` is a slip.
fn is_model(model: &str) -> bool {
    let letters = model.contains(|c: char| c.is_ascii_alphabetic()) || model.bytes().all(|b| b.is_ascii_digit());
    letters && model.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn models(piece: &str) -> Result<Vec<String>, FieldError> {
    let mut models: Vec<String> = Vec::new();
    for model in piece.split(',').map(str::trim) {
        if models.len() == limits::DEVICE_MODELS {
            return Err(FieldError::new(format!("more than {} models are named", limits::DEVICE_MODELS))
                .hint("name the memory that is needed instead, such as 24GB"));
        }
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '+' | '/' | '(' | ')');
        if model.is_empty() || model.len() > 64 || !model.chars().all(known) || !is_model(model) {
            return Err(FieldError::new(format!("{} is not a vendor, class, model, memory or count", Quoted(model))).hint(ORDER));
        }
        if let Some((_, meant)) = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(model)) {
            return Err(FieldError::new(format!("{} is not a model of a device", Quoted(model))).hint(format!("did you mean '{meant}'?")));
        }
        // A model has a digit in it as good as always (A100, MI300X, L40S), a misspelt vendor never.
        let slip = if model.contains(|c: char| c.is_ascii_digit()) || model.len() < 5 {
            None
        } else {
            nearest(model, Vendor::ALL.iter().map(|vendor| vendor.name()))
        };
        if let Some(vendor) = slip {
            return Err(FieldError::new(format!("{} is not a vendor", Quoted(model))).hint(format!("did you mean '{vendor}'?")));
        }
        if models.iter().any(|other| other.eq_ignore_ascii_case(model)) {
            return Err(FieldError::new(format!("the model {} is named twice", Quoted(model))));
        }
        models.push(model.to_string());
    }
    Ok(models)
}

impl fmt::Display for DeviceRequest {
    /// The text that [`parse_devices`] reads as this request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = match (self.memory_min, self.memory_max) {
            (None, None) => None,
            (Some(min), None) => Some(write_bytes(min)),
            (min, Some(max)) => Some(format!("{}..{}", min.map(write_bytes).unwrap_or_default(), write_bytes(max))),
        };
        let models = (!self.models.is_empty()).then(|| self.models.join(","));
        let share = self.share.map(|share| share.to_string());
        let parts = [self.vendor.map(|v| v.name().to_string()), self.class.map(|c| class_name(c).to_string()), models, memory, share];
        let text: String = parts.into_iter().flatten().map(|part| part + ":").collect();
        f.pad(&format!("{text}{}", self.count))
    }
}

impl DeviceRequest {
    /// In words: `2 of nvidia A100 or H100 with at least 80GB`.
    pub fn describe(&self) -> String {
        let class = match self.class {
            Some(DeviceClass::Gpu) => Some("GPU"),
            Some(DeviceClass::Npu) => Some("NPU"),
            Some(DeviceClass::Fpga) => Some("FPGA"),
            Some(DeviceClass::Vector) => Some("vector engine"),
            None => None,
        };
        let kind = match (self.models.is_empty(), class) {
            (true, None) => "device".to_string(),
            (true, Some(class)) => class.to_string(),
            (false, None) => self.models.join(" or "),
            (false, Some(class)) => format!("{} {class}", self.models.join(" or ")),
        };
        let vendor = self.vendor.map_or("any", |vendor| vendor.name());
        let open = self.vendor.is_none() && !self.models.is_empty();
        let which = if open { kind } else { format!("{vendor} {kind}") };
        let memory = match (self.memory_min, self.memory_max) {
            (None, None) => String::new(),
            (Some(min), None) => format!(" with at least {}", write_bytes(min)),
            (None, Some(max)) => format!(" with at most {}", write_bytes(max)),
            (Some(min), Some(max)) => format!(" with {} to {}", write_bytes(min), write_bytes(max)),
        };
        match &self.share {
            None => format!("{} of {which}{memory}", self.count),
            Some(share) => format!("{} of each of {} {which}{memory}", share.describe(), self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> String {
        parse_devices(text).unwrap_err().hint.unwrap()
    }

    #[test]
    fn requests_in_every_spelling() {
        for (text, canonical, words) in [
            ("2", "2", "2 of any device"),
            ("24GB", "24GB:1", "1 of any device with at least 24GB"),
            ("gpu:2", "gpu:2", "2 of any GPU"),
            ("A100:80GB:2", "A100:80GB:2", "2 of A100 with at least 80GB"),
            ("A100,H100:4", "A100,H100:4", "4 of A100 or H100"),
            ("ascend:910B:4", "ascend:910B:4", "4 of ascend 910B"),
            ("nvidia:24GB..48GB:1", "nvidia:24GB..48GB:1", "1 of nvidia device with 24GB to 48GB"),
            ("nvidia:gpu:RTX 4090:2", "nvidia:gpu:RTX 4090:2", "2 of nvidia RTX 4090 GPU"),
            ("4090:2", "4090:2", "2 of 4090"),
            ("NVIDIA:3090Ti", "nvidia:3090Ti:1", "1 of nvidia 3090Ti"),
            ("..48GiB", "..48GiB:1", "1 of any device with at most 48GiB"),
            ("24GB..", "24GB:1", "1 of any device with at least 24GB"),
            ("Gaudi2:8", "Gaudi2:8", "8 of Gaudi2"),
            ("gaudi:8", "gaudi:8", "8 of gaudi device"),
            ("MI300X", "MI300X:1", "1 of MI300X"),
            (" gpu : 16 GB : 2 ", "gpu:16GB:2", "2 of any GPU with at least 16GB"),
            ("0.5", "share 50%:1", "50% of the memory and compute of each of 1 any device"),
            ("gpu:0.125", "gpu:share 12.5%:1", "12.5% of the memory and compute of each of 1 any GPU"),
            ("share 8GB", "share 8GB:1", "8GB of memory of each of 1 any device"),
            (
                "A100:80GB:share  25% 8GB  hard:2",
                "A100:80GB:share 8GB 25% hard:2",
                "8GB of memory and 25% of the compute of each of 2 A100 with at least 80GB",
            ),
            ("0.5GB:2", "500MB:2", "2 of any device with at least 500MB"),
        ] {
            let request = parse_devices(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(request.to_string(), canonical, "{text}");
            assert_eq!(request.describe(), words, "{text}");
            assert_eq!(parse_devices(canonical), Ok(request), "{text}");
        }
    }

    #[test]
    fn a_vendor_is_never_inferred() {
        assert_eq!(parse_devices("A100:2").unwrap().vendor, None);
        assert_eq!(parse_devices("910B").unwrap().vendor, None);
    }

    #[test]
    fn slips_are_explained() {
        for (text, meant) in [
            ("nvida:2", "did you mean 'nvidia'?"),
            ("gpus:2", "did you mean 'gpu'?"),
            ("cuda:2", "did you mean 'nvidia'?"),
            ("4090", "for the model 4090 write 4090:1"),
            ("nvidia:4090", "for the model 4090 write 4090:1"),
            ("0", "write a whole number from 1 to 128"),
            ("24G", "write 24GB (powers of 1000) or 24GiB (powers of 1024)"),
            ("48GB..24GB", "write 24GB..48GB"),
            ("A100:H100:2", "write several models with a comma: A100,H100"),
            ("..", "write 24GB..48GB, 24GB.. or ..48GB"),
            ("0.0", "write it such as 0.5, or share 8GB"),
            ("0.12345", "write it such as 0.5, or share 8GB"),
            ("share", "write 'share 8GB', 'share 25%' or 'share 8GB 25% watched'"),
            ("share 100%", "leave the share out to hold devices whole"),
            ("share 8GB loose", "write counted, watched, driver or hard"),
            ("share driver", "write 'share 8GB', 'share 25%' or 'share 8GB 25% watched'"),
        ] {
            assert_eq!(hint(text), meant, "{text}");
        }
        for text in [
            "share 8GB:share 4GB",
            "share 8GB 4GB",
            "share 5% 6%",
            "share 0%",
            "share 1.55%",
            "share 8GB:A100",
            "0.5:2",
            "share 0GB",
            "",
            ":",
            "2:gpu",
            "gpu:",
            "24GB:A100",
            "gpu:gpu",
            "2:2:2",
            "A100,",
            "A100,a100",
            "\u{1f600}",
            "--:1",
            "-1",
            "1.5",
            "-A100",
            "unknown:A\u{7}",
        ] {
            assert!(parse_devices(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_devices("24GB:A100").unwrap_err().message, "'24GB:A100' has the model after the memory");
        assert_eq!(parse_devices("gpu:24GB:48GB").unwrap_err().message, "'gpu:24GB:48GB' names the memory twice");
    }
}
