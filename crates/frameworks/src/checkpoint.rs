//! Checkpoints by the names of their files: what kind each is, and whether it is whole.
//!
//! Sources: Orbax's documentation of its folders (commit_success.txt, or a rename from a temporary name), PyTorch's
//! Distributed Checkpoint (`.metadata` is written last), safetensors' index file, TensorFlow's `checkpoint` file, Hugging Face's
//! Trainer (`checkpoint-500`), Lightning (`*.ckpt`).

/// What wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Orbax,
    TorchDistributed,
    Safetensors,
    TensorFlow,
    /// One file: torch.save, npz, Lightning, Paddle.
    File,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Orbax => "orbax",
            Format::TorchDistributed => "torch distributed",
            Format::Safetensors => "safetensors",
            Format::TensorFlow => "tensorflow",
            Format::File => "file",
        }
    }
}

/// One checkpoint of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// File or folder within the folder of checkpoints.
    pub name: String,
    pub format: Format,
    /// Everything was written; one that is not is left by a writer that died, or is being written.
    pub whole: bool,
    /// The last number in its name.
    pub step: Option<u64>,
}

const FILES: [&str; 10] = [".pt", ".pth", ".ckpt", ".npz", ".npy", ".safetensors", ".pdparams", ".msgpack", ".pkl", ".json"];
/// Names under which writers keep what is not whole.
const UNFINISHED: [&str; 4] = [".tmp", ".part", ".new", ".incomplete"];

/// What an entry of a folder of checkpoints is. `inside` are the names in it where it is a folder, `None` where it is a file.
pub fn recognise(name: &str, inside: Option<&[String]>) -> Option<Checkpoint> {
    let lower = name.to_ascii_lowercase();
    let unfinished = UNFINISHED.iter().any(|end| lower.ends_with(end)) || lower.contains(".orbax-checkpoint-tmp");
    let found = |format, whole: bool| Some(Checkpoint { name: name.into(), format, whole: whole && !unfinished, step: step_of(name) });
    let Some(inside) = inside else {
        let stem = UNFINISHED.iter().find_map(|end| lower.strip_suffix(end)).unwrap_or(&lower);
        if let Some(stem) = stem.strip_suffix(".index") {
            return found(Format::TensorFlow, true).filter(|_| !stem.ends_with(".safetensors"));
        }
        let format = if stem.ends_with(".safetensors") { Format::Safetensors } else { Format::File };
        // Settings beside a checkpoint are none; a state by that name may be.
        let known =
            FILES.iter().any(|end| stem.ends_with(end)) && (!stem.ends_with(".json") || stem.contains("state") || stem.contains("ckpt"));
        return known.then(|| found(format, true)).flatten();
    };
    let has = |test: &dyn Fn(&str) -> bool| inside.iter().any(|entry| test(entry));
    if has(&|entry| entry == "_CHECKPOINT_METADATA" || entry == "_METADATA" || entry == "manifest.ocdbt")
        || lower.contains(".orbax-checkpoint-tmp")
    {
        return found(Format::Orbax, true);
    }
    if has(&|entry| entry.ends_with(".distcp")) {
        return found(Format::TorchDistributed, has(&|entry| entry == ".metadata"));
    }
    if has(&|entry| entry.ends_with(".safetensors")) {
        let shards = inside.iter().filter_map(|entry| shard(entry)).collect::<Vec<_>>();
        let missing = shards.first().is_some_and(|(_, of)| shards.len() as u64 != *of);
        return found(Format::Safetensors, !missing);
    }
    if has(&|entry| entry == "checkpoint") && has(&|entry| entry.ends_with(".index")) {
        return found(Format::TensorFlow, true);
    }
    has(&|entry| FILES.iter().any(|end| entry.ends_with(end) && *end != ".json")).then(|| found(Format::File, true)).flatten()
}

/// `model-00001-of-00003.safetensors`.
fn shard(name: &str) -> Option<(u64, u64)> {
    let (before, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    Some((before.rsplit_once('-')?.1.parse().ok()?, of.parse().ok()?))
}

fn step_of(name: &str) -> Option<u64> {
    let digits = name.split(|c: char| !c.is_ascii_digit()).rfind(|part| !part.is_empty())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, inside: &[&str]) -> Option<(Format, bool, Option<u64>)> {
        let inside: Vec<String> = inside.iter().map(|entry| entry.to_string()).collect();
        recognise(name, Some(&inside)).map(|found| (found.format, found.whole, found.step))
    }

    fn file(name: &str) -> Option<(Format, bool, Option<u64>)> {
        recognise(name, None).map(|found| (found.format, found.whole, found.step))
    }

    #[test]
    fn folders_of_frameworks() {
        for (name, inside, expected) in [
            ("1200", &["_CHECKPOINT_METADATA", "default", "commit_success.txt"][..], Some((Format::Orbax, true, Some(1200)))),
            ("1200.orbax-checkpoint-tmp-3", &["default"], Some((Format::Orbax, false, Some(3)))),
            ("step_500", &["__0_0.distcp", "__1_0.distcp", ".metadata"], Some((Format::TorchDistributed, true, Some(500)))),
            ("step_500", &["__0_0.distcp"], Some((Format::TorchDistributed, false, Some(500)))),
            ("checkpoint-500", &["model.safetensors", "trainer_state.json"], Some((Format::Safetensors, true, Some(500)))),
            ("checkpoint-500", &["model-00001-of-00002.safetensors", "x.json"], Some((Format::Safetensors, false, Some(500)))),
            ("tf", &["checkpoint", "ckpt-3.index", "ckpt-3.data-00000-of-00001"], Some((Format::TensorFlow, true, None))),
            ("epoch=3", &["a.ckpt"], Some((Format::File, true, Some(3)))),
            ("notes", &["a.txt", "b.json"], None),
            ("empty", &[], None),
        ] {
            assert_eq!(folder(name, inside), expected, "{name} {inside:?}");
        }
    }

    #[test]
    fn single_files() {
        for (name, expected) in [
            ("state.npz", Some((Format::File, true, None))),
            ("state.npz.tmp", Some((Format::File, false, None))),
            ("epoch=3-step=1200.ckpt", Some((Format::File, true, Some(1200)))),
            ("model_12.safetensors", Some((Format::Safetensors, true, Some(12)))),
            ("ckpt-7.index", Some((Format::TensorFlow, true, Some(7)))),
            ("model.safetensors.index.json", None),
            ("config.json", None),
            ("state.json", Some((Format::File, true, None))),
            ("readme.txt", None),
            (".tmp", None),
        ] {
            assert_eq!(file(name), expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_names_are_read_without_harm(name in "\\PC{0,30}", inside in proptest::collection::vec("\\PC{0,30}", 0..4)) {
            let _ = (recognise(&name, None), recognise(&name, Some(&inside)));
        }
    }
}
