//! The table of devices against what else speaks of them: the page on support, and the masks of the launch recipes.

use super::tidy::workspace;
use host::accelerators::table::{self, LISTED, Row, Telemetry};
use std::fmt::Write;

const BEGIN: &str = "<!-- devices: made from the table in crates/host/src/accelerators/table; ASHLAR_UPDATE_DOCS=1 writes it anew -->\n";
const END: &str = "<!-- end of devices -->\n";

fn telemetry(row: &Row) -> String {
    match row.telemetry.value {
        Telemetry::Nvml => "NVML, in a process of its own".into(),
        Telemetry::Kernel => "the driver's own files".into(),
        Telemetry::Tool(tool) => format!("output of `{tool}`"),
        Telemetry::BusOnly => "PCI and hwmon only".into(),
    }
}

fn rows() -> String {
    let mut text = String::from("| device | driver | telemetry | evidence | not verified |\n|---|---|---|---|---|\n");
    for row in table::rows() {
        let unsure: Vec<String> =
            row.cells().iter().filter(|(.., verified)| !verified).map(|(name, value, ..)| format!("{name} `{value}`")).collect();
        let unsure = if unsure.is_empty() { "-".to_owned() } else { unsure.join(", ") };
        let (title, key, driver) = (row.title, row.key, row.drivers[0].value);
        let _ = writeln!(text, "| {title} (`{key}`) | {driver} | {} | {} | {unsure} |", telemetry(row), row.evidence.words());
    }
    let names: Vec<&str> = LISTED.iter().map(|fact| fact.value.1).collect();
    let _ = writeln!(text, "| {} | - | PCI and hwmon only | by documentation only: shown by name, never granted | - |", names.join(", "));
    text
}

/// `ASHLAR_UPDATE_DOCS=1` writes the rows anew.
#[test]
fn the_page_on_support_has_a_row_for_each_row_of_the_table() {
    let path = workspace().join("docs/reference/support.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark of the device table");
    let (_, after) = rest.split_once(END).expect("the page has the end of the device table");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", rows());
    if std::env::var_os("ASHLAR_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert_eq!(page, wanted, "run the test with ASHLAR_UPDATE_DOCS=1");
    }
}

#[test]
fn the_masks_of_launch_recipes_are_those_of_the_table() {
    for (vendor, variable) in frameworks::mask_variables() {
        let mut rows = table::rows().filter(|row| row.vendor == vendor);
        assert!(rows.any(|row| row.masks.iter().any(|fact| fact.value == variable)), "{vendor}: {variable}");
    }
}
