use super::*;
use crate::Root;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A machine in memory that can be cut off at any step, and that misbehaves where it is told to.
#[derive(Default)]
struct Fake {
    files: RefCell<BTreeMap<String, String>>,
    boot: String,
    /// Steps that are still taken; then the process is dead.
    steps: Cell<Option<usize>>,
    /// Whether the step at which it dies still happens.
    late: bool,
    refuses: Option<&'static str>,
    ignores: Option<&'static str>,
    /// Writing the first also changes the second.
    pushes: Option<(&'static str, &'static str, &'static str)>,
}

impl Fake {
    fn new(files: &[(&str, &str)]) -> Fake {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Fake { files: RefCell::new(files), boot: "first".into(), ..Fake::default() }
    }

    /// Whether this step happens, and whether the process survives it.
    fn step(&self) -> (bool, bool) {
        match self.steps.get() {
            None => (true, true),
            Some(0) => (false, false),
            Some(left) => {
                self.steps.set(Some(left - 1));
                (left > 1 || self.late, left > 1)
            }
        }
    }

    fn set(&self, path: &str, text: Option<&str>) -> io::Result<()> {
        let (happens, survives) = self.step();
        if happens {
            match text {
                Some(text) => self.files.borrow_mut().insert(path.into(), text.into()),
                None => self.files.borrow_mut().remove(path),
            };
        }
        if survives { Ok(()) } else { Err(io::Error::other("killed")) }
    }
}

impl Ground for Fake {
    fn read(&self, path: &str) -> io::Result<String> {
        self.files.borrow().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, path: &str, value: &str) -> io::Result<()> {
        if self.refuses == Some(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.ignores == Some(path) {
            return Ok(());
        }
        let choices = self.read(path).unwrap_or_default();
        let text = match choices.contains('[') {
            true => choices.replace(['[', ']'], "").replace(value, &format!("[{value}]")),
            false => value.to_owned(),
        };
        self.set(path, Some(&text))?;
        match self.pushes {
            Some((of, other, value)) if of == path => self.set(other, Some(value)),
            _ => Ok(()),
        }
    }

    fn replace(&mut self, path: &str, text: Option<&str>) -> io::Result<()> {
        self.set(path, text)
    }

    fn boot(&self) -> String {
        self.boot.clone()
    }
}

const SWAPPINESS: &str = "proc/sys/vm/swappiness";
const DIRTY: &str = "proc/sys/vm/dirty_ratio";
const THP: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const AT_BOOT: &str = "etc/sysctl.d/90-ashlar.conf";

fn machine() -> Fake {
    Fake::new(&[(SWAPPINESS, "60\n"), (DIRTY, "20\n"), (THP, "[always] madvise never\n")])
}

fn write(path: &str, old: &str, new: &str) -> Write {
    Write { rule: "memory.x".into(), path: path.into(), old: Some(old.into()), new: Some(new.into()), target: Target::Kernel }
}

fn writes() -> Vec<Write> {
    let file =
        Write { rule: "boot".into(), path: AT_BOOT.into(), old: None, new: Some("vm.swappiness = 10\n".into()), target: Target::File };
    vec![write(SWAPPINESS, "60", "10"), write(DIRTY, "20", "3"), write(THP, "always", "madvise"), file]
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir).unwrap()
}

/// Values by path, as they count.
fn picture(ground: &Fake) -> BTreeMap<String, String> {
    ground.files.borrow().iter().map(|(path, text)| (path.clone(), value_of(text))).collect()
}

fn planned() -> BTreeMap<String, String> {
    let mut ground = machine();
    let dir = tempfile::tempdir().unwrap();
    apply(&mut ground, &open(dir.path()), "test", &writes()).unwrap();
    picture(&ground)
}

#[test]
fn all_is_written_and_all_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ground, before) = (machine(), picture(&machine()));
    let journal = open(dir.path());
    let id = apply(&mut ground, &journal, "train", &writes()).unwrap();
    assert_eq!(picture(&ground)[THP], "madvise");
    assert_eq!(picture(&ground)[AT_BOOT], "vm.swappiness = 10");
    assert_eq!(journal.read().unwrap()[0].state, State::Kept);
    let undone = undo(&mut ground, &journal, Some(id)).unwrap();
    assert_eq!((undone.values, undone.left.len()), (4, 0));
    assert_eq!(picture(&ground), before);
    assert!(matches!(undo(&mut ground, &journal, None), Err(TuneError::NoSuch(_))));
}

/// The heart of it: the process dies at every step, before or after the step took effect, and the next one finds all as before
/// or all as planned.
#[test]
fn killed_at_any_step_the_machine_is_as_before_or_as_planned() {
    let (before, planned) = (picture(&machine()), planned());
    let mut outcomes = [0, 0];
    for late in [false, true] {
        for steps in 0..12 {
            let dir = tempfile::tempdir().unwrap();
            let mut ground = Fake { late, ..machine() };
            ground.steps.set(Some(steps));
            let finished = apply(&mut ground, &open(dir.path()), "test", &writes()).is_ok();
            ground.steps.set(None);
            recover(&mut ground, &open(dir.path())).unwrap();
            let after = picture(&ground);
            let expected = if finished { &planned } else { &before };
            assert_eq!(&after, expected, "late {late}, {steps} steps");
            outcomes[usize::from(finished)] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 4), "{outcomes:?}");
}

/// The same for the journal itself: its file may end anywhere.
#[test]
fn a_journal_that_ends_anywhere_leads_to_before_or_planned() {
    let dir = tempfile::tempdir().unwrap();
    let mut done = machine();
    apply(&mut done, &open(dir.path()), "test", &writes()).unwrap();
    let text = std::fs::read(dir.path().join("1.jsonl")).unwrap();
    let (before, planned) = (picture(&machine()), planned());
    let kept = text.len();
    for end in 0..=kept {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.jsonl"), &text[..end]).unwrap();
        // A record is on disk before its step, so what was written is what the journal tells of.
        let told = String::from_utf8_lossy(&text[..end]).matches("\"writing\",\"write\":").count();
        let whole = text[..end].iter().filter(|byte| **byte == b'\n').count();
        let mut ground = machine();
        for write in writes().iter().take(told.min(whole.saturating_sub(1))) {
            match write.target {
                Target::Kernel => ground.write(&write.path, write.new.as_deref().unwrap()).unwrap(),
                Target::File => ground.replace(&write.path, write.new.as_deref()).unwrap(),
            }
        }
        let journal = open(dir.path());
        recover(&mut ground, &journal).unwrap();
        let after = picture(&ground);
        let is_kept = whole == text.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(after, if is_kept { planned.clone() } else { before.clone() }, "cut at {end} of {kept}");
        // And the folder is of use afterwards.
        let mut fresh = machine();
        apply(&mut fresh, &journal, "again", &writes()[..1]).unwrap();
    }
}

#[test]
fn killed_while_it_is_undone_the_next_one_goes_on() {
    let before = picture(&machine());
    for late in [false, true] {
        for steps in 0..6 {
            let dir = tempfile::tempdir().unwrap();
            let mut ground = Fake { late, ..machine() };
            apply(&mut ground, &open(dir.path()), "test", &writes()).unwrap();
            ground.steps.set(Some(steps));
            let _ = undo(&mut ground, &open(dir.path()), None);
            ground.steps.set(None);
            recover(&mut ground, &open(dir.path())).unwrap();
            assert_eq!(picture(&ground), before, "late {late}, {steps} steps");
        }
    }
}

#[test]
fn any_failure_puts_everything_back() {
    let before = picture(&machine());
    let cases: [(Fake, &str); 4] = [
        (Fake { refuses: Some(THP), ..machine() }, "the kernel refused to write /sys/kernel/mm/transparent_hugepage/enabled"),
        (Fake { ignores: Some(DIRTY), ..machine() }, "/proc/sys/vm/dirty_ratio was set to '3' and is '20'"),
        // The last write takes the first one back: only a look at the end finds it.
        (Fake { pushes: Some((THP, SWAPPINESS, "60")), ..machine() }, "/proc/sys/vm/swappiness was set to '10' and is '60'"),
        (Fake::new(&[(SWAPPINESS, "60\n"), (THP, "[always] madvise never\n")]), "this kernel has no /proc/sys/vm/dirty_ratio"),
    ];
    for (mut ground, said) in cases {
        let dir = tempfile::tempdir().unwrap();
        let before = if ground.read(DIRTY).is_ok() { before.clone() } else { picture(&ground) };
        let journal = open(dir.path());
        let error = apply(&mut ground, &journal, "test", &writes()).unwrap_err();
        assert!(error.to_string().starts_with(said) && error.to_string().ends_with("was put back"), "{error}");
        assert_eq!(picture(&ground), before, "{said}");
        assert_eq!(journal.read().unwrap()[0].state, State::Undone);
    }
}

#[test]
fn what_is_not_as_it_was_planned_from_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = machine();
    ground.files.borrow_mut().insert(DIRTY.into(), "15".into());
    let error = apply(&mut ground, &open(dir.path()), "test", &writes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/proc/sys/vm/dirty_ratio is '15' and was '20' when this was planned; what had been written was put back"
    );
    assert_eq!(picture(&ground)[SWAPPINESS], "60");
    assert!(error.hint().unwrap().contains("somebody else"));
}

#[test]
fn what_somebody_else_changed_since_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = machine();
    let journal = open(dir.path());
    apply(&mut ground, &journal, "test", &writes()).unwrap();
    ground.files.borrow_mut().insert(DIRTY.into(), "7".into());
    let undone = undo(&mut ground, &journal, None).unwrap();
    assert_eq!(undone.left, ["/proc/sys/vm/dirty_ratio"]);
    assert_eq!((&*picture(&ground)[DIRTY], &*picture(&ground)[SWAPPINESS]), ("7", "60"));
}

#[test]
fn after_a_restart_only_files_are_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = machine();
    // Cut off after everything was written.
    ground.steps.set(Some(5));
    let _ = apply(&mut ground, &open(dir.path()), "test", &writes());
    ground.steps.set(None);
    ground.boot = "second".into();
    // The start of the machine chose other values, and they are not ours to change.
    ground.files.borrow_mut().insert(SWAPPINESS.into(), "10".into());
    ground.files.borrow_mut().insert(DIRTY.into(), "3".into());
    ground.files.borrow_mut().insert(AT_BOOT.into(), "vm.swappiness = 10\n".into());
    let journal = open(dir.path());
    let id = journal.begin(&Record::Begin { about: "x".into(), boot: "first".into(), writes: writes() }).unwrap();
    for write in 0..4 {
        journal.append(id, &Record::Writing { write }).unwrap();
    }
    recover(&mut ground, &journal).unwrap();
    assert_eq!((&*picture(&ground)[SWAPPINESS], &*picture(&ground)[DIRTY]), ("10", "3"));
    assert!(!picture(&ground).contains_key(AT_BOOT));
}

#[test]
fn an_earlier_transaction_is_undone_after_a_later_one_on_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut ground = machine();
    let journal = open(dir.path());
    let first = apply(&mut ground, &journal, "a", &[write(SWAPPINESS, "60", "10")]).unwrap();
    let other = apply(&mut ground, &journal, "b", &[write(DIRTY, "20", "3")]).unwrap();
    let second = apply(&mut ground, &journal, "c", &[write(SWAPPINESS, "10", "1")]).unwrap();
    let error = undo(&mut ground, &journal, Some(first)).unwrap_err();
    assert_eq!(error.hint().unwrap(), format!("undo {second} first"));
    // One about something else stands in nobody's way.
    assert_eq!(undo(&mut ground, &journal, Some(other)).unwrap().id, other);
    undo(&mut ground, &journal, Some(second)).unwrap();
    undo(&mut ground, &journal, Some(first)).unwrap();
    assert_eq!(picture(&ground), picture(&machine()));
}

#[test]
fn one_at_a_time_and_a_damaged_journal_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Busy)));
    std::fs::write(dir.path().join("1.jsonl"), "{\"record\":\"kept\"}\n").unwrap();
    let error = journal.read().unwrap_err();
    assert!(error.to_string().contains("out of place") && error.hint().is_some(), "{error}");
}

/// On a folder that looks like a machine; the same code writes to a real one.
#[test]
fn a_folder_is_written_as_a_machine_is() {
    let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |path: &str| tree.path().join(path);
    std::fs::create_dir_all(at("proc/sys/vm")).unwrap();
    std::fs::create_dir_all(at("etc")).unwrap();
    std::fs::write(at(SWAPPINESS), "60\n").unwrap();
    let mut ground = Machine(Root::at(tree.path()));
    let journal = open(dir.path());
    let all = [writes()[0].clone(), writes()[3].clone()];
    apply(&mut ground, &journal, "test", &all).unwrap();
    assert_eq!(std::fs::read_to_string(at(SWAPPINESS)).unwrap(), "10\n");
    assert_eq!(std::fs::read_to_string(at(AT_BOOT)).unwrap(), "vm.swappiness = 10\n");
    undo(&mut ground, &journal, None).unwrap();
    assert_eq!(std::fs::read_to_string(at(SWAPPINESS)).unwrap(), "60\n");
    assert!(!at(AT_BOOT).exists());
}
