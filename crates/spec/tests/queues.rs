//! Queue files.

use spec::{Bytes, Limits, Queue, parse_queues};

#[test]
fn queues_with_everything() {
    let text = "queues:\n  - name: vision\n    tenant: lab-1\n    weight: 3\n    limits: {cpus: 16, memory: 64GB, devices: 4, runs: 10}\n    guarantee: {devices: 2, cpus: 8}\n    users: [ann, bob]\n    groups: vision\n  - name: spare\n";
    let queues = parse_queues(text, "queues.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let vision = Queue {
        name: "vision".into(),
        tenant: "lab-1".into(),
        weight: 3,
        limits: Limits { cpus: Some(16), memory: Some(Bytes::gb(64)), devices: Some(4), runs: Some(10) },
        guarantee: Limits { cpus: Some(8), devices: Some(2), ..Limits::default() },
        users: vec!["ann".into(), "bob".into()],
        groups: vec!["vision".into()],
    };
    let spare = Queue { name: "spare".into(), tenant: "spare".into(), ..Queue::default() };
    assert_eq!(queues, [Queue::default(), vision, spare]);
}

#[test]
fn the_default_queue_is_always_there_and_may_be_changed() {
    for text in ["", "# nothing\n", "queues: []\n"] {
        assert_eq!(parse_queues(text, "queues.yaml").unwrap(), [Queue::default()], "{text:?}");
    }
    let changed = parse_queues("queues: [{name: a}, {name: default, weight: 5}]", "queues.yaml").unwrap();
    assert_eq!(changed.iter().map(|queue| (queue.name.as_str(), queue.weight)).collect::<Vec<_>>(), [("a", 1), ("default", 5)]);
}

#[test]
fn problems_of_queue_files() {
    let cases = [
        ("list", "- name: vision\n"),
        ("unknown", "queue: [{name: vision}]\n"),
        ("no name", "queues:\n  - weight: 2\n"),
        ("misspelt", "queues:\n  - name: vision\n    wieght: 2\n    limits: {gpus: 2, memory: 64}\n"),
        ("twice", "queues:\n  - name: vision\n  - name: vision\n"),
        (
            "values",
            "queues:\n  - name: a b\n    weight: 0\n    users: [ann, ann, 'x y']\n    limits: {cpus: -1, runs: many}\n    tenant: [a]\n",
        ),
        ("guarantee", "queues:\n  - name: vision\n    limits: {devices: 2}\n    guarantee: {devices: 3}\n"),
        ("guaranteed runs", "queues:\n  - name: vision\n    guarantee: {runs: 3}\n"),
        ("text", "queues: vision\n"),
        ("yaml", "queues: [\n"),
    ];
    let rendered: String =
        cases.iter().map(|(name, text)| format!("# {name}\n{}\n", parse_queues(text, "queues.yaml").expect_err(name))).collect();
    insta::assert_snapshot!("queues", rendered);
}

#[test]
fn too_many_queues_are_an_error() {
    let text: String = std::iter::once("queues:\n".to_string()).chain((0..1001).map(|n| format!("- name: q{n}\n"))).collect();
    assert!(parse_queues(&text, "queues.yaml").unwrap_err().to_string().contains("more than 1000 queues"));
}
