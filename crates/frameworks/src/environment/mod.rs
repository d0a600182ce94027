//! How the packages of a job become a virtual environment: locked once, built once, found again by content.
//!
//! The work is uv's; this says which command lines to run, under which keys their results are kept, and what
//! their complaints mean. Two keys, because a lock is worth more than the request it came from:
//!
//! ```text
//! request --inputs_key--> lock text --lock_key--> built environment
//! ```
//!
//! The same request finds its lock again, so a job that worked yesterday gets the same versions today; two
//! requests with the same lock share one environment.

mod bootstrap;
mod failure;
mod index;
mod key;
mod python;
mod redact;
mod requirements;
mod steps;
mod wheels;

pub use bootstrap::{Bootstrap, FETCH_UV, bootstrap_uv};
pub use failure::{Failure, FailureKind, classify};
pub use index::{IndexSettings, uv_settings_from_pip};
pub use key::{inputs_key, lock_key};
pub use python::{Interpreter, PythonError, choose_python};
pub use redact::redact;
pub use requirements::{RequirementError, requirements_text};
pub use steps::{Facts, Step, compile_command, lock_text, resolve_step, sync_step, venv_step};
pub use wheels::{are_brought, locked_packages, without_network};
