//! The child: asks NVIDIA's library and writes what it says, line by line, so that it shows where it stops.
//!
//! Nothing here is called in a process that has other work. A request is a line on standard input: `full` or `light`, then
//! the indexes of cards to leave out. Names and units are those of NVIDIA's NVML API reference.
#![allow(unsafe_code)]

use super::reply::{Fabric, Failed, Gpu, Line, MigSlice, Nvlink, Remap};
use machine::telemetry::PcieLink;
use machine::{Bytes, ProcessMemory, Telemetry};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, Nvml};
use std::ffi::OsStr;
use std::io::{BufRead, Write};

/// Names a file to open instead of `libnvidia-ml.so.1`, for drivers in unusual places.
pub const LIBRARY_VARIABLE: &str = "ASHLAR_NVML_LIBRARY";

/// The most links that a card has: NVLink 5 has 18.
const MOST_LINKS: u32 = 18;

/// Answers requests until the input ends or nobody reads the output.
pub fn serve(library: Option<&OsStr>, input: impl BufRead, mut output: impl Write) {
    // The asker's death must not leave a process behind that waits in a driver.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut nvml = None;
    for request in input.lines() {
        let Ok(request) = request else { return };
        let mut words = request.split_whitespace();
        let full = words.next() == Some("full");
        let skip: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
        if nvml.is_none() {
            match open(library) {
                Ok(opened) => nvml = Some(opened),
                Err(error) => {
                    if say(&mut output, &Line::Failed(failed(&error))).and_then(|()| say(&mut output, &Line::Done)).is_err() {
                        return;
                    }
                    continue;
                }
            }
        }
        let Some(nvml) = &nvml else { continue };
        if sweep(nvml, full, &skip, &mut output).is_err() {
            return;
        }
    }
}

fn open(library: Option<&OsStr>) -> Result<Nvml, NvmlError> {
    match library {
        Some(path) => Nvml::builder().lib_path(path).init(),
        None => Nvml::init(),
    }
}

fn say(output: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    output.write_all(&text)?;
    output.flush()
}

fn failed(error: &NvmlError) -> Failed {
    let hint = match error {
        NvmlError::LibRmVersionMismatch => {
            Some("the driver was updated under the running one: restart the machine, or unload and load its modules")
        }
        NvmlError::DriverNotLoaded => Some("`modprobe nvidia`, then look at `dmesg`"),
        NvmlError::NoPermission | NvmlError::OperatingSystem => Some("this user or container may not open the nodes of the card"),
        NvmlError::GpuLost => Some("Xid 79 in `dmesg`: the card fell off the bus; a restart with power off usually brings it back"),
        NvmlError::ResetRequired => Some("`nvidia-smi --gpu-reset -i ID` once nothing uses it, or restart the machine"),
        NvmlError::InsufficientPower => Some("a power cable of the card is not plugged in"),
        NvmlError::IrqIssue => Some("the card's interrupts do not arrive: look at `dmesg` and at the firmware's settings"),
        NvmlError::CorruptedInfoROM => Some("the card's own store is damaged: have it replaced"),
        _ => None,
    };
    Failed {
        error: error.to_string(),
        no_library: matches!(error, NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound),
        hint: hint.map(str::to_owned),
    }
}

fn sweep(nvml: &Nvml, full: bool, skip: &[u32], output: &mut impl Write) -> std::io::Result<()> {
    say(output, &Line::Driver(nvml.sys_driver_version().unwrap_or_default()))?;
    // A count that cannot be is cut: the machine has at most this many functions that could be cards.
    let count = match nvml.device_count() {
        Ok(count) => count.min(1024),
        Err(error) => {
            say(output, &Line::Failed(failed(&error)))?;
            0
        }
    };
    for index in (0..count).filter(|index| !skip.contains(index)) {
        say(output, &Line::Asking(index))?;
        match nvml.device_by_index(index).and_then(|device| gpu(nvml, &device, index, full)) {
            Ok(gpu) => say(output, &Line::Gpu(Box::new(gpu)))?,
            Err(error) => say(output, &Line::Bad { index, failed: failed(&error) })?,
        }
    }
    say(output, &Line::Done)
}

fn gpu(nvml: &Nvml, device: &Device, index: u32, full: bool) -> Result<Gpu, NvmlError> {
    let mut gpu = Gpu { index, pci: device.pci_info()?.bus_id, telemetry: telemetry(device), ..Gpu::default() };
    // A lost card still has a handle; its temperature is what the driver has to ask it for.
    if let Err(NvmlError::GpuLost) = device.temperature(TemperatureSensor::Gpu) {
        return Err(NvmlError::GpuLost);
    }
    gpu.remap = remapped(nvml, device);
    gpu.fabric = fabric(nvml, device);
    if full {
        gpu.uuid = device.uuid().ok();
        gpu.name = device.name().ok();
        gpu.memory = device.memory_info().ok().map(|memory| memory.total);
        gpu.minor = device.minor_number().ok();
        gpu.capability = device.cuda_compute_capability().ok().map(|version| (version.major, version.minor));
        gpu.nvlinks = nvlinks(device);
        gpu.mig = device.mig_mode().is_ok_and(|mode| mode.current != 0);
        if gpu.mig {
            gpu.slices = slices(nvml, device);
        }
    }
    Ok(gpu)
}

fn telemetry(device: &Device) -> Telemetry {
    let memory = device.memory_info().ok();
    let load = device.utilization_rates().ok();
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).ok();
    let degrees = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    Telemetry {
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(degrees),
        power_mw: device.power_usage().ok().map(u64::from),
        power_limit_mw: device.enforced_power_limit().ok().map(u64::from),
        clock_mhz: device.clock_info(Clock::SM).ok(),
        memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
        busy_percent: load.as_ref().map(|load| load.gpu),
        memory_busy_percent: load.as_ref().map(|load| load.memory),
        memory_used: memory.as_ref().map(|memory| Bytes(memory.used)),
        memory_total: memory.as_ref().map(|memory| Bytes(memory.total)),
        ecc_corrected: errors(MemoryError::Corrected),
        ecc_uncorrected: errors(MemoryError::Uncorrected),
        link: link(device),
        pcie_replays: device.pcie_replay_counter().ok().map(u64::from),
        processes: processes(device),
        throttled: device.current_throttle_reasons().map(throttled).unwrap_or_default(),
        ..Telemetry::default()
    }
}

/// Of programs that compute, on a card that is not divided. Within a container without the machine's process numbers the driver tells none.
fn processes(device: &Device) -> Vec<ProcessMemory> {
    let memory = |process: ProcessInfo| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(ProcessMemory { pid: process.pid, memory: Bytes(bytes) }),
        UsedGpuMemory::Unavailable => None,
    };
    device.running_compute_processes().unwrap_or_default().into_iter().filter_map(memory).take(4096).collect()
}

fn link(device: &Device) -> Option<PcieLink> {
    // Generations 1 to 7, megatransfers a second on each lane.
    let speed = |generation: u32| [0, 2500, 5000, 8000, 16_000, 32_000, 64_000, 128_000].get(generation as usize).copied().unwrap_or(0);
    Some(PcieLink {
        speed_mt: speed(device.current_pcie_link_gen().ok()?),
        width: device.current_pcie_link_width().ok()?,
        max_speed_mt: speed(device.max_pcie_link_gen().ok()?),
        max_width: device.max_pcie_link_width().ok()?,
    })
}

/// Idleness and clocks that somebody set are no complaint.
fn throttled(reasons: ThrottleReasons) -> Vec<String> {
    let words = [
        (ThrottleReasons::SW_POWER_CAP, "power cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "software thermal slowdown"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hardware thermal slowdown"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
    ];
    words.iter().filter(|(flag, _)| reasons.contains(*flag)).map(|(_, word)| (*word).to_owned()).collect()
}

fn nvlinks(device: &Device) -> Vec<Nvlink> {
    let mut found = Vec::new();
    for number in 0..MOST_LINKS {
        let link = device.link_wrapper_for(number);
        // The first number that is not supported is one more than the card has.
        let Ok(up) = link.is_active() else { break };
        let to = if up { link.remote_pci_info().ok().map(|info| info.bus_id) } else { None };
        found.push(Nvlink { up, to });
    }
    found
}

fn slices(nvml: &Nvml, device: &Device) -> Vec<MigSlice> {
    let most = device.mig_device_count().unwrap_or(0).min(64);
    let slice = |number: u32| {
        let slice = device.mig_device_by_index(number).ok()?;
        let (sevenths, megabytes) = attributes(nvml, &slice)?;
        let memory = slice.memory_info().map_or(megabytes << 20, |memory| memory.total);
        Some(MigSlice {
            uuid: slice.uuid().ok()?,
            gpu_instance: gpu_instance(nvml, &slice)?,
            compute_instance: compute_instance(nvml, &slice)?,
            memory,
            sevenths,
        })
    };
    (0..most).filter_map(slice).collect()
}

// What nvml-wrapper does not wrap. Each call hands the library a handle that it gave itself and places for its answers that
// live on this stack until it returns.

fn gpu_instance(nvml: &Nvml, slice: &Device) -> Option<u32> {
    let call = nvml.lib().nvmlDeviceGetGpuInstanceId.as_ref().ok()?;
    let mut id = 0;
    // SAFETY: see above.
    let code = unsafe { call(slice.handle(), &mut id) };
    (code == 0).then_some(id)
}

fn compute_instance(nvml: &Nvml, slice: &Device) -> Option<u32> {
    let call = nvml.lib().nvmlDeviceGetComputeInstanceId.as_ref().ok()?;
    let mut id = 0;
    // SAFETY: see above.
    let code = unsafe { call(slice.handle(), &mut id) };
    (code == 0).then_some(id)
}

/// Sevenths of the card's compute units, and megabytes.
fn attributes(nvml: &Nvml, slice: &Device) -> Option<(u32, u64)> {
    let call = nvml.lib().nvmlDeviceGetAttributes_v2.as_ref().ok()?;
    // SAFETY: a structure of numbers, for which zero is a value; then see above.
    let (code, told) = unsafe {
        let mut told = std::mem::zeroed();
        (call(slice.handle(), &mut told), told)
    };
    (code == 0).then_some((told.gpuInstanceSliceCount, told.memorySizeMB))
}

fn remapped(nvml: &Nvml, device: &Device) -> Option<Remap> {
    let call = nvml.lib().nvmlDeviceGetRemappedRows.as_ref().ok()?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: see above.
    let code = unsafe { call(device.handle(), &mut corrected, &mut uncorrected, &mut pending, &mut failed) };
    (code == 0).then_some(Remap { corrected, uncorrected, pending: pending != 0, failed: failed != 0 })
}

/// Newer drivers answer with a structure that has a version in it, older ones of 12.x with one that has none.
fn fabric(nvml: &Nvml, device: &Device) -> Option<Fabric> {
    const VERSION: u32 = 3;
    if let Ok(call) = nvml.lib().nvmlDeviceGetGpuFabricInfoV.as_ref() {
        // SAFETY: a structure of numbers, for which zero is a value; then see above.
        let (code, told) = unsafe {
            let mut told = zero_for(call);
            // NVML_STRUCT_VERSION of nvml.h: the size, and the version in the highest byte.
            told.version = size_of_val(&told) as u32 | VERSION << 24;
            (call(device.handle(), &mut told), told)
        };
        if code == 0 {
            return Some(Fabric {
                cluster: told.clusterUuid,
                clique: told.cliqueId,
                state: told.state,
                status: told.status,
                health: told.healthSummary,
            });
        }
    }
    let call = nvml.lib().nvmlDeviceGetGpuFabricInfo.as_ref().ok()?;
    // SAFETY: as above.
    let (code, told) = unsafe {
        let mut told = zero_for(call);
        (call(device.handle(), &mut told), told)
    };
    (code == 0).then_some(Fabric { cluster: told.clusterUuid, clique: told.cliqueId, state: told.state, status: told.status, health: 0 })
}

/// An empty answer of the kind that a function fills.
///
/// # Safety
/// The kind is a structure of numbers, for which zero is a value.
unsafe fn zero_for<D, T>(_: &unsafe extern "C" fn(D, *mut T) -> u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { std::mem::zeroed() }
}
