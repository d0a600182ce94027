//! "Look at this run again", said to the node if there is one.

use crate::files::StateFiles;
use spec::RunId;
use std::os::unix::net::UnixDatagram;

/// Nothing is lost when nobody listens or the queue is full: a node reads the journals when it starts, and a full
/// queue means that it is about to read them.
pub fn node(state: &StateFiles, run: RunId) {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(run.to_string().as_bytes(), state.wake_socket());
    }
}
