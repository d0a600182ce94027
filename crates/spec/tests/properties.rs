//! What holds for any text and any value.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::string_regex;
use serde_json::Value;
use spec::{
    Array, Bytes, Dependency, DependencyCondition, DeviceRequest, JobId, JobSpec, ParseContext, Problems, ShareRequest, Span, job_schema,
    parse_array, parse_bytes, parse_cpus, parse_dependency, parse_devices, parse_job, parse_mount, parse_percent, parse_queues,
    parse_ranks, parse_signal, parse_span, split_command, write_bytes, write_cpus, write_span,
};

fn parse(text: &str) -> Result<JobSpec, Problems> {
    let read = |path: &str| if path.contains('7') { Err("no such file".to_string()) } else { Ok("numpy\n".to_string()) };
    parse_job(text, &ParseContext { file: "job.yaml".into(), workdir: "/home/ann".into(), read: &read, default_name: "job".into() })
}

/// A job file of lines that are nearly right.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let schema = job_schema();
    let names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let examples: Vec<String> = schema["properties"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|property| property["examples"].as_array().unwrap().iter().map(Value::to_string))
        .collect();
    let value = prop_oneof![
        6 => proptest::sample::select(examples),
        2 => "[ -~]{0,20}",
        1 => "\\PC{0,10}",
        1 => Just("|\n  text\n  more".to_string()),
        1 => Just("&a [x, *a]".to_string()),
        1 => Just("{a: {b: [1, 2, {c: ~}]}}".to_string()),
    ];
    let line = (proptest::sample::select(names), value).prop_map(|(name, value)| format!("{name}: {value}\n"));
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

fn device_requests() -> impl Strategy<Value = DeviceRequest> {
    let size = prop_oneof![(1u64..1000).prop_map(Bytes::gb), (1u64..1000).prop_map(Bytes::gib), (1u64..5000).prop_map(Bytes::mib)];
    let memory = prop_oneof![
        Just((None, None)),
        size.clone().prop_map(|min| (Some(min), None)),
        size.clone().prop_map(|max| (None, Some(max))),
        (size.clone(), size).prop_map(|(a, b)| (Some(a.min(b)), Some(a.max(b)))),
    ];
    let vendors: Vec<_> = machine::Vendor::ALL.into_iter().filter(|vendor| *vendor != machine::Vendor::Unknown).collect();
    let classes = vec![machine::DeviceClass::Gpu, machine::DeviceClass::Npu, machine::DeviceClass::Fpga, machine::DeviceClass::Vector];
    let models = prop_oneof![
        Just(vec![]),
        Just(vec!["A100".to_string()]),
        Just(vec!["RTX 4090".to_string(), "910B".to_string()]),
        Just(vec!["4090".to_string()])
    ];
    let parts = (
        proptest::option::of(proptest::sample::select(vendors)),
        proptest::option::of(proptest::sample::select(classes)),
        models,
        memory,
        proptest::option::of(shares()),
        1u32..=128,
    );
    parts.prop_map(|(vendor, class, models, (memory_min, memory_max), share, count)| DeviceRequest {
        vendor,
        class,
        models,
        memory_min,
        memory_max,
        share,
        count,
    })
}

fn shares() -> impl Strategy<Value = ShareRequest> {
    let memory = proptest::option::of((1u64..100_000).prop_map(Bytes::mib));
    let level = proptest::option::of(proptest::sample::select(machine::Enforcement::ALL));
    (memory, proptest::option::of(1u32..1000), level).prop_map(|(memory, compute, enforced)| ShareRequest {
        memory,
        compute: compute.or(memory.is_none().then_some(1)),
        enforced,
    })
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*") {
        let _ = (parse_devices(&text), parse_bytes(&text), parse_span(&text), parse_cpus(&text), parse_array(&text));
        let _ = (parse_dependency(&text), parse_signal(&text), parse_mount(&text, "/"), split_command(&text), parse_queues(&text, "q"));
    }

    #[test]
    fn no_short_text_of_the_grammars_makes_a_parser_panic(text in "[-0-9a-zA-Z:.,%~/ ]{0,24}") {
        let _ = (parse_devices(&text), parse_bytes(&text), parse_span(&text), parse_cpus(&text), parse_array(&text));
        let _ = (parse_dependency(&text), parse_signal(&text), parse_mount(&text, "/"), split_command(&text));
    }

    #[test]
    fn any_text_is_a_job_or_has_problems_that_print(text in prop_oneof![nearly_yaml(), "(?s).{0,200}"]) {
        match parse(&text) {
            Ok(job) => prop_assert_eq!(job.validate(), Ok(())),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                let rendered = problems.to_string();
                prop_assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", rendered);
                prop_assert!(serde_json::to_string(&problems).is_ok());
            }
        }
    }

    #[test]
    fn devices_read_back(request in device_requests()) {
        prop_assert_eq!(parse_devices(&request.to_string()), Ok(request.clone()));
        prop_assert!(!request.describe().is_empty());
    }

    #[test]
    fn sizes_read_back(bytes in 0u64..=(1 << 60)) {
        prop_assert_eq!(parse_bytes(&write_bytes(Bytes(bytes))), Ok(Bytes(bytes)));
    }

    #[test]
    fn spans_read_back(millis in 0u64..=Span::hours(24 * 3650).0) {
        prop_assert_eq!(parse_span(&write_span(Span(millis))), Ok(Span(millis)));
    }

    #[test]
    fn shares_read_back(thousandths in prop_oneof![1u32..1000, (1u32..=8192).prop_map(|cpus| cpus * 1000)]) {
        prop_assert_eq!(parse_cpus(&write_cpus(machine::CpuShare(thousandths))), Ok(machine::CpuShare(thousandths)));
    }

    #[test]
    fn arrays_read_back(indices in proptest::collection::btree_set(0u32..500, 1..60), at_once in proptest::option::of(1u32..50)) {
        let text = indices.iter().rev().map(u32::to_string).collect::<Vec<_>>().join(",");
        let array = Array { at_once, ..parse_array(&text).unwrap() };
        prop_assert_eq!(array.indices().collect::<Vec<_>>(), indices.iter().copied().collect::<Vec<_>>());
        prop_assert!(array.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        prop_assert_eq!(parse_array(&array.to_string()), Ok(array));
    }

    #[test]
    fn dependencies_read_back(number in any::<u64>(), task in proptest::option::of(any::<u32>()), condition in proptest::sample::select(DependencyCondition::ALL)) {
        let dependency = Dependency { job: JobId { number, task }, condition };
        prop_assert_eq!(parse_dependency(&dependency.to_string()), Ok(dependency));
    }

    #[test]
    fn words_of_a_command_survive_quoting(words in proptest::collection::vec("\\PC{1,12}", 1..6)) {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        let read = split_command(&quoted.join(" "));
        prop_assume!(!words[0].contains('='));
        prop_assert_eq!(read, Ok(words));
    }

    /// The wire may carry anything that the types can hold.
    #[test]
    fn no_spec_makes_validation_panic(request in device_requests(), cpus in any::<u32>(), memory in any::<u64>(), grace in any::<u64>(), ranges in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..4), text in "\\PC{0,20}") {
        let mut job = JobSpec::command_job(text.clone(), vec![text.clone()], text);
        job.devices = Some(DeviceRequest { count: cpus, ..request });
        job.cpus = machine::CpuShare(cpus);
        job.memory = Some(Bytes(memory));
        job.limit = Some(Span(memory));
        job.checkpoint.grace = Span(grace);
        job.array = Some(Array { ranges: ranges.clone(), at_once: Some(cpus) });
        if let Err(sentences) = job.validate() {
            prop_assert!(sentences.iter().all(|sentence| sentence.contains(": ")));
        }
    }
}

/// Whatever an editor with the schema lets through in one of the small languages, the parser reads.
#[test]
fn patterns_of_the_schema_are_no_wider_than_the_grammars() {
    let schema = job_schema();
    let reads = |name: &str, text: &str| match name {
        "size" => parse_bytes(text).err(),
        "span" => parse_span(text).err(),
        "cpus" => parse_cpus(text).err(),
        "dependency" => parse_dependency(text).err(),
        "mount" => parse_mount(text, "/").err(),
        "signal" => parse_signal(text).err(),
        "percent" => parse_percent(text).err(),
        // What lists allow beyond single items (order, repetition) no pattern can say.
        "ranks" => parse_ranks(text).err().filter(|error| !error.message.contains("below its start") && !error.message.contains("twice")),
        "array" | "devices" => None,
        other => panic!("no parser for {other}"),
    };
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let pattern = definition.get("pattern").or_else(|| definition.pointer("/anyOf/0/pattern")).and_then(Value::as_str).unwrap();
        for example in definition["examples"].as_array().unwrap() {
            assert!(reads(name, example.as_str().unwrap()).is_none(), "{name}: {example}");
        }
        // Beyond the printable ASCII the patterns' negated sets would only produce noise.
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace("[^:]", "[a-z./]");
        let texts = string_regex(&pattern).unwrap();
        for _ in 0..200 {
            let text = texts.new_tree(&mut runner).unwrap().current();
            let path = name == "mount" && (text.starts_with('~') || text.ends_with(":ro") || text.ends_with(":rw"));
            assert!(path || reads(name, &text).is_none(), "{name} reads {text:?}: {:?}", reads(name, &text));
        }
    }
}
