//! The closed lists of words in job files: one list per type, used to read, to print, to suggest and to
//! document.

use crate::field_error::{FieldError, Quoted, either, nearest};
use crate::{DependencyCondition, IsolationLevel, Latency, Launch, Network, NotifyOn, RetryOn, Signal, SignalTo};
use machine::DeviceClass;
use std::fmt;

/// A type whose values each have one word.
pub(crate) trait Word: Copy + 'static {
    /// What such a word is, in messages: "launch recipe".
    const WHAT: &'static str;
    const NAMES: &'static [&'static str];
    const VALUES: &'static [Self];

    /// Reads a word; upper case is forgiven, because nothing else could be meant.
    fn read(text: &str) -> Result<Self, FieldError> {
        let found = Self::NAMES.iter().position(|name| name.eq_ignore_ascii_case(text.trim()));
        found.map(|index| Self::VALUES[index]).ok_or_else(|| {
            let lower = text.trim().to_lowercase();
            let known = ALIASES.iter().find(|(alias, name)| *alias == lower && Self::NAMES.contains(name)).map(|(_, name)| *name);
            let hint = match known.or_else(|| nearest(text, Self::NAMES.iter().copied())) {
                Some(name) => format!("did you mean '{name}'?"),
                None => format!("write {}", either(Self::NAMES)),
            };
            FieldError::new(format!("{} is not a {}", Quoted(text), Self::WHAT)).hint(hint)
        })
    }
}

/// What other tools say, and the word of ours that means the same.
const ALIASES: [(&str, &str); 29] = [
    ("group", "all"),
    ("process", "main"),
    ("oom", "out-of-memory"),
    ("failure", "error"),
    ("failed", "error"),
    ("timeout", "limit"),
    ("preempted", "lost"),
    ("node-failure", "lost"),
    ("done", "succeeded"),
    ("success", "succeeded"),
    ("end", "succeeded"),
    ("failure", "failed"),
    ("error", "failed"),
    ("canceled", "cancelled"),
    ("pytorch", "torchrun"),
    ("torch", "torchrun"),
    ("ddp", "torchrun"),
    ("elastic", "torchrun"),
    ("tf", "tensorflow"),
    ("tf_config", "tensorflow"),
    ("paddlepaddle", "paddle"),
    ("mpirun", "mpi"),
    ("openmpi", "mpi"),
    ("mpich", "mpi"),
    ("ranktable", "ascend"),
    ("hccl", "ascend"),
    ("bridge", "host"),
    ("docker", "container"),
    ("afterok", "ok"),
];

macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $name:literal),+) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const NAMES: &'static [&'static str] = &[$($name),+];
            const VALUES: &'static [$type] = &[$($type::$variant),+];
        }
        impl $type {
            /// Every value, in the order of documents.
            pub const ALL: &'static [$type] = <$type as Word>::VALUES;

            /// The word in job files, listings and JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }

            /// Reads the word; upper and lower case are the same.
            pub fn from_name(name: &str) -> Option<$type> {
                <$type as Word>::read(name).ok()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

words!(
    Launch,
    "launch recipe",
    Auto = "auto",
    Plain = "plain",
    Jax = "jax",
    Torchrun = "torchrun",
    Deepspeed = "deepspeed",
    Accelerate = "accelerate",
    Tensorflow = "tensorflow",
    Paddle = "paddle",
    Mindspore = "mindspore",
    Ray = "ray",
    Mpi = "mpi",
    Horovod = "horovod",
    Xgboost = "xgboost",
    Ascend = "ascend",
    Slurm = "slurm"
);
words!(
    RetryOn,
    "retry condition",
    Error = "error",
    OutOfMemory = "out-of-memory",
    Limit = "limit",
    Lost = "lost",
    Start = "start",
    Missing = "missing"
);
words!(SignalTo, "receiver of the signal", Main = "main", All = "all");
words!(NotifyOn, "job state to notify of", Running = "running", Succeeded = "succeeded", Failed = "failed", Cancelled = "cancelled");
words!(Latency, "latency", Ordinary = "ordinary", Low = "low");
words!(Network, "network", Host = "host", None = "none");
words!(DependencyCondition, "condition", Ok = "ok", NotOk = "not-ok", Any = "any");
words!(Signal, "signal a job can save its work on", Term = "SIGTERM", Int = "SIGINT", Hup = "SIGHUP", Usr1 = "SIGUSR1", Usr2 = "SIGUSR2");

impl Word for IsolationLevel {
    const WHAT: &'static str = "level of isolation";
    const NAMES: &'static [&'static str] =
        &[IsolationLevel::Process.name(), IsolationLevel::Namespaces.name(), IsolationLevel::Container.name()];
    const VALUES: &'static [IsolationLevel] = IsolationLevel::ALL;
}

impl Signal {
    /// The number of the signal on Linux: the same on every architecture Ashlar runs on (see signal(7)).
    pub const fn number(self) -> i32 {
        match self {
            Signal::Term => 15,
            Signal::Int => 2,
            Signal::Hup => 1,
            Signal::Usr1 => 10,
            Signal::Usr2 => 12,
        }
    }
}

/// Reads a signal with or without `SIG`, in any case.
pub fn parse_signal(text: &str) -> Result<Signal, FieldError> {
    let upper = text.trim().to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    match full.as_str() {
        "SIGKILL" | "SIGSTOP" => Err(FieldError::new(format!("{full} cannot be caught, so a job cannot save its work on it"))
            .hint(format!("write {}; the kill comes by itself after the grace", either(Signal::NAMES)))),
        _ => Signal::read(&full).map_err(|error| FieldError {
            message: format!("{} is not a signal a job can save its work on", Quoted(text)),
            hint: error.hint,
        }),
    }
}

/// The word for a class of device in job files.
pub(crate) fn class_name(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Gpu => "gpu",
        DeviceClass::Npu => "npu",
        DeviceClass::Fpga => "fpga",
        DeviceClass::Vector => "vector",
    }
}

pub(crate) const CLASSES: [DeviceClass; 4] = [DeviceClass::Gpu, DeviceClass::Npu, DeviceClass::Fpga, DeviceClass::Vector];

#[cfg(test)]
mod tests {
    use super::*;

    fn same_in_json<T: Word + fmt::Display + serde::Serialize + PartialEq + fmt::Debug>() {
        assert_eq!(T::NAMES.len(), T::VALUES.len());
        for (name, value) in T::NAMES.iter().zip(T::VALUES) {
            assert_eq!(value.to_string(), *name);
            assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{name}\""), "job files and JSON use one word");
            assert_eq!(T::read(&name.to_uppercase()).unwrap(), *value);
        }
    }

    #[test]
    fn words_are_the_same_in_files_and_in_json() {
        same_in_json::<Launch>();
        same_in_json::<RetryOn>();
        same_in_json::<NotifyOn>();
        same_in_json::<Latency>();
        same_in_json::<Network>();
        same_in_json::<IsolationLevel>();
        same_in_json::<DependencyCondition>();
        same_in_json::<Signal>();
        same_in_json::<SignalTo>();
        for class in CLASSES {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{}\"", class_name(class)));
        }
    }

    #[test]
    fn a_wrong_word_names_the_right_ones() {
        let error = Launch::read("torchrn").unwrap_err();
        assert_eq!(error.message, "'torchrn' is not a launch recipe");
        assert_eq!(error.hint.unwrap(), "did you mean 'torchrun'?");
        assert_eq!(Launch::read("mpirun").unwrap_err().hint.unwrap(), "did you mean 'mpi'?");
        assert!(Launch::read("kubernetes").unwrap_err().hint.unwrap().starts_with("write auto, plain, jax, torchrun"));
        assert_eq!(Launch::from_name("jax"), Some(Launch::Jax));
        assert_eq!(Launch::from_name("kubernetes"), None);
    }

    #[test]
    fn signals_are_read_as_people_write_them() {
        for text in ["USR1", "SIGUSR1", "usr1", "sigusr1", " USR1 "] {
            assert_eq!(parse_signal(text), Ok(Signal::Usr1), "{text:?}");
        }
        assert_eq!(parse_signal("KILL").unwrap_err().message, "SIGKILL cannot be caught, so a job cannot save its work on it");
        assert_eq!(parse_signal("USR3").unwrap_err().message, "'USR3' is not a signal a job can save its work on");
        assert!(parse_signal("").is_err());
        assert!(parse_signal("15").is_err());
        let numbers: Vec<i32> = Signal::ALL.iter().map(|signal| signal.number()).collect();
        assert_eq!(numbers, [15, 2, 1, 10, 12]);
    }
}
