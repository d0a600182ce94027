//! The wire.
//!
//! Versioned messages, the views people look at, and the client. There is no server here: `control` serves these
//! types, the CLI and later the web page read them. Everything is JSON over HTTP/1.1, on a Unix socket by default.

mod client;
mod view;
mod wire;

pub use client::{Client, ClientError};
pub use view::{
    ElasticView, ErrorBody, ErrorKind, Held, JobRow, JobView, JobsPage, LogChunk, LogQuery, MachineView, PlanVerdict, PlanView,
    ProgressView, QueueView, ReasonView, RunView, SubmitItem, SubmitReply, SubmitRequest, SubmitResult,
};
pub use wire::{
    API_HEADER, API_VERSION, Alarm, BODY_MAX_BYTES, CancelRequest, FollowReply, HealthView, JobQuery, KnownMachine, LOG_ENDED_HEADER,
    LOG_MAX_BYTES, LOG_OFFSET_HEADER, LOG_RUN_HEADER, LogPiece, LogRequest, PlanRequest, RemovedMachine, SOCKET_NAME, SUBMIT_MAX_JOBS,
    TokenReply, TokenRequest, TokenRow, VERSION_HEADER, WAIT_MAX_MS, WaitReply, WhyView,
};
