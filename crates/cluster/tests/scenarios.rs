//! Runs the stories in `testdata/scenarios/*.txt` and compares what they print with the `.out` file beside each.
//!
//! `ASHLAR_UPDATE=1 cargo test -p cluster --test scenarios` writes the `.out` files anew; read the difference.
//! The commands are described in `testdata/scenarios/README.md`.

mod story;

use std::path::{Path, PathBuf};

#[test]
fn every_story_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios");
    let mut stories: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("testdata/scenarios is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    stories.sort();
    assert!(stories.len() >= 10, "stories were found in {}", folder.display());
    let mut wrong = vec![];
    for path in stories {
        let text = std::fs::read_to_string(&path).expect("a story is text");
        let told = story::tell(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = path.with_extension("out");
        if std::env::var_os("ASHLAR_UPDATE").is_some() {
            std::fs::write(&golden, &told).expect("written");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{} went differently:\n{told}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
