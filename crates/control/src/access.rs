//! Who may see and do what.
//!
//! A person sees and cancels only what is theirs. For everything else the answer is the one for things that do
//! not exist, so that ids tell nothing.

use cluster::Job;
use spec::{Identity, JobId};

/// A person as the kernel or a token named them, with what they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    pub identity: Identity,
    /// Root, or a member of the admin group.
    pub admin: bool,
}

impl Viewer {
    /// `admin_gid` is the number of the admin group, where the machine has such a group.
    pub fn new(identity: Identity, admin_gid: Option<u32>) -> Viewer {
        let member = admin_gid.is_some_and(|gid| identity.gid == gid || identity.groups.contains(&gid));
        Viewer { admin: identity.uid == 0 || member, identity }
    }

    pub fn may_see(&self, owner: &Identity) -> bool {
        self.may_see_uid(owner.uid)
    }

    pub fn may_see_uid(&self, uid: u32) -> bool {
        self.admin || self.identity.uid == uid
    }

    pub fn sees_job(&self, job: &Job) -> bool {
        self.may_see(&job.owner)
    }
}

/// Who may talk to the daemon at all: everybody when it runs as root, else only the user it runs as, and root.
/// A daemon of one user starts every job as that user, so letting in others would lend them that account.
pub fn may_connect(daemon_uid: u32, peer_uid: u32) -> bool {
    daemon_uid == 0 || peer_uid == 0 || peer_uid == daemon_uid
}

/// The same words whether the job is not there or not theirs.
pub fn not_found(id: JobId) -> api::ErrorBody {
    api::ErrorBody {
        kind: api::ErrorKind::NotFound,
        message: format!("there is no job {id}"),
        hint: Some("`ashlar jobs` lists yours".into()),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn person(uid: u32) -> Identity {
        let user = match uid {
            0 => "root".to_owned(),
            1000 => "ada".to_owned(),
            1001 => "bob".to_owned(),
            other => other.to_string(),
        };
        Identity { uid, gid: uid, groups: vec![uid], home: format!("/home/{user}"), user }
    }

    #[test]
    fn root_and_the_admin_group_see_all() {
        let mut operator = person(1002);
        operator.groups.push(77);
        for (viewer, uid, sees) in [
            (Viewer::new(person(0), None), 1000, true),
            (Viewer::new(person(1000), Some(77)), 1000, true),
            (Viewer::new(person(1001), Some(77)), 1000, false),
            (Viewer::new(operator.clone(), Some(77)), 1000, true),
            (Viewer::new(operator, None), 1000, false),
        ] {
            assert_eq!(viewer.may_see_uid(uid), sees, "{viewer:?}");
        }
    }

    #[test]
    fn a_daemon_of_one_user_lets_in_that_user_and_root() {
        for (daemon, peer, may) in [(0, 1000, true), (1000, 1000, true), (1000, 0, true), (1000, 1001, false)] {
            assert_eq!(may_connect(daemon, peer), may, "{daemon} {peer}");
        }
    }
}
