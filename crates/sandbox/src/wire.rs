//! Messages between the supervisor and the init of a run, on one sequenced-packet socket.
//!
//! A packet is a kind byte, the rank (4 bytes), a number (4 bytes) and text. The kernel stamps each packet with
//! the pid of its sender as the supervisor sees it, which is how the pids of ranks inside a pid namespace are
//! learnt without a look at `/proc`.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// From init, or from a rank that is about to execute its program ([`Up::Hello`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    /// Sent by the rank's own process, for its pid.
    Hello {
        rank: u32,
    },
    Running {
        rank: u32,
    },
    Exited {
        rank: u32,
        code: i32,
    },
    Signalled {
        rank: u32,
        signal: i32,
    },
    StartFailed {
        rank: u32,
        message: String,
        /// What the job names is not there, so another try would fail as well.
        missing: bool,
    },
    AllDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// A signal to the main process of every living rank, or to its whole process group.
    Signal { number: i32, groups: bool },
    /// The end of everything.
    Kill,
}

/// Longer messages are cut: a path can be 4096 bytes long.
const LONGEST: usize = 8192;

/// A connected pair, supervisor's end first.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

impl Up {
    fn encode(&self) -> Vec<u8> {
        let (kind, rank, number, text) = match self {
            Up::Hello { rank } => (0u8, *rank, 0, ""),
            Up::Running { rank } => (1, *rank, 0, ""),
            Up::Exited { rank, code } => (2, *rank, *code, ""),
            Up::Signalled { rank, signal } => (3, *rank, *signal, ""),
            Up::StartFailed { rank, message, missing } => (4, *rank, i32::from(*missing), message.as_str()),
            Up::AllDone => (5, 0, 0, ""),
        };
        let text = &text.as_bytes()[..text.len().min(LONGEST - 9)];
        [&[kind][..], &rank.to_le_bytes(), &number.to_le_bytes(), text].concat()
    }

    fn decode(packet: &[u8]) -> Option<Up> {
        let (kind, rest) = packet.split_first()?;
        let (rank, rest) = rest.split_first_chunk()?;
        let (number, text) = rest.split_first_chunk()?;
        let (rank, number) = (u32::from_le_bytes(*rank), i32::from_le_bytes(*number));
        Some(match kind {
            0 => Up::Hello { rank },
            1 => Up::Running { rank },
            2 => Up::Exited { rank, code: number },
            3 => Up::Signalled { rank, signal: number },
            4 => Up::StartFailed { rank, message: String::from_utf8_lossy(text).into_owned(), missing: number != 0 },
            5 => Up::AllDone,
            _ => return None,
        })
    }

    /// Failure means that the supervisor is gone, which the loop notices by itself.
    pub fn send(&self, socket: impl AsFd) {
        let _ = rustix::net::send(socket, &self.encode(), SendFlags::NOSIGNAL);
    }
}

/// What came up the socket.
pub(crate) enum Received {
    Message(Up, i32),
    Nothing,
    /// Init is gone.
    Closed,
}

/// One packet with the pid of its sender, without waiting.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut packet = [0u8; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut packet)], &mut control, flags) {
            Ok(received) => received,
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::AGAIN) => return Ok(Received::Nothing),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };
        if received.bytes == 0 {
            return Ok(Received::Closed);
        }
        let pid = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid.as_raw_nonzero().get()),
            _ => None,
        });
        let whole = !received.flags.contains(ReturnFlags::TRUNC);
        // A packet that cannot be read is from no process of ours; it is skipped.
        if let (true, Some(message)) = (whole, Up::decode(&packet[..received.bytes])) {
            return Ok(Received::Message(message, pid.unwrap_or(0)));
        }
    }
}

impl Down {
    pub fn send(self, socket: impl AsFd) -> io::Result<()> {
        let packet = match self {
            Down::Signal { number, groups } => [if groups { 3 } else { 1 }, number as u8],
            Down::Kill => [2, 0],
        };
        rustix::net::send(socket, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// `Ok(None)`: nothing there. `Err`: the supervisor is gone.
    pub fn receive(socket: impl AsFd) -> Result<Option<Down>, ()> {
        let mut packet = [0u8; 2];
        match rustix::net::recv(socket, &mut packet, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(()),
            Ok(_) if matches!(packet[0], 1 | 3) => Ok(Some(Down::Signal { number: i32::from(packet[1]), groups: packet[0] == 3 })),
            Ok(_) if packet[0] == 2 => Ok(Some(Down::Kill)),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_the_socket_and_carry_their_sender() {
        let (ours, theirs) = pair().unwrap();
        let messages = [
            Up::Hello { rank: 1 },
            Up::Running { rank: 70_000 },
            Up::Exited { rank: 0, code: -3 },
            Up::Signalled { rank: 2, signal: 9 },
            Up::StartFailed { rank: 3, message: "niño".into(), missing: true },
            Up::AllDone,
        ];
        for message in &messages {
            message.send(&theirs);
            let Ok(Received::Message(read, pid)) = receive(&ours) else { panic!("{message:?}") };
            assert_eq!((&read, pid), (message, std::process::id() as i32));
        }
        Up::StartFailed { rank: 0, message: "x".repeat(100_000), missing: false }.send(&theirs);
        assert!(matches!(receive(&ours), Ok(Received::Message(Up::StartFailed { .. }, _))));
        assert!(matches!(receive(&ours), Ok(Received::Nothing)));
        let orders = [Down::Signal { number: 15, groups: false }, Down::Signal { number: 10, groups: true }, Down::Kill];
        for order in orders {
            order.send(&ours).unwrap();
            assert_eq!(Down::receive(&theirs), Ok(Some(order)));
        }
        assert_eq!(Down::receive(&theirs), Ok(None));
        drop(ours);
        assert_eq!(Down::receive(&theirs), Err(()));
    }

    #[test]
    fn damaged_packets_are_no_messages() {
        for packet in [&[][..], &[1], &[9, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Up::decode(packet), None);
        }
    }
}
