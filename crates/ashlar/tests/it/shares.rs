//! Parts of a card on a running node: a stand-in for NVIDIA's library in a mount namespace where the bus has one card.

use super::bench_node::{ASHLAR, TestNode, stdout, until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a bus with one card and its device nodes, seen by the command given and whatever it starts.
const MACHINE: &str = r#"set -e
place=$1; shift
mount --make-rprivate /
mkdir -p "$place/dev"
mount -t tmpfs none "$place/dev"
for node in /dev/*; do
  name=${node##*/}
  if [ -d "$node" ] && [ ! -L "$node" ]; then mkdir "$place/dev/$name"; mount --rbind "$node" "$place/dev/$name"
  else cp -a "$node" "$place/dev/$name"; fi
done
mknod -m 666 "$place/dev/nvidia0" c 195 0
mknod -m 666 "$place/dev/nvidiactl" c 195 255
mknod -m 666 "$place/dev/nvidia-uvm" c 510 0
mount --rbind "$place/dev" /dev
mount -t tmpfs none /sys/bus/pci/devices
mkdir /sys/bus/pci/devices/0000:18:00.0
cd /sys/bus/pci/devices/0000:18:00.0
echo 0x10de > vendor; echo 0x2330 > device; echo 0x030200 > class; echo 0 > numa_node
printf 'PCI_CLASS=30200\nPCI_ID=10DE:2330\n' > uevent
printf '\336\020\060\043' > config; head -c 252 /dev/zero >> config
ln -s ../../../bus/pci/drivers/nvidia driver
cd /
exec "$@"
"#;

struct Card {
    place: tempfile::TempDir,
    processes: PathBuf,
}

impl Card {
    /// `None` where no mount namespace can be made.
    fn new() -> Option<Card> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        std::fs::write(path.join("machine.sh"), MACHINE).unwrap();
        let (processes, script) = (path.join("processes"), path.join("script.json"));
        std::fs::write(&processes, "").unwrap();
        let gpu = fake_nvml::Gpu { processes: processes.display().to_string(), ..fake_nvml::Gpu::default() };
        let board = fake_nvml::Script { driver: "570.86.15".into(), gpus: vec![gpu], ..fake_nvml::Script::default() };
        std::fs::write(script, serde_json::to_vec(&board).unwrap()).unwrap();
        let card = Card { place, processes };
        let tried = card.command(&["true"]).output().ok().filter(|output| output.status.success());
        if tried.is_none() {
            eprintln!("skipped: no mount namespace can be made here");
        }
        tried.map(|_| card)
    }

    fn command(&self, words: &[&str]) -> Command {
        let path = |name: &str| self.place.path().join(name);
        let mut command = Command::new("unshare");
        command.arg("--mount").arg("/bin/bash").arg(path("machine.sh")).arg(self.place.path()).args(words);
        command.env("ASHLAR_NVML_LIBRARY", fake_nvml::library_path()).env(fake_nvml::SCRIPT_VARIABLE, path("script.json"));
        command
    }

    fn up(&self, state: &Path, flags: &[&str]) -> Command {
        let state = state.display().to_string();
        let words: Vec<&str> = [ASHLAR, "--state", &state, "up"].into_iter().chain(flags.iter().copied()).collect();
        self.command(&words)
    }

    /// From the next glance on these processes hold so many GB.
    fn hold(&self, rows: &[(i64, u64)]) {
        let text: String = rows.iter().map(|(pid, gb)| format!("{pid} {}\n", gb * 1_000_000_000)).collect();
        let fresh = self.processes.with_extension("new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, &self.processes).unwrap();
    }
}

fn job(name: &str, devices: &str) -> String {
    format!("name: {name}\ncpus: 0.1\nmemory: 64MiB\ndevices: {devices}\ncommand: [sleep, '1000']\n")
}

fn pid(node: &TestNode, id: &str) -> i64 {
    until("it runs", || node.show(id)["runs"][0]["ranks"][0]["pid"].as_i64())
}

#[test]
fn two_runs_share_a_card_a_third_waits_and_who_oversteps_is_told_and_ended() {
    let Some(card) = Card::new() else { return };
    let mut node = TestNode::start_as(|state| card.up(state, &[]));
    let (first, second) = (node.submit(&job("first", "share 40GB")), node.submit(&job("second", "{memory: 30GB, enforced: watched}")));
    let (one, two) = (pid(&node, &first), pid(&node, &second));
    let share = |id: &str| node.show(id)["runs"][0]["grant"]["share"].clone();
    assert_eq!((share(&first)["enforced"].as_str(), share(&first)["memory"].as_u64()), (Some("watched"), Some(40_000_028_672)));
    assert_eq!(node.show(&first)["runs"][0]["grant"]["ranks"][0]["devices"], node.show(&second)["runs"][0]["grant"]["ranks"][0]["devices"]);

    // 85.5 GB less 70: too little for 20, and the reason names both.
    let third = node.submit(&job("third", "share 20GB"));
    let why = node.ok(&["why", &third]);
    for part in ["has room", "first", "second"] {
        assert!(why.contains(part), "{why}");
    }
    let machine = node.ok(&["machine"]);
    assert!(machine.contains("first") && machine.contains("second") && machine.contains("14.5 GiB"), "{machine}");
    // What no node offers is refused at once, with the reason.
    std::fs::write(node.home.path().join("driver.yaml"), job("fourth", "{memory: 8GB, enforced: driver}")).unwrap();
    let plan = stdout(&node.ashlar(&["plan", "driver.yaml"]));
    assert!(plan.contains("parts are kept 'watched' at most"), "{plan}");

    // The second keeps to its part, the first takes too much: it is told, and goes on.
    card.hold(&[(one, 41), (two, 30)]);
    let over = until("it is told", || Some(node.show(&first)["runs"][0]["overstep"].clone()).filter(|over| !over.is_null()));
    assert_eq!((over["used"].as_u64(), over["ends"].as_bool()), (Some(41_000_000_000), Some(false)));
    assert!(node.ok(&["show", &first]).contains("warning: held"), "{}", node.ok(&["show", &first]));
    assert_eq!((node.state_of(&first), node.state_of(&second)), ("running".into(), "running".into()));
    assert!(node.show(&second)["runs"][0]["overstep"].is_null());

    // Where the policy says so it is ended, by whichever node looks after it, and the third has its place.
    node.down();
    node.up_as(card.up(&node.state, &["--over-share", "end"]));
    assert_eq!(node.wait(&first), 137);
    assert!(node.ok(&["why", &first]).contains("held more device memory than its part"), "{}", node.ok(&["why", &first]));
    pid(&node, &third);
    assert_eq!(node.state_of(&second), "running");
}
