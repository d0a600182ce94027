//! The marks of an isolation report.

use spec::{Enforced, IsolationMark};

/// Collects what was asked of the kernel, in the order it is shown.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<IsolationMark>);

impl Marks {
    pub fn yes(&mut self, what: &str, detail: impl Into<String>) {
        self.0.push(IsolationMark { what: what.into(), enforced: Enforced::Yes, detail: detail.into() });
    }

    pub fn no(&mut self, what: &str, detail: impl Into<String>) {
        self.0.push(IsolationMark { what: what.into(), enforced: Enforced::No, detail: detail.into() });
    }

    pub fn result(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(detail) => self.yes(what, detail),
            Err(reason) => self.no(what, reason),
        }
    }

    pub fn into_vec(self) -> Vec<IsolationMark> {
        self.0
    }
}
