use super::*;
use proptest::prelude::*;

/// Made once: it holds compiled patterns.
fn redactor() -> &'static Redactor {
    static ONE: LazyLock<Redactor> = LazyLock::new(made);
    &ONE
}

fn made() -> Redactor {
    let mut redactor = Redactor::new([3; 32]);
    redactor.learn_serial("S3Z8NB0K123456A");
    redactor.learn_name("host", "gpu-box-7.example.com");
    redactor.learn_name("user", "jane");
    redactor.learn_name("user", "nvidia");
    redactor.finish();
    redactor
}

#[test]
fn every_kind_of_name_goes_and_keeps_its_shape() {
    let redactor = redactor();
    for text in [
        "GPU-5269b708-678a-b1a8-60f0-c90406537486",
        "94:6d:ae:11:22:33",
        "00:00:10:29:fe:80:00:00:00:00:00:00:94:6d:ae:03:00:11:22:33",
        "f01c:bc01:03dd:6838",
        "fe80:0000:0000:0000:f01c:bc01:03dd:6838",
        "0000:0000:0000:0000:0000:ffff:0a01:0203",
        "94-6d-ae-ff-ff-12-34-56",
        "enx946dae112233",
        "eui.0025385b01414dfd",
        "guid=\"0xf01cbc0103dd6838\"",
        "S3Z8NB0K123456A",
    ] {
        for kind in [Text::Kernel, Text::Prose] {
            let done = redactor.text(text, kind);
            assert_ne!(done, text);
            let shape = |text: &str| text.chars().map(|c| if c.is_alphanumeric() { 'x' } else { c }).collect::<String>();
            assert_eq!(shape(&done), shape(text), "{text} {done}");
            assert_eq!(redactor.text(text, kind), done, "the same twice");
        }
    }
}

#[test]
fn what_names_nobody_stays() {
    let redactor = redactor();
    for text in [
        "0000:3b:00.0",
        "10000:e1:00.0",
        "pci0000:00/0000:00:01.0",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "0000:0000:0000:0000:0000:0000:0000:0000",
        "00000000-0000-0000-0000-000000000000",
        "00000001,0000000f",
        "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00",
        "user@1000.service",
        "pcie@1c00000",
        "570.124.06",
        "16.0 GT/s PCIe",
        "nvidia 56807424 0 - Live",
        "127.0.0.1",
        "Serial Number: N/A",
        "Serial Number: Not Specified",
        "12:34:56",
    ] {
        assert_eq!(redactor.text(text, Text::Kernel), text);
        assert_eq!(redactor.text(text, Text::Prose), text);
    }
}

#[test]
fn prose_has_more_names_than_a_kernel_file() {
    let redactor = redactor();
    let text = "gpu-box-7 mounts 10.1.2.3:/data and fe80::946d:aeff:fe11:2233%eth0, 2001:db8::17 of jane@gpu-box-7.example.com \
                in /home/jane/run; Serial Number : 1320220012345, board serial: S3Z8NB0K123456A, \"serial\": \"AB12345\"";
    let done = redactor.text(text, Text::Prose);
    for gone in ["gpu-box-7", "10.1.2.3", "946d:aeff", "2001:db8", "jane", "1320220012345", "S3Z8NB0K123456A", "AB12345"] {
        assert!(!done.contains(gone), "{gone} is left in {done}");
    }
    assert!(done.contains("mounts") && done.contains("fe80::"), "{done}");
    // A version is no address, a module no person.
    assert_eq!(redactor.text("firmware 16.35.20.12", Text::Kernel), "firmware 16.35.20.12");
    assert_eq!(redactor.text("nvidia: loading", Text::Prose), "nvidia: loading");
}

#[test]
fn one_name_has_one_token_wherever_it_stands() {
    let redactor = redactor();
    let mac = redactor.text("94:6d:ae:11:22:33", Text::Kernel);
    assert_eq!(redactor.text("eth0: MAC 94:6d:ae:11:22:33.", Text::Prose), format!("eth0: MAC {mac}."));
    assert_eq!(redactor.text("enx946dae112233", Text::Kernel), format!("enx{}", mac.replace(':', "")));
    let guid = redactor.text("f01c:bc01:03dd:6838", Text::Kernel);
    assert_eq!(redactor.text("fe80:0000:0000:0000:f01c:bc01:03dd:6838", Text::Kernel), format!("fe80:0000:0000:0000:{guid}"));
    assert_eq!(redactor.text("guid 0xf01cbc0103dd6838", Text::Kernel), format!("guid 0x{}", guid.replace(':', "")));
    let uuid = redactor.text("GPU-5269b708-678a-b1a8-60f0-c90406537486", Text::Kernel);
    assert_eq!(redactor.text("(UUID: GPU-5269b708-678a-b1a8-60f0-c90406537486)", Text::Prose), format!("(UUID: {uuid})"));
    let serial = redactor.serial("S3Z8NB0K123456A");
    assert_eq!(redactor.text("disk S3Z8NB0K123456A found", Text::Kernel), format!("disk {serial} found"));
}

#[test]
fn another_key_gives_other_tokens() {
    let other = Redactor::new([4; 32]);
    for text in ["94:6d:ae:11:22:33", "5269b708-678a-b1a8-60f0-c90406537486", "f01c:bc01:03dd:6838"] {
        assert_ne!(redactor().text(text, Text::Kernel), other.text(text, Text::Kernel));
    }
    assert_ne!(redactor().serial("S3Z8NB0K123456A"), other.serial("S3Z8NB0K123456A"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_address_survives(mac in proptest::array::uniform6(any::<u8>()), before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
        prop_assume!(mac.iter().any(|b| *b != 0) && mac.iter().any(|b| *b != 0xff));
        let text = mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
        let done = redactor().text(&format!("{before} {text} {after}"), Text::Prose);
        prop_assert!(!done.contains(&text), "{}", done);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", serial in "\\PC{0,70}") {
        let redactor = redactor();
        let _ = (redactor.text(&text, Text::Prose), redactor.text(&text, Text::Kernel), redactor.serial(&serial), redactor.uuid(&text));
    }

    #[test]
    fn a_serial_keeps_its_length_and_never_itself(serial in "[A-Z0-9]{8,40}") {
        prop_assume!(is_telling(&serial));
        let token = redactor().serial(&serial);
        prop_assert_eq!(token.len(), serial.len());
        prop_assert_ne!(token, serial);
    }
}
