//! Topology files of real machines: read, written, read again; nothing of them is lost.

use machine::nccl;
use machine::{Distance, LinkGraph, LinkKind};
use roxmltree::{Document, Node};
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("ASHLAR_TEST_DATA").map_or_else(default, PathBuf::from).join("hwloc-dumps/nccl-topo");
    if !folder.is_dir() {
        eprintln!("skipped: no topology files in {} (set ASHLAR_TEST_DATA)", folder.display());
        return vec![];
    }
    let inside = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        inside(folder).filter(|path| path.is_dir()).flat_map(inside).filter(|path| path.extension().is_some_and(|e| e == "xml")).collect();
    found.sort();
    found
}

fn read(path: &Path) -> Option<(String, LinkGraph)> {
    let text = std::fs::read_to_string(path).unwrap();
    match nccl::read(&text) {
        Ok(graph) => Some((text, graph)),
        // One of them is a search result, not a topology.
        Err(error) => {
            assert!(text.contains("<graphs"), "{}: {error}", path.display());
            assert!(error.to_string().contains("begins with <graphs>"));
            None
        }
    }
}

/// Every element with what it says, one a line, in an order of its own: numbers as numbers, rates as rates, what is not
/// said as nothing.
fn canonical(text: &str) -> Vec<String> {
    fn walk(node: Node, above: &str, lines: &mut Vec<String>) {
        let mut said: Vec<String> =
            node.attributes().filter_map(|a| Some(format!("{}={}", a.name(), value(a.name(), a.value())?))).collect();
        said.sort();
        let own = node.attribute("busid").or(node.attribute("numaid")).unwrap_or(above);
        if node.tag_name().name() != "system" {
            lines.push(format!("{above} <{}> {}", node.tag_name().name(), said.join(" ")));
        }
        node.children().filter(Node::is_element).for_each(|child| walk(child, own, lines));
    }
    fn value(name: &str, text: &str) -> Option<String> {
        let done = match name {
            "affinity" => text.trim_start_matches(['0', ',']).to_owned(),
            "link_speed" => text.split(' ').next().unwrap_or_default().parse::<f64>().map_or(String::new(), |speed| speed.to_string()),
            "busid" | "target" => text.to_lowercase(),
            _ => match text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16).ok()) {
                Some(Some(number)) => number.to_string(),
                _ => text.to_owned(),
            },
        };
        (!done.is_empty() && (done != "0" || !["vendor", "device", "subsystem_vendor", "subsystem_device"].contains(&name))).then_some(done)
    }
    let document = Document::parse(text).unwrap();
    let mut lines = vec![];
    walk(document.root_element(), "", &mut lines);
    lines.sort();
    lines
}

#[test]
fn every_file_comes_back_as_it_was() {
    let mut count = 0;
    for path in files() {
        let Some((text, graph)) = read(&path) else { continue };
        let written = nccl::write(&graph);
        assert_eq!(nccl::read(&written).unwrap(), graph, "{}", path.display());
        let (before, after) = (canonical(&text), canonical(&written));
        let lost: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
        assert!(lost.is_empty() && before.len() == after.len(), "{}: {lost:#?}", path.display());
        count += 1;
    }
    assert!(count == 0 || count >= 60, "{count}");
}

fn named(name: &str) -> Option<LinkGraph> {
    let path = files().into_iter().find(|path| path.ends_with(name))?;
    Some(read(&path)?.1)
}

#[test]
fn eight_mi300x_are_all_joined_and_each_has_its_card() {
    let Some(graph) = named("topo_8p_940.xml") else { return };
    let cards: Vec<_> = graph.accelerators.iter().filter_map(|one| one.pci).collect();
    assert_eq!((cards.len(), graph.ports.len(), graph.hosts.len()), (8, 8, 2));
    for (nth, a) in cards.iter().enumerate() {
        for b in &cards[nth + 1..] {
            assert_eq!(graph.way(*a, *b).wire, Some((LinkKind::Xgmi, 1)));
        }
        // The nearest port is below the same switches, all others are not.
        let near = graph.ports.iter().filter(|port| graph.way(*a, port.pci.unwrap()).over_pci <= Distance::Switches).count();
        assert_eq!(near, 1, "{a}");
    }
    let distances = graph.distances();
    assert!(cards.iter().all(|card| distances.nearest_ports(*card).len() == 1));
}

#[test]
fn azure_and_amazon_pair_cards_and_ports_by_switch() {
    let Some(graph) = named("ndv5-topo.xml") else { return };
    let of_class = |class: u32| graph.vertices.iter().filter(move |vertex| vertex.ids.is_some_and(|ids| ids.class >> 8 == class));
    assert_eq!((of_class(0x0302).count(), of_class(0x0207).count()), (8, 8));
    for card in of_class(0x0302) {
        let near = of_class(0x0207).filter(|port| graph.way(card.address, port.address).distance == Distance::Switch);
        assert_eq!(near.count(), 1, "{}", card.address);
    }
    let Some(graph) = named("p4d-24xl-topo.xml") else { return };
    let cards: Vec<_> =
        graph.vertices.iter().filter(|vertex| vertex.ids.is_some_and(|ids| ids.class == 0x03_0200)).map(|one| one.address).collect();
    assert_eq!(cards.len(), 8);
    assert_eq!(graph.way(cards[0], cards[1]).distance, Distance::Switch);
    assert_eq!(graph.way(cards[0], cards[2]).distance, Distance::Node);
    assert_eq!(graph.way(cards[0], cards[7]).distance, Distance::System);
}
