//! Paths, and the mounts made of them.

use crate::Mount;
use crate::field_error::{FieldError, Quoted};
use crate::limits;

/// An absolute path without `.`, `..` and doubled slashes. The text alone decides: `..` goes up one name, as a
/// shell's logical `cd` does, whatever links there are.
pub(crate) fn resolve(path: &str, workdir: &str) -> Result<String, FieldError> {
    if path.is_empty() {
        return Err(FieldError::new("the path is empty"));
    }
    if path.contains('\0') {
        return Err(FieldError::new(format!("the path {} has a zero byte in it", Quoted(path))));
    }
    if path == "~" || path.starts_with("~/") {
        return Err(
            FieldError::new(format!("{}: '~' is known to shells only", Quoted(path))).hint("write the path of the home folder in full")
        );
    }
    let joined = if path.starts_with('/') { path.to_string() } else { format!("{workdir}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in joined.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let resolved = format!("/{}", names.join("/"));
    if resolved.len() > limits::PATH_BYTES {
        return Err(FieldError::new(format!("the path {} is longer than the {} bytes the kernel takes", Quoted(path), limits::PATH_BYTES)));
    }
    Ok(resolved)
}

const SPELLING: &str = "write source:target or source:target:ro, such as /data/images:/images:ro";

/// Reads `source:target`, `source:target:ro` or `source:target:rw`; a relative source is below `workdir`.
pub fn parse_mount(text: &str, workdir: &str) -> Result<Mount, FieldError> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let (source, target, read_only) = match parts.as_slice() {
        [source, target] if !source.is_empty() && matches!(*target, "ro" | "rw") => {
            return Err(
                FieldError::new(format!("the mount {} has no target", Quoted(text))).hint(format!("write {source}:{source}:{target}"))
            );
        }
        [source, target] | [source, target, "rw"] => (*source, *target, false),
        [source, target, "ro"] => (*source, *target, true),
        [source] if !source.is_empty() => {
            return Err(FieldError::new(format!("the mount {} has no target", Quoted(text))).hint(format!("write {source}:{source}")));
        }
        [_, _, mode] => return Err(FieldError::new(format!("{} is not a way to mount", Quoted(mode))).hint("write ro or rw")),
        _ => return Err(FieldError::new(format!("{} is not a mount", Quoted(text))).hint(SPELLING)),
    };
    if source.is_empty() || target.is_empty() {
        return Err(FieldError::new(format!("the mount {} has no {}", Quoted(text), if source.is_empty() { "source" } else { "target" }))
            .hint(SPELLING));
    }
    mount(source, target, read_only, workdir)
}

/// A mount from its parts, as the mapping form of a job file gives them.
pub(crate) fn mount(source: &str, target: &str, read_only: bool, workdir: &str) -> Result<Mount, FieldError> {
    if !target.starts_with('/') {
        return Err(FieldError::new(format!("the mount target {} is not an absolute path", Quoted(target)))
            .hint(format!("write /{}", target.trim_start_matches("./"))));
    }
    Ok(Mount { source: resolve(source, workdir)?, target: resolve(target, "/")?, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (path, resolved) in [
            ("/a/b", "/a/b"),
            ("a", "/home/ann/a"),
            ("./a//b/", "/home/ann/a/b"),
            ("../x", "/home/x"),
            ("/..", "/"),
            ("../../../..", "/"),
            (".", "/home/ann"),
            ("~x", "/home/ann/~x"),
        ] {
            assert_eq!(resolve(path, "/home/ann").unwrap(), resolved, "{path}");
        }
        for path in ["", "~", "~/data", "a\0b", &"x".repeat(5000)] {
            assert!(resolve(path, "/").is_err());
        }
    }

    #[test]
    fn mounts() {
        let read = parse_mount("data:/data:ro", "/home/ann").unwrap();
        assert_eq!(read, Mount { source: "/home/ann/data".into(), target: "/data".into(), read_only: true });
        assert!(!parse_mount("/a:/b", "/").unwrap().read_only);
        assert!(!parse_mount("/a:/b:rw", "/").unwrap().read_only);
        for (text, hint) in [
            ("/data", "write /data:/data"),
            ("/data:ro", "write /data:/data:ro"),
            ("/a:/b:rx", "write ro or rw"),
            ("/a:b", "write /b"),
            (":/b", SPELLING),
            ("/a:", SPELLING),
            ("", SPELLING),
            ("a:b:c:d", SPELLING),
            ("~/x:/x", "write the path of the home folder in full"),
        ] {
            assert_eq!(parse_mount(text, "/").unwrap_err().hint.unwrap(), hint, "{text}");
        }
    }
}
