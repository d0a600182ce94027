//! The queue file.

use crate::field_error::{FieldError, Quoted};
use crate::parse::node::Node;
use crate::parse::reader::Reader;
use crate::parse::table::{self, About, Field, Shape};
use crate::problem::Problems;
use crate::rules::{Violation, check_label};
use crate::{Limits, Queue, TreeError, check_tree, limits, parse_bytes};
use machine::Bytes;

/// Reads `queues: [...]`. A queue named `default` is always among them, first if the file does not name it; an
/// empty file has only that.
pub fn parse_queues(text: &str, file: &str) -> Result<Vec<Queue>, Problems> {
    let text = super::clean(text);
    let no_files = |_: &str| Err("a queue file names no other".to_string());
    let mut reader = Reader::new("/", &no_files);
    let mut queues = Vec::new();
    let empty = matches!(super::load(&text), Ok(None));
    if !empty && let Some(root) = super::root(&text, "a queue file", "queues: [{name: vision, weight: 2}]", false, &mut reader) {
        reader.mapping(&root, &FILE, &mut queues);
    }
    if reader.found_nothing() {
        hangs_together(&queues, &mut reader);
    }
    if let Some(problems) = reader.finish(file, &text) {
        return Err(problems);
    }
    if queues.iter().all(|queue| queue.name != "default") {
        queues.insert(0, Queue::default());
    }
    Ok(queues)
}

/// Says at which field of which queue the tree is wrong. Every queue of the file is in the list, in its order.
fn hangs_together(queues: &[Queue], reader: &mut Reader<'_>) {
    let mut whole = queues.to_vec();
    if whole.iter().all(|queue| queue.name != "default") {
        whole.push(Queue::default());
    }
    if let Err((place, error)) = check_tree(&whole) {
        let field = match error {
            TreeError::UnknownParent { .. } | TreeError::Circle { .. } => ".parent",
            TreeError::DefaultIsParent { .. } => "",
            TreeError::TooLittle { .. } | TreeError::BeyondOwnLimit { .. } => ".guarantee",
            TreeError::BelowBeyondLimit { .. } => ".limits",
        };
        let error_text = FieldError::new(error.to_string()).hint(error.hint());
        reader.violation(Violation { path: format!("queues[{place}]{field}"), error: error_text });
    }
}

fn queue_fields() -> Vec<&'static About> {
    QUEUE.iter().map(|field| &field.about).collect()
}

fn limit_fields() -> Vec<&'static About> {
    LIMITS.iter().map(|field| &field.about).collect()
}

fn guarantee_fields() -> Vec<&'static About> {
    LIMITS[..3].iter().map(|field| &field.about).collect()
}

const PLAIN: About =
    About { name: "", shape: Shape::Text, required: false, summary: "", detail: "", default: "", examples: &[], elsewhere: &[] };

static FILE: [Field<Vec<Queue>>; 1] = [Field {
    about: About { name: "queues", shape: Shape::List(&Shape::Mapping(queue_fields)), required: true, summary: "The queues.", ..PLAIN },
    read: |queues, reader, node| {
        reader.items(node, &Shape::Mapping(queue_fields), |reader, item| {
            if queues.len() >= limits::QUEUES {
                return reader.wrong(item.place, FieldError::new(format!("there are more than {} queues", limits::QUEUES)));
            }
            let mut queue = Queue { name: String::new(), tenant: String::new(), ..Queue::default() };
            reader.mapping(item, &QUEUE, &mut queue);
            if queues.iter().any(|other| !queue.name.is_empty() && other.name == queue.name) {
                let error =
                    FieldError::new(format!("the queue {} is described twice", Quoted(&queue.name))).hint("give each queue one entry");
                return reader.wrong(item.place, error);
            }
            if queue.tenant.is_empty() {
                queue.tenant.clone_from(&queue.name);
            }
            queues.push(queue);
        });
    },
}];

static QUEUE: [Field<Queue>; 9] = [
    Field {
        about: About { name: "name", required: true, summary: "What jobs call it.", elsewhere: &["queue", "id", "partition"], ..PLAIN },
        read: |queue, reader, node| queue.name = label("queue", reader, node),
    },
    Field {
        about: About {
            name: "tenant",
            summary: "Who pays.",
            default: "the queue's name",
            elsewhere: &["account", "project", "owner"],
            ..PLAIN
        },
        read: |queue, reader, node| queue.tenant = label("tenant", reader, node),
    },
    Field {
        about: About {
            name: "parent",
            summary: "The queue above, which bounds and feeds this one; it holds no jobs itself.",
            default: "none, at the top",
            elsewhere: &["cohort", "above", "parent_queue", "parentQueue"],
            ..PLAIN
        },
        read: |queue, reader, node| queue.parent = Some(label("queue", reader, node)).filter(|name| !name.is_empty()),
    },
    Field {
        about: About {
            name: "weight",
            shape: Shape::Integer(&limits::WEIGHT),
            summary: "Share relative to the queues of the same parent when all have work waiting.",
            default: "1",
            elsewhere: &["share", "shares", "fairshare"],
            ..PLAIN
        },
        read: |queue, reader, node| queue.weight = reader.integer(node).unwrap_or(1),
    },
    Field {
        about: About {
            name: "limits",
            shape: Shape::Mapping(limit_fields),
            summary: "The most that its runs, and those of queues below it, hold together.",
            elsewhere: &["limit", "quota", "max"],
            ..PLAIN
        },
        read: |queue, reader, node| reader.mapping(node, &LIMITS, &mut queue.limits),
    },
    Field {
        about: About {
            name: "guarantee",
            shape: Shape::Mapping(guarantee_fields),
            summary: "What it gets back when it wants it, by eviction of runs that others hold beyond theirs.",
            default: "what the queues below it are guaranteed together, else nothing",
            elsewhere: &["guaranteed", "min", "nominal_quota", "deserved"],
            ..PLAIN
        },
        read: |queue, reader, node| reader.mapping(node, &LIMITS[..3], &mut queue.guarantee),
    },
    Field {
        about: About {
            name: "evict_by_priority",
            shape: Shape::Truth,
            summary: "Whether a job may have runs of lower priority evicted, in this queue and among those below it.",
            default: "false",
            elsewhere: &["preemption", "preempt", "preemption_policy"],
            ..PLAIN
        },
        read: |queue, _, node| queue.evict_by_priority = node.text().eq_ignore_ascii_case("true"),
    },
    Field {
        about: About {
            name: "users",
            shape: Shape::OneOrMany(&Shape::Text),
            summary: "Who may submit, by login name; without users and groups, everybody.",
            elsewhere: &["user", "members"],
            ..PLAIN
        },
        read: |queue, reader, node| queue.users = labels("person", reader, node),
    },
    Field {
        about: About {
            name: "groups",
            shape: Shape::OneOrMany(&Shape::Text),
            summary: "Whose members may submit.",
            elsewhere: &["group"],
            ..PLAIN
        },
        read: |queue, reader, node| queue.groups = labels("group", reader, node),
    },
];

/// Counts of a limit; 0 closes the queue for that resource.
static COUNT: std::ops::RangeInclusive<i64> = 0..=1_000_000;

static LIMITS: [Field<Limits>; 4] = [
    Field {
        about: About { name: "cpus", shape: Shape::Integer(&COUNT), summary: "CPUs.", elsewhere: &["cpu", "cores"], ..PLAIN },
        read: |limits, reader, node| limits.cpus = reader.integer(node),
    },
    Field {
        about: About { name: "memory", shape: Shape::Grammar(&table::SIZE), summary: "Host memory.", elsewhere: &["mem", "ram"], ..PLAIN },
        read: |limits, reader, node| limits.memory = reader.read::<Bytes>(node, parse_bytes),
    },
    Field {
        about: About {
            name: "devices",
            shape: Shape::Integer(&COUNT),
            summary: "Accelerators.",
            elsewhere: &["gpus", "gpu", "accelerators"],
            ..PLAIN
        },
        read: |limits, reader, node| limits.devices = reader.integer(node),
    },
    Field {
        about: About {
            name: "runs",
            shape: Shape::Integer(&COUNT),
            summary: "Runs at a time.",
            elsewhere: &["jobs", "max_jobs", "running"],
            ..PLAIN
        },
        read: |limits, reader, node| limits.runs = reader.integer(node),
    },
];

fn label(what: &str, reader: &mut Reader<'_>, node: &Node) -> String {
    reader.read(node, |text| check_label(what, text).map(|()| text.to_string())).unwrap_or_default()
}

fn labels(what: &str, reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    reader.items(node, &Shape::Text, |reader, item| {
        let name = label(what, reader, item);
        if names.contains(&name) && !name.is_empty() {
            return reader.wrong(item.place, FieldError::new(format!("{} is named twice", Quoted(&name))).hint("name each once"));
        }
        names.push(name);
    });
    names
}
