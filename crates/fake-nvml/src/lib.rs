//! A stand-in for NVIDIA's management library, for tests.
//!
//! Built as a shared library it goes through the real loading path: opened at run time, its functions looked up by name and
//! called with the signatures of NVIDIA's `nvml.h`. What it answers stands in a JSON file ([`Script`]) that the environment
//! variable [`SCRIPT_VARIABLE`] names: any number of cards with NVLinks, MIG slices and memory errors, calls that hang,
//! crash, fail or give garbage. Nothing that is shipped depends on it.
#![allow(unsafe_code)]

mod script;

pub use script::{Act, Fabric, Gpu, Mig, Nvlink, Script};

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// Names the script.
pub const SCRIPT_VARIABLE: &str = "ASHLAR_FAKE_NVML";

/// Where the shared library lies for a test of this workspace: cargo puts it beside the test program.
pub fn library_path() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let folders = program.ancestors().skip(1).take(3);
    let files = folders.flat_map(|folder| [folder.join("libfake_nvml.so"), folder.join("deps/libfake_nvml.so")]);
    files.into_iter().find(|file| file.is_file()).unwrap_or_else(|| "libfake_nvml.so".into())
}

const SUCCESS: u32 = 0;
const INVALID_ARGUMENT: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const NOT_FOUND: u32 = 6;
const INSUFFICIENT_SIZE: u32 = 7;
const VERSION_MISMATCH: u32 = 25;

/// `nvmlGpuFabricInfo_v3_t` and `nvmlGpuFabricInfo_t` of nvml.h.
#[repr(C)]
pub struct FabricV3 {
    version: u32,
    cluster: [u8; 16],
    status: u32,
    clique: u32,
    state: u8,
    mask: u32,
    health: u8,
}

#[repr(C)]
pub struct FabricV1 {
    cluster: [u8; 16],
    status: u32,
    clique: u32,
    state: u8,
}

type Handle = *mut c_void;

fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let path = std::env::var_os(SCRIPT_VARIABLE).unwrap_or_default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    })
}

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
}

/// Does what the script says; `None`: go on and answer.
fn act(act: Act) -> Option<u32> {
    match act {
        Act::Answer | Act::Garbage => None,
        Act::Error(code) => Some(code),
        Act::Hang => {
            for number in 1..32 {
                // SAFETY: 1 is SIG_IGN; numbers that cannot be ignored are refused.
                unsafe { signal(number, 1) };
            }
            loop {
                std::thread::park();
            }
        }
        Act::Crash => {
            // SAFETY: none: it is to crash.
            unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
            Some(SUCCESS)
        }
        Act::Shout => loop {
            print!("{}", "#".repeat(8192));
        },
    }
}

/// Handles are numbers: cards from 1, slices of card `c` from `1000 * c + 1`.
fn card(handle: Handle) -> Option<&'static Gpu> {
    let number = handle as usize;
    let number = if number > 1000 { number / 1000 } else { number };
    script().gpus.get(number.checked_sub(1)?)
}

fn slice(handle: Handle) -> Option<&'static Mig> {
    let number = handle as usize;
    card(handle)?.mig.as_ref()?.get((number % 1000).checked_sub(1).filter(|_| number > 1000)?)
}

/// Puts a value where the caller wants it.
unsafe fn give<T>(place: *mut T, value: T) -> u32 {
    // SAFETY: the caller of the C function promises a place for the value.
    unsafe { place.write(value) };
    SUCCESS
}

/// Text as C wants it; garbage is bytes without an end, but within the length.
unsafe fn give_text(place: *mut c_char, length: usize, text: &str, garbage: bool) -> u32 {
    let bytes: Vec<u8> = if garbage { vec![0xfe; length.saturating_sub(1)] } else { text.bytes().take(length.saturating_sub(1)).collect() };
    // SAFETY: as above; one byte is left for the end.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), place, bytes.len());
        place.add(bytes.len()).write(0);
    }
    SUCCESS
}

macro_rules! export {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $body:block)*) => {$(
        /// See NVIDIA's NVML API reference.
        ///
        /// # Safety
        /// As there: every pointer leads to a place for the answer.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> u32 {
            // SAFETY: the caller's promise.
            #[allow(unused_unsafe)]
            unsafe { $body }
        }
    )*};
}

/// A number of a card.
macro_rules! numbers {
    ($($name:ident: $kind:ty = |$gpu:ident| $value:expr;)*) => {export! {$(
        fn $name(device: Handle, place: *mut $kind) {
            match card(device) {
                Some($gpu) => give(place, $value),
                None => INVALID_ARGUMENT,
            }
        }
    )*}};
}

fn odd(gpu: &Gpu) -> bool {
    gpu.sensor == Act::Garbage
}

numbers! {
    nvmlDeviceGetMinorNumber: c_uint = |gpu| gpu.minor;
    nvmlDeviceGetPowerUsage: c_uint = |gpu| if odd(gpu) { u32::MAX } else { gpu.power_mw };
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |gpu| gpu.power_limit_mw;
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |gpu| gpu.throttle;
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |gpu| gpu.link.0;
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |gpu| gpu.link.1;
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = |gpu| gpu.link.2;
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = |gpu| gpu.link.3;
    nvmlDeviceGetPcieReplayCounter: c_uint = |_gpu| 0;
    nvmlDeviceGetMaxMigDeviceCount: c_uint = |gpu| gpu.mig.as_ref().map_or(0, |_| 7);
}

/// `nvmlPciInfo_t`.
#[repr(C)]
pub struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [c_char; 32],
}

fn pci_info(address: &str) -> PciInfo {
    let mut info =
        PciInfo { bus_id_legacy: [0; 16], domain: 0, bus: 0, device: 0, pci_device_id: 0x2330_10de, pci_subsystem_id: 0, bus_id: [0; 32] };
    for (place, byte) in info.bus_id.iter_mut().take(31).zip(address.bytes()) {
        *place = byte as c_char;
    }
    info
}

/// `nvmlMemory_t`.
#[repr(C)]
pub struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
pub struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

fn memory_of(device: Handle) -> Option<(u64, u64)> {
    match slice(device) {
        Some(slice) => Some((slice.memory_mb << 20, 0)),
        None => card(device).map(|gpu| (gpu.memory, if odd(gpu) { u64::MAX } else { gpu.used })),
    }
}

/// `nvmlProcessInfo_t`.
#[repr(C)]
pub struct ProcessInfo {
    pid: c_uint,
    memory: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// Processes with their memory, as they stand in the card's file now.
fn processes(gpu: &Gpu) -> Vec<(u32, u64)> {
    let text = std::fs::read_to_string(&gpu.processes).unwrap_or_default();
    let numbers = |line: &str| line.split_once(' ').and_then(|(pid, bytes)| Some((pid.parse().ok()?, bytes.trim().parse().ok()?)));
    text.lines().filter_map(numbers).collect()
}

/// `nvmlDeviceAttributes_t`.
#[repr(C)]
pub struct Attributes {
    multiprocessors: c_uint,
    engines: [c_uint; 5],
    gpu_slices: c_uint,
    compute_slices: c_uint,
    memory_mb: c_ulonglong,
}

export! {
    fn nvmlInit_v2() {
        act(script().init).unwrap_or(SUCCESS)
    }
    fn nvmlShutdown() {
        SUCCESS
    }
    fn nvmlSystemGetDriverVersion(place: *mut c_char, length: c_uint) {
        give_text(place, length as usize, &script().driver, false)
    }
    fn nvmlDeviceGetCount_v2(place: *mut c_uint) {
        give(place, script().gpus.len() as c_uint)
    }
    fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, place: *mut Handle) {
        match script().gpus.get(index as usize) {
            None => INVALID_ARGUMENT,
            Some(gpu) => match act(gpu.handle) {
                Some(code) => code,
                None => give(place, std::ptr::without_provenance_mut(index as usize + 1)),
            },
        }
    }
    fn nvmlDeviceGetPciInfo_v3(device: Handle, place: *mut PciInfo) {
        match card(device) {
            Some(gpu) => give(place, pci_info(&gpu.pci)),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetUUID(device: Handle, place: *mut c_char, length: c_uint) {
        match (slice(device), card(device)) {
            (Some(slice), _) => give_text(place, length as usize, &slice.uuid, false),
            (None, Some(gpu)) => give_text(place, length as usize, &gpu.uuid, false),
            _ => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetName(device: Handle, place: *mut c_char, length: c_uint) {
        match card(device) {
            Some(gpu) => give_text(place, length as usize, &gpu.name, odd(gpu)),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetMemoryInfo(device: Handle, place: *mut Memory) {
        match memory_of(device) {
            Some((total, used)) => give(place, Memory { total, used, free: total.saturating_sub(used) }),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetMemoryInfo_v2(device: Handle, place: *mut MemoryV2) {
        match memory_of(device) {
            Some((total, used)) => {
                let version = (*place).version;
                give(place, MemoryV2 { version, total, used, reserved: 0, free: total.saturating_sub(used) })
            }
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetCudaComputeCapability(device: Handle, major: *mut c_int, minor: *mut c_int) {
        match card(device) {
            Some(gpu) => {
                give(major, gpu.capability.0);
                give(minor, gpu.capability.1)
            }
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetTemperature(device: Handle, _sensor: c_uint, place: *mut c_uint) {
        match card(device) {
            Some(gpu) => match act(gpu.sensor) {
                Some(code) => code,
                None => give(place, if odd(gpu) { 4_000_000 } else { gpu.temperature }),
            },
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetClockInfo(device: Handle, kind: c_uint, place: *mut c_uint) {
        match card(device) {
            Some(gpu) => give(place, if kind == 2 { gpu.memory_clock } else { gpu.clock }),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetUtilizationRates(device: Handle, place: *mut [c_uint; 2]) {
        match card(device) {
            Some(gpu) if odd(gpu) => give(place, [900, 900]),
            Some(gpu) => give(place, [gpu.busy, gpu.memory_busy]),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetTotalEccErrors(device: Handle, kind: c_uint, _counter: c_uint, place: *mut c_ulonglong) {
        match card(device) {
            Some(gpu) => give(place, if kind == 0 { gpu.ecc.0 } else { gpu.ecc.1 }),
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetRemappedRows(device: Handle, a: *mut c_uint, b: *mut c_uint, pending: *mut c_uint, failed: *mut c_uint) {
        match card(device) {
            Some(gpu) => {
                give(a, gpu.remap.0);
                give(b, gpu.remap.1);
                give(pending, gpu.remap.2);
                give(failed, gpu.remap.3)
            }
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetMigMode(device: Handle, current: *mut c_uint, pending: *mut c_uint) {
        match card(device) {
            Some(gpu) => {
                give(current, u32::from(gpu.mig.is_some()));
                give(pending, u32::from(gpu.mig.is_some()))
            }
            None => INVALID_ARGUMENT,
        }
    }
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: c_uint, place: *mut Handle) {
        match card(device).and_then(|gpu| gpu.mig.as_ref()) {
            Some(slices) if (index as usize) < slices.len() => {
                give(place, std::ptr::without_provenance_mut(device as usize * 1000 + index as usize + 1))
            }
            _ => NOT_FOUND,
        }
    }
    fn nvmlDeviceGetGpuInstanceId(device: Handle, place: *mut c_uint) {
        slice(device).map_or(NOT_FOUND, |slice| give(place, slice.gpu_instance))
    }
    fn nvmlDeviceGetComputeInstanceId(device: Handle, place: *mut c_uint) {
        slice(device).map_or(NOT_FOUND, |slice| give(place, slice.compute_instance))
    }
    fn nvmlDeviceGetAttributes_v2(device: Handle, place: *mut Attributes) {
        slice(device).map_or(NOT_FOUND, |slice| {
            let (gpu_slices, memory_mb) = (slice.sevenths, slice.memory_mb);
            give(place, Attributes { multiprocessors: 16, engines: [0; 5], gpu_slices, compute_slices: gpu_slices, memory_mb })
        })
    }
    fn nvmlDeviceGetComputeRunningProcesses_v3(device: Handle, count: *mut c_uint, place: *mut ProcessInfo) {
        let Some(gpu) = card(device) else { return INVALID_ARGUMENT };
        let all = processes(gpu);
        let room = *count as usize;
        give(count, all.len() as c_uint);
        if room < all.len() {
            return INSUFFICIENT_SIZE;
        }
        for (index, (pid, memory)) in all.into_iter().enumerate() {
            give(place.add(index), ProcessInfo { pid, memory, gpu_instance: u32::MAX, compute_instance: u32::MAX });
        }
        SUCCESS
    }
    fn nvmlDeviceGetGpuFabricInfoV(device: Handle, place: *mut FabricV3) {
        match card(device).and_then(|gpu| gpu.fabric.as_ref()) {
            Some(fabric) if !fabric.old => {
                let version = place.cast::<u32>().read();
                if version != size_of::<FabricV3>() as u32 | 3 << 24 {
                    return VERSION_MISMATCH;
                }
                let Fabric { cluster, clique, state, status, health, .. } = fabric.clone();
                give(place, FabricV3 { version, cluster, status, clique, state, mask: 0, health })
            }
            _ => NOT_SUPPORTED,
        }
    }
    fn nvmlDeviceGetGpuFabricInfo(device: Handle, place: *mut FabricV1) {
        match card(device).and_then(|gpu| gpu.fabric.as_ref()) {
            Some(fabric) => {
                let Fabric { cluster, clique, state, status, .. } = fabric.clone();
                give(place, FabricV1 { cluster, status, clique, state })
            }
            None => NOT_SUPPORTED,
        }
    }
    fn nvmlDeviceGetNvLinkState(device: Handle, link: c_uint, place: *mut c_uint) {
        match card(device).and_then(|gpu| gpu.nvlinks.get(link as usize)) {
            Some(link) => give(place, u32::from(link.up)),
            None => NOT_SUPPORTED,
        }
    }
    fn nvmlDeviceGetNvLinkRemotePciInfo_v2(device: Handle, link: c_uint, place: *mut PciInfo) {
        match card(device).and_then(|gpu| gpu.nvlinks.get(link as usize)) {
            Some(link) => give(place, pci_info(&link.to)),
            None => NOT_SUPPORTED,
        }
    }
}
