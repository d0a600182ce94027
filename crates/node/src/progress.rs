//! How far a run has got, from its output and from the metrics it appends: read when somebody asks, in bounded pieces.
//!
//! A program may append JSON lines to the file that `$ASHLAR_METRICS` names, in its scratch space. While it runs the file
//! is read there; when it has ended, the supervisor keeps the last piece of it beside the output. The file is the
//! person's: a link or a pipe in its place is not followed.

use crate::files::RunFiles;
use crate::output::{output_length, read_output};
use api::ProgressView;
use frameworks::METRICS_FILE;
use frameworks::progress::Progress;
use spec::{RunId, Span};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// At most so much of the beginning and of the end of an output is looked at, in bytes each.
const WINDOW: u64 = 2 << 20;

/// At most so much of the metrics is kept, in bytes: the end of them.
const METRICS: u64 = 4 << 20;

/// What the metrics of a run say, or else the output of its rank 0. `ran` is how long its ranks have been there.
pub(crate) fn progress(files: &RunFiles, run: RunId, ran: Span) -> Option<ProgressView> {
    let from_metrics = metrics(files).map(|text| read(&text)).filter(|found| !found.is_empty());
    let (found, source) = match from_metrics {
        Some(found) => (found, "metrics"),
        None => (read(&output(files, run)), "output of rank 0"),
    };
    (!found.is_empty()).then(|| ProgressView {
        step: found.step,
        steps: found.steps,
        epoch: found.epoch,
        epochs: found.epochs,
        fraction: found.fraction(),
        loss: found.loss,
        seconds_left: found.left(ran.0 / 1000),
        curve: found.curve.iter().map(|point| (point.step, point.loss)).collect(),
        source: source.into(),
    })
}

fn read(bytes: &[u8]) -> Progress {
    let mut progress = Progress::default();
    progress.read(&String::from_utf8_lossy(bytes));
    progress
}

/// Beginning and end of the output of rank 0; all of it where that is not much.
fn output(files: &RunFiles, run: RunId) -> Vec<u8> {
    let length = output_length(&files.dir, 0);
    let tail = length.saturating_sub(WINDOW).max(WINDOW);
    let mut text = piece(files, run, 0, WINDOW.min(length));
    // The first line of the second piece may be the end of one: alone it says nothing wrong, joined to another it might.
    text.push(b'\n');
    text.extend(piece(files, run, tail, length.saturating_sub(tail)));
    text
}

/// `length` bytes from `offset` on, or fewer.
fn piece(files: &RunFiles, run: RunId, offset: u64, length: u64) -> Vec<u8> {
    let mut text = vec![];
    while (text.len() as u64) < length {
        let left = (length - text.len() as u64) as usize;
        match read_output(&files.dir, run, 0, offset + text.len() as u64, left) {
            Ok((_, data)) if !data.is_empty() => text.extend(data),
            _ => break,
        }
    }
    text
}

fn metrics(files: &RunFiles) -> Option<Vec<u8>> {
    tail_of(&files.metrics()).or_else(|_| tail_of(&files.scratch_tmp().join(METRICS_FILE))).ok()
}

/// Keeps what the run has appended, before its scratch space goes.
pub(crate) fn keep_metrics(files: &RunFiles) -> io::Result<()> {
    match tail_of(&files.scratch_tmp().join(METRICS_FILE)) {
        Ok(text) => crate::files::write_whole(&files.metrics(), &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn tail_of(path: &Path) -> io::Result<Vec<u8>> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let mut file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.seek(SeekFrom::Start(data.size().saturating_sub(METRICS)))?;
    let mut text = vec![];
    file.take(METRICS).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputWriter;
    use spec::JobId;

    const RUN: RunId = RunId { job: JobId::new(1), attempt: 1 };

    fn place() -> (tempfile::TempDir, RunFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles { dir: dir.path().to_path_buf() };
        std::fs::create_dir_all(files.scratch_tmp()).unwrap();
        (dir, files)
    }

    #[test]
    fn output_is_read_and_metrics_count_more() {
        let (_dir, files) = place();
        assert_eq!(progress(&files, RUN, Span::seconds(1)), None);
        OutputWriter::new(&files.dir, 0).write(b"hello\nstep 5/10 loss=2.5\n");
        let found = progress(&files, RUN, Span::seconds(10)).unwrap();
        assert_eq!((found.step, found.steps, found.loss, found.seconds_left), (Some(5), Some(10), Some(2.5), Some(10)));
        assert_eq!((found.curve, found.source.as_str()), (vec![(5, 2.5)], "output of rank 0"));
        let own = files.scratch_tmp().join(METRICS_FILE);
        std::fs::write(&own, "{\"step\": 7, \"total\": 10, \"loss\": 1.5}\n").unwrap();
        assert_eq!(progress(&files, RUN, Span::seconds(10)).unwrap().step, Some(7));
        keep_metrics(&files).unwrap();
        std::fs::remove_file(own).unwrap();
        let kept = progress(&files, RUN, Span::seconds(10)).unwrap();
        assert_eq!((kept.loss, kept.source.as_str()), (Some(1.5), "metrics"));
    }

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_count() {
        let (_dir, files) = place();
        let mut writer = OutputWriter::new(&files.dir, 0);
        let noise = vec![b'.'; 1 << 20];
        writer.write(b"step 1/900 loss=9\n");
        for step in [2, 3, 4, 5, 6] {
            writer.write(&noise);
            writer.write(format!("\nstep {step}/900 loss=8\n").as_bytes());
        }
        let found = progress(&files, RUN, Span::seconds(1)).unwrap();
        let steps: Vec<u64> = found.curve.iter().map(|point| point.0).collect();
        assert!(steps.starts_with(&[1, 2]) && steps.ends_with(&[6]) && !steps.contains(&3), "{steps:?}");
    }

    #[test]
    fn a_link_or_a_pipe_in_place_of_the_metrics_is_not_read() {
        let (dir, files) = place();
        let own = files.scratch_tmp().join(METRICS_FILE);
        std::fs::write(dir.path().join("secret"), "step 1/2 loss=3\n").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), &own).unwrap();
        assert_eq!(progress(&files, RUN, Span::seconds(1)), None);
        assert!(keep_metrics(&files).is_err() && !files.metrics().exists());
        std::fs::remove_file(&own).unwrap();
        nix::unistd::mkfifo(&own, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(keep_metrics(&files).is_err());
    }
}
