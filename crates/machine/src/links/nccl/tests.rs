use super::*;
use crate::Distance;
use proptest::prelude::*;

const TWO: &str = r#"<!-- two cards and a port behind one switch, one card elsewhere -->
<system version="1">
  <cpu numaid="0" affinity="00000000,000000ff" arch="x86_64" vendor="AuthenticAMD" familyid="23" modelid="49">
    <pci busid="0000:05:00.0" class="0x060400" vendor="0x15b3" device="0x1979" subsystem_vendor="0x0000" subsystem_device="0x0000" link_speed="32.0 GT/s PCIe" link_width="16">
      <pci busid="0000:07:00.0" class="0x030200" vendor="0x10de" device="0x2330" subsystem_vendor="0x10de" subsystem_device="0x16c1" link_speed="32.0 GT/s PCIe" link_width="16">
        <gpu dev="0" sm="90" rank="0" gdr="1"><nvlink target="0000:06:00.0" count="18" tclass="0x068000"/></gpu>
      </pci>
      <pci busid="0000:08:00.0" class="0x020700" link_speed="16 GT/s" link_width="16">
        <nic><net name="mlx5_0" dev="0" speed="200000" port="1" guid="0xf01cbc0103dd6838" maxconn="131072" gdr="1" coll="1"/></nic>
      </pci>
    </pci>
    <nic><net name="eth0" dev="1" speed="10000" port="0" guid="0x0" maxconn="65536" gdr="0"/></nic>
  </cpu>
  <cpu numaid="1">
    <pci busid="0001:07:00.0" class="0x030200" link_speed="" link_width="0">
      <gpu dev="1" sm="90" rank="1"><nvlink target="0000:06:00.0" count="12" tclass="0x068000"/><c2c bw="50000" count="4"/></gpu>
    </pci>
  </cpu>
</system>"#;

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn a_topology_becomes_a_graph() {
    let graph = read(TWO).unwrap();
    assert_eq!((graph.hosts.len(), graph.vertices.len(), graph.accelerators.len(), graph.ports.len(), graph.links.len()), (2, 4, 2, 2, 3));
    assert_eq!(graph.hosts[0].cpus.to_string(), "0-7");
    assert_eq!((graph.hosts[0].cpu.family, graph.hosts[1].cpu.family), (Some(23), None));
    assert_eq!(graph.ports[0].guid, Some(0xf01c_bc01_03dd_6838));
    assert_eq!((graph.ports[1].pci, graph.ports[1].host), (None, Some(0)));
    let way = graph.way(at("0000:07:00.0"), at("0000:08:00.0"));
    assert_eq!((way.distance, way.switches.as_slice()), (Distance::Switch, &[at("0000:05:00.0")][..]));
    assert_eq!(way.narrowest.unwrap().to_string(), "gen4 x16");
    let way = graph.way(at("0000:07:00.0"), at("0001:07:00.0"));
    assert_eq!((way.distance, way.over_pci, way.wire), (Distance::Link, Distance::System, Some((LinkKind::Nvlink, 12))));
    let c2c = graph.links.iter().find(|link| link.wire == LinkKind::C2c).unwrap();
    assert_eq!((c2c.to, c2c.mb_per_s), (None, Some(200_000)));
}

#[test]
fn what_was_read_is_written_again() {
    let graph = read(TWO).unwrap();
    let text = write(&graph);
    assert_eq!(read(&text).unwrap(), graph, "{text}");
    assert_eq!(write(&read(&text).unwrap()), text);
}

#[test]
fn wrong_files_are_refused_with_their_line() {
    let error = |text: &str| read(text).unwrap_err();
    assert!(matches!(error("not XML"), NcclError::NotXml(_)));
    assert_eq!(error("<graphs/>").to_string(), "line 1: the file begins with <graphs>, a topology with <system>");
    let text = "<system>\n<cpu numaid=\"0\">\n<pci busid=\"0000:zz:00.0\"/></cpu></system>";
    assert_eq!(error(text).to_string(), "line 3: busid: '0000:zz:00.0' is not a PCI address such as 0000:3b:00.0");
    let twice = "<system><cpu>\n<pci busid=\"0000:01:00.0\"/><pci busid=\"0000:01:00.0\"><gpu dev=\"0\"/></pci></cpu></system>";
    assert!(error(twice).to_string().contains("there twice"));
    assert!(matches!(error("<!DOCTYPE x [<!ENTITY a \"b\">]><system/>"), NcclError::NotXml(_)), "no entities, so no bombs of them");
    assert_eq!(error(&" ".repeat(LARGEST + 1)), NcclError::TooLarge);
    let many = format!("<system>{}</system>", "<x/>".repeat(MOST_NODES as usize + 1));
    assert!(matches!(error(&many), NcclError::NotXml(_)));
}

#[test]
fn nesting_without_end_is_refused() {
    let open: String = (0..200).map(|n| format!("<pci busid=\"{n:04x}:00:00.0\">")).collect();
    let text = format!("<system><cpu>{open}{}</cpu></system>", "</pci>".repeat(200));
    assert!(read(&text).unwrap_err().to_string().contains("in a row"));
}

#[test]
fn names_are_escaped() {
    let mut graph = read(TWO).unwrap();
    graph.ports[0].name = "a\"<b>&'c".into();
    graph.hosts[0].cpu.vendor = "<&>".into();
    assert_eq!(read(&write(&graph)).unwrap(), graph);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}") {
        let _ = read(&text);
    }

    #[test]
    fn a_damaged_file_is_an_error_or_a_part(cut in 0usize..2500, at in 0usize..2500, byte in 32u8..127) {
        let mut bytes = TWO.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut.max(1));
        if let Ok(graph) = read(&String::from_utf8_lossy(&bytes)) {
            let again = read(&write(&graph)).unwrap();
            prop_assert_eq!(again.vertices.len(), graph.vertices.len());
        }
    }
}
