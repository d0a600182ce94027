//! Who is at the other end: what the kernel says of the peer of a socket, completed from the user database.

use crate::access::Viewer;
use crate::engine::Unavailable;
use nix::errno::Errno;
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

    /// Blocking: the user database may be on the network. While it does not answer, what it said last counts.
    ///
    /// # Errors
    /// [`Unavailable`] when it does not answer and never did: nobody is somebody else for a while.
    pub fn viewer(&self, uid: u32, gid: Option<u32>) -> Result<Viewer, Unavailable> {
        self.viewer_by(uid, gid, |uid| User::from_uid(Uid::from_raw(uid)))
    }

    fn viewer_by(&self, uid: u32, gid: Option<u32>, find: impl Fn(u32) -> nix::Result<Option<User>>) -> Result<Viewer, Unavailable> {
        let key = (uid, gid.unwrap_or(u32::MAX));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, viewer)) = seen.get(&key)
            && at.elapsed() < REMEMBER
        {
            return Ok(viewer.clone());
        }
        drop(seen);
        let found = known(find(uid)).and_then(|user| Ok(Viewer::new(identity(uid, gid, user), gid_of(&self.admin_group)?)));
        seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let viewer = match found {
            Ok(viewer) => viewer,
            Err(why) => seen.get(&key).map(|(_, viewer)| viewer.clone()).ok_or(why)?,
        };
        if seen.len() >= REMEMBER_MAX {
            seen.clear();
        }
        seen.insert(key, (Instant::now(), viewer.clone()));
        Ok(viewer)
    }
}

/// The person with this number; the group is the one of the user database unless the kernel named another.
fn identity(uid: u32, gid: Option<u32>, user: Option<User>) -> Identity {
    let Some(user) = user else {
        let gid = gid.unwrap_or(uid);
        return Identity { uid, gid, groups: vec![gid], user: uid.to_string(), home: "/".into() };
    };
    let gid = gid.unwrap_or(user.gid.as_raw());
    let groups = CString::new(user.name.as_str()).ok().and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    let groups = groups.map_or_else(|| vec![gid], |groups| groups.into_iter().map(Gid::as_raw).collect());
    Identity { uid, gid, groups, user: user.name, home: user.dir.to_string_lossy().into_owned() }
}

/// The user id of a login name.
pub fn uid_of(name: &str) -> Result<Option<u32>, Unavailable> {
    Ok(known(User::from_name(name))?.map(|user| user.uid.as_raw()))
}

/// The number of a group by its name, for queue files.
pub fn gid_of(name: &str) -> Result<Option<u32>, Unavailable> {
    Ok(known(Group::from_name(name))?.map(|group| group.gid.as_raw()))
}

/// Not to be there is an answer, which some user databases give as an error (getpwnam(3)); no answer is none.
fn known<T>(found: nix::Result<Option<T>>) -> Result<Option<T>, Unavailable> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Ok(found) => Ok(found),
        Err(error) => Err(Unavailable {
            message: format!("the user database does not answer: {error}"),
            hint: Some("try again in a moment; see `getent passwd` on the machine".into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_others_go_by_number() {
        let by_number = |uid, gid| identity(uid, gid, User::from_uid(Uid::from_raw(uid)).unwrap());
        let root = by_number(0, Some(0));
        assert_eq!((root.user.as_str(), root.uid, root.gid), ("root", 0, 0));
        assert!(root.groups.contains(&0));
        let nobody_knows = by_number(3_999_999_999, Some(7));
        assert_eq!((nobody_knows.user.as_str(), nobody_knows.groups.as_slice()), ("3999999999", [7].as_slice()));
    }

    #[test]
    fn a_person_is_remembered() {
        let people = People::new("no-such-group-here".into());
        assert_eq!(people.viewer(3_999_999_999, None), people.viewer(3_999_999_999, None));
        assert!(people.viewer(0, None).unwrap().admin && !people.viewer(3_999_999_999, None).unwrap().admin);
    }

    #[test]
    fn a_user_database_that_does_not_answer_makes_nobody_a_number() {
        let people = People::new("no-such-group-here".into());
        let silent = |_| Err(Errno::ETIMEDOUT);
        assert!(people.viewer_by(0, None, silent).unwrap_err().message.contains("does not answer"));
        assert_eq!(people.viewer_by(3_999_999_999, None, |_| Err(Errno::ENOENT)).unwrap().identity.user, "3999999999");
        let root = people.viewer(0, None).unwrap();
        let long_ago = Instant::now().checked_sub(REMEMBER * 2).unwrap();
        people.seen.lock().unwrap().values_mut().for_each(|(at, _)| *at = long_ago);
        assert_eq!(people.viewer_by(0, None, silent).unwrap(), root, "what was known still counts");
    }
}
