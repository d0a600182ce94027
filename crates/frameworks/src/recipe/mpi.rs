//! MPI: `mpirun` starts the ranks, and is put before a command that lacks it.
//!
//! Open MPI counts the slots of a host file, MPICH and Intel MPI take theirs in another form; each finds its own by a
//! variable. Sources: Open MPI's mpirun(1) and FAQ (4.1, 5.0), MPICH's "Using the Hydra Process Manager".

use super::{BARE, Gang, Once, Place, Recipe, Sees, Wrapped};
use crate::files::LaunchFile;
use crate::variables::Variables;
use spec::Launch;

const OPEN_MPI: &str = "openmpi.hosts";
const MPICH: &str = "mpich.hosts";

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Mpi,
    name: "mpi",
    summary: "mpirun once, with host files for Open MPI, MPICH and Intel MPI; added where the command lacks it",
    sees: Sees::Run,
    once: Once::Always,
    fill,
    wrap,
    files,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    let slots = "how many ranks this machine takes";
    variables.set("OMPI_MCA_orte_default_hostfile", place.file(OPEN_MPI), slots);
    variables.set("PRTE_MCA_prte_default_hostfile", place.file(OPEN_MPI), slots);
    variables.set("HYDRA_HOST_FILE", place.file(MPICH), slots);
    variables.set("I_MPI_HYDRA_HOST_FILE", place.file(MPICH), slots);
    variables.set("OMPI_MCA_plm", "isolated", "all ranks are on this machine: Open MPI need not look for ssh");
    let bound = "the run is bound to its CPUs already, and ranks may be more than these";
    variables.set("OMPI_MCA_hwloc_base_binding_policy", "none", bound);
    variables.set("PRTE_MCA_hwloc_default_binding_policy", "none", bound);
    let copy = "reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere";
    variables.set("OMPI_MCA_btl_vader_single_copy_mechanism", "none", copy);
    variables.set("OMPI_MCA_btl_sm_single_copy_mechanism", "none", copy);
    if place.threads == 1 {
        let why = "ranks that spin while they wait take the CPU from those they wait for, where CPUs are few";
        variables.set("OMPI_MCA_mpi_yield_when_idle", "1", why);
    }
    if place.input.identity.uid == 0 {
        for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
            variables.set(name, "1", "root submitted this job, and Open MPI asks twice whether that is meant");
        }
    }
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    if place.ranks < 2 && place.launcher.is_none() {
        return Wrapped { argv, why: None };
    }
    match place.launcher {
        // MPICH starts one rank unless told; Open MPI fills the slots of its host file, but a host file of the person wins.
        Some(launcher) if counts_itself(&argv[launcher.words..]) => Wrapped { argv, why: None },
        Some(_) => place.after_launcher(argv, &["-n".to_string(), place.ranks.to_string()], "mpirun is told how many ranks"),
        None => {
            let mut whole = vec!["mpirun".to_string(), "-n".into(), place.ranks.to_string()];
            whole.extend(argv);
            Wrapped { argv: whole, why: Some("mpirun starts the ranks of an MPI program") }
        }
    }
}

/// Whether the command says how many ranks. A program's own `-n` may be taken for it: then Open MPI still fills the slots of
/// its host file.
fn counts_itself(arguments: &[String]) -> bool {
    arguments
        .iter()
        .any(|word| matches!(word.as_str(), "-n" | "-np" | "--np" | "-c" | "--n" | "-N" | "--npernode" | "-npernode" | "--map-by"))
}

fn files(gang: &Gang) -> Vec<LaunchFile> {
    vec![
        LaunchFile::new(OPEN_MPI, format!("localhost slots={}\n", gang.ranks), "Open MPI counts the slots of each host in it"),
        LaunchFile::new(MPICH, format!("localhost:{}\n", gang.ranks), "MPICH and Intel MPI count the ranks of each host in it"),
    ]
}
