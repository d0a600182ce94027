//! One file a command: what it asks for and what it prints.

pub mod cancel;
pub mod completions;
pub mod devices;
pub mod doctor;
pub mod env;
pub mod faults;
pub mod jobs;
pub mod launch;
pub mod logs;
pub mod machine;
pub mod plan;
pub mod queues;
pub mod quickstart;
pub mod run;
pub mod schema;
pub mod show;
pub mod simulate;
pub mod status;
pub mod submit;
pub mod supervise;
pub mod token;
pub mod tune;
pub mod up;
pub mod wait;
pub mod why;
