//! What people see, as pure functions of the committed state and of who asks.

mod holders;
mod job;
mod queue;
mod reason;

pub use holders::machine_view;
pub use job::{array_row, job_row, job_view};
pub use queue::{group_names, queue_views};
pub use reason::{About, plan_view, reason_text, reason_views};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::{sample_job, sample_spec};
