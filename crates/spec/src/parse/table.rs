//! The table of fields: what the reader, the JSON Schema and the reference page are all made from, so that
//! they cannot come apart.

use crate::parse::node::Node;
use crate::parse::reader::Reader;
use std::ops::RangeInclusive;

/// What is written about a field, and what may stand in it.
pub(crate) struct About {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// One sentence.
    pub summary: &'static str,
    /// More for the reference page; may be empty.
    pub detail: &'static str,
    /// What holds when the field is left out.
    pub default: &'static str,
    /// Lines of YAML with the field in it; each is parsed by a test.
    pub examples: &'static [&'static str],
    /// What other tools call it.
    pub elsewhere: &'static [&'static str],
}

/// A field of a `D`: the text about it and the function that reads it.
pub(crate) struct Field<D: 'static> {
    pub about: About,
    pub read: fn(&mut D, &mut Reader<'_>, &Node),
}

/// The texts of all fields of one mapping.
pub(crate) type Listing = fn() -> Vec<&'static About>;

/// What may stand in a field.
pub(crate) enum Shape {
    /// Any scalar, taken as it was typed: `3.10` stays `3.10`.
    Text,
    /// Lines of text.
    Lines,
    Truth,
    Integer(&'static RangeInclusive<i64>),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text of one of the small languages.
    Grammar(&'static Grammar),
    List(&'static Shape),
    /// One value, or a list of them.
    OneOrMany(&'static Shape),
    /// Names that the person chooses, each with a scalar.
    Variables,
    Mapping(Listing),
    /// The first shape that fits by kind.
    Either(&'static [Shape]),
}

/// One of the small languages inside values.
pub(crate) struct Grammar {
    pub name: &'static str,
    pub what: &'static str,
    /// A regular expression for editors. Everything it takes, the parser takes, up to the largest values.
    pub pattern: &'static str,
    pub examples: &'static [&'static str],
    /// Whether a number without quotes is such a text too.
    pub numbers: bool,
}

pub(crate) static SIZE: Grammar = Grammar {
    name: "size",
    what: "a size with its unit: KB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB powers of 1024",
    pattern: "^[0-9]{1,6}(\\.[0-9]{1,3})? ?([KMGT](i)?B|B)$",
    examples: &["16GB", "1.5GiB"],
    numbers: false,
};

pub(crate) static SPAN: Grammar = Grammar {
    name: "span",
    what: "a length of time with units (w, d, h, m, s, ms), or HH:MM:SS, or D-HH:MM:SS",
    pattern: "^(([0-9]{1,3}d ?)?([0-9]{1,4}h ?)?([0-9]{1,4}m ?)?[0-9]{1,5}s|([0-9]{1,3}d ?)?([0-9]{1,4}h ?)?[0-9]{1,5}m|([0-9]{1,3}d ?)?[0-9]{1,4}(\\.[0-9]{1,2})?h|[0-9]{1,3}(\\.[0-9]{1,2})?d|[0-9]{1,2}(\\.[0-9]{1,2})?w|[0-9]{1,6}ms|[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]|[0-9]{1,3}-[01][0-9](:[0-5][0-9]){0,2})$",
    examples: &["90s", "2h30m", "1d", "01:30:00"],
    numbers: false,
};

pub(crate) static CPUS: Grammar = Grammar {
    name: "cpus",
    what: "whole CPUs, or a part of one",
    pattern: "^([1-9][0-9]{0,2}|0\\.[0-9]{0,2}[1-9])$",
    examples: &["4", "0.5"],
    numbers: true,
};

pub(crate) static RANKS: Grammar = Grammar {
    name: "ranks",
    what: "a number of ranks, a range of them, or a list of sizes",
    pattern: "^[1-9][0-9]{0,2}(\\.\\.[1-9][0-9]{0,2}|(,[1-9][0-9]{0,2}){0,63})$",
    examples: &["4", "2..8", "2,4,8"],
    numbers: true,
};

pub(crate) static DEVICES: Grammar = Grammar {
    name: "devices",
    what: "devices of each rank: [vendor:][class:][model,model:][memory:][share PART:][count]",
    pattern: "^[A-Za-z0-9][A-Za-z0-9 ._+/(),:%-]*$",
    examples: &["A100:80GB:2", "24GB", "2", "ascend:910B:4", "nvidia:24GB..48GB:1", "gpu:share 8GB 25%", "0.5"],
    numbers: true,
};

pub(crate) static PERCENT: Grammar = Grammar {
    name: "percent",
    what: "a percentage below 100, to a tenth",
    pattern: "^([1-9][0-9]?(\\.[0-9])?|0\\.[1-9]) ?%$",
    examples: &["25%", "12.5%"],
    numbers: false,
};

pub(crate) static ARRAY: Grammar = Grammar {
    name: "array",
    what: "indices and ranges, and after % how many at once",
    pattern: "^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*(%[1-9][0-9]{0,4})?$",
    examples: &["0-99%10", "1,3,5-7"],
    numbers: false,
};

pub(crate) static DEPENDENCY: Grammar = Grammar {
    name: "dependency",
    what: "a job id, and how that job must have ended: ok, not-ok or any",
    pattern: "^[1-9][0-9]{0,9}(\\.(0|[1-9][0-9]{0,4}))?(:(ok|not-ok|any))?$",
    examples: &["17", "17.3:any", "17:not-ok"],
    numbers: true,
};

pub(crate) static MOUNT: Grammar = Grammar {
    name: "mount",
    what: "source:target, with :ro where it shall not be written",
    pattern: "^[^:]+:/[^:]*(:(ro|rw))?$",
    examples: &["/data/images:/images:ro"],
    numbers: false,
};

pub(crate) static SIGNAL: Grammar = Grammar {
    name: "signal",
    what: "TERM, INT, HUP, USR1 or USR2, with or without SIG",
    pattern: "^((SIG)?(TERM|INT|HUP|USR1|USR2)|(sig)?(term|int|hup|usr1|usr2))$",
    examples: &["USR1"],
    numbers: false,
};
