//! Numbered faults: NVIDIA Xid and SXid, Ascend; as tables that are data.

use super::Level;
use serde::Serialize;
use std::collections::BTreeMap;

/// What one source says of a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opinion {
    pub who: String,
    pub says: String,
}

/// One code of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The vendor's name of it.
    pub name: String,
    pub level: Level,
    pub title: String,
    pub action: String,
    /// False where the tables name it without a meaning.
    pub known: bool,
    pub opinions: Vec<Opinion>,
    pub source: String,
}

const XID: &str = include_str!("../../data/nvidia-xid.tsv");
const SXID: &str = include_str!("../../data/nvidia-sxid.tsv");
const ASCEND: &str = include_str!("../../data/ascend.tsv");
const ASCEND_CAUSES: &str = include_str!("../../data/ascend-causes.tsv");

pub(super) const XID_SOURCE: &str = "Xid catalogue of NVIDIA as shipped in NVSentinel, nverror.h (2026-08)";
pub(super) const SXID_SOURCE: &str = "ctrl_dev_nvswitch.h of open-gpu-kernel-modules (2026-08)";
pub(super) const ASCEND_SOURCE: &str = "faultCode.json of Ascend/mind-cluster (2026-08)";

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| line.split('\t').collect())
}

/// What to do at a level, for a device.
pub(super) fn advice(level: Level) -> &'static str {
    match level {
        Level::Info => "nothing has to be done",
        Level::Degraded => "watch the device",
        Level::JobFatal => "start the work again",
        Level::DeviceReset => "end the work on the device and reset it",
        Level::DeviceIsolate => "keep work off the device and have it looked at",
        Level::NodeDrain => "take the machine out of use once its work has ended",
        Level::NodeReboot => "restart the machine; if it comes again, have the device checked",
        Level::Hardware => "have the part checked and replaced",
    }
}

/// In our words where a code needs more than its level says.
fn xid_advice(code: u32, level: Level) -> &'static str {
    match code {
        13 | 31 => "look at the program first; if it comes again on the same device with other programs, run the device's diagnostics",
        45 => "follow the error before it; where there is none, start the work again and look at the fabric manager",
        48 => "end the work on the device and reset it; with Xid 63 or 64 take it out of use until it was reset",
        54 => "check the power cable of the board",
        63 => "nothing now: the row is replaced at the next reset of the device",
        64 => "reset the device; if it comes again, have it replaced",
        74 => "reset the device; more than two on one link: check the seat and the link",
        78 => "bring driver and host software of the virtual GPU to versions that fit",
        92 => "watch the rate",
        _ => advice(level),
    }
}

fn opinions(pairs: &[(&str, &str)]) -> Vec<Opinion> {
    pairs.iter().filter(|(_, says)| *says != "-").map(|(who, says)| Opinion { who: (*who).into(), says: (*says).into() }).collect()
}

pub(super) fn xid() -> BTreeMap<u32, Code> {
    rows(XID)
        .filter_map(|row| {
            let [code, name, level, title, nvidia, later, gpud, eks, azure, known] = row[..] else { return None };
            let (code, level) = (code.parse().ok()?, Level::parse(level)?);
            let said =
                [("NVIDIA at once", nvidia), ("NVIDIA to find out", later), ("gpud", gpud), ("EKS node agent", eks), ("Azure NHC", azure)];
            let source = XID_SOURCE.into();
            let action = xid_advice(code, level).into();
            let known = known != "unused";
            Some((code, Code { name: name.into(), level, title: title.into(), action, known, opinions: opinions(&said), source }))
        })
        .collect()
}

pub(super) fn sxid() -> BTreeMap<u32, Code> {
    rows(SXID)
        .filter_map(|row| {
            let [code, name, level, class, fabric, actions] = row[..] else { return None };
            let (code, level) = (code.parse().ok()?, Level::parse(level)?);
            let fatal = if fabric == "-" { "-".to_owned() } else { format!("fatal to the fabric: {fabric}") };
            let said = [("gpud", class), ("gpud", actions), ("fabric manager guide", &fatal)];
            let title = format!("NVSwitch: {}", name.trim_start_matches("HW_").to_ascii_lowercase().replace('_', " "));
            let action = match level {
                Level::Degraded => "watch the switch",
                Level::DeviceReset => "end the work on the fabric and reset GPUs and switches",
                _ => "restart the machine",
            };
            let (name, source) = (name.into(), SXID_SOURCE.into());
            Some((code, Code { name, level, title, action: action.into(), known: true, opinions: opinions(&said), source }))
        })
        .collect()
}

/// By the code in capital letters without 0x.
pub(super) fn ascend() -> BTreeMap<String, Code> {
    rows(ASCEND)
        .filter_map(|row| {
            let [code, level, says] = row[..] else { return None };
            let level = Level::parse(level)?;
            let said = [("Ascend device plug-in", says)];
            let (name, title) = (format!("0x{code}"), format!("the NPU reports fault {code}"));
            let (action, source) = (advice(level).into(), ASCEND_SOURCE.into());
            Some((code.to_owned(), Code { name, level, title, action, known: true, opinions: opinions(&said), source }))
        })
        .collect()
}

/// What leads to an Ascend fault and what follows from it, by the names of the knowledge graph.
pub(super) fn ascend_causes(code: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let name = format!("0x{code}");
    let mut causes = vec![];
    let mut effects = vec![];
    for row in rows(ASCEND_CAUSES) {
        let [cause, effect] = row[..] else { continue };
        if effect.eq_ignore_ascii_case(&name) {
            causes.push(cause);
        }
        if cause.eq_ignore_ascii_case(&name) {
            effects.push(effect);
        }
    }
    (causes, effects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_tables_is_read() {
        let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(xid().len(), lines(XID));
        assert_eq!(sxid().len(), lines(SXID));
        assert_eq!(ascend().len(), lines(ASCEND));
    }

    #[test]
    fn known_codes_have_the_level_of_the_vendor() {
        let codes = xid();
        let expected = [
            (79, Level::NodeReboot),
            (13, Level::JobFatal),
            (43, Level::Info),
            (94, Level::JobFatal),
            (95, Level::DeviceReset),
            (119, Level::DeviceReset),
            (63, Level::Info),
            (54, Level::Hardware),
        ];
        for (code, level) in expected {
            assert_eq!((code, codes[&code].level, codes[&code].known), (code, level, true));
        }
        assert!(!codes[&1].known);
        assert!(codes[&79].opinions.len() >= 4, "{:?}", codes[&79].opinions);
        assert_eq!(sxid()[&20034].level, Level::DeviceReset);
        assert_eq!(ascend()["40F84E00"].level, Level::DeviceReset);
    }

    #[test]
    fn the_causes_of_an_ascend_fault_are_found() {
        let (causes, _) = ascend_causes("81078603");
        assert!(causes.contains(&"Comp_Network_Custom_01"), "{causes:?}");
    }
}
