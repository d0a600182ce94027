//! What ranks of the tests do.

use std::io::Write;

pub fn run(what: &[String]) -> ! {
    match what[0].as_str() {
        "syscalls" => syscalls(),
        "eat" => eat(what[1].parse().unwrap()),
        "fork-bomb" => fork_bomb(what[1].parse().unwrap()),
        "print" => print(what[1].parse().unwrap()),
        "device" => device(&what[1]),
        "pipe" => broken_pipe(),
        other => panic!("{other}"),
    }
    std::process::exit(0)
}

/// Prints each forbidden call with the error it gets.
fn syscalls() {
    let null = std::ptr::null::<libc::c_void>();
    let calls: [(&str, libc::c_long, [usize; 3]); 9] = [
        ("mount", libc::SYS_mount, [0, 0, 0]),
        ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, null as usize, 0]),
        ("clone", libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
        ("getppid", libc::SYS_getppid, [0, 0, 0]),
    ];
    for (name, number, [a, b, c]) in calls {
        let result = unsafe { libc::syscall(number, a, b, c, 0, 0) };
        let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        println!("{name} {}", if result < 0 { error } else { 0 });
    }
}

/// Touches memory until there is no more.
fn eat(mebibytes: usize) {
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        held.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&held);
    }
    println!("ate everything");
}

/// Children that ignore every signal they can and have left their session.
fn fork_bomb(count: usize) {
    let mut made = 0;
    for _ in 0..count {
        match unsafe { libc::fork() } {
            0 => unsafe {
                for signal in 1..32 {
                    libc::signal(signal, libc::SIG_IGN);
                }
                libc::setsid();
                loop {
                    libc::pause();
                }
            },
            pid if pid > 0 => made += 1,
            _ => break,
        }
    }
    println!("made {made}");
    std::io::stdout().flush().unwrap();
    loop {
        unsafe { libc::pause() };
    }
}

/// Much output, binary, in long lines.
fn print(mebibytes: usize) {
    let block: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
    let mut out = std::io::stdout().lock();
    for _ in 0..mebibytes {
        out.write_all(&block).unwrap();
    }
}

fn device(path: &str) {
    match std::fs::OpenOptions::new().read(true).open(path) {
        Ok(_) => println!("open"),
        Err(error) => println!("{}", error.raw_os_error().unwrap_or(0)),
    }
}

/// Programs rely on SIGPIPE's default action; a Rust parent would hand down "ignored".
fn broken_pipe() {
    let action = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &mut blocked) };
    let any = (1..32).any(|signal| unsafe { libc::sigismember(&blocked, signal) } == 1);
    println!("pipe {} blocked {any}", if action == libc::SIG_IGN { "ignored" } else { "default" });
}
