//! What a run that wants to run soon is given: a short slice of the scheduler, and cores that do not sleep deeply.
//!
//! Both are held by the run's first process and inherited or shared by its ranks. They end with that process, so nothing is left
//! behind when the node or the supervisor is dead.

use crate::report::Marks;
use crate::sys;
use rustix::fs::{Mode, OFlags};
use spec::Latency;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A sixth of the scheduler's own on larger machines (2.8 ms). A task that asks for a shorter slice is due sooner, and is stopped
/// sooner. The kernel takes 0.1 to 100 ms.
const SLICE: Duration = Duration::from_micros(500);
/// Shallow idle states are left in a few microseconds, deep ones in a hundred and more.
const WAKE_MICROSECONDS: i32 = 20;

/// Does for this process what can be done, and tells. The open file keeps cores awake until it is closed.
pub(crate) fn prepare(latency: Latency, marks: &mut Marks) -> Option<OwnedFd> {
    if latency == Latency::Ordinary {
        return None;
    }
    marks.result("slice", slice());
    match keep_awake() {
        Ok(file) => {
            let what =
                format!("idle cores of the whole machine wake up within {WAKE_MICROSECONDS} us while it goes on (/dev/cpu_dma_latency)");
            marks.yes("idle latency", what);
            Some(file)
        }
        Err(error) => {
            marks.no("idle latency", format!("/dev/cpu_dma_latency: {error}"));
            None
        }
    }
}

/// Kernels before 6.12 take the request and do not keep it, so what counts is what is read back.
fn slice() -> Result<String, String> {
    match sys::ask_for_slice(SLICE) {
        Ok(got) if got == SLICE => Ok(format!("{:.1} ms, sched_setattr; a rank may change it", SLICE.as_secs_f64() * 1e3)),
        Ok(_) => Err("this kernel has no slice by task (6.12 or later)".into()),
        Err(error) => Err(format!("sched_setattr: {error}")),
    }
}

fn keep_awake() -> std::io::Result<OwnedFd> {
    let file = rustix::fs::open("/dev/cpu_dma_latency", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, &WAKE_MICROSECONDS.to_ne_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Enforced;

    #[test]
    fn an_ordinary_run_is_given_nothing() {
        let mut marks = Marks::default();
        assert!(prepare(Latency::Ordinary, &mut marks).is_none());
        assert!(marks.into_vec().is_empty());
    }

    /// In a thread of its own, which takes the slice with it.
    #[test]
    fn what_is_told_is_what_the_kernel_says() {
        let (told, slice) = std::thread::spawn(|| {
            let mut marks = Marks::default();
            let held = prepare(Latency::Low, &mut marks);
            let told = marks.into_vec();
            let awake = told.iter().find(|mark| mark.what == "idle latency").unwrap().enforced == Enforced::Yes;
            assert_eq!(held.is_some(), awake);
            (told, sys::ask_for_slice(SLICE).ok())
        })
        .join()
        .unwrap();
        let enforced = told.iter().find(|mark| mark.what == "slice").unwrap().enforced == Enforced::Yes;
        assert_eq!(enforced, slice == Some(SLICE), "{told:?}");
    }
}
