//! `ashlar simulate` from outside: the line protocol, the comparison, wrong input.

use super::bench_node::{ASHLAR, stderr, stdout};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\na,16000,65536,2,T4\nb,16000,65536,4,G2\nc,8000,65536,0,\n";
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n\
                    one,1000,1024,1,1000,\nhalf,1000,1024,1,500,\npicky,1000,1024,1,1000,T4\nfour,4000,1024,4,1000,\ncpus,8000,1024,0,0,\n";

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("nodes.csv"), NODES).unwrap();
        std::fs::write(folder.path().join("pods.csv"), PODS).unwrap();
        Files { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ASHLAR);
        command.arg("simulate").arg("--nodes").arg(self.path("nodes.csv")).arg("--pods").arg(self.path("pods.csv")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have stopped reading at the line it does not accept.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// The answers without the nanoseconds, which differ.
fn answers(output: &Output) -> Vec<String> {
    stdout(output).lines().skip(1).map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect()
}

#[test]
fn each_line_is_answered_before_the_next() {
    let files = Files::new();
    let mut child =
        files.command(&["--format", "openb", "--stdio", "--days", "3"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut ask, mut answer) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    assert_eq!(answer.next().unwrap().unwrap(), "seq,pod,node,gpus,ns");
    for (seq, (line, pod)) in [("3", "four"), ("2", "picky"), ("4", "cpus"), ("-2", "picky"), ("2", "picky")].iter().enumerate() {
        writeln!(ask, "{line}").unwrap();
        let row = answer.next().unwrap().unwrap();
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!((fields.len(), fields[0], fields[1]), (5, seq.to_string().as_str(), *pod), "{row}");
        assert!(fields[4].parse::<u64>().is_ok());
        match (*line, *pod) {
            (_, "four") => assert_eq!((fields[2], fields[3]), ("b", "0-1-2-3")),
            ("2", _) => assert_eq!(fields[2], "a"),
            ("-2", _) => assert_eq!((fields[2], fields[3]), ("", ""), "a departure has no place"),
            _ => assert_eq!((fields[2].is_empty(), fields[3]), (false, "")),
        }
    }
    drop(ask);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_does_not_fit_has_no_node_and_the_room_of_a_departure_is_used_again() {
    let files = Files::new();
    for policy in ["ashlar", "fgd", "bestfit", "packing", "dotprod", "random"] {
        let output = files.run(&["--stdio", "--policy", policy, "--days", "2", "--rows"], "3\n3\n-1\n3\n\n1\n-2\n");
        assert!(output.status.success(), "{}", stderr(&output));
        let rows = answers(&output);
        assert_eq!(&rows[..4], ["0,3,1,0-1-2-3", "1,3,,", "2,3,,", "3,3,1,0-1-2-3"], "{policy}");
        assert!(rows[4].starts_with("4,1,0,"), "{policy}: {}", rows[4]);
        assert_eq!(rows[5], "5,3,,", "who never started may go as well");
    }
}

#[test]
fn compressed_lists_are_read() {
    let files = Files::new();
    for name in ["nodes.csv", "pods.csv"] {
        let packed = std::fs::File::create(files.path(&format!("{name}.xz"))).unwrap();
        let mut writer = lzma_rust2::XzWriter::new(packed, lzma_rust2::XzOptions::default()).unwrap();
        writer.write_all(&std::fs::read(files.path(name)).unwrap()).unwrap();
        writer.finish().unwrap();
    }
    let run = |suffix: &str| {
        let path = |name: &str| files.path(&format!("{name}.csv{suffix}"));
        let mut command = Command::new(ASHLAR);
        command.args(["simulate", "--policy", "bestfit,fgd", "--json", "--cluster"]).arg(path("nodes"));
        command.arg("--workload").arg(path("pods")).output().unwrap()
    };
    let figures = |output: &Output| -> Vec<f64> {
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all.as_array().unwrap().iter().map(|outcome| outcome["fill"]["allocated_at_end"].as_f64().unwrap()).collect()
    };
    let (plain, packed) = (run(""), run(".xz"));
    assert!(packed.status.success(), "{}", stderr(&packed));
    assert_eq!(figures(&plain), figures(&packed));
    assert_eq!(figures(&plain).len(), 2);
}

#[test]
fn policies_are_compared_side_by_side() {
    let files = Files::new();
    let picture = files.path("curves.svg");
    let output = files.run(&["--days", "2", "--svg", picture.to_str().unwrap()], "");
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    assert!(table.lines().next().unwrap().contains("HELD AT 100 %"), "{table}");
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(stderr(&output).is_empty(), "no bar where there is no terminal");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<polyline").count() == 12 && !svg.contains("NaN"), "{svg}");
    let churn =
        files.run(&["--churn", "--load", "0.8", "--arrivals", "60", "--policy", "bestfit,ashlar", "--days", "2", "--migrate", "600"], "");
    assert!(churn.status.success(), "{}", stderr(&churn));
    assert!(stdout(&churn).contains("MEAN WAIT") && stdout(&churn).lines().count() == 3);
}

#[test]
fn wrong_input_is_told_where() {
    let files = Files::new();
    std::fs::write(files.path("broken.csv"), "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np,1,1,1,4000,\n").unwrap();
    std::fs::write(files.path("order.txt"), "0\n\n17\n").unwrap();
    std::fs::write(files.path("noise.csv.xz"), "no xz at all").unwrap();
    let file = |name: &str| files.path(name).to_str().unwrap().to_string();
    let swap = |pods: &Path| {
        Command::new(ASHLAR).args(["simulate", "--nodes"]).arg(files.path("nodes.csv")).arg("--pods").arg(pods).output().unwrap()
    };
    let table = [
        (files.run(&["--stdio", "--policy", "fgd"], "0\nx\n"), "standard input: line 2, column 1: `x` is no row of the pod list"),
        (files.run(&["--stdio", "--policy", "fgd"], "5\n"), "standard input: line 1, column 1: `5` is no row of the pod list"),
        (files.run(&["--stdio", "--policy", "fgd"], "0\n-2\n"), "standard input: line 2, column 1: `-2` names no earlier arrival"),
        (files.run(&["--stdio", "--policy", "fgd"], "-0\n"), "standard input: line 1, column 1: `-0` names no earlier arrival"),
        (files.run(&["--policy", "best"], ""), "--policy: there is no policy `best`"),
        (files.run(&["--stdio", "--policy", "fgd,random"], ""), "--stdio answers for one policy"),
        (files.run(&["--order", &file("order.txt")], ""), "order.txt: line 3, column 1: `17` is no row of the pod list"),
        (swap(&files.path("broken.csv")), "broken.csv: line 2, column 7: a share of 4000 thousandths"),
        (swap(&files.path("noise.csv.xz")), "cannot read"),
        (swap(&files.path("missing.csv")), "cannot read"),
        (swap(&files.path("nodes.csv")), "nodes.csv: line 1, column 1: the header lacks `name`"),
    ];
    for (output, expected) in table {
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected) && told.contains("hint:"), "wanted `{expected}`:\n{told}");
    }
    for wrong in
        [vec!["--load", "0"], vec!["--load", "x"], vec!["--migrate", "60"], vec!["--stdio", "--json"], vec!["--churn", "--migrate", "0"]]
    {
        assert_eq!(files.run(&wrong, "").status.code(), Some(2), "{wrong:?}");
    }
}
