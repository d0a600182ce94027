//! One binary for everything that looks at the project from outside: its structure, its command line, and the
//! whole road on the real kernel.

mod access;
mod bench_node;
mod command_line;
mod crash;
mod device_table;
mod devices;
mod doctor;
mod edges;
mod elastic;
mod environments;
mod following;
mod gangs;
mod launch_explain;
mod machine_picture;
mod npus;
mod other_kernel;
mod refusals;
mod road;
mod shares;
mod simulate;
mod slurm;
mod tidy;
mod tune;
mod withstand;
