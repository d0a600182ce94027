//! Bearer tokens of the TCP port: `ashlar-<id>-<secret>`. Only the hash of the secret is kept.

use crate::log::Token;
use sha2::{Digest, Sha256};
use spec::{Span, Time};
use subtle::ConstantTimeEq;

const PREFIX: &str = "ashlar";
const ID_BYTES: usize = 6;
/// 256 bits cannot be guessed, so a plain hash is enough: there is no password to stretch.
const SECRET_BYTES: usize = 32;

pub const DAYS_DEFAULT: u32 = 90;
pub const DAYS_MAX: u32 = 3650;

/// A new token and the text to hand out. `None` when the system has no random numbers to give.
pub fn make(uid: u32, user: &str, note: &str, days: u32, now: Time) -> Option<(Token, String)> {
    let mut random = [0; ID_BYTES + SECRET_BYTES];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut random).ok()?;
    let (id, secret) = random.split_at(ID_BYTES);
    let (id, secret) = (hex::encode(id), hex::encode(secret));
    let text = format!("{PREFIX}-{id}-{secret}");
    let expires = now + Span::hours(u64::from(days) * 24);
    let token = Token { hash: hash(&secret), uid, user: user.into(), note: note.into(), created: now, expires, id };
    Some((token, text))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Id and secret of a token as it came over the wire.
pub fn split(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    let digits = |text: &str, bytes: usize| text.len() == bytes * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits(id, ID_BYTES) && digits(secret, SECRET_BYTES)).then_some((id, secret))
}

/// Takes the same time however much of the secret is right.
pub fn holds(token: &Token, secret: &str, now: Time) -> bool {
    bool::from(hash(secret).ct_eq(&token.hash)) && now < token.expires
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_until_it_expires() {
        let (token, text) = make(1000, "ada", "laptop", 1, Time(5)).unwrap();
        let (id, secret) = split(&text).unwrap();
        assert_eq!(id, token.id);
        assert!(holds(&token, secret, Time(5)));
        assert!(!holds(&token, secret, token.expires));
        let wrong = secret.chars().rev().collect::<String>();
        assert!(!holds(&token, &wrong, Time(5)) || wrong == secret);
        assert_ne!(make(1000, "ada", "laptop", 1, Time(5)).unwrap().1, text);
        assert!(!format!("{token:?}").contains(secret), "only the hash is kept");
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let (_, text) = make(1, "a", "", 1, Time(0)).unwrap();
        for other in ["", "ashlar", "ashlar--", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace('-', "_")] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
