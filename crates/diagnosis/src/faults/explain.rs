//! What a code or a class means, who says what of it, and what to do.

use super::codes::{self, Code, Opinion};
use super::incident::Level;
use super::{Catalogue, stream};
use serde::Serialize;

/// All we know of one kind of fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// As incidents name it.
    pub kind: String,
    /// The vendor's name, where there is one.
    pub name: Option<String>,
    pub title: String,
    pub level: Level,
    /// False: no list says what the code means, and the level is our caution.
    pub known: bool,
    pub action: String,
    /// What published sources say; they need not agree.
    pub opinions: Vec<Opinion>,
    /// Kinds that this may follow from, and that may follow from it.
    pub causes: Vec<String>,
    pub effects: Vec<String>,
    pub source: String,
}

/// Finds what a person asks for: `Xid 79`, `79`, `SXid 20034`, an Ascend code such as `80E01801`, a class such as
/// `fs.journal`, or a line of a log. `None` when it is none of these.
pub fn explain(catalogue: &Catalogue, asked: &str) -> Option<Explanation> {
    let asked = asked.trim();
    let lower = asked.to_ascii_lowercase();
    let number = |prefixes: &[&str]| {
        let rest = prefixes.iter().find_map(|prefix| lower.strip_prefix(prefix))?;
        rest.trim_start_matches([' ', ':', '=', '-']).parse::<u32>().ok()
    };
    if let Some(code) = number(&["nvidia.sxid.", "sxid"]) {
        return Some(numbered(catalogue, "sxid", code, catalogue.sxid.get(&code)));
    }
    if let Some(code) = number(&["nvidia.xid.", "xid"]) {
        return Some(numbered(catalogue, "xid", code, catalogue.xid.get(&code)));
    }
    if let Some(class) = catalogue.classes.iter().find(|class| class.id == lower) {
        let (causes, effects) = around(catalogue, &class.id);
        let (kind, title, action, source) = (class.id.clone(), class.title.clone(), class.action.clone(), class.source.clone());
        return Some(Explanation {
            kind,
            name: None,
            title,
            level: class.level,
            known: true,
            action,
            opinions: vec![],
            causes,
            effects,
            source,
        });
    }
    let hex = asked.trim_start_matches("0x").trim_start_matches("0X").to_ascii_uppercase();
    if let Some(code) = catalogue.ascend.get(&hex) {
        let (causes, effects) = codes::ascend_causes(&hex);
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let told = of_code(format!("ascend.{hex}"), code);
        return Some(Explanation { causes: own(causes), effects: own(effects), ..told });
    }
    if let Ok(code) = lower.parse::<u32>() {
        let (name, row) = match catalogue.sxid.get(&code) {
            Some(row) if code > 9_999 => ("sxid", Some(row)),
            _ => ("xid", catalogue.xid.get(&code)),
        };
        return (row.is_some()).then(|| numbered(catalogue, name, code, row));
    }
    let kind = stream::kinds(catalogue, asked).incidents.into_iter().max_by_key(|incident| incident.level)?.kind;
    (kind != lower).then(|| explain(catalogue, &kind)).flatten()
}

fn of_code(kind: String, code: &Code) -> Explanation {
    Explanation {
        kind,
        name: Some(code.name.clone()).filter(|name| name != "-"),
        title: code.title.clone(),
        level: code.level,
        known: code.known,
        action: code.action.clone(),
        opinions: code.opinions.clone(),
        causes: vec![],
        effects: vec![],
        source: code.source.clone(),
    }
}

fn numbered(catalogue: &Catalogue, table: &str, code: u32, row: Option<&Code>) -> Explanation {
    let kind = format!("nvidia.{table}.{code}");
    let (causes, effects) = around(catalogue, &kind);
    let source = if table == "xid" { codes::XID_SOURCE } else { codes::SXID_SOURCE };
    let mut told = match row {
        Some(row) => of_code(kind, row),
        None => Explanation {
            kind,
            name: None,
            title: "no list says what it means".into(),
            level: Level::Degraded,
            known: false,
            action: "keep the line, watch the device, ask NVIDIA".into(),
            opinions: vec![],
            causes: vec![],
            effects: vec![],
            source: source.into(),
        },
    };
    (told.causes, told.effects) = (causes, effects);
    told
}

/// Causes and effects of a kind by the rules.
fn around(catalogue: &Catalogue, kind: &str) -> (Vec<String>, Vec<String>) {
    let (mut causes, mut effects) = (vec![], vec![]);
    let known = |kind: &str| kind.to_owned();
    for rule in &catalogue.causes {
        if rule.effect.iter().any(|effect| effect == kind) {
            causes.extend(rule.cause.iter().map(|cause| known(cause)));
        }
        if rule.cause.iter().any(|cause| cause == kind) {
            effects.extend(rule.effect.iter().map(|effect| known(effect)));
        }
    }
    for names in [&mut causes, &mut effects] {
        names.sort();
        names.dedup();
        names.retain(|name| name != kind);
    }
    (causes, effects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_person_writes_is_found() {
        let catalogue = Catalogue::built_in().unwrap();
        let cases = [
            ("Xid 79", "nvidia.xid.79"),
            ("xid79", "nvidia.xid.79"),
            ("XID: 79", "nvidia.xid.79"),
            ("79", "nvidia.xid.79"),
            ("nvidia.xid.79", "nvidia.xid.79"),
            ("SXid 20034", "nvidia.sxid.20034"),
            ("20034", "nvidia.sxid.20034"),
            ("0x40F84E00", "ascend.40F84E00"),
            ("40f84e00", "ascend.40F84E00"),
            ("fs.journal", "fs.journal"),
            ("Xid 999", "nvidia.xid.999"),
            ("[ 33.88] Aborting journal on device nvme0n1-8.", "fs.journal"),
            ("NVRM: Xid (PCI:0000:38:00): 31, pid=1, name=a, Ch 00000008", "nvidia.xid.31"),
        ];
        for (asked, kind) in cases {
            assert_eq!(explain(&catalogue, asked).map(|told| told.kind).as_deref(), Some(kind), "{asked}");
        }
        for asked in ["", "Xid", "hello", "12345678", "[ 1.0] all is well"] {
            assert_eq!(explain(&catalogue, asked), None, "{asked}");
        }
    }

    #[test]
    fn what_nobody_knows_is_said_to_be_unknown() {
        let catalogue = Catalogue::built_in().unwrap();
        for asked in ["Xid 999", "Xid 1"] {
            let told = explain(&catalogue, asked).unwrap();
            assert!(!told.known && told.level == Level::Degraded, "{told:?}");
        }
    }

    #[test]
    fn sources_that_do_not_agree_stand_beside_each_other() {
        let told = explain(&Catalogue::built_in().unwrap(), "Xid 63").unwrap();
        let said: Vec<(&str, &str)> = told.opinions.iter().map(|opinion| (opinion.who.as_str(), opinion.says.as_str())).collect();
        assert!(said.contains(&("NVIDIA at once", "IGNORE")) && said.contains(&("EKS node agent", "fatal")), "{said:?}");
        assert!(told.causes.contains(&"nvidia.xid.48".to_owned()));
    }
}
