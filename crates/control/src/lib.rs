//! Makes the world match what was asked: the command log, the writer thread, HTTP and access.
//!
//! A job is accepted when, and only when, its command is on disk. One thread decides and writes ([`engine`]), all
//! others read what is committed. This crate knows neither the machine nor how a run is started: the
//! [`NodeLink`] that the program passes in is its only way down.

mod access;
mod clock;
mod control;
mod engine;
mod lock;
mod log;
mod retention;
mod server;
mod views;

pub use clock::Source;
pub use control::{Control, Options, StartError};
pub use engine::{LogSource, NodeLink, Unavailable};
pub use lock::{DirLock, LockError};
pub use log::LogError;
pub use retention::{Retention, RetentionError};
