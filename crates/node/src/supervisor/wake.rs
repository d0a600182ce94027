//! "Look at this run again", said to the node if there is one.

use crate::files::StateFiles;
use spec::{RunId, Span};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// How soon a word that found the node's queue full is said again. The queue is short, and many runs may end at once.
const AGAIN: Span = Span::millis(50);

/// The way to the node. When no node lives nothing is lost: the next one reads the journals.
#[derive(Debug)]
pub(super) struct Wake {
    socket: Option<UnixDatagram>,
    node: PathBuf,
    word: String,
    untold: bool,
}

impl Wake {
    pub(super) fn new(state: &StateFiles, run: RunId) -> Wake {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Wake { socket, node: state.wake_socket(), word: run.to_string(), untold: false }
    }

    pub(super) fn send(&mut self) {
        let Some(socket) = &self.socket else { return };
        let sent = socket.send_to(self.word.as_bytes(), &self.node);
        self.untold = sent.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    }

    /// Says again what did not get through; when to try next, if it still did not.
    pub(super) fn again(&mut self) -> Option<Span> {
        if self.untold {
            self.send();
        }
        self.untold.then_some(AGAIN)
    }
}
