use super::*;
use std::fs;
use std::time::Duration;

struct Card(tempfile::TempDir);

impl Card {
    fn new(maker: u16, device: u16, class: u32) -> Card {
        let card = Card(tempfile::tempdir().unwrap());
        card.write("vendor", format!("0x{maker:04x}")).write("device", format!("0x{device:04x}")).write("class", format!("0x{class:04x}00"))
    }

    fn write(self, file: &str, text: impl AsRef<[u8]>) -> Card {
        let at = match file.strip_prefix('/') {
            Some(path) => self.0.path().join(path),
            None => self.0.path().join("sys/bus/pci/devices/0000:03:00.0").join(file),
        };
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
        self
    }

    fn sampler(&self) -> Sampler {
        let device = Device { id: DeviceId("card".into()), pci: "0000:03:00.0".parse().ok(), ..Device::default() };
        Sampler::new(&Root::at(self.0.path()), &[device])
    }

    fn once(&self) -> Telemetry {
        self.sampler().sample(Instant::now()).remove(0).telemetry
    }
}

/// A card of each vendor whose driver keeps files. Written by hand from the drivers' documentation.
#[test]
fn every_driver_with_files_is_read() {
    let amd = Card::new(0x1002, 0x744c, 0x0300)
        .write("gpu_busy_percent", "99\n")
        .write("mem_info_vram_used", "1073741824\n")
        .write("mem_info_vram_total", "25753026560\n")
        .write("hwmon/hwmon3/temp1_input", "51000\n")
        .write("hwmon/hwmon3/temp2_input", "68000\n")
        .write("hwmon/hwmon3/temp3_input", "74000\n")
        .write("hwmon/hwmon3/power1_average", "301000000\n")
        .write("hwmon/hwmon3/power1_cap", "327000000\n")
        .write("hwmon/hwmon3/freq1_input", "2304000000\n")
        .write("ras/umc_err_count", "ue: 1\nce: 17\n")
        .write("current_link_speed", "16.0 GT/s PCIe\n")
        .write("current_link_width", "8\n")
        .write("max_link_speed", "16.0 GT/s PCIe\n")
        .write("max_link_width", "16\n")
        .once();
    assert_eq!((amd.temperature_c, amd.memory_temperature_c, amd.busy_percent), (Some(68), Some(74), Some(99)));
    assert_eq!((amd.power_mw, amd.power_limit_mw, amd.clock_mhz), (Some(301_000), Some(327_000), Some(2304)));
    assert_eq!((amd.memory_used, amd.ecc_uncorrected, amd.ecc_corrected), (Some(Bytes::gib(1)), Some(1), Some(17)));
    assert!(amd.link.unwrap().is_narrow());

    let gaudi = Card::new(0x1da3, 0x1020, 0x1200)
        .write("status", "Malfunction\n")
        .write("clk_cur_freq_mhz", "1650\n")
        .write("max_power", "600000\n")
        .once();
    assert_eq!((gaudi.clock_mhz, gaudi.power_limit_mw), (Some(1650), Some(600_000)));
    assert_eq!(gaudi.complaints, ["the driver calls it \"Malfunction\""]);

    let coral = Card::new(0x1ac1, 0x089a, 0x0880).write("apex/apex_0/temp", "48800\n").write("apex/apex_0/status", "ALIVE\n").once();
    assert_eq!((coral.temperature_c, coral.complaints.len()), (Some(48), 0));

    let wormhole = Card::new(0x1e52, 0x401e, 0x1200)
        .write("tenstorrent/tenstorrent!0/tt_aiclk", "1000\n")
        .write("hwmon/hwmon1/temp1_input", "44250\n")
        .write("hwmon/hwmon1/power1_input", "31000000\n")
        .once();
    assert_eq!((wormhole.clock_mhz, wormhole.temperature_c, wormhole.power_mw), (Some(1000), Some(44), Some(31_000)));

    let neuron = Card::new(0x1d0f, 0x7164, 0x0880)
        .write("/sys/devices/virtual/neuron_device/neuron0/stats/hardware/mem_ecc_uncorrected", "2\n")
        .once();
    assert_eq!(neuron.ecc_uncorrected, Some(2));

    let vector = Card::new(0x1bcf, 0x001c, 0x0b40).write("ve/ve0/clock_chip", "1400\n").once();
    assert_eq!(vector.clock_mhz, Some(1400));
}

#[test]
fn counters_become_rates_between_two_looks() {
    let card =
        Card::new(0x8086, 0x56c0, 0x0380).write("hwmon/hwmon2/energy1_input", "1000000000\n").write("tile0/gt0/freq0/act_freq", "2050\n");
    let mut sampler = card.sampler();
    let begin = Instant::now();
    let first = sampler.sample(begin).remove(0).telemetry;
    assert_eq!((first.power_mw, first.clock_mhz), (None, Some(2050)));
    let card = card.write("hwmon/hwmon2/energy1_input", "1300000000\n");
    assert_eq!(sampler.sample(begin + Duration::from_secs(2)).remove(0).telemetry.power_mw, Some(150_000));
    // The driver was loaded anew: the counter begins again.
    let _card = card.write("hwmon/hwmon2/energy1_input", "5\n");
    assert_eq!(sampler.sample(begin + Duration::from_secs(3)).remove(0).telemetry.power_mw, None);

    let npu = Card::new(0x8086, 0x643e, 0x1200).write("npu_busy_time_us", "5000000\n");
    let mut sampler = npu.sampler();
    sampler.sample(begin);
    let _npu = npu.write("npu_busy_time_us", "5250000\n");
    assert_eq!(sampler.sample(begin + Duration::from_secs(1)).remove(0).telemetry.busy_percent, Some(25));
}

#[test]
fn a_driver_that_lies_is_caught_and_other_files_still_count() {
    let lies = Card::new(0x1002, 0x744c, 0x0300)
        .write("gpu_busy_percent", "1048560\n")
        .write("mem_busy_percent", "-3\n")
        .write("hwmon/hwmon3/temp2_input", "\u{0}\u{1}hot")
        .write("hwmon/hwmon3/temp1_input", "40000")
        .write("gpu_metrics", [0xff; 3])
        .once();
    assert_eq!((lies.busy_percent, lies.memory_busy_percent, lies.temperature_c), (None, None, Some(40)));
    assert_eq!(lies.complaints.len(), 2, "{:?}", lies.complaints);
    let stranger = Card::new(0xbeef, 1, 0x1200).write("hwmon/hwmon0/temp1_input", "30000").once();
    assert_eq!(stranger.temperature_c, Some(30), "hwmon is read for cards of any maker");
}
