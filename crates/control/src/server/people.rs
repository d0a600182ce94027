//! Who is at the other end: what the kernel says of the peer of a socket, completed from the user database.

use crate::access::Viewer;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use spec::Identity;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Group membership may change while a daemon runs; a network user database should not be asked at every
/// connection either.
const REMEMBER: Duration = Duration::from_secs(30);

/// More people than this at a time are asked for again and again, which is slow and not wrong.
const REMEMBER_MAX: usize = 1000;

pub struct People {
    admin_group: String,
    seen: Mutex<HashMap<(u32, u32), (Instant, Viewer)>>,
}

impl People {
    pub fn new(admin_group: String) -> People {
        People { admin_group, seen: Mutex::default() }
    }

    /// Blocking: the user database may be on the network.
    pub fn viewer(&self, uid: u32, gid: Option<u32>) -> Viewer {
        let key = (uid, gid.unwrap_or(u32::MAX));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, viewer)) = seen.get(&key)
            && at.elapsed() < REMEMBER
        {
            return viewer.clone();
        }
        drop(seen);
        let viewer = Viewer::new(identity(uid, gid), self.admin_gid());
        seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBER_MAX {
            seen.clear();
        }
        seen.insert(key, (Instant::now(), viewer.clone()));
        viewer
    }

    fn admin_gid(&self) -> Option<u32> {
        Group::from_name(&self.admin_group).ok().flatten().map(|group| group.gid.as_raw())
    }
}

/// The person with this number; the group is the one of the user database unless the kernel named another.
pub fn identity(uid: u32, gid: Option<u32>) -> Identity {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else {
        let gid = gid.unwrap_or(uid);
        return Identity { uid, gid, groups: vec![gid], user: uid.to_string(), home: "/".into() };
    };
    let gid = gid.unwrap_or(user.gid.as_raw());
    let groups = CString::new(user.name.as_str()).ok().and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    let groups = groups.map_or_else(|| vec![gid], |groups| groups.into_iter().map(Gid::as_raw).collect());
    Identity { uid, gid, groups, user: user.name, home: user.dir.to_string_lossy().into_owned() }
}

/// The user id of a login name.
pub fn uid_of(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// The number of a group by its name, for queue files.
pub fn gid_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_others_go_by_number() {
        let root = identity(0, Some(0));
        assert_eq!((root.user.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert!(root.groups.contains(&0));
        let nobody_knows = identity(3_999_999_999, Some(7));
        assert_eq!((nobody_knows.user.as_str(), nobody_knows.groups.as_slice()), ("3999999999", [7].as_slice()));
    }

    #[test]
    fn a_person_is_remembered() {
        let people = People::new("no-such-group-here".into());
        assert_eq!(people.viewer(3_999_999_999, None), people.viewer(3_999_999_999, None));
        assert!(people.viewer(0, None).admin && !people.viewer(3_999_999_999, None).admin);
    }
}
