//! The wire.
//!
//! Versioned messages, the views people look at, and the client. There is no server here: `control` serves these
//! types, the CLI and later the web page read them. Everything is JSON over HTTP/1.1, on a Unix socket by default.

mod view;

pub use view::{
    ErrorBody, ErrorKind, Held, JobRow, JobView, JobsPage, LogChunk, LogQuery, MachineView, PlanVerdict, PlanView, QueueView, ReasonView,
    RunView, SubmitItem, SubmitReply, SubmitRequest, SubmitResult,
};
