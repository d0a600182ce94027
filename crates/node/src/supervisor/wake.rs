//! "Look at this run again", said to the node if there is one.

use crate::clock::Stopwatch;
use crate::files::StateFiles;
use spec::{RunId, Span};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// How soon a word that found the node's queue full is said again. The queue is short, and many runs may end at once.
const AGAIN: Span = Span::millis(50);
/// How long a word may wait that is soon followed by another in most short runs.
const SOON: Span = Span::millis(20);

/// The way to the node. When no node lives nothing is lost: the next one reads the journals.
#[derive(Debug)]
pub(super) struct Wake {
    socket: Option<UnixDatagram>,
    node: PathBuf,
    word: String,
    /// When it is to be said, if it is not said yet.
    untold: Option<(Stopwatch, Span)>,
}

impl Wake {
    pub(super) fn new(state: &StateFiles, run: RunId) -> Wake {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Wake { socket, node: state.wake_socket(), word: run.to_string(), untold: None }
    }

    /// Whether a node took it.
    pub(super) fn send(&mut self) -> bool {
        self.untold = None;
        let Some(socket) = &self.socket else { return false };
        let sent = socket.send_to(self.word.as_bytes(), &self.node);
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.untold = Some((Stopwatch::start(), AGAIN));
        }
        sent.is_ok()
    }

    /// Says it in a moment, or together with whatever is said before.
    pub(super) fn send_soon(&mut self) {
        self.untold.get_or_insert((Stopwatch::start(), SOON));
    }

    /// Says what is due; when to come again, if anything is left to be said.
    pub(super) fn again(&mut self) -> Option<Span> {
        if self.untold.is_some_and(|(since, span)| since.elapsed() >= span) {
            self.send();
        }
        self.untold.map(|(since, span)| Span(span.0.saturating_sub(since.elapsed().0)))
    }
}
