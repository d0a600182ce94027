//! Addresses without their passwords.

/// `text` with the user part of every `scheme://user:password@host` replaced by `***`. For everything that is
/// printed, logged or kept: indexes with passwords in their address are common.
pub fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '>' | ')')).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rfind('@') {
            Some(sign) => {
                clean.push_str("***");
                clean.push_str(&authority[sign..]);
            }
            None => clean.push_str(authority),
        }
        rest = &after[end..];
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_go_and_the_rest_stays() {
        for (text, clean) in [
            ("no address", "no address"),
            ("https://index.example/simple", "https://index.example/simple"),
            ("https://me:pw@index.example/simple", "https://***@index.example/simple"),
            ("https://token@index.example", "https://***@index.example"),
            ("a http://a:b@x/1, (https://c:d@y) and https://z/@at", "a http://***@x/1, (https://***@y) and https://z/@at"),
            ("https://me:p@ss@host/x", "https://***@host/x"),
            ("socks5://u:p@localhost:1080", "socks5://***@localhost:1080"),
            ("://", "://"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(before in "[a-z ]{0,8}", user in "[a-z]{1,8}", password in "[A-Z]{4,12}", host in "[a-z]{1,8}", after in "(/[a-z]{0,5})?( [a-z]{0,5})?") {
            let text = format!("{before}https://{user}:{password}@{host}{after}");
            let clean = redact(&text);
            prop_assert!(!clean.contains(&password), "{clean}");
            let end = format!("@{host}{after}");
            prop_assert!(clean.ends_with(&end));
            prop_assert_eq!(redact(&clean), clean);
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            redact(&text);
        }
    }
}
