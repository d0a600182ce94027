//! Which node a command talks to, and where everything lies.

use crate::arguments::Arguments;
use crate::failure::{self, Failure};
use api::{Client, ClientError, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The state directory, or the address of a node elsewhere.
#[derive(Clone, Debug)]
pub struct Place {
    pub state: PathBuf,
    server: Option<String>,
}

impl Place {
    pub fn choose(arguments: &Arguments) -> Result<Place, Failure> {
        let state = match &arguments.state {
            Some(dir) => std::path::absolute(dir).map_err(|error| Failure::input(format!("--state {}: {error}", dir.display())))?,
            None => default_state(rustix::process::geteuid().is_root(), |name| std::env::var_os(name).map(PathBuf::from))
                .ok_or_else(|| Failure::input("no place for the state: HOME is not set").hint("name one with --state DIR"))?,
        };
        Ok(Place { state, server: arguments.server.clone() })
    }

    /// A connection to the node.
    pub fn connect(&self) -> Result<Client, Failure> {
        Ok(self.try_connect()?)
    }

    pub fn try_connect(&self) -> Result<Client, ClientError> {
        match &self.server {
            None => Client::connect(&self.state.join(api::SOCKET_NAME)),
            Some(server) => {
                let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(ClientError::NotSet(name));
                let url = if server.contains("://") { server.clone() } else { format!("https://{server}") };
                Client::connect_tls(&url, &variable("ASHLAR_TOKEN")?, &variable("ASHLAR_FINGERPRINT")?)
            }
        }
    }

    pub fn is_remote(&self) -> bool {
        self.server.is_some()
    }
}

/// `/var/lib/ashlar` for root; for others the XDG state folder.
fn default_state(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/ashlar"));
    }
    // The XDG rules say to ignore a relative path.
    let xdg = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    Some(xdg.or_else(|| Some(variable("HOME")?.join(".local/state")))?.join("ashlar"))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let failure = Failure::of_kind(error.kind(), &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// How long a command that waits for a job bears with a node that is being restarted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again while the node is away for a moment: a restart of the node is no end of the job. Only for questions,
/// which may be asked twice.
pub fn patiently<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Unavailable && began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other,
        }
    }
}

/// The exit code of a job that has ended.
pub fn job_exit(code: Option<i32>) -> std::process::ExitCode {
    let code = code.unwrap_or(i32::from(failure::INTERNAL));
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_lies_where_people_look_for_it() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
        };
        let home = set(&[("HOME", "/home/ada")]);
        assert_eq!(default_state(true, home), Some("/var/lib/ashlar".into()));
        assert_eq!(default_state(false, home), Some("/home/ada/.local/state/ashlar".into()));
        let xdg = set(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/data/state")]);
        assert_eq!(default_state(false, xdg), Some("/data/state/ashlar".into()));
        let relative = set(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "state")]);
        assert_eq!(default_state(false, relative), Some("/home/ada/.local/state/ashlar".into()));
        assert_eq!(default_state(false, set(&[])), None);
    }
}
