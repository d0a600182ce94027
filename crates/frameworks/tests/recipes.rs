//! What each recipe makes of a gang: its own variables, its arguments, its files, with the reasons.

mod common;

use common::*;
use frameworks::{LaunchError, LaunchInput, explain, launch};
use machine::Vendor;
use spec::{Environment, Launch, Packages, Work};

const PORTS: &[u16] = &[20_003, 20_004, 20_005];

/// Everything beside what every recipe sets, of every process.
fn story(recipe: Launch, command: &str, devices: &[&[&str]], packages: &[&str]) -> String {
    let mut spec = job(2, recipe);
    spec.work = Work::Command(command.split(' ').map(String::from).collect());
    if !packages.is_empty() {
        let packages = Packages::Packages(packages.iter().map(|name| name.to_string()).collect());
        spec.environment = Some(Environment { packages, ..Environment::default() });
    }
    let (grant, identity) = (grant(devices), ada());
    let machine = [device(Vendor::Ascend, 0, "npu-a"), device(Vendor::Ascend, 1, "npu-b"), device(Vendor::Ascend, 2, "npu-c")];
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &machine,
        only_granted_nodes: false,
        hostname: "box",
        ports: PORTS,
        environment: None,
        scratch: "/tmp",
        files: "/state/runs/17-2/launch",
        identity: &identity,
    };
    let explained = match explain(&input) {
        Ok(explained) => explained,
        Err(error) => return format!("{error}\nhint: {}\n", error.hint().unwrap_or_default()),
    };
    let mut text =
        format!("{}: {}{}\n", explained.choice.recipe.name, explained.choice.reason, if explained.once { "; one process" } else { "" });
    for file in &explained.files {
        text.push_str(&format!("file {}  # {}\n  {}\n", file.name, file.why, file.text.trim_end().replace('\n', "\n  ")));
    }
    let common = ["HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "LANG", "TMPDIR", "PYTHONUNBUFFERED", "PATH", "OMP_NUM_THREADS"];
    for process in &explained.processes {
        text.push_str(&format!("process {}: {}\n", process.rank, process.argv.join(" ")));
        text.extend(process.argv_why.map(|why| format!("  # {why}\n")));
        let own = process.variables.iter().filter(|v| !common.contains(&v.name.as_str()));
        let own = own.filter(|v| !v.name.starts_with("ASHLAR_") || v.name == "ASHLAR_RENDEZVOUS" || v.name == "ASHLAR_RANK");
        text.extend(own.map(|v| format!("  {}={}  # {}\n", v.name, v.value, v.why)));
    }
    text
}

fn without_devices(recipe: Launch, command: &str) -> String {
    story(recipe, command, &[&[], &[]], &[])
}

#[test]
fn deepspeed() {
    insta::assert_snapshot!(without_devices(Launch::Deepspeed, "python train.py"), @r#"
        deepspeed: the job says `launch: deepspeed`
        process 0: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          GLOO_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          GROUP_RANK=0  # this machine among those of the gang
          GROUP_WORLD_SIZE=1  # machines of the gang
          LOCAL_RANK=0  # this rank on its machine; the index of its first device among those of the run
          LOCAL_WORLD_SIZE=2  # ranks on this machine
          MASTER_ADDR=127.0.0.1  # where rank 0 serves the gang
          MASTER_PORT=20003  # leased for this attempt, so no earlier attempt's store answers
          NCCL_SOCKET_IFNAME==lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          RANK=0  # this rank
          ROLE_NAME=default  # torchrun's name for the only role
          ROLE_RANK=0  # this rank among those of its role; there is one role
          ROLE_WORLD_SIZE=2  # ranks of the role
          TORCHELASTIC_MAX_RESTARTS=2  # from the job's retry
          TORCHELASTIC_RESTART_COUNT=1  # attempts before this one
          TORCHELASTIC_RUN_ID=17-2  # another one for every attempt
          TORCHELASTIC_USE_AGENT_STORE=False  # no agent holds a store: rank 0 does
          TORCH_NCCL_ASYNC_ERROR_HANDLING=1  # as torchrun sets it: a failed collective ends the rank instead of hanging it
          TP_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          WORLD_SIZE=2  # ranks of the gang
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          GLOO_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          GROUP_RANK=0  # this machine among those of the gang
          GROUP_WORLD_SIZE=1  # machines of the gang
          LOCAL_RANK=1  # this rank on its machine; the index of its first device among those of the run
          LOCAL_WORLD_SIZE=2  # ranks on this machine
          MASTER_ADDR=127.0.0.1  # where rank 0 serves the gang
          MASTER_PORT=20003  # leased for this attempt, so no earlier attempt's store answers
          NCCL_SOCKET_IFNAME==lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          RANK=1  # this rank
          ROLE_NAME=default  # torchrun's name for the only role
          ROLE_RANK=1  # this rank among those of its role; there is one role
          ROLE_WORLD_SIZE=2  # ranks of the role
          TORCHELASTIC_MAX_RESTARTS=2  # from the job's retry
          TORCHELASTIC_RESTART_COUNT=1  # attempts before this one
          TORCHELASTIC_RUN_ID=17-2  # another one for every attempt
          TORCHELASTIC_USE_AGENT_STORE=False  # no agent holds a store: rank 0 does
          TORCH_NCCL_ASYNC_ERROR_HANDLING=1  # as torchrun sets it: a failed collective ends the rank instead of hanging it
          TP_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          WORLD_SIZE=2  # ranks of the gang
        "#);
    insta::assert_snapshot!(without_devices(Launch::Auto, "deepspeed --no_ssh train.py"), @r#"
        deepspeed: the command begins with deepspeed, which starts the ranks itself; one process
        file deepspeed.hosts  # the deepspeed launcher counts its ranks in it
          localhost slots=2
        process 0: deepspeed --hostfile /state/runs/17-2/launch/deepspeed.hosts --master_addr 127.0.0.1 --master_port 20003 --no_ssh train.py
          # the launcher is told how many ranks, and a port of this attempt
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          GLOO_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          NCCL_SOCKET_IFNAME==lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          TP_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
        "#);
}

#[test]
fn accelerate() {
    insta::assert_snapshot!(without_devices(Launch::Auto, "accelerate launch --mixed_precision no train.py"), @r#"
        accelerate: the command begins with accelerate, which starts the ranks itself; one process
        process 0: accelerate launch --num_machines 1 --num_processes 2 --main_process_port 20003 --cpu --mixed_precision no train.py
          # the launcher is told how many ranks, and a port of this attempt
          ACCELERATE_USE_CPU=true  # no device is granted
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          GLOO_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          NCCL_SOCKET_IFNAME==lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          TP_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
        "#);
}

#[test]
fn torchrun_itself() {
    insta::assert_snapshot!(without_devices(Launch::Auto, "torchrun train.py"), @r#"
        torchrun: the command begins with torchrun, which starts the ranks itself; one process
        process 0: torchrun train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          GLOO_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          NCCL_SOCKET_IFNAME==lo  # all ranks are on this machine: no look-up of its name, no listening outside it
          PET_MASTER_ADDR=127.0.0.1  # where rank 0 serves the gang
          PET_MASTER_PORT=20003  # leased for this attempt; torchrun's own default is the same for every job
          PET_MAX_RESTARTS=0  # a failed gang is restarted as a whole by `retry:`, with a fresh port
          PET_NNODES=1  # there is one machine
          PET_NODE_RANK=0  # there is one machine
          PET_NPROC_PER_NODE=2  # ranks of the job
          PET_RDZV_ID=17-2  # another one for every attempt
          TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # torchrun's own restarts would else read addresses of dead ranks (pytorch issues 135712, 167288)
          TP_SOCKET_IFNAME=lo  # all ranks are on this machine: no look-up of its name, no listening outside it
        "#);
}

#[test]
fn tensorflow() {
    insta::assert_snapshot!(without_devices(Launch::Tensorflow, "python train.py"), @r#"
        tensorflow: the job says `launch: tensorflow`
        process 0: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          TF_CONFIG={"cluster": {"worker": ["127.0.0.1:20003", "127.0.0.1:20004"]}, "task": {"type": "worker", "index": 0}}  # every rank is a worker and listens on a leased port of its own
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          TF_CONFIG={"cluster": {"worker": ["127.0.0.1:20003", "127.0.0.1:20004"]}, "task": {"type": "worker", "index": 1}}  # every rank is a worker and listens on a leased port of its own
        "#);
}

#[test]
fn paddle() {
    insta::assert_snapshot!(without_devices(Launch::Paddle, "python train.py"), @r#"
        paddle: the job says `launch: paddle`
        process 0: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          MASTER_ADDR=127.0.0.1  # rank 0 serves the gang there
          MASTER_PORT=20003  # rank 0 serves the gang there
          PADDLE_CURRENT_ENDPOINT=127.0.0.1:20003  # the leased port of this rank
          PADDLE_DISTRI_BACKEND=gloo  # no device is granted, and gloo sums between CPUs
          PADDLE_GLOBAL_RANK=0  # this rank
          PADDLE_GLOBAL_SIZE=2  # ranks of the gang
          PADDLE_LOCAL_RANK=0  # this rank on its machine
          PADDLE_LOCAL_SIZE=2  # ranks on this machine
          PADDLE_MASTER=127.0.0.1:20003  # rank 0 serves the gang there
          PADDLE_NNODES=1  # there is one machine
          PADDLE_RANK_IN_NODE=0  # this rank on its machine
          PADDLE_TRAINERS_NUM=2  # ranks of the gang
          PADDLE_TRAINER_ENDPOINTS=127.0.0.1:20003,127.0.0.1:20004  # every rank has a leased port of its own
          PADDLE_TRAINER_ID=0  # this rank
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          MASTER_ADDR=127.0.0.1  # rank 0 serves the gang there
          MASTER_PORT=20003  # rank 0 serves the gang there
          PADDLE_CURRENT_ENDPOINT=127.0.0.1:20004  # the leased port of this rank
          PADDLE_DISTRI_BACKEND=gloo  # no device is granted, and gloo sums between CPUs
          PADDLE_GLOBAL_RANK=1  # this rank
          PADDLE_GLOBAL_SIZE=2  # ranks of the gang
          PADDLE_LOCAL_RANK=1  # this rank on its machine
          PADDLE_LOCAL_SIZE=2  # ranks on this machine
          PADDLE_MASTER=127.0.0.1:20003  # rank 0 serves the gang there
          PADDLE_NNODES=1  # there is one machine
          PADDLE_RANK_IN_NODE=1  # this rank on its machine
          PADDLE_TRAINERS_NUM=2  # ranks of the gang
          PADDLE_TRAINER_ENDPOINTS=127.0.0.1:20003,127.0.0.1:20004  # every rank has a leased port of its own
          PADDLE_TRAINER_ID=1  # this rank
        "#);
    insta::assert_snapshot!(without_devices(Launch::Auto, "python -m paddle.distributed.launch train.py"), @r#"
        paddle: the command begins with paddle.distributed.launch, which starts the ranks itself; one process
        process 0: env CUDA_VISIBLE_DEVICES=all python -m paddle.distributed.launch --nproc_per_node 2 --max_restart 0 --start_port 20003 --log_dir /tmp/paddle-log train.py
          # the launcher is told how many ranks, and leaves restarts to `retry:`
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          PADDLE_DISTRI_BACKEND=gloo  # no device is granted, and gloo sums between CPUs
          PADDLE_JOB_ID=17-2  # names its log files and its store
          POD_IP=127.0.0.1  # all ranks are on this machine
        "#);
}

#[test]
fn mindspore() {
    let both = without_devices(Launch::Mindspore, "python train.py") + &without_devices(Launch::Auto, "msrun train.py");
    insta::assert_snapshot!(both, @r#"
        mindspore: the job says `launch: mindspore`
        process 0: /bin/sh -c MS_ROLE=MS_SCHED "$@" & exec "$@" launch python train.py
          # the scheduler that brings the workers together runs the same program, beside rank 0
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          DEVICE_ID=0  # the index of this rank's device among those of the run
          MS_NODE_ID=0  # this rank
          MS_ROLE=MS_WORKER  # every rank is a worker
          MS_SCHED_HOST=127.0.0.1  # the scheduler runs beside rank 0
          MS_SCHED_PORT=20003  # leased for this attempt
          MS_WORKER_NUM=2  # ranks of the gang
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          DEVICE_ID=1  # the index of this rank's device among those of the run
          MS_NODE_ID=1  # this rank
          MS_ROLE=MS_WORKER  # every rank is a worker
          MS_SCHED_HOST=127.0.0.1  # the scheduler runs beside rank 0
          MS_SCHED_PORT=20003  # leased for this attempt
          MS_WORKER_NUM=2  # ranks of the gang
        mindspore: the command begins with msrun, which starts the ranks itself; one process
        process 0: msrun --worker_num 2 --local_worker_num 2 --master_addr 127.0.0.1 --master_port 20003 --join True --log_dir /tmp/msrun-log train.py
          # the launcher is told how many ranks, and a port of this attempt
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
        "#);
}

#[test]
fn mpi() {
    let commands = ["./solve 3", "mpirun ./solve", "mpirun -np 7 ./solve"];
    insta::assert_snapshot!(commands.map(|command| without_devices(Launch::Mpi, command)).concat(), @r#"
        mpi: the job says `launch: mpi`; one process
        file openmpi.hosts  # Open MPI counts the slots of each host in it
          localhost slots=2
        file mpich.hosts  # MPICH and Intel MPI count the ranks of each host in it
          localhost:2
        process 0: mpirun -n 2 ./solve 3
          # mpirun starts the ranks of an MPI program
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          I_MPI_HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          OMPI_MCA_btl_sm_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_btl_vader_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_hwloc_base_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          OMPI_MCA_orte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
          OMPI_MCA_plm=isolated  # all ranks are on this machine: Open MPI need not look for ssh
          PRTE_MCA_hwloc_default_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          PRTE_MCA_prte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
        mpi: the job says `launch: mpi`; one process
        file openmpi.hosts  # Open MPI counts the slots of each host in it
          localhost slots=2
        file mpich.hosts  # MPICH and Intel MPI count the ranks of each host in it
          localhost:2
        process 0: mpirun -n 2 ./solve
          # mpirun is told how many ranks
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          I_MPI_HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          OMPI_MCA_btl_sm_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_btl_vader_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_hwloc_base_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          OMPI_MCA_orte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
          OMPI_MCA_plm=isolated  # all ranks are on this machine: Open MPI need not look for ssh
          PRTE_MCA_hwloc_default_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          PRTE_MCA_prte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
        mpi: the job says `launch: mpi`; one process
        file openmpi.hosts  # Open MPI counts the slots of each host in it
          localhost slots=2
        file mpich.hosts  # MPICH and Intel MPI count the ranks of each host in it
          localhost:2
        process 0: mpirun -np 7 ./solve
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          I_MPI_HYDRA_HOST_FILE=/state/runs/17-2/launch/mpich.hosts  # how many ranks this machine takes
          OMPI_MCA_btl_sm_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_btl_vader_single_copy_mechanism=none  # reading a peer's memory hangs on the kernel's ptrace rules; copying through shared memory works everywhere
          OMPI_MCA_hwloc_base_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          OMPI_MCA_orte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
          OMPI_MCA_plm=isolated  # all ranks are on this machine: Open MPI need not look for ssh
          PRTE_MCA_hwloc_default_binding_policy=none  # the run is bound to its CPUs already, and ranks may be more than these
          PRTE_MCA_prte_default_hostfile=/state/runs/17-2/launch/openmpi.hosts  # how many ranks this machine takes
        "#);
}

#[test]
fn horovod() {
    let both = without_devices(Launch::Horovod, "python train.py") + &without_devices(Launch::Auto, "horovodrun --verbose python train.py");
    insta::assert_snapshot!(both, @r#"
        horovod: the job says `launch: horovod`; one process
        process 0: horovodrun --gloo -np 2 -H localhost:2 python train.py
          # horovodrun brings the ranks together
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          HOROVOD_GLOO_IFACE=lo  # all ranks are on this machine
        horovod: the command begins with horovodrun, which starts the ranks itself; one process
        process 0: horovodrun --gloo -np 2 -H localhost:2 --verbose python train.py
          # horovodrun is told how many ranks
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          HOROVOD_GLOO_IFACE=lo  # all ranks are on this machine
        "#);
}

#[test]
fn xgboost() {
    insta::assert_snapshot!(without_devices(Launch::Xgboost, "python train.py"), @r#"
        xgboost: the job says `launch: xgboost`
        process 0: /bin/sh -c python3 -c 'import os
        from xgboost.tracker import RabitTracker
        tracker = RabitTracker(n_workers=int(os.environ["DMLC_NUM_WORKER"]), host_ip=os.environ["DMLC_TRACKER_URI"], port=int(os.environ["DMLC_TRACKER_PORT"]))
        tracker.start()
        tracker.wait_for()' & exec "$@" launch python train.py
          # the tracker that brings the workers together runs beside rank 0
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          DMLC_NUM_WORKER=2  # ranks of the gang
          DMLC_TASK_ID=0  # this rank
          DMLC_TRACKER_PORT=20003  # leased for this attempt
          DMLC_TRACKER_URI=127.0.0.1  # the tracker runs beside rank 0
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          DMLC_NUM_WORKER=2  # ranks of the gang
          DMLC_TASK_ID=1  # this rank
          DMLC_TRACKER_PORT=20003  # leased for this attempt
          DMLC_TRACKER_URI=127.0.0.1  # the tracker runs beside rank 0
        "#);
}

#[test]
fn ray() {
    insta::assert_snapshot!(without_devices(Launch::Ray, "python train.py"), @r#"
        ray: the job says `launch: ray`
        process 0: /bin/sh -c mkdir -p '/tmp/ashlar-ray-17-2' && env -u RAY_ADDRESS ray start --head --port=20003 --include-dashboard=false --node-ip-address=127.0.0.1 --num-cpus=2 --object-store-memory=161061273 --min-worker-port=0 --max-worker-port=0 --disable-usage-stats && while [ "$(ls '/tmp/ashlar-ray-17-2' | wc -l)" -lt 1 ]; do sleep 0.1; done; exec "$@" launch python train.py
          # the head of the cluster starts first and waits for the workers
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          RAY_ADDRESS=127.0.0.1:20003  # ray.init() joins the cluster of the gang instead of starting one
          RAY_DISABLE_IMPORT_WARNING=1  # not of use to anybody here
          RAY_USAGE_STATS_ENABLED=0  # what a job does is nobody else's business
        process 1: /bin/sh -c mkdir -p '/tmp/ashlar-ray-17-2' && env -u RAY_ADDRESS ray start --address=127.0.0.1:20003 --node-ip-address=127.0.0.1 --num-cpus=2 --object-store-memory=161061273 --min-worker-port=0 --max-worker-port=0 --disable-usage-stats && : > '/tmp/ashlar-ray-17-2/1' && exec sleep infinity
          # a worker of the cluster: the command runs on the head, and the run ends with it
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          RAY_ADDRESS=127.0.0.1:20003  # ray.init() joins the cluster of the gang instead of starting one
          RAY_DISABLE_IMPORT_WARNING=1  # not of use to anybody here
          RAY_USAGE_STATS_ENABLED=0  # what a job does is nobody else's business
        "#);
}

#[test]
fn ascend_names_the_granted_devices_in_its_table() {
    insta::assert_snapshot!(story(Launch::Ascend, "python train.py", &[&["npu-c"], &["npu-a"]], &[]), @r#"
        ascend: the job says `launch: ascend`
        file rank_table.json  # HCCL reads the devices of all ranks from it
          {"version": "1.0", "server_count": "1", "server_list": [{"server_id": "127.0.0.1", "device": [{"device_id": "2", "rank_id": "0"}, {"device_id": "0", "rank_id": "1"}], "host_nic_ip": "reserve"}], "status": "completed"}
        process 0: python train.py
          ASCEND_RT_VISIBLE_DEVICES=2,0  # the ascend devices of this rank
          ASHLAR_RANK=0  # this process among those of the run, from 0
          DEVICE_ID=0  # the index of this rank's device among those of the run
          HCCL_IF_IP=127.0.0.1  # all ranks are on this machine
          RANK_ID=0  # this rank
          RANK_SIZE=2  # ranks of the gang
          RANK_TABLE_FILE=/state/runs/17-2/launch/rank_table.json  # which device each rank has
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=2,0  # the ascend devices of this rank
          ASHLAR_RANK=1  # this process among those of the run, from 0
          DEVICE_ID=1  # the index of this rank's device among those of the run
          HCCL_IF_IP=127.0.0.1  # all ranks are on this machine
          RANK_ID=1  # this rank
          RANK_SIZE=2  # ranks of the gang
          RANK_TABLE_FILE=/state/runs/17-2/launch/rank_table.json  # which device each rank has
        "#);
}

#[test]
fn auto_adds_to_plain_and_takes_nothing_away() {
    insta::assert_snapshot!(story(Launch::Auto, "python train.py", &[&[], &[]], &["jax", "numpy"]), @r#"
        jax: the environment has jax
        process 0: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=0  # this process among those of the run, from 0
          ASHLAR_RENDEZVOUS=127.0.0.1:20004  # for programs that meet by themselves: `launch: auto` takes nothing away that `plain` gives
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          JAX_COORDINATOR_ADDRESS=127.0.0.1:20003  # rank 0 serves the gang there; leased for this attempt
          JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:20003  # unset, JAX listens on every network of the machine
          JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo  # JAX 0.5 and 0.6.0 sum between CPU ranks only when told how; later ones do by themselves
          JAX_NUM_PROCESSES=2  # for programs that pass it to initialize()
          JAX_PLATFORMS=cpu  # this rank holds no device, so JAX need not look for one
          JAX_PROCESS_ID=0  # for programs that pass it to initialize()
          SLURM_JOB_ID=17  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_LOCALID=0  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_NTASKS=2  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_PROCID=0  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_STEP_NODELIST=127.0.0.1  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
        process 1: python train.py
          ASCEND_RT_VISIBLE_DEVICES=  # this rank holds no ascend device
          ASHLAR_RANK=1  # this process among those of the run, from 0
          ASHLAR_RENDEZVOUS=127.0.0.1:20004  # for programs that meet by themselves: `launch: auto` takes nothing away that `plain` gives
          CUDA_VISIBLE_DEVICES=  # this rank holds no nvidia device
          JAX_COORDINATOR_ADDRESS=127.0.0.1:20003  # rank 0 serves the gang there; leased for this attempt
          JAX_COORDINATOR_BIND_ADDRESS=127.0.0.1:20003  # unset, JAX listens on every network of the machine
          JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo  # JAX 0.5 and 0.6.0 sum between CPU ranks only when told how; later ones do by themselves
          JAX_NUM_PROCESSES=2  # for programs that pass it to initialize()
          JAX_PLATFORMS=cpu  # this rank holds no device, so JAX need not look for one
          JAX_PROCESS_ID=1  # for programs that pass it to initialize()
          SLURM_JOB_ID=17  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_LOCALID=1  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_NTASKS=2  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_PROCID=1  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
          SLURM_STEP_NODELIST=127.0.0.1  # JAX finds its gang by Slurm's five variables when initialize() has no arguments
        "#);
    let two = story(Launch::Auto, "python train.py", &[&[], &[]], &["torch", "tensorflow"]);
    assert!(
        two.starts_with("plain: the environment has torch (torchrun) and tensorflow (tensorflow), which start in different ways"),
        "{two}"
    );
    let crossed = without_devices(Launch::Jax, "mpirun python train.py");
    assert!(crossed.starts_with("'mpirun' starts ranks of its own, and so does the jax recipe\nhint: leave `launch:` out"), "{crossed}");
}

#[test]
fn one_process_that_starts_the_ranks_holds_what_is_theirs() {
    let mut spec = job(2, Launch::Mpi);
    spec.work = Work::Command(vec!["./solve".into()]);
    let (grant, identity) = (grant(&[&["gpu-a"], &["gpu-b"]]), ada());
    let machine = [device(Vendor::Amd, 0, "gpu-a"), device(Vendor::Amd, 1, "gpu-b"), device(Vendor::Nvidia, 0, "gpu-c")];
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &machine,
        only_granted_nodes: false,
        hostname: "box",
        ports: &[],
        environment: None,
        scratch: "/tmp",
        files: "/files/",
        identity: &identity,
    };
    let launched = launch(&input).unwrap();
    let [process] = launched.processes.as_slice() else { panic!("{launched:?}") };
    assert_eq!((process.holds.cpus.to_string().as_str(), process.holds.devices.len()), ("0-3", 2));
    let env = |name: &str| process.env.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!((env("ROCR_VISIBLE_DEVICES"), env("CUDA_VISIBLE_DEVICES"), env("ASHLAR_RANK")), (Some("0,1"), Some(""), None));
    assert_eq!(env("ASHLAR_DEVICES"), Some("gpu-a,gpu-b"));
    assert_eq!(env("OMP_NUM_THREADS"), Some("2"), "of one rank");
}

#[test]
fn a_rank_of_its_own_port_each_needs_as_many() {
    let (spec, grant, identity) = (job(4, Launch::Tensorflow), grant(&[&[], &[], &[], &[]]), ada());
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &[],
        only_granted_nodes: false,
        hostname: "box",
        ports: PORTS,
        environment: None,
        scratch: "/tmp",
        files: "/files",
        identity: &identity,
    };
    let error = launch(&input).unwrap_err();
    assert_eq!(error, LaunchError::FewPorts { recipe: "tensorflow", needed: 4, free: 3 });
    assert!(error.hint().is_some());
}

/// The processes and files of a gang without devices.
fn launched(ranks: u32, recipe: Launch, command: &str) -> frameworks::Launched {
    let mut spec = job(ranks, recipe);
    spec.work = Work::Command(command.split(' ').map(String::from).collect());
    let nothing: Vec<&[&str]> = vec![&[]; ranks as usize];
    let (grant, identity) = (grant(&nothing), ada());
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &[],
        only_granted_nodes: false,
        hostname: "box",
        ports: PORTS,
        environment: None,
        scratch: "/tmp",
        files: "/files",
        identity: &identity,
    };
    launch(&input).unwrap()
}

#[test]
fn files_are_written_only_where_something_reads_them() {
    for (recipe, command, files) in [
        (Launch::Deepspeed, "python train.py", &[][..]),
        (Launch::Deepspeed, "deepspeed train.py", &["deepspeed.hosts"]),
        (Launch::Mpi, "./solve", &["openmpi.hosts", "mpich.hosts"]),
        (Launch::Ascend, "python train.py", &["rank_table.json"]),
        (Launch::Torchrun, "torchrun train.py", &[]),
        (Launch::Plain, "mpirun ./solve", &[]),
    ] {
        let names: Vec<&str> = launched(2, recipe, command).files.iter().map(|file| file.name).collect();
        assert_eq!(names, files, "{recipe} {command}");
    }
}

#[test]
fn a_launcher_of_one_rank_is_told_so_where_the_recipe_is_named() {
    for (recipe, command, argv) in [
        (Launch::Mpi, "mpirun ./solve", "mpirun -n 1 ./solve"),
        (Launch::Mpi, "./solve", "./solve"),
        (Launch::Horovod, "python train.py", "python train.py"),
        (Launch::Horovod, "horovodrun python train.py", "horovodrun --gloo -np 1 -H localhost:1 python train.py"),
        (Launch::Auto, "mpirun -n 4 ./solve", "mpirun -n 4 ./solve"),
        (Launch::Auto, "torchrun --nproc-per-node=2 train.py", "torchrun --nproc-per-node=2 train.py"),
    ] {
        let one = launched(1, recipe, command);
        assert_eq!(one.processes.len(), 1);
        assert_eq!(one.processes[0].argv.join(" "), argv, "{recipe}");
    }
}

#[test]
fn only_a_ray_cluster_ends_with_its_head() {
    for recipe in frameworks::recipes() {
        let gang = launched(2, recipe.launch, "python train.py");
        assert_eq!(gang.ends_with_first, recipe.launch == Launch::Ray, "{}", recipe.name);
        let expected = if matches!(recipe.launch, Launch::Mpi | Launch::Horovod) { 1 } else { 2 };
        assert_eq!(gang.processes.len(), expected, "{}", recipe.name);
    }
}
