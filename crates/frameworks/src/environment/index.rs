//! Where packages come from: what the machine's administrator told pip, as uv wants to hear it.

use std::collections::BTreeMap;

/// The indexes of a machine in uv's words. Values may hold passwords: print them through [`super::redact`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSettings {
    /// Variables for uv, sorted by name.
    pub variables: Vec<(String, String)>,
    /// Use no index at all, only the `find-links` places. uv has an argument for this, but no variable.
    pub no_index: bool,
}

impl IndexSettings {
    /// The same places in pip's words, for a pip that fetches uv: it knows none of uv's variables.
    pub fn for_pip(&self) -> Vec<(String, String)> {
        let value = |wanted: &str| self.variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let mut settings = Vec::new();
        // uv's indexes may have a name: `ours=https://...`.
        let address = |text: &str| match text.split_once('=') {
            Some((name, address)) if !name.contains(['/', ':']) => address.to_string(),
            _ => text.to_string(),
        };
        if let Some(index) = value("UV_DEFAULT_INDEX").or_else(|| value("UV_INDEX_URL")) {
            settings.push(("PIP_INDEX_URL".to_string(), address(index)));
        }
        for (variable, option, joined) in [
            ("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", ' '),
            ("UV_FIND_LINKS", "PIP_FIND_LINKS", ','),
            ("UV_INSECURE_HOST", "PIP_TRUSTED_HOST", ' '),
        ] {
            if let Some(words) = value(variable) {
                settings.push((option.to_string(), words.split(joined).map(address).collect::<Vec<_>>().join(" ")));
            }
        }
        if let Some(certificates) = value("SSL_CERT_FILE") {
            settings.push(("PIP_CERT".to_string(), certificates.to_string()));
        }
        settings
    }
}

/// pip's option, uv's variable, and what joins several values (`None`: the option has one value).
const OPTIONS: &[(&str, &str, Option<&str>)] = &[
    ("index-url", "UV_DEFAULT_INDEX", None),
    ("extra-index-url", "UV_EXTRA_INDEX_URL", Some(" ")),
    ("find-links", "UV_FIND_LINKS", Some(",")),
    ("trusted-host", "UV_INSECURE_HOST", Some(" ")),
    ("cert", "SSL_CERT_FILE", None),
    ("client-cert", "SSL_CLIENT_CERT", None),
    ("proxy", "ALL_PROXY", None),
    ("timeout", "UV_HTTP_TIMEOUT", None),
    ("default-timeout", "UV_HTTP_TIMEOUT", None),
    ("retries", "UV_HTTP_RETRIES", None),
    ("keyring-provider", "UV_KEYRING_PROVIDER", None),
];

/// Variables that uv, or the library it connects with, reads itself.
fn is_uvs_own(name: &str) -> bool {
    let places = ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INSECURE_HOST"];
    let manner =
        ["UV_INDEX_STRATEGY", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_OFFLINE", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_CONFIG_FILE"];
    let network = ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "NETRC", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
    let lower = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
    let credentials = name.starts_with("UV_INDEX_") && (name.ends_with("_USERNAME") || name.ends_with("_PASSWORD"));
    places.contains(&name) || manner.contains(&name) || network.contains(&name) || lower.contains(&name) || credentials
}

/// uv's settings from the variables of the node's process and the text of pip's configuration file (several are
/// read in order, the later wins; give them one after the other). uv's own variables come first, then `PIP_*`,
/// then the file; that is pip's order too.
pub fn uv_settings_from_pip(env: &BTreeMap<String, String>, pip_conf: &str) -> IndexSettings {
    let mut pip = read_configuration(pip_conf);
    for (name, value) in env.iter().filter(|(_, value)| !value.trim().is_empty()) {
        if let Some(option) = name.strip_prefix("PIP_") {
            pip.insert(option.to_ascii_lowercase().replace('_', "-"), value.trim().to_string());
        }
    }
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (option, variable, joined) in OPTIONS {
        let Some(value) = pip.get(*option) else { continue };
        let words: Vec<&str> = value.split_whitespace().collect();
        let value = match joined {
            Some(separator) => words.join(separator),
            None => words.join(" "),
        };
        variables.insert(variable.to_string(), value);
    }
    // uv wants a whole number of seconds; pip takes fractions.
    if let Some(timeout) = variables.get_mut("UV_HTTP_TIMEOUT") {
        match timeout.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds > 0.0 => *timeout = format!("{:.0}", seconds.ceil()),
            _ => drop(variables.remove("UV_HTTP_TIMEOUT")),
        }
    }
    let own = env.iter().filter(|(name, value)| is_uvs_own(name) && !value.is_empty());
    variables.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    let no_index = pip.get("no-index").is_some_and(|value| is_true(value));
    IndexSettings { variables: variables.into_iter().collect(), no_index }
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "y" | "yes" | "t" | "true" | "on")
}

/// The options of `[global]`, then those of `[install]` on top. A value goes on over indented lines.
fn read_configuration(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let (mut section, mut last) = ("", None::<String>);
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let options = sections.entry(section).or_default();
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, last) = (name.trim(), None);
        } else if let (true, Some(value)) = (line.starts_with([' ', '\t']), last.as_ref().and_then(|name| options.get_mut(name))) {
            value.push(' ');
            value.push_str(bare);
        } else if let Some((name, value)) = bare.split_once(['=', ':']) {
            let name = name.trim().to_ascii_lowercase().replace('_', "-");
            last = Some(name.clone());
            options.insert(name, value.trim().to_string());
        }
    }
    let mut merged = sections.remove("global").unwrap_or_default();
    merged.extend(sections.remove("install").unwrap_or_default());
    merged.retain(|_, value| !value.trim().is_empty());
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(env: &[(&str, &str)], conf: &str) -> Vec<String> {
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        uv_settings_from_pip(&env, conf).variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_mirror_with_certificates_becomes_uvs() {
        let conf = "# ours\n[global]\nindex_url = https://mirror.example/simple\ncert = /etc/ssl/ours.pem\ntimeout = 12.5\n\n[list]\nindex-url = x\n";
        assert_eq!(
            settings(&[], conf),
            ["SSL_CERT_FILE=/etc/ssl/ours.pem", "UV_DEFAULT_INDEX=https://mirror.example/simple", "UV_HTTP_TIMEOUT=13"]
        );
    }

    #[test]
    fn several_values_are_joined_as_uv_splits_them() {
        let conf =
            "[global]\nextra-index-url =\n    https://a.example/simple\n    https://b.example/simple\nfind-links = /srv/a\n  /srv/b\n";
        assert_eq!(
            settings(&[("PIP_TRUSTED_HOST", "a.example b.example")], conf),
            [
                "UV_EXTRA_INDEX_URL=https://a.example/simple https://b.example/simple",
                "UV_FIND_LINKS=/srv/a,/srv/b",
                "UV_INSECURE_HOST=a.example b.example"
            ]
        );
    }

    #[test]
    fn the_install_section_and_then_variables_and_then_uvs_own_win() {
        let conf = "[install]\nindex-url = https://install.example\n[global]\nindex-url: https://global.example\nretries = 2\n";
        assert_eq!(settings(&[], conf), ["UV_DEFAULT_INDEX=https://install.example", "UV_HTTP_RETRIES=2"]);
        assert_eq!(settings(&[("PIP_INDEX_URL", "https://env.example")], conf)[0], "UV_DEFAULT_INDEX=https://env.example");
        let both = [("PIP_INDEX_URL", "https://env.example"), ("UV_DEFAULT_INDEX", "https://uv.example")];
        assert_eq!(settings(&both, conf)[0], "UV_DEFAULT_INDEX=https://uv.example");
    }

    #[test]
    fn proxies_pass_and_the_rest_of_the_node_stays_behind() {
        let env = [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("UV_INDEX_LAB_PASSWORD", "x"),
            ("HOME", "/root"),
            ("UV_PYTHON", "3.9"),
            ("PIP_INDEX_URL", ""),
        ];
        assert_eq!(settings(&env, ""), ["HTTPS_PROXY=http://proxy:3128", "UV_INDEX_LAB_PASSWORD=x"]);
    }

    #[test]
    fn no_index_is_an_argument() {
        let env = BTreeMap::from([("PIP_NO_INDEX".to_string(), "true".to_string())]);
        assert!(uv_settings_from_pip(&env, "").no_index);
        assert!(uv_settings_from_pip(&BTreeMap::new(), "[global]\nno-index = yes").no_index);
        assert!(!uv_settings_from_pip(&BTreeMap::new(), "[global]\nno-index = 0").no_index);
    }

    proptest! {
        #[test]
        fn any_configuration_is_read(text in any::<String>()) {
            uv_settings_from_pip(&BTreeMap::new(), &text);
        }

        #[test]
        fn a_lone_option_is_found_whatever_stands_around_it(noise in "[a-z# ;\\[\\]\n]{0,40}", timeout in 1u32..999) {
            let text = format!("{noise}\n[global]\ntimeout = {timeout}\n");
            prop_assert_eq!(settings(&[], &text), vec![format!("UV_HTTP_TIMEOUT={timeout}")]);
        }
    }
}
