//! How a job becomes processes.
//!
//! [`launch`] turns a job, its grant and the machine's devices into one argument vector and one set of
//! variables for each rank: Ashlar's own variables, the masks that show a rank its devices and hide all
//! others, and what the job's [`Recipe`] promises its framework. [`choose`] picks the recipe where the job names none, and
//! [`explain`] is the same with a reason for everything. [`environment`] says how the Python packages of a job are locked and built, as command
//! lines for others to run, and what a failed build means. Nothing here reads a file, a clock or the
//! environment of this process: the same inputs give the same processes.

pub mod builds;
pub mod checkpoint;
mod choose;
pub mod environment;
mod error;
mod files;
mod hosts;
mod launch;
pub mod progress;
mod recipe;
mod share;
mod variables;
mod visibility;
mod work;

pub use choose::{Choice, Launcher, choose, launcher_of};
pub use error::LaunchError;
pub use files::LaunchFile;
pub use hosts::hosts_file;
pub use launch::{Explained, Explanation, LaunchInput, Launched, METRICS_FILE, Process, explain, launch};
pub use recipe::{Recipe, recipes};
pub use variables::Variable;
pub use visibility::mask_variables;
