//! Names under which the binary starts itself.

use std::path::PathBuf;

/// Hidden command: keep one run. Its argument is the folder of the run.
pub const SUPERVISE: &str = "__supervise";

/// Hidden command: fork supervisors on request. Its standard input is the daemon's socket.
pub const NURSE: &str = "__supervise-many";

/// Hidden command: run one person's notice command. Its standard input says which.
pub const NOTIFY: &str = "__notify";

/// Hidden command: load a vendor's library and say what it says. Its argument is which.
pub const PROBE: &str = "__probe";

/// The file this process runs, for starting it again.
pub fn own_path() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}
