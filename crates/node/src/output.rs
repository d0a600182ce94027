//! The output of ranks on disk.
//!
//! stdout and stderr of a rank go to one stream in the order they were written, stored in segments named by the
//! offset of their first byte: `rank-0.log.0`, `rank-0.log.67108864`, ... The first segment and the newest ones are
//! kept; a job that prints terabytes costs [`KEPT`] and loses the middle, never the beginning or the end. Bytes are
//! bytes: lines and encodings are the reader's business.

use spec::RunId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Large enough that whole outputs of ordinary runs are one file, small enough that dropping one is no loss of a day.
pub const SEGMENT: u64 = 64 << 20;

/// The most one rank keeps on disk.
pub const KEPT: u64 = 4 * SEGMENT;

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("run {0} left no output here")]
    NoRun(RunId),
    #[error("cannot read the output of run {run}: {source}")]
    Read { run: RunId, source: io::Error },
}

/// Appends the output of one rank.
#[derive(Debug)]
pub struct OutputWriter {
    dir: PathBuf,
    stem: String,
    segment_size: u64,
    file: Option<File>,
    segment_start: u64,
    /// Bytes written in all, dropped ones included.
    total: u64,
    /// Bytes that a full disk did not take.
    refused: u64,
}

impl OutputWriter {
    pub fn new(dir: &Path, rank: u32) -> OutputWriter {
        OutputWriter::with_segment_size(dir, rank, SEGMENT)
    }

    fn with_segment_size(dir: &Path, rank: u32, segment_size: u64) -> OutputWriter {
        OutputWriter { dir: dir.to_path_buf(), stem: stem(rank), segment_size, file: None, segment_start: 0, total: 0, refused: 0 }
    }

    /// Never fails: a job does not stop because its output finds no room. What was refused is counted.
    pub fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = (self.segment_start + self.segment_size - self.total) as usize;
            let (now, later) = data.split_at(room.min(data.len()));
            if self.append(now).is_err() {
                self.refused += now.len() as u64;
                self.drop_if_empty();
                // The stream keeps its offsets: a hole is a segment that begins later.
                self.file = None;
                self.segment_start = self.total + now.len() as u64;
            }
            self.total += now.len() as u64;
            if self.total >= self.segment_start + self.segment_size {
                self.file = None;
                self.segment_start = self.total;
                self.drop_middle();
            }
            data = later;
        }
    }

    /// A segment that took nothing is only a name in the way.
    fn drop_if_empty(&mut self) {
        if self.file.take().is_some_and(|file| file.metadata().is_ok_and(|data| data.len() == 0)) {
            let _ = fs::remove_file(self.dir.join(format!("{}{}", self.stem, self.segment_start)));
        }
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.segment_start = self.total;
            let path = self.dir.join(format!("{}{}", self.stem, self.segment_start));
            self.file = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?);
        }
        match &mut self.file {
            Some(file) => file.write_all(data),
            None => Ok(()),
        }
    }

    fn drop_middle(&self) {
        let segments = segments(&self.dir, &self.stem).unwrap_or_default();
        let keep = (KEPT / SEGMENT) as usize - 1;
        for (_, path) in segments.iter().skip(1).rev().skip(keep - 1) {
            let _ = fs::remove_file(path);
        }
    }

    /// Bytes the rank printed in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }
}

fn stem(rank: u32) -> String {
    format!("rank-{rank}.log.")
}

/// Segments of one rank in order of their first byte.
fn segments(dir: &Path, stem: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = vec![];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let start = entry.file_name().to_str().and_then(|name| name.strip_prefix(stem)?.parse::<u64>().ok());
        if let Some(start) = start {
            found.push((start, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes that `rank` has printed, dropped ones included.
pub(crate) fn output_length(dir: &Path, rank: u32) -> u64 {
    let last = segments(dir, &stem(rank)).unwrap_or_default().pop();
    last.map_or(0, |(start, path)| start + fs::metadata(path).map_or(0, |data| data.len()))
}

/// A piece of the output of `rank` in `dir` from `offset` on, at most `max` bytes, and where it really begins:
/// later than asked when that part was dropped. Empty when there is nothing (yet).
pub fn read_output(dir: &Path, run: RunId, rank: u32, offset: u64, max: usize) -> Result<(u64, Vec<u8>), OutputError> {
    if !dir.is_dir() {
        return Err(OutputError::NoRun(run));
    }
    let failed = |source| OutputError::Read { run, source };
    let segments = segments(dir, &stem(rank)).map_err(failed)?;
    for (start, path) in segments {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // Dropped between the listing and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        if start + length <= offset {
            continue;
        }
        let begin = offset.max(start);
        file.seek(SeekFrom::Start(begin - start)).map_err(failed)?;
        let mut data = Vec::new();
        file.take(max as u64).read_to_end(&mut data).map_err(failed)?;
        return Ok((begin, data));
    }
    Ok((offset, vec![]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::JobId;

    const RUN: RunId = RunId { job: JobId::new(1), attempt: 1 };

    fn read_all(dir: &Path) -> (Vec<u8>, u64) {
        let (mut offset, mut all, mut gaps) = (0, vec![], 0);
        loop {
            let (begin, data) = read_output(dir, RUN, 0, offset, 7).unwrap();
            if data.is_empty() {
                return (all, gaps);
            }
            gaps += begin - offset;
            offset = begin + data.len() as u64;
            all.extend(data);
        }
    }

    #[test]
    fn output_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = OutputWriter::with_segment_size(dir.path(), 0, 10);
        let text: Vec<u8> = (0..33).collect();
        for piece in text.chunks(5) {
            writer.write(piece);
        }
        assert_eq!(read_all(dir.path()), (text, 0));
        assert_eq!(writer.total(), 33);
    }

    #[test]
    fn too_much_output_loses_its_middle_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = OutputWriter::with_segment_size(dir.path(), 0, 10);
        let text: Vec<u8> = (0..200).collect();
        writer.write(&text);
        let (kept, gap) = read_all(dir.path());
        assert_eq!(kept[..10], text[..10]);
        assert_eq!(kept[kept.len() - 20..], text[180..]);
        assert_eq!(kept.len() as u64 + gap, 200);
        assert!(kept.len() as u64 <= 10 * KEPT / SEGMENT);
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let mut writer = OutputWriter::with_segment_size(&gone, 0, 10);
        writer.write(b"lost words");
        assert_eq!((writer.total(), writer.refused()), (10, 10));
        fs::create_dir(&gone).unwrap();
        writer.write(b"kept");
        assert_eq!(read_output(&gone, RUN, 0, 0, 100).unwrap(), (10, b"kept".to_vec()));
    }

    #[test]
    fn no_output_yet_is_empty_and_no_run_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_output(dir.path(), RUN, 0, 5, 10).unwrap(), (5, vec![]));
        assert!(matches!(read_output(&dir.path().join("x"), RUN, 0, 0, 1), Err(OutputError::NoRun(_))));
    }
}
