//! Reading openb lists: what is right, and what a wrong one is told.

use placement::packing::KindSet;
use placement::packing::openb::{parse_nodes, parse_pods, ranks};
use proptest::prelude::*;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\n\
                     a,64000,262144,2,P100\n\
                     b,96000,393216,8,G2\n\
                     c,64000,262144,2,P100\n\
                     d,32000,262144,0,\n";
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time\n\
                    p0,12000,16384,1,1000,,LS,0,12537496\n\
                    p1,6000,12288,1,460,G2|P100,LS,427061,12902960\n\
                    p2,4000,1024,0,0,,BE,5,\n\
                    p3,4000,1024,2,1000,T4,BE,5,6.5\n";

#[test]
fn lists_are_read() {
    let nodes = parse_nodes(NODES).unwrap();
    assert_eq!(nodes.names, ["a", "b", "c", "d"]);
    assert_eq!(nodes.models, ["P100", "G2"]);
    assert_eq!(nodes.machines, [0, 1, 0, 2], "equal nodes share a shape");
    assert_eq!((nodes.shapes[1].devices, nodes.shapes[1].cpu, nodes.shapes[1].kind), (8, 96_000, 1));
    let pods = parse_pods(PODS, &nodes.models).unwrap();
    assert_eq!(pods.requests[0].kinds, KindSet::ANY);
    assert_eq!((pods.requests[1].share, pods.requests[1].kinds), (460, KindSet::of(0).with(1)));
    assert_eq!(pods.requests[2].amount(), 0);
    assert_eq!(pods.requests[3].kinds, KindSet::NONE, "no node has one");
    assert_eq!(pods.unknown_models, ["T4"]);
    assert_eq!(pods.times, [(0, 12_537_496), (427_061, 12_902_960), (5, 0), (5, 6)]);
}

#[test]
fn columns_are_found_by_name_and_blank_lines_do_no_harm() {
    let nodes = parse_nodes("\u{feff}model,gpu,extra,memory_mib,cpu_milli,sn\r\nT4,4,x,1024,8000,n1\r\n\r\n").unwrap();
    assert_eq!((nodes.names[0].as_str(), nodes.shapes[0].devices, nodes.shapes[0].cpu), ("n1", 4, 8000));
}

#[test]
fn a_wrong_list_is_told_where_and_how() {
    let node = |row: &str| parse_nodes(&format!("sn,cpu_milli,memory_mib,gpu,model\na,1,1,1,X\n{row}\n")).unwrap_err();
    let pod = |row: &str| parse_pods(&format!("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n{row}\n"), &[]).unwrap_err();
    let table = [
        (parse_nodes("").unwrap_err(), "line 1, column 1: the header lacks `sn`"),
        (parse_nodes("sn,cpu,memory_mib,gpu,model\n").unwrap_err(), "line 1, column 1: the header lacks `cpu_milli`"),
        (parse_nodes("sn,cpu_milli,memory_mib,gpu,model\n").unwrap_err(), "line 2, column 1: no rows"),
        (node("b,64k,1,1,X"), "line 3, column 3: `64k` is no number for `cpu_milli`"),
        (node("b,1,1,17,X"), "line 3, column 7: 17 devices on one machine, 16 at most"),
        (node("b,1,1"), "line 3, column 6: `gpu` is missing"),
        (node("b,99999999999,1,1,X"), "line 3, column 3: `99999999999` is no number for `cpu_milli`"),
        (node("b,-1,1,1,X"), "line 3, column 3: `-1` is no number for `cpu_milli`"),
        (pod("p,1,1,1,2000,"), "line 2, column 7: a share of 2000 thousandths is not between 1 and 1000"),
        (pod("p,1,1,2,500,"), "line 2, column 7: shares of several devices: 2 devices of 500 thousandths each"),
        (pod("p,1,1,1,"), "line 2, column 9: `` is no number for `gpu_milli`"),
        (pod("p,1,1,300,1000,"), "line 2, column 7: `300` is no number for `num_gpu`"),
    ];
    for (error, expected) in table {
        assert_eq!(error.to_string(), expected);
        assert!(!error.hint().is_empty());
    }
    let many: String = (0..65).map(|n| format!("n{n},1,1,1,model{n}\n")).collect();
    let error = parse_nodes(&format!("sn,cpu_milli,memory_mib,gpu,model\n{many}")).unwrap_err();
    assert_eq!(error.to_string(), "line 66, column 11: more than 64 device models");
}

#[test]
fn ranks_depend_on_names_and_seed_alone() {
    let names: Vec<String> = (0..50).map(|n| format!("node-{n}")).collect();
    let mut reversed = names.clone();
    reversed.reverse();
    let (one, other) = (ranks(&names, 7), ranks(&reversed, 7));
    assert!((0..50).all(|at| one[at] == other[49 - at]));
    let mut sorted = one.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<u32>>());
    assert_ne!(one, ranks(&names, 8));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(sn,cpu_milli,memory_mib,gpu,model\n)?[a-z0-9,|.\\- \n]{0,200}") {
        let _ = parse_nodes(&text);
        if let Err(error) = parse_pods(&text.replacen("sn,", "name,", 1).replacen("gpu,model", "num_gpu,gpu_milli,gpu_spec", 1), &[]) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }
}
