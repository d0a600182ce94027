//! Names of people, machines and parts are replaced before anything is written: the same name always by the same token
//! within one capture, by a keyed hash whose key is thrown away, so that a token cannot be turned back by trying all
//! serial numbers there are. A token has the shape of what it replaces, so that every reader still reads it.

use hmac::{Hmac, KeyInit, Mac};
use regex::{Captures, Regex};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// What kind of text it is: in files of a kernel a number with dots is a version and `gpu` a word; in prose both may name a
/// machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    Kernel,
    Prose,
}

/// Replaces names. [`Redactor::learn`] first, then [`Redactor::text`].
pub struct Redactor {
    key: [u8; 32],
    /// Whole words that stand for a person, a machine or a part, and their tokens.
    serials: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    words: Option<(Regex, Regex)>,
}

/// Numbers that name a part, wherever they are.
const NUMBERS: &str = r"(?x)
    (?<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)
    |(?<mac>\b[0-9a-f]{2}(?::[0-9a-f]{2}){5,19}\b)
    |(?<guid>\b[0-9a-f]{4}(?::[0-9a-f]{4}){3,7}\b)
    |(?<dsn>\b[0-9a-f]{2}(?:-[0-9a-f]{2}){5,7}\b)
    |(?<enx>\benx[0-9a-f]{12}\b)
    |(?<wwid>\b(?:eui|naa)\.[0-9a-f]{12,32}\b|\bnqn\.[^\s,]+|\bnvme\.[0-9a-f]{4}-[0-9a-f]+-[^\s,]+)
    |(?<keyed>\b(?:sys_image_guid|node_guid|port_guid|guid|nodeguid|portguid)\W{1,4}0x[0-9a-f]{16}\b)
    |(?<mail>[\w.+-]+@[\w.-]+)
    |(?<home>/(?:home|Users)/[^/\s:,]+)";

/// What else may name a machine or a part in prose.
const ADDRESSES: &str = r#"
    |(?<v6>[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,}(?:%\w+)?)
    |(?<v4>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b)
    |(?<label>\b(?:serial\ ?(?:number|no\.?|num)?|serialnumber|s/n|sn|asset\ tag|chassis\ (?:serial|id)|board\ serial|uuid)"?\ *[:=]\ *"?)(?<value>[^\s,;"]+)"#;

static IN_KERNEL: LazyLock<Regex> = LazyLock::new(|| pattern(NUMBERS));
static IN_PROSE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("{NUMBERS}{ADDRESSES}")));

fn pattern(text: &str) -> Regex {
    Regex::new(&format!("(?i){text}")).unwrap_or_else(|error| unreachable!("a fixed pattern: {error}"))
}

impl Redactor {
    /// `key` should be random and never be written down.
    pub fn new(key: [u8; 32]) -> Redactor {
        Redactor { key, serials: BTreeMap::new(), names: BTreeMap::new(), words: None }
    }

    fn hash(&self, kind: &str, of: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| unreachable!("any length is a key"));
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(of.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Remembers a serial number (from a file that holds nothing else) so that it is found in every other text.
    pub fn learn_serial(&mut self, serial: &str) {
        let serial = serial.trim();
        if is_telling(serial) && serial.len() >= 6 && serial.bytes().all(|b| b.is_ascii_graphic()) {
            let token = self.serial(serial);
            self.serials.insert(serial.to_owned(), token);
            self.words = None;
        }
    }

    /// Remembers the name of a machine or a person. Names that are ordinary words of a kernel's log stay as they are.
    pub fn learn_name(&mut self, kind: &str, name: &str) {
        let name = name.trim();
        let fits = name.len() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits && !ORDINARY.contains(&name.to_ascii_lowercase().as_str()) {
            let token = self.name(kind, name);
            self.names.insert(name.to_owned(), token);
            if let Some((short, _)) = name.split_once('.').filter(|(short, _)| short.len() >= 3 && *short != "localhost") {
                let token = self.name(kind, short);
                self.names.insert(short.to_owned(), token);
            }
            self.words = None;
        }
    }

    /// To be called after the last `learn`.
    pub fn finish(&mut self) {
        let any = |words: &BTreeMap<String, String>| {
            let mut all: Vec<&String> = words.keys().collect();
            all.sort_by_key(|word| std::cmp::Reverse(word.len()));
            let all: Vec<String> = all.into_iter().map(|word| regex::escape(word)).collect();
            // No word at all: a pattern that never matches.
            let text = if all.is_empty() { r"[^\s\S]".to_owned() } else { format!(r"\b(?:{})\b", all.join("|")) };
            Regex::new(&text).ok()
        };
        self.words = any(&self.serials).zip(any(&self.names));
    }

    /// A machine's or person's name.
    pub fn name(&self, kind: &str, name: &str) -> String {
        if matches!(name, "" | "(none)" | "localhost" | "localhost.localdomain" | "root") {
            return name.to_owned();
        }
        format!("{kind}-{}", hex::encode(&self.hash("name", &name.to_ascii_lowercase())[..4]))
    }

    /// Letters for letters and digits for digits; fillers such as `0000` and `Not Specified` stay.
    pub fn serial(&self, serial: &str) -> String {
        if !is_telling(serial) {
            return serial.to_owned();
        }
        let (prefix, rest) = serial.split_at(if serial.starts_with("0x") { 2 } else { 0 });
        let hexadecimal = rest.bytes().all(|b| b.is_ascii_hexdigit()) && rest.bytes().any(|b| b.is_ascii_alphabetic());
        let upper = rest.bytes().any(|b| b.is_ascii_uppercase());
        let mut token = prefix.to_owned();
        let hash = self.hash("serial", &rest.to_ascii_lowercase());
        let mut block = hash;
        for (at, c) in rest.chars().enumerate() {
            if at % 32 == 0 && at > 0 {
                block = self.hash("serial+", &hex::encode(block));
            }
            let byte = block[at % 32];
            token.push(match c {
                _ if !c.is_alphanumeric() => c,
                _ if hexadecimal => {
                    let digit = char::from_digit(u32::from(byte & 0xf), 16).unwrap_or('0');
                    if upper { digit.to_ascii_uppercase() } else { digit }
                }
                '0'..='9' => char::from(b'0' + byte % 10),
                c if c.is_uppercase() => char::from(b'A' + byte % 26),
                _ => char::from(b'a' + byte % 26),
            });
        }
        token
    }

    /// The 8 bytes of a PCI Express device serial number, or of a GUID.
    pub fn guid(&self, bytes: [u8; 8]) -> [u8; 8] {
        if bytes == [0; 8] || bytes == [0xff; 8] {
            return bytes;
        }
        let hash = self.hash("guid", &hex::encode(bytes));
        let mut token = [0; 8];
        token.copy_from_slice(&hash[..8]);
        // Locally administered, as no maker's number is.
        token[0] = token[0] & 0xfc | 0x02;
        token
    }

    fn address(&self, bytes: &[u8]) -> Vec<u8> {
        if bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xff) {
            return bytes.to_vec();
        }
        match bytes.len() {
            6 => {
                let hash = self.hash("mac", &hex::encode(bytes));
                std::iter::once(0x02).chain(hash[..5].iter().copied()).collect()
            }
            8 => {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                self.guid(eight).to_vec()
            }
            // A GID or IPoIB address: what comes before is a prefix of the network, the last eight bytes are the port's.
            length if length > 8 => {
                let (prefix, guid) = bytes.split_at(length - 8);
                if prefix.ends_with(&[0, 0]) && guid.starts_with(&[0, 0, 0xff, 0xff]) {
                    let v4 = self.v4(Ipv4Addr::new(guid[4], guid[5], guid[6], guid[7])).octets();
                    return [prefix, &[0, 0, 0xff, 0xff], &v4].concat();
                }
                let link_local = prefix.ends_with(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
                let prefix = if link_local || prefix.iter().all(|b| *b == 0) {
                    prefix.to_vec()
                } else {
                    self.hash("prefix", &hex::encode(prefix))[..prefix.len()].to_vec()
                };
                [prefix, self.address(guid)].concat()
            }
            _ => self.hash("short", &hex::encode(bytes))[..bytes.len()].to_vec(),
        }
    }

    fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        if address.is_loopback() || address.is_unspecified() || address.is_broadcast() || address.octets()[0] == 255 {
            return address;
        }
        let hash = self.hash("v4", &address.to_string());
        Ipv4Addr::new(10, hash[0], hash[1], hash[2])
    }

    /// All of it that is a name is replaced, in one pass: a token is never looked at again.
    pub fn text(&self, text: &str, kind: Text) -> String {
        let pattern: &Regex = if kind == Text::Prose { &IN_PROSE } else { &IN_KERNEL };
        let mut done = pattern.replace_all(text, |found: &Captures| self.number(found, kind)).into_owned();
        if let Some((serials, names)) = &self.words {
            done = serials.replace_all(&done, |found: &Captures| self.serials[&found[0]].clone()).into_owned();
            if kind == Text::Prose {
                done = names.replace_all(&done, |found: &Captures| self.names[&found[0]].clone()).into_owned();
            }
        }
        done
    }

    fn number(&self, found: &Captures, kind: Text) -> String {
        let whole = &found[0];
        let has = |name: &str| found.name(name).is_some();
        if has("label") || has("v4") || has("v6") {
            return self.in_prose(found);
        }
        if has("uuid") {
            return self.uuid(whole);
        }
        if has("mail") {
            let (user, host) = whole.split_once('@').unwrap_or((whole, ""));
            // Units of systemd (`user@1000.service`) and nodes of a device tree (`pcie@1c00000`) are no addresses of people.
            let unit = [".service", ".slice", ".scope", ".socket"].iter().any(|end| host.ends_with(end));
            let top = host.rsplit_once('.').is_some_and(|(_, top)| top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()));
            return if unit || !(top || kind == Text::Prose && host.bytes().any(|b| b.is_ascii_alphabetic() && !b.is_ascii_hexdigit())) {
                whole.to_owned()
            } else {
                format!("{}@{}", self.name("user", user), self.name("host", host))
            };
        }
        if has("home") {
            let (folder, user) = whole.rsplit_once('/').unwrap_or(("", whole));
            return format!("{folder}/{}", self.name("user", user));
        }
        if has("wwid") {
            let (kind, rest) = whole.split_once('.').unwrap_or(("", whole));
            return if kind.eq_ignore_ascii_case("nqn") {
                format!("nqn.2014-08.org.nvmexpress:{}", hex::encode(&self.hash("nqn", whole)[..8]))
            } else {
                format!("{kind}.{}", self.serial(rest))
            };
        }
        let upper = whole.bytes().any(|b| b.is_ascii_uppercase());
        let (digits, group, separator, prefix) = match () {
            () if has("mac") => (whole, 2, ":", ""),
            () if has("guid") => (whole, 4, ":", ""),
            () if has("dsn") => (whole, 2, "-", ""),
            () if has("enx") => (&whole[3..], 12, "", "enx"),
            () => {
                let at = whole.len() - 16;
                (&whole[at..], 16, "", &whole[..at])
            }
        };
        let bare: String = digits.chars().filter(|c| c.is_ascii_hexdigit()).collect();
        let Ok(bytes) = hex::decode(&bare) else { return whole.to_owned() };
        let token = hex::encode(self.address(&bytes));
        let token = if upper { token.to_uppercase() } else { token };
        let groups: Vec<String> = token.as_bytes().chunks(group).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        format!("{prefix}{}", groups.join(separator))
    }

    pub fn uuid(&self, uuid: &str) -> String {
        if uuid.bytes().all(|b| matches!(b, b'0' | b'-')) || uuid.bytes().all(|b| matches!(b, b'f' | b'F' | b'-')) {
            return uuid.to_owned();
        }
        let hash = hex::encode(&self.hash("uuid", &uuid.to_ascii_lowercase())[..16]);
        let upper = uuid.bytes().any(|b| b.is_ascii_uppercase());
        let token = format!("{}-{}-4{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32]);
        if upper { token.to_uppercase() } else { token }
    }

    fn in_prose(&self, found: &Captures) -> String {
        let whole = &found[0];
        if let Some(label) = found.name("label") {
            let value = &found["value"];
            let mut done = self.text(value, Text::Kernel);
            // A word without a digit is "Not" of "Not Specified".
            if done == value && value.bytes().any(|b| b.is_ascii_digit()) {
                done = self.serial(value);
            }
            return format!("{}{done}", label.as_str());
        }
        if found.name("v4").is_some() {
            return whole.parse().map_or_else(|_| whole.to_owned(), |address| self.v4(address).to_string());
        }
        let bare = whole.split('%').next().unwrap_or_default();
        match bare.parse::<Ipv6Addr>() {
            // Too short to name anything: `::` and `::1`, and words such as `a::b` of a programming language.
            Ok(address) if !address.is_loopback() && !address.is_unspecified() && bare.len() > 6 => {
                let bytes = self.address(&address.octets());
                <[u8; 16]>::try_from(bytes).map_or_else(|_| whole.to_owned(), |bytes| Ipv6Addr::from(bytes).to_string())
            }
            _ => whole.to_owned(),
        }
    }
}

/// Names of machines and people that mean something else in a kernel's log.
const ORDINARY: [&str; 24] = [
    "root",
    "linux",
    "kernel",
    "nvidia",
    "amdgpu",
    "debian",
    "ubuntu",
    "localhost",
    "none",
    "host",
    "node",
    "gpu",
    "cpu",
    "user",
    "admin",
    "test",
    "daemon",
    "server",
    "machine",
    "the",
    "and",
    "usb",
    "pci",
    "memory",
];

/// Whether the text can name a part. What firmware writes when it has nothing to say does not.
fn is_telling(text: &str) -> bool {
    const FILLERS: [&str; 12] = [
        "not specified",
        "not applicable",
        "to be filled",
        "default string",
        "none",
        "n/a",
        "unknown",
        "o.e.m",
        "system serial",
        "chassis serial",
        "not provided",
        "asset",
    ];
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_start_matches("0x");
    let same = digits.bytes().all(|b| b == b'0') || digits.bytes().all(|b| b == b'f' || b == b' ');
    !same && !FILLERS.iter().any(|filler| lower.starts_with(filler)) && lower != "[n/a]"
}

#[cfg(test)]
mod tests;
