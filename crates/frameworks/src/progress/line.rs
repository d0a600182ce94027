//! One printed line: which numbers in it tell of progress.

/// The longest line that is looked at, in bytes; a longer one is no line of progress.
const LONGEST: usize = 4096;

/// What a line says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    pub step: Option<u64>,
    pub steps: Option<u64>,
    pub epoch: Option<f64>,
    pub epochs: Option<u64>,
    pub loss: Option<f64>,
    /// Seconds left, as the program says.
    pub left: Option<u64>,
}

/// One word of a line with the characters around it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub word: &'a str,
    /// First byte of the word in its line.
    pub at: usize,
}

const STEPS: [&str; 11] =
    ["step", "steps", "global_step", "iter", "iteration", "iterations", "it", "batch", "update", "num_updates", "training_step"];
const LOSSES: [&str; 4] = ["loss", "train_loss", "training_loss", "lm_loss"];
const TOTALS: [&str; 4] = ["total", "steps", "max_steps", "total_steps"];

/// What a line says of progress, if anything.
pub fn read_line(text: &str) -> Option<Line> {
    if text.len() > LONGEST {
        return None;
    }
    let plain = without_escapes(text);
    let text = plain.trim();
    let mut line = if text.starts_with('{') && text.ends_with('}') { dictionary(text) } else { words(text) };
    line.loss = line.loss.filter(|loss| loss.is_finite());
    line.epoch = line.epoch.filter(|epoch| epoch.is_finite() && *epoch >= 0.0);
    line.steps = line.steps.filter(|steps| line.step.is_some_and(|step| *steps >= step && *steps > 0));
    line.epochs = line.epochs.filter(|epochs| line.epoch.is_some_and(|epoch| *epochs as f64 >= epoch));
    (line.step.is_some() || line.epoch.is_some() || line.loss.is_some()).then_some(line)
}

/// JSON, or a dictionary as Python prints it: `{'loss': 0.31, 'epoch': 0.5}`. Values that are no numbers are passed over.
fn dictionary(text: &str) -> Line {
    let mut line = Line::default();
    for part in text[1..text.len() - 1].split(',') {
        let Some((name, value)) = part.split_once(':') else { continue };
        let name = name.trim().trim_matches(['"', '\'']);
        let Ok(number) = value.trim().trim_matches(['"', '\'']).parse::<f64>() else { continue };
        let whole = (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64);
        match name {
            _ if LOSSES.contains(&name) => line.loss = Some(number),
            "epoch" => line.epoch = Some(number),
            "epochs" | "num_epochs" => line.epochs = whole,
            "left" | "eta_seconds" => line.left = whole,
            // What Trainer prints at the end: the mean of all, no step of its own.
            "train_runtime" => return Line::default(),
            _ if TOTALS.contains(&name) => line.steps = whole,
            _ if STEPS.contains(&name) => line.step = whole,
            _ => {}
        }
    }
    line
}

/// `step 120/1000 loss=0.31`, `Epoch 3/10`, bars of tqdm, Keras and Lightning, nanoGPT's and Megatron's lines.
fn words(text: &str) -> Line {
    let mut line = Line::default();
    let words = split(text);
    let bar = text.contains("%|") || text.contains('━') || text.contains("[=") || text.contains("=>");
    for (index, seen) in words.iter().enumerate() {
        let name = seen.word.to_ascii_lowercase();
        let after = |nth: usize| words.get(index + nth).map(|next| next.word);
        let pair = after(1).and_then(number).map(|first| (first, over(text, &words, index + 1)));
        match (name.as_str(), pair) {
            ("epoch", Some((epoch, of))) => (line.epoch, line.epochs) = (Some(epoch), of.or(line.epochs)),
            (name, Some((step, of))) if STEPS.contains(&name) && step >= 0.0 && step.fract() == 0.0 && !is_rate(text, seen) => {
                (line.step, line.steps) = (Some(step as u64), of.or(line.steps));
            }
            (name, Some((loss, None))) if is_loss(name, index, &words) => line.loss = line.loss.or(Some(loss)),
            _ => {}
        }
    }
    let known = line.step.is_some();
    if !known && (bar || line.loss.is_some() || text.starts_with('[')) {
        // A pair that nothing names counts where the rest of the line is one of progress.
        let named = |index: usize| index > 0 && words[index - 1].word.eq_ignore_ascii_case("epoch");
        let lone = (0..words.len()).filter(|index| !named(*index)).find_map(|index| {
            let first = words[index].word.parse::<u64>().ok()?;
            Some((first, over(text, &words, index)?))
        });
        (line.step, line.steps) = lone.map_or((None, None), |(step, of)| (Some(step), Some(of)));
    }
    line.left = remaining(text);
    line
}

/// Loss of the training: that of a validation, or of one part of it, is another curve.
fn is_loss(name: &str, index: usize, words: &[Seen]) -> bool {
    let before = index.checked_sub(1).map(|at| words[at].word.to_ascii_lowercase()).unwrap_or_default();
    LOSSES.contains(&name) && !["val", "valid", "validation", "eval", "test"].contains(&before.as_str())
}

/// `9.8 it/s` is a speed, not a step.
fn is_rate(text: &str, seen: &Seen) -> bool {
    text[seen.at + seen.word.len()..].starts_with('/')
}

/// The number after a slash that follows the word at `index`: `120/1000`, `100/  5000`. Not of dates or paths.
fn over(text: &str, words: &[Seen], index: usize) -> Option<u64> {
    let (first, second) = (words.get(index)?, words.get(index + 1)?);
    let between = text.get(first.at + first.word.len()..second.at)?;
    let before = text[..first.at].chars().next_back();
    let after = text[second.at + second.word.len()..].chars().next();
    let alone = before != Some('/') && after != Some('/');
    (alone && between.trim() == "/").then(|| second.word.parse().ok()).flatten()
}

/// tqdm's and Lightning's `[00:12<01:30, 9.8it/s]`.
fn remaining(text: &str) -> Option<u64> {
    let (_, after) = text.split_once('<')?;
    let end = after.find([',', ']'])?;
    let parts: Vec<&str> = after[..end].trim().split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    parts.iter().try_fold(0u64, |sum, part| sum.checked_mul(60)?.checked_add(part.parse::<u64>().ok().filter(|n| *n < 1_000_000)?))
}

fn number(word: &str) -> Option<f64> {
    word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')).then(|| word.parse().ok())?
}

/// Names and numbers; everything else parts them. A point, sign or exponent belongs to its number.
fn split(text: &str) -> Vec<Seen<'_>> {
    let mut words = vec![];
    let mut begin: Option<usize> = None;
    let bytes = text.as_bytes();
    for (at, c) in text.char_indices() {
        let digit_next = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        let in_number = begin.is_some_and(|from| bytes[from].is_ascii_digit() || matches!(bytes[from], b'-' | b'.' | b'+'));
        let part = match c {
            'a'..='z' | 'A'..='Z' | '_' => {
                !in_number || (matches!(c, 'e' | 'E') && bytes.get(at + 1).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+')))
            }
            '0'..='9' => true,
            '.' => digit_next && (in_number || begin.is_none()),
            '-' | '+' => digit_next && (begin.is_none() || (in_number && matches!(bytes[at - 1], b'e' | b'E'))),
            _ => false,
        };
        match (part, begin) {
            (true, None) => begin = Some(at),
            (false, Some(from)) => {
                words.push(Seen { word: &text[from..at], at: from });
                // A letter right after a number begins a word of its own: `9.8it`.
                begin = c.is_ascii_alphabetic().then_some(at);
            }
            _ => {}
        }
    }
    words.extend(begin.map(|from| Seen { word: &text[from..], at: from }));
    words
}

/// Colours and movements of the cursor say nothing.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // CSI: parameters up to a letter.
            if chars.next() == Some('[') {
                let _ = chars.find(|c| c.is_ascii_alphabetic());
            }
        } else if !c.is_control() || c == '\t' {
            plain.push(c);
        }
    }
    plain
}
