//! The openb format: the node and pod lists of Alibaba's cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023).
//!
//! Comma-separated, with a header. Columns are found by name, so further ones do no harm.
//! Nodes: `sn`, `cpu_milli`, `memory_mib`, `gpu`, `model`. Pods: `name`, `cpu_milli`, `memory_mib`, `num_gpu`, `gpu_milli`,
//! `gpu_spec` (models separated by `|`; empty: any), `creation_time`, `deletion_time` (seconds).

use crate::packing::model::{KindSet, MAX_DEVICES, MAX_KINDS, Request, RequestError, Shape};
use crate::packing::pack::Seeded;

/// Something in a file that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct FormatError {
    /// From 1, the header being line 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the header lacks `{0}`")]
    NoColumn(&'static str),
    #[error("`{column}` is missing")]
    NoField { column: &'static str },
    #[error("`{found}` is no number for `{column}`")]
    NoNumber { column: &'static str, found: String },
    #[error("{0} devices on one machine, {MAX_DEVICES} at most")]
    TooManyDevices(u64),
    #[error("more than {MAX_KINDS} device models")]
    TooManyModels,
    #[error("{0}")]
    Request(RequestError),
    #[error("no rows")]
    Empty,
}

impl FormatError {
    pub fn hint(&self) -> String {
        match &self.problem {
            Problem::NoColumn(_) => {
                "nodes: sn,cpu_milli,memory_mib,gpu,model; pods: name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec".into()
            }
            Problem::NoField { .. } => "every row has as many fields as the header".into(),
            Problem::NoNumber { .. } => "write a whole number, without unit".into(),
            Problem::TooManyDevices(_) => "split the machine in two".into(),
            Problem::TooManyModels => "give alike models one name".into(),
            Problem::Request(error) => error.hint().into(),
            Problem::Empty => "a header and at least one row are needed".into(),
        }
    }
}

/// A node list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    pub names: Vec<String>,
    /// Device models, in order of appearance.
    pub models: Vec<String>,
    pub shapes: Vec<Shape>,
    /// Shape of each node.
    pub machines: Vec<u16>,
}

/// A pod list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub names: Vec<String>,
    pub requests: Vec<Request>,
    /// When each was created and deleted, seconds; 0 where the file does not say.
    pub times: Vec<(u64, u64)>,
    /// Models that are asked for and that no node has.
    pub unknown_models: Vec<String>,
}

/// Reads a node list.
pub fn parse_nodes(text: &str) -> Result<Nodes, FormatError> {
    let table = Table::new(text, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?;
    let mut nodes = Nodes::default();
    for row in table.rows() {
        let name = row.text(0)?;
        let (cpu, memory, devices) = (row.number(1)?, row.number(2)?, row.number(3)?);
        if devices > MAX_DEVICES as u64 {
            return Err(row.problem(3, Problem::TooManyDevices(devices)));
        }
        let kind = if devices == 0 { 0 } else { number_of(row.text(4)?, &mut nodes.models) };
        if kind >= MAX_KINDS {
            return Err(row.problem(4, Problem::TooManyModels));
        }
        let shape = Shape {
            kind: kind as u8,
            devices: devices as u8,
            cpu: u32::try_from(cpu).map_err(|_| row.not_a_number(1))?,
            memory: u32::try_from(memory).map_err(|_| row.not_a_number(2))?,
            device_memory: 0,
        };
        let shape = nodes.shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
            nodes.shapes.push(shape);
            nodes.shapes.len() - 1
        });
        nodes.names.push(name.to_string());
        nodes.machines.push(shape as u16);
    }
    if nodes.names.is_empty() { Err(FormatError { line: 2, column: 1, problem: Problem::Empty }) } else { Ok(nodes) }
}

fn number_of(model: &str, models: &mut Vec<String>) -> usize {
    models.iter().position(|known| known == model).unwrap_or_else(|| {
        models.push(model.to_string());
        models.len() - 1
    })
}

/// Reads a pod list; `models` are those of the nodes.
pub fn parse_pods(text: &str, models: &[String]) -> Result<Pods, FormatError> {
    let table = Table::new(text, &["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"])?;
    let times = ["creation_time", "deletion_time"].map(|name| table.column(name));
    let mut pods = Pods::default();
    for row in table.rows() {
        let name = row.text(0)?;
        let small = |index: usize| u32::try_from(row.number(index)?).map_err(|_| row.not_a_number(index));
        let (cpu, memory) = (small(1)?, small(2)?);
        let devices = u8::try_from(row.number(3)?).map_err(|_| row.not_a_number(3))?;
        let share = if devices == 0 { 0 } else { u16::try_from(row.number(4)?).map_err(|_| row.not_a_number(4))? };
        let mut kinds = KindSet::NONE;
        for model in row.text(5)?.split('|').map(str::trim).filter(|model| !model.is_empty()) {
            match models.iter().position(|known| known == model) {
                Some(kind) => kinds = kinds.with(kind as u8),
                None if pods.unknown_models.iter().any(|known| known == model) => {}
                None => pods.unknown_models.push(model.to_string()),
            }
        }
        let kinds = if row.text(5)?.trim().is_empty() { KindSet::ANY } else { kinds };
        let request = Request::new(cpu, memory, devices, share, kinds).map_err(|error| row.problem(3, Problem::Request(error)))?;
        let time = |at: Option<usize>| at.map_or(0.0, |at| row.field(at).and_then(|(_, text)| text.trim().parse().ok()).unwrap_or(0.0));
        pods.names.push(name.to_string());
        pods.requests.push(request);
        pods.times.push((time(times[0]) as u64, time(times[1]) as u64));
    }
    if pods.names.is_empty() { Err(FormatError { line: 2, column: 1, problem: Problem::Empty }) } else { Ok(pods) }
}

/// Machines in an order that depends on their names and the seed alone: the rank of each, for [`crate::packing::Fleet::new`].
pub fn ranks(names: &[String], seed: u64) -> Vec<u32> {
    let draw = |name: &String| {
        let mut mixed = Seeded(seed);
        name.bytes().fold(mixed.next_number(), |hash, byte| Seeded(hash ^ u64::from(byte)).next_number())
    };
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_by_key(|machine| (draw(&names[*machine as usize]), names[*machine as usize].as_str(), *machine));
    let mut ranks = vec![0; names.len()];
    order.iter().enumerate().for_each(|(rank, machine)| ranks[*machine as usize] = rank as u32);
    ranks
}

struct Table<'a> {
    text: &'a str,
    header: Vec<&'a str>,
    names: &'static [&'static str],
    columns: Vec<usize>,
}

struct Row<'a> {
    table: &'a Table<'a>,
    line: usize,
    text: &'a str,
}

impl<'a> Table<'a> {
    fn new(text: &'a str, names: &'static [&'static str]) -> Result<Table<'a>, FormatError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header: Vec<&str> = text.lines().next().unwrap_or("").split(',').map(str::trim).collect();
        let mut table = Table { text, header, names, columns: vec![] };
        for name in names {
            let missing = FormatError { line: 1, column: 1, problem: Problem::NoColumn(name) };
            table.columns.push(table.column(name).ok_or(missing)?);
        }
        Ok(table)
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| *column == name)
    }

    fn rows(&'a self) -> impl Iterator<Item = Row<'a>> {
        let rows = self.text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty());
        rows.map(|(index, text)| Row { table: self, line: index + 1, text })
    }
}

impl<'a> Row<'a> {
    /// Where a column starts, and its text.
    fn field(&self, column: usize) -> Option<(usize, &'a str)> {
        let mut start = 0;
        for (index, field) in self.text.split(',').enumerate() {
            if index == column {
                return Some((start, field));
            }
            start += field.chars().count() + 1;
        }
        None
    }

    fn problem(&self, index: usize, problem: Problem) -> FormatError {
        let column = self.field(self.table.columns[index]).map_or(self.text.chars().count(), |(start, _)| start);
        FormatError { line: self.line, column: column + 1, problem }
    }

    fn text(&self, index: usize) -> Result<&'a str, FormatError> {
        let field = self.field(self.table.columns[index]);
        field.map(|(_, text)| text).ok_or_else(|| self.problem(index, Problem::NoField { column: self.table.names[index] }))
    }

    fn number(&self, index: usize) -> Result<u64, FormatError> {
        self.text(index)?.trim().parse().map_err(|_| self.not_a_number(index))
    }

    fn not_a_number(&self, index: usize) -> FormatError {
        let found = self.text(index).unwrap_or("").trim().to_string();
        self.problem(index, Problem::NoNumber { column: self.table.names[index], found })
    }
}
