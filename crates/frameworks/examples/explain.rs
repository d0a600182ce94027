//! Prints the processes of a small job as command lines that a shell can run, or with the reason of each variable.
//!
//! ```text
//! cargo run -p frameworks --example explain -- [--why] RECIPE RANKS PORT ENVIRONMENT WORKDIR COMMAND...
//! ```

use frameworks::{LaunchInput, explain, recipes};
use machine::{Bytes, CpuShare, Grant, RankGrant};
use spec::{Checkpoint, Identity, Isolation, JobId, JobSpec, Launch, Retry, RunId, Work};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let why = arguments.first().is_some_and(|first| first == "--why");
    arguments.drain(..usize::from(why));
    let [recipe, ranks, port, environment, workdir, command @ ..] = arguments.as_slice() else {
        eprintln!("explain [--why] RECIPE RANKS PORT ENVIRONMENT WORKDIR COMMAND...\nrecipes:");
        recipes().iter().for_each(|recipe| eprintln!("  {:10} {}", recipe.name, recipe.summary));
        std::process::exit(2);
    };
    let (Some(recipe), Ok(ranks), Ok(port)) = (recipes().iter().find(|row| row.name == recipe), ranks.parse(), port.parse()) else {
        eprintln!("no such recipe, or RANKS or PORT is not a number");
        std::process::exit(2);
    };
    let spec = job(recipe.launch, ranks, workdir, command);
    let grant = grant(ranks);
    let identity = Identity { uid: 65534, gid: 65534, groups: vec![], user: "nobody".into(), home: "/tmp".into() };
    let input = LaunchInput {
        spec: &spec,
        run: RunId { job: JobId::new(1), attempt: 1 },
        grant: &grant,
        devices: &[],
        only_granted_nodes: false,
        hostname: "localhost",
        ports: &[port],
        environment: (environment != "-").then_some(environment.as_str()),
        scratch: "/tmp",
        files: "/state/runs/17-2/launch",
        identity: &identity,
    };
    match explain(&input) {
        Err(error) => {
            eprintln!("{error}\n{}", error.hint().unwrap_or_default());
            std::process::exit(1);
        }
        Ok(explained) if why => {
            for process in explained.processes {
                println!("rank {}: {}", process.rank, process.argv.join(" "));
                process.variables.iter().for_each(|v| println!("  {}={}\n      {}", v.name, v.value, v.why));
            }
        }
        Ok(explained) => {
            for process in explained.processes {
                let variables: Vec<String> = process.variables.iter().map(|v| quoted(&format!("{}={}", v.name, v.value))).collect();
                let argv: Vec<String> = process.argv.iter().map(|argument| quoted(argument)).collect();
                println!("cd {} && exec env -i {} {}", quoted(&process.workdir), variables.join(" "), argv.join(" "));
            }
        }
    }
}

fn job(launch: Launch, ranks: u32, workdir: &str, command: &[String]) -> JobSpec {
    JobSpec {
        name: "example".into(),
        work: Work::Command(command.to_vec()),
        ranks,
        sizes: vec![],
        devices: None,
        cpus: CpuShare::ONE,
        memory: None,
        shm: None,
        workdir: workdir.into(),
        env: Default::default(),
        mounts: vec![],
        environment: None,
        launch,
        expect: None,
        limit: None,
        priority: 0,
        queue: None,
        retry: Retry::default(),
        checkpoint: Checkpoint::default(),
        after: vec![],
        array: None,
        isolation: Isolation::default(),
        latency: Default::default(),
        notify: None,
    }
}

/// One CPU a rank and nothing else.
fn grant(ranks: u32) -> Grant {
    Grant {
        machine: "example".into(),
        ranks: (0..ranks).map(|rank| RankGrant { cpus: [rank].into_iter().collect(), devices: vec![] }).collect(),
        cpu_share: CpuShare::ONE,
        memory: Bytes(0),
        shm: Bytes(0),
        mem_nodes: [0].into_iter().collect(),
        ports: None,
        share: None,
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
