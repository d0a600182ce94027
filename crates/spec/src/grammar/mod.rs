//! The small languages inside single values: sizes, spans, device requests, arrays, command lines, mounts.
//!
//! Flags and job files read them with the same functions. Each reader has a writer, and what is written reads
//! back as the same value.

mod array;
mod devices;
mod path;
mod quantity;
mod ranks;
mod share;
mod words;

pub use array::{parse_array, parse_dependency};
pub use devices::parse_devices;
pub use path::parse_mount;
pub(crate) use path::{mount, resolve};
pub(crate) use quantity::bounded;
pub use quantity::{parse_bytes, parse_cpus, parse_span, write_bytes, write_cpus, write_span};
pub use ranks::{Ranks, parse_ranks, write_ranks};
pub use share::{parse_enforcement, parse_percent, parse_share, write_percent};
pub use words::split_command;
