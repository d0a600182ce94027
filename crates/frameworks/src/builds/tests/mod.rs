//! The choice on machines as the makers' tables describe them.

mod conditions;

use super::*;
use machine::Release;
use proptest::prelude::*;

const RELEASE_MATRIX: &str = "PyTorch, release compatibility matrix";
const CUDA_DRIVERS: &str = "NVIDIA, CUDA release notes, table of driver versions";
const CUDA_COMPATIBILITY: &str = "NVIDIA, CUDA compatibility guide, minor version compatibility";
const PACKAGES: &str = "architectures in the published packages (moi90/pytorch_compute_capabilities)";
const UV: &str = "astral-sh/uv, crates/uv-torch, backends by architecture";
const ASCEND: &str = "Ascend Extension for PyTorch, table of versions";
const JAX: &str = "JAX, installation page";
const TENSORFLOW: &str = "TensorFlow, installation page and table of tested builds";
const PADDLE: &str = "PaddlePaddle, installation page";
const OTHERS: &str = "the project's own installation page";

/// What is asked, cards as `vendor:architecture`, driver, toolkit, processor; the build that comes out, or why none does.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str, Result<&'static str, &'static str>, &'static str);

const X86: &str = "x86_64";
const ARM: &str = "aarch64";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // The newest CUDA that came with the driver.
    ("torch", "nvidia:sm_80", "535.104.05", "", X86, Ok("cu121 torch>=2.1,<2.6"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_80", "550.54.14", "", X86, Ok("cu124 torch>=2.4,<2.7"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_90", "560.35.03", "", X86, Ok("cu126 torch>=2.6,<2.11"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_90", "570.86.10", "", X86, Ok("cu128 torch>=2.7,<2.11"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_90", "575.57.08", "", X86, Ok("cu129 torch>=2.8,<2.9"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_90", "580.65.06", "", X86, Ok("cu130 torch>=2.9,<2.11"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_100", "595.10", "", X86, Ok("cu132 torch>=2.15,<2.16"), "PyTorch, the 2.15.0 wheel itself"),
    ("torch", "nvidia:sm_86", "520.61.05", "", X86, Ok("cu118 torch>=2.0,<2.8"), CUDA_DRIVERS),
    ("torch", "nvidia:sm_86", "530.30.02", "", X86, Ok("cu121 torch>=2.1,<2.6"), CUDA_DRIVERS),
    // Versions that need a newer CUDA than came with the driver run by minor version compatibility.
    ("torch==2.9.1", "nvidia:sm_80", "535.104.05", "", X86, Ok("cu128 torch>=2.7,<2.11,==2.9.1"), CUDA_COMPATIBILITY),
    ("torch>=2.6", "nvidia:sm_70", "535.104.05", "", X86, Ok("cu118 torch>=2.0,<2.8,>=2.6"), CUDA_COMPATIBILITY),
    ("torch==2.9.0", "nvidia:sm_80", "470.82.01", "", X86, Err("driver 525.60.13"), CUDA_COMPATIBILITY),
    ("torch", "nvidia:sm_80", "470.82.01", "", X86, Ok("cu118 torch>=2.0,<2.8"), CUDA_COMPATIBILITY),
    ("torch", "nvidia:sm_80", "440.33", "", X86, Err("450.80.02"), CUDA_COMPATIBILITY),
    // Architectures of cards.
    ("torch", "nvidia:sm_70", "580.82.07", "", X86, Ok("cu126 torch>=2.6,<2.11"), PACKAGES),
    ("torch", "nvidia:sm_61", "570.86.10", "", X86, Ok("cu126 torch>=2.6,<2.11"), PACKAGES),
    ("torch", "nvidia:sm_37", "470.82.01", "", X86, Ok("cu118 torch>=2.0,<2.8"), PACKAGES),
    ("torch", "nvidia:sm_35", "470.82.01", "", X86, Err("sm_35"), PACKAGES),
    ("torch", "nvidia:sm_120", "570.86.10", "", X86, Ok("cu128 torch>=2.7,<2.11"), PACKAGES),
    ("torch<2.7", "nvidia:sm_120", "570.86.10", "", X86, Err("sm_90"), PACKAGES),
    ("torch", "nvidia:sm_75", "550.90.07", "", X86, Ok("cu124 torch>=2.4,<2.7"), PACKAGES),
    ("torch==2.3.1", "nvidia:sm_89", "580.65.06", "", X86, Ok("cu121 torch>=2.1,<2.6,==2.3.1"), RELEASE_MATRIX),
    ("torch==2.0.1", "nvidia:sm_80", "580.65.06", "", X86, Ok("cu118 torch>=2.0,<2.8,==2.0.1"), RELEASE_MATRIX),
    ("torch==2.5.1+cu121", "nvidia:sm_80", "580.65.06", "", X86, Ok("cu121 torch>=2.1,<2.6,==2.5.1"), RELEASE_MATRIX),
    ("torch", "nvidia:sm_90", "570.86.10", "", ARM, Ok("cu128 torch>=2.7,<2.11"), RELEASE_MATRIX),
    ("torch", "nvidia:sm_90", "550.54.14", "", ARM, Ok("cu129 torch>=2.8,<2.9"), CUDA_COMPATIBILITY),
    ("torch+cpu", "nvidia:sm_90", "580.65.06", "", X86, Ok("cpu torch>=2.1,<2.16"), RELEASE_MATRIX),
    ("torch", "", "", "", X86, Ok("cpu torch>=2.1,<2.16"), RELEASE_MATRIX),
    ("torch", "", "", "", "riscv64", Err("riscv64"), RELEASE_MATRIX),
    // AMD.
    ("torch==2.9.0", "amd:gfx942", "", "", X86, Ok("rocm6.4 torch>=2.8,<2.10,==2.9.0"), UV),
    ("torch", "amd:gfx1101", "", "", X86, Ok("rocm6.4 torch>=2.8,<2.10"), UV),
    ("torch==2.6.0", "amd:gfx1100", "", "", X86, Ok("rocm6.2.4 torch>=2.6,<2.8,==2.6.0"), UV),
    ("torch==2.6.0", "amd:gfx1101", "", "", X86, Err("gfx1101"), UV),
    ("torch", "amd:gfx950", "", "", X86, Ok("rocm7.1? torch>=2.10,<2.11"), UV),
    ("torch", "amd:gfx803", "", "", X86, Err("gfx803"), UV),
    // Intel, Ascend and others.
    ("torch", "intel:", "", "", X86, Ok("xpu torch>=2.6,<2.11"), "PyTorch, page on Intel GPUs"),
    ("torch", "ascend:", "", "CANN 9.0.0", ARM, Ok("cann9.0 torch==2.10.0 torch-npu==2.10.0"), ASCEND),
    ("torch", "ascend:", "", "CANN 8.5.0", ARM, Ok("cann8.5 torch==2.9.0 torch-npu==2.9.0"), ASCEND),
    ("torch==2.8.0", "ascend:", "", "CANN 8.5.0", X86, Ok("cann8.5-torch2.8 torch==2.8.0 torch-npu==2.8.0.post2"), ASCEND),
    ("torch==2.6.0", "ascend:", "", "CANN 8.5.0", X86, Ok("cann8.5-torch2.6 torch==2.6.0 torch-npu==2.6.0.post5"), ASCEND),
    ("torch", "ascend:", "", "CANN 8.3.RC1", ARM, Ok("cann8.3 torch==2.8.0 torch-npu==2.8.0"), ASCEND),
    ("torch", "ascend:", "", "CANN 8.0.RC2", ARM, Ok("cann8.0rc2 torch==2.3.1 torch-npu==2.3.1"), ASCEND),
    ("torch", "ascend:", "", "CANN 8.0.RC1", ARM, Ok("cann8.0rc1 torch==2.2.0 torch-npu==2.2.0"), ASCEND),
    ("torch", "ascend:", "", "CANN 5.0.4", ARM, Err("CANN"), ASCEND),
    ("torch", "ascend:", "", "", ARM, Err("none was found"), ASCEND),
    ("torch", "biren:", "", "", X86, Err("no build of PyTorch"), "no build for Biren's cards is published on an index"),
    // Other frameworks.
    ("jax", "nvidia:sm_90", "580.65.06", "", X86, Ok("cuda13 jax[cuda13]>=0.8,<0.13"), JAX),
    ("jax", "nvidia:sm_90", "535.104.05", "", X86, Ok("cuda12 jax[cuda12]>=0.4,<0.13"), JAX),
    ("jax", "nvidia:sm_70", "580.65.06", "", X86, Ok("cuda12 jax[cuda12]>=0.4,<0.13"), JAX),
    ("jax", "nvidia:sm_50", "580.65.06", "", X86, Err("sm_52"), JAX),
    ("jax", "nvidia:sm_80", "520.61.05", "", X86, Err("525.60.13"), JAX),
    ("jax", "google:", "", "", X86, Ok("tpu jax[tpu]>=0.5,<0.13"), JAX),
    ("jax==0.12.0", "", "", "", ARM, Ok("cpu jax>=0.4,<0.13,==0.12.0"), JAX),
    ("tensorflow", "nvidia:sm_80", "535.104.05", "", X86, Ok("and-cuda tensorflow[and-cuda]>=2.18,<2.21"), TENSORFLOW),
    ("tf==2.16.2", "nvidia:sm_52", "535.104.05", "", X86, Ok("and-cuda-older tensorflow[and-cuda]>=2.15,<2.18,==2.16.2"), TENSORFLOW),
    ("tensorflow", "nvidia:sm_80", "470.82.01", "", X86, Err("525.60.13"), TENSORFLOW),
    ("tensorflow", "", "", "", X86, Ok("cpu tensorflow-cpu>=2.14,<2.22"), TENSORFLOW),
    ("tensorflow", "", "", "", ARM, Ok("cpu-arm tensorflow>=2.14,<2.21"), TENSORFLOW),
    ("paddle", "nvidia:sm_80", "550.54.14", "", X86, Ok("cu129 paddlepaddle-gpu>=3.1,<3.3"), PADDLE),
    ("paddle", "nvidia:sm_70", "550.54.14", "", X86, Ok("cu126 paddlepaddle-gpu>=3.0,<3.3"), PADDLE),
    ("paddle", "nvidia:sm_80", "535.104.05", "", X86, Ok("cu118 paddlepaddle-gpu>=3.0,<3.3"), PADDLE),
    ("paddle", "ascend:", "", "CANN 8.0.0", ARM, Ok("npu paddlepaddle>=3.0,<3.1 paddle-custom-npu>=3.0,<3.1"), "PaddleX, tutorial for Ascend"),
    ("paddle", "hygon:", "", "", X86, Ok("dcu? paddlepaddle-dcu>=3.0,<3.1"), "PaddleX, list of devices"),
    ("paddlepaddle==3.3.1", "", "", "", X86, Ok("cpu paddlepaddle>=3.0,<3.4,==3.3.1"), PADDLE),
    ("mindspore", "", "", "", ARM, Ok("cpu mindspore>=2.5,<2.11"), OTHERS),
    ("mindspore", "ascend:", "", "CANN 8.2.RC1", ARM, Ok("cann8.2? mindspore>=2.7,<2.8"), OTHERS),
    ("onnxruntime", "nvidia:sm_80", "535.104.05", "", X86, Ok("cuda12 onnxruntime-gpu>=1.19,<1.24"), OTHERS),
    ("ort", "intel:", "", "", X86, Ok("openvino onnxruntime-openvino>=1.20,<1.24"), OTHERS),
    ("llama.cpp", "", "", "", X86, Ok("cpu xllamacpp"), OTHERS),
    ("llama-cpp", "nvidia:sm_86", "550.54.14", "", X86, Ok("cu124 llama-cpp-python"), OTHERS),
    ("vllm", "nvidia:sm_90", "580.65.06", "", X86, Ok("cuda12 vllm>=0.9,<0.12"), OTHERS),
    ("vllm", "nvidia:sm_61", "580.65.06", "", X86, Err("sm_61"), OTHERS),
    ("vllm", "", "", "", X86, Err("this processor"), OTHERS),
    ("sglang", "nvidia:sm_90", "560.35.03", "", X86, Ok("cuda12 sglang[all]>=0.4,<0.6"), OTHERS),
    ("xgboost", "nvidia:sm_80", "535.104.05", "", ARM, Ok("cuda12 xgboost>=2.1,<3.5"), OTHERS),
    ("xgboost", "", "", "", X86, Ok("cpu xgboost-cpu>=2.1,<3.5"), OTHERS),
    // What the table does not have is said, not guessed.
    ("torch==9.9.0", "nvidia:sm_90", "580.65.06", "", X86, Ok("cu130? torch==9.9.0"), "no such release"),
    ("torch", "nvidia:", "580.65.06", "", X86, Ok("cu130? torch>=2.9,<2.11"), "a card that no table knows"),
    ("torch", "nvidia:sm_90", "", "", X86, Ok("cu132? torch>=2.15,<2.16"), "a driver that tells no version"),
];

fn hardware(cards: &str, driver: &str, toolkit: &str, architecture: &str) -> Hardware {
    let cards: Vec<Card> = cards
        .split_whitespace()
        .map(|card| {
            let (vendor, own) = card.split_once(':').unwrap();
            let vendor = Vendor::from_name(vendor).unwrap_or_else(|| panic!("no vendor {vendor}"));
            Card { vendor, model: format!("{vendor} card"), architecture: Some(own.to_string()).filter(|own| !own.is_empty()) }
        })
        .collect();
    let release = |name: &str, version: &str| Release {
        vendor: cards.first().map_or(Vendor::Unknown, |card| card.vendor),
        name: name.into(),
        version: version.into(),
        source: format!("sys/module/{name}/version"),
    };
    let software = Software {
        architecture: architecture.into(),
        cpu_flags: vec!["avx".into(), "avx2".into()],
        drivers: if driver.is_empty() { vec![] } else { vec![release("nvidia", driver)] },
        toolkits: toolkit.split_once(' ').map(|(name, version)| release(name, version)).into_iter().collect(),
    };
    Hardware { glibc: Some("2.36".into()), python: Some("3.10.12".into()), cards, software }
}

fn asked(text: &str) -> Wanted {
    Wanted::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `cu121 torch>=2.1,<2.6`, with a question mark behind the build where something is unverified; at most two packages.
fn words(choice: &Choice) -> String {
    let doubt = if choice.unverified.is_empty() { "" } else { "?" };
    let packages: Vec<&str> = choice.requirements.iter().take(2).map(String::as_str).collect();
    format!("{}{doubt} {}", choice.build, packages.join(" "))
}

#[test]
fn the_makers_tables_decide() {
    assert!(CASES.len() >= 40);
    for (text, cards, driver, toolkit, architecture, expected, source) in CASES {
        let case = format!("{text} on {cards:?}, driver {driver:?}, {toolkit:?}, {architecture} ({source})");
        let found = choose(Table::built_in(), &asked(text), &hardware(cards, driver, toolkit, architecture));
        match (found, expected) {
            (Ok(choice), Ok(expected)) => assert_eq!(words(&choice), *expected, "{case}\n{choice:#?}"),
            (Err(error), Err(part)) => {
                let text = format!("{error}\n{}", error.hint());
                assert!(text.contains(part), "{case}: {part:?} is not in\n{text}");
            }
            (found, expected) => panic!("{case}: {expected:?} was expected, but there is {found:#?}"),
        }
    }
}

#[test]
fn the_choice_says_why_and_what_a_newer_one_would_need() {
    let choice = choose(Table::built_in(), &asked("torch"), &hardware("nvidia:sm_80 nvidia:sm_80", "535.104.05", "", X86)).unwrap();
    assert_eq!(choice.index.as_ref().unwrap().address, "https://download.pytorch.org/whl/cu121");
    assert_eq!(
        choice.because,
        ["nvidia card (sm_80): it has code for sm_50 to sm_90", "driver 535.104.05 (sys/module/nvidia/version): CUDA 12.1 needs 530.30.02"]
    );
    let newest = &choice.passed_over[0];
    assert_eq!(
        newest.why,
        "CUDA 13.2 needs driver 580.65.06, this is 535.104.05 (sys/module/nvidia/version), with which CUDA 12.2 is the newest"
    );
    let all: Vec<String> =
        choice.passed_over.iter().map(|passed| format!("{}: {}", passed.build, passed.change.as_deref().unwrap_or("-"))).collect();
    assert_eq!(
        all,
        [
            "cu132: driver 595 or newer",
            "cu130: driver 580.65.06 or newer",
            "cu129: driver 575.51.03 or newer",
            "cu128: driver 570.26 or newer",
            "cu126: driver 560.28.03 or newer",
            "cu124: driver 550.54.14 or newer"
        ]
    );
    assert_eq!(choice.better().unwrap().0.build, "cu132");
}

#[test]
fn a_machine_of_two_makers_is_asked_for_the_first_cards_maker() {
    let mixed = hardware("amd:gfx942 nvidia:sm_80", "", "", X86);
    assert_eq!(choose(Table::built_in(), &asked("torch==2.9.0"), &mixed).unwrap().build, "rocm6.4");
}

#[test]
fn an_old_system_and_an_old_python_are_told_with_what_to_change() {
    let mut old = hardware("nvidia:sm_80", "580.65.06", "", X86);
    old.glibc = Some("2.17".into());
    let choice = choose(Table::built_in(), &asked("torch"), &old).unwrap();
    assert_eq!(choice.build, "cu124");
    assert_eq!(choice.passed_over[0].change.as_deref(), Some("a distribution with glibc 2.28 or newer"));
    let mut python = hardware("nvidia:sm_90", "580.65.06", "", X86);
    python.python = Some("3.14.0".into());
    let error = choose(Table::built_in(), &asked("vllm"), &python).unwrap_err();
    assert!(error.to_string().contains("Python"), "{error}");
    assert_eq!(
        error.hint(),
        "cuda12 would need `python` in the environment within >=3.9, <3.14; or `build: cpu` to do without the devices"
    );
}

#[test]
fn a_processor_without_what_a_build_needs_is_refused() {
    let mut plain = hardware("", "", "", X86);
    plain.software.cpu_flags = vec!["sse4_2".into()];
    let error = choose(Table::built_in(), &asked("tensorflow"), &plain).unwrap_err().to_string();
    assert!(error.contains("cpu: the processor lacks avx"), "{error}");
}

#[test]
fn names_that_are_not_there_are_told_with_those_that_are() {
    let machine = hardware("", "", "", X86);
    let error = choose(Table::built_in(), &asked("caffe"), &machine).unwrap_err();
    assert!(error.hint().starts_with("there are torch, jax, tensorflow"), "{}", error.hint());
    let wanted = Wanted { build: Some("cu999".into()), ..asked("torch") };
    let error = choose(Table::built_in(), &wanted, &machine).unwrap_err();
    assert_eq!(error.to_string(), "PyTorch has no build called \"cu999\" in the table");
    assert!(error.hint().contains("cu126"));
    for wrong in ["", "==1", "torch+", "torch>=x", "torch 2", "a/b"] {
        assert!(Wanted::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_mirror_takes_the_place_of_an_index() {
    let table = Table::built_in().with_mirrors([("pytorch".to_string(), "https://mirror.example/torch/".to_string())]);
    let choice = choose(&table, &asked("torch"), &hardware("nvidia:sm_80", "550.54.14", "", X86)).unwrap();
    assert_eq!(choice.index.unwrap().address, "https://mirror.example/torch/cu124");
}

#[test]
fn a_wrong_table_is_refused_with_the_place() {
    let error = |text: &str| text.parse::<Table>().unwrap_err().to_string();
    let framework = "edition = '2026-11'\n[[framework]]\nname = 'x'\ntitle = 'X'\npackage = 'x'\ncheck = ''\n";
    let build = |rest: &str| format!("{framework}[[framework.build]]\nname = 'b'\nevidence = 'seen'\nsource = 's'\n{rest}\n");
    assert!(build("").parse::<Table>().is_ok());
    assert!(error(&build("cuda = '99.9'")).contains("x b: no drivers are known"));
    assert!(error(&build("index = 'nowhere/x'")).contains("its index has no address"));
    assert!(error(&build("lines = ['2.6', '2.5']")).contains("not in order"));
    assert!(error(&build("vendor = 'nvida'")).contains("nvida"));
    assert!(error(&build("driver = 'new'")).contains("driver"));
}

proptest! {
    #[test]
    fn no_request_and_no_machine_breaks_the_choice(
        text in "[a-z]{1,12}[=<>~!]{0,2}[0-9.]{0,6}", driver in "[0-9.a-z]{0,12}", own in "[a-z0-9_]{0,8}",
        vendor in 0..Vendor::ALL.len(), architecture in "[a-z0-9_]{0,8}"
    ) {
        let card = format!("{}:{own}", Vendor::ALL[vendor].name());
        let machine = hardware(&card, &driver, "CANN 8.x", &architecture);
        for framework in ["torch", "jax", "paddle", text.as_str()] {
            if let Ok(wanted) = Wanted::parse(framework) {
                let found = choose(Table::built_in(), &wanted, &machine);
                prop_assert_eq!(&found, &choose(Table::built_in(), &wanted, &machine));
                if let Ok(choice) = found {
                    prop_assert!(!choice.requirements.is_empty() && !choice.source.is_empty());
                }
            }
        }
    }

    /// A newer driver never gives an older toolkit.
    #[test]
    fn a_newer_driver_never_makes_it_worse(older in 450u64..620, newer in 0u64..100, minor in 0u64..200) {
        let place = |driver: u64| {
            let machine = hardware("nvidia:sm_80", &format!("{driver}.{minor}"), "", X86);
            let builds = &Table::built_in().framework("torch").unwrap().builds;
            choose(Table::built_in(), &asked("torch"), &machine).ok().and_then(|choice| builds.iter().position(|build| build.name == choice.build))
        };
        if let Some(before) = place(older) {
            prop_assert!(place(older + newer).is_some_and(|after| after <= before));
        }
    }
}
