//! What the stand-in plays: a JSON file.

use serde::{Deserialize, Serialize};

/// A machine with NVIDIA cards as its library would tell of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    pub driver: String,
    pub gpus: Vec<Gpu>,
    /// What opening the library does.
    pub init: Act,
}

/// What a call does instead of answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    #[default]
    Answer,
    /// Never comes back, and ignores every signal that can be ignored.
    Hang,
    /// Writes to address zero.
    Crash,
    /// Returns this `nvmlReturn_t`: 15 is a lost card, 9 a missing driver, 18 a driver of another version.
    Error(u32),
    /// Fills what it should answer with bytes that cannot be.
    Garbage,
    /// Prints without end.
    Shout,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpu {
    pub pci: String,
    pub uuid: String,
    pub name: String,
    pub minor: u32,
    pub capability: (i32, i32),
    pub memory: u64,
    pub used: u64,
    pub temperature: u32,
    pub power_mw: u32,
    pub power_limit_mw: u32,
    pub clock: u32,
    pub memory_clock: u32,
    pub busy: u32,
    pub memory_busy: u32,
    /// Corrected, uncorrected.
    pub ecc: (u64, u64),
    /// Bits of `nvmlClocksThrottleReasons`.
    pub throttle: u64,
    /// Generation, width, and the most of both.
    pub link: (u32, u32, u32, u32),
    /// Corrected, uncorrected, pending, failed.
    pub remap: (u32, u32, u32, u32),
    pub mig: Option<Vec<Mig>>,
    pub nvlinks: Vec<Nvlink>,
    pub fabric: Option<Fabric>,
    /// A file that is read at each question: a process and its bytes of device memory on a line.
    pub processes: String,
    /// Asking for this card's handle, or for its temperature.
    pub handle: Act,
    pub sensor: Act,
}

impl Default for Gpu {
    fn default() -> Gpu {
        Gpu {
            pci: "00000000:18:00.0".into(),
            uuid: "GPU-00000000-0000-0000-0000-000000000000".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            minor: 0,
            capability: (9, 0),
            memory: 85_520_809_984,
            used: 1 << 30,
            temperature: 41,
            power_mw: 118_000,
            power_limit_mw: 700_000,
            clock: 1980,
            memory_clock: 2619,
            busy: 12,
            memory_busy: 3,
            ecc: (0, 0),
            throttle: 0,
            link: (5, 16, 5, 16),
            remap: (0, 0, 0, 0),
            mig: None,
            nvlinks: vec![],
            fabric: None,
            processes: String::new(),
            handle: Act::Answer,
            sensor: Act::Answer,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mig {
    pub uuid: String,
    pub gpu_instance: u32,
    pub compute_instance: u32,
    pub memory_mb: u64,
    pub sevenths: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nvlink {
    pub up: bool,
    pub to: String,
}

/// What the fabric manager did with the card.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fabric {
    pub cluster: [u8; 16],
    pub clique: u32,
    pub state: u8,
    pub status: u32,
    pub health: u8,
    /// A driver that knows only the structure without a version.
    pub old: bool,
}

impl Script {
    /// Cards of an HGX board: four NVLinks from each to a switch and one to its neighbour.
    pub fn board(cards: u32) -> Script {
        let address = |index: u32| format!("00000000:{:02X}:00.0", 0x18 + index);
        let gpu = |index: u32| Gpu {
            pci: address(index),
            uuid: format!("GPU-{index:08x}-1111-2222-3333-444444444444"),
            minor: index,
            nvlinks: (0..4)
                .map(|_| Nvlink { up: true, to: "00000000:C0:00.0".into() })
                .chain([Nvlink { up: true, to: address(index ^ 1) }])
                .collect(),
            ..Gpu::default()
        };
        Script { driver: "570.86.15".into(), gpus: (0..cards).map(gpu).collect(), init: Act::Answer }
    }
}
