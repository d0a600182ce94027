//! What a run's processes may do: the person's identity, few capabilities or none, no new privileges.

use crate::sys;
use std::io;

/// What root keeps, as (name, number in `linux/capability.h`): enough to own files, bind low ports and change identity,
/// nothing that reaches the machine.
const ROOT_CAPABILITIES: [(&str, u32); 9] = [
    ("chown", 0),
    ("dac_override", 1),
    ("fowner", 3),
    ("fsetid", 4),
    ("kill", 5),
    ("setgid", 6),
    ("setuid", 7),
    ("net_bind_service", 10),
    ("ipc_lock", 14),
];

/// Who the processes of a run are. Taken once, by the run's init in a container, else by each rank.
#[derive(Clone, Debug)]
pub(crate) struct Privileges {
    /// uid, gid and groups to become; `None` where this process is the person already.
    pub identity: Option<(u32, u32, Vec<u32>)>,
    /// Numbers of the capabilities that stay.
    pub keep: Vec<u32>,
}

impl Privileges {
    /// Of a person's processes, made by a process that is root.
    pub fn of(uid: u32, gid: u32, groups: &[u32]) -> Privileges {
        let keep = if uid == 0 { ROOT_CAPABILITIES.iter().map(|(_, number)| *number).collect() } else { Vec::new() };
        Privileges { identity: Some((uid, gid, groups.to_vec())), keep }
    }

    /// Of processes that stay who they are.
    pub fn unchanged() -> Privileges {
        Privileges { identity: None, keep: Vec::new() }
    }

    /// Takes them, for good.
    pub fn take(&self) -> io::Result<()> {
        if let Some((uid, gid, groups)) = &self.identity {
            sys::set_groups(groups)?;
            // Before the uid goes: dropping from the bounding set is a privilege, and changing uid and gid needs these
            // two until it is done. A uid other than root's drops the rest by itself.
            const SETGID: u32 = 6;
            const SETUID: u32 = 7;
            sys::drop_bounding(&self.keep);
            let until_then = [&self.keep[..], &[SETGID, SETUID]].concat();
            sys::drop_capabilities(&until_then)?;
            sys::become_user(*uid, *gid)?;
        } else {
            sys::drop_bounding(&self.keep);
        }
        sys::drop_capabilities(&self.keep)?;
        Ok(rustix::thread::set_no_new_privs(true)?)
    }
}

pub(crate) fn capabilities_text(uid: u32) -> String {
    if uid != 0 {
        return "none".into();
    }
    let names: Vec<&str> = ROOT_CAPABILITIES.iter().map(|(name, _)| *name).collect();
    format!("only {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keeps_little_and_others_nothing() {
        assert_eq!(Privileges::of(0, 0, &[]).keep.len(), ROOT_CAPABILITIES.len());
        assert!(Privileges::of(1000, 1000, &[27]).keep.is_empty());
        assert_eq!(capabilities_text(1000), "none");
        assert!(capabilities_text(0).starts_with("only chown dac_override"));
    }
}
