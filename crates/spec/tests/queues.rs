//! Queue files.

use proptest::prelude::*;
use spec::{Bytes, Limits, Queue, QueueTree, check_tree, parse_queues};

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
        ..Queue::default()
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
        ("unknown parent", "queues:\n  - name: vision\n    parent: lab\n"),
        ("circle", "queues:\n  - {name: a, parent: b}\n  - {name: b, parent: c}\n  - name: c\n    parent: a\n"),
        ("its own parent", "queues:\n  - name: a\n    parent: a\n"),
        ("default above", "queues:\n  - {name: default}\n  - {name: a, parent: default}\n"),
        ("default above, undescribed", "queues:\n  - {name: a, parent: default}\n"),
        (
            "too little for those below",
            "queues:\n  - name: lab\n    guarantee: {devices: 3}\n  - {name: a, parent: lab, guarantee: {devices: 2}}\n  - {name: b, parent: lab, guarantee: {devices: 2}}\n",
        ),
        (
            "more than the limit above",
            "queues:\n  - {name: lab, limits: {cpus: 4}}\n  - name: team\n    parent: lab\n  - name: a\n    parent: team\n    guarantee: {cpus: 5}\n",
        ),
        ("no such truth", "queues:\n  - {name: lab, evict_by_priority: often}\n"),
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

const TREE: &str = "queues:
  - {name: lab, guarantee: {devices: 8}, limits: {cpus: 64}}
  - {name: vision, parent: lab, weight: 2, guarantee: {devices: 4}, evict_by_priority: true}
  - {name: nlp, parent: lab, guarantee: {devices: 2, memory: 4GiB}}
  - {name: spare}
  - {name: night, parent: vision}
";

#[test]
fn queues_form_trees() {
    let queues = parse_queues(TREE, "queues.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let tree = check_tree(&queues).unwrap();
    let names = |places: &[usize]| places.iter().map(|place| queues[*place].name.clone()).collect::<Vec<_>>();
    let (order, depths): (Vec<usize>, Vec<usize>) = tree.in_order().into_iter().unzip();
    assert_eq!(names(&order), ["default", "lab", "vision", "night", "nlp", "spare"]);
    assert_eq!(depths, [0, 0, 1, 2, 1, 0]);
    assert_eq!(names(&tree.path(5).collect::<Vec<_>>()), ["night", "vision", "lab"]);
    // What lab does not name comes from below; what it names is its own word.
    assert_eq!(tree.guarantee(1), Limits { devices: Some(8), memory: Some(Bytes::gib(4)), ..Limits::default() });
    assert_eq!(tree.guaranteed_below(1).devices, Some(6));
    assert!(tree.guarantee(5).is_empty() && tree.has_children(2) && !tree.has_children(5));
    assert!(queues[2].evict_by_priority && !queues[3].evict_by_priority);
}

proptest! {
    /// Whoever is named as whose parent: no circle remains, and every queue is listed once.
    #[test]
    fn any_parents_give_a_forest(parents in proptest::collection::vec(proptest::option::of(0usize..12), 0..12)) {
        let name = |place: usize| format!("q{place}");
        let queues: Vec<Queue> = parents
            .iter()
            .enumerate()
            .map(|(place, parent)| Queue { name: name(place), parent: parent.map(name), ..Queue::default() })
            .collect();
        let tree = QueueTree::new(&queues);
        let mut listed: Vec<usize> = tree.in_order().into_iter().map(|(place, _)| place).collect();
        listed.sort_unstable();
        prop_assert_eq!(listed, (0..queues.len()).collect::<Vec<_>>());
        for place in 0..queues.len() {
            prop_assert!(tree.path(place).count() <= queues.len());
        }
        let sound = parents.iter().enumerate().all(|(place, parent)| parent.is_some() == tree.parent(place).is_some());
        prop_assert_eq!(check_tree(&queues).is_ok(), sound);
    }
}
