//! Patterns for files in sysfs: `drm/renderD*`, `accel/accel[0-9]*`.

use crate::Root;

/// Paths below `base` that match a pattern with `*` in its parts, sorted.
pub(crate) fn expand(root: &Root, base: &str, pattern: &str) -> Vec<String> {
    let mut paths = vec![base.to_owned()];
    for part in pattern.split('/') {
        paths = match part.contains(['*', '[']) {
            false => paths.iter().map(|path| format!("{path}/{part}")).filter(|path| root.exists(path)).collect(),
            true => paths
                .iter()
                .flat_map(|path| root.names(path).into_iter().filter(|name| matches(part, name)).map(move |name| format!("{path}/{name}")))
                .collect(),
        };
    }
    paths
}

/// `*` stands for any text, `[0-9]` for a digit.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix('*') {
        return (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| matches(rest, &name[at..]));
    }
    if let Some(rest) = pattern.strip_prefix("[0-9]") {
        return name.starts_with(|c: char| c.is_ascii_digit()) && matches(rest, &name[1..]);
    }
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some(p), Some(n)) if p == n => matches(&pattern[p.len_utf8()..], &name[n.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("renderD*", "renderD128", true),
            ("renderD*", "card0", false),
            ("*", "", true),
            ("tile*", "tile0", true),
            ("hl[0-9]*", "hl0", true),
            ("hl[0-9]*", "hl_controlD0", false),
            ("a*c", "abcc", true),
            ("a*c", "abcd", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
