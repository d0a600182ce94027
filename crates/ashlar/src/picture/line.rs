//! Lines of coloured text that know how wide they are.

use owo_colors::{AnsiColors, OwoColorize};

/// What a piece of text is; how that looks depends on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Strong,
    Faint,
    Bad,
    /// Belongs to the run with this number.
    Holder(usize),
}

/// Told apart on dark and light ground; neither black, white nor the red of faults.
const COLOURS: [AnsiColors; 10] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightCyan,
    AnsiColors::BrightYellow,
    AnsiColors::BrightGreen,
    AnsiColors::BrightMagenta,
    AnsiColors::BrightBlue,
];

/// How the terminal is drawn on.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub width: usize,
    pub colour: bool,
    pub unicode: bool,
}

impl Style {
    /// One of two spellings.
    pub fn pick<'t>(self, unicode: &'t str, ascii: &'t str) -> &'t str {
        if self.unicode { unicode } else { ascii }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(String, Paint)>);

impl Line {
    pub fn new() -> Line {
        Line::default()
    }

    /// Adds text. Names come from drivers and from people, so control characters, which could drive the terminal, become `?`.
    pub fn add(&mut self, paint: Paint, text: impl AsRef<str>) -> &mut Line {
        let text: String = text.as_ref().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        match self.0.last_mut() {
            Some((last, same)) if *same == paint => last.push_str(&text),
            _ => self.0.push((text, paint)),
        }
        self
    }

    pub fn append(&mut self, other: Line) -> &mut Line {
        for (text, paint) in other.0 {
            self.add(paint, text);
        }
        self
    }

    /// Terminal columns.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| width(text)).sum()
    }

    /// Spaces up to a column.
    pub fn pad(&mut self, column: usize) -> &mut Line {
        let missing = column.saturating_sub(self.width());
        self.add(Paint::Plain, " ".repeat(missing))
    }

    /// Cut to `most` columns; a mark shows that something is missing.
    pub fn fit(self, most: usize, style: Style) -> Line {
        if self.width() <= most {
            return self;
        }
        let mark = style.pick("…", "~");
        let mut room = most.saturating_sub(width(mark));
        let mut fitted = Line::new();
        for (text, paint) in self.0 {
            let part = cut(&text, room);
            room -= width(part);
            fitted.add(paint, part);
            if part.len() < text.len() {
                break;
            }
        }
        fitted.add(Paint::Faint, mark);
        fitted
    }

    pub fn print(&self, style: Style, out: &mut String) {
        let last = self.0.len().saturating_sub(1);
        for (at, (text, paint)) in self.0.iter().enumerate() {
            let text = if at == last { text.trim_end() } else { text };
            match paint {
                _ if !style.colour || text.is_empty() => out.push_str(text),
                Paint::Plain => out.push_str(text),
                Paint::Strong => out.push_str(&text.bold().to_string()),
                Paint::Faint => out.push_str(&text.dimmed().to_string()),
                Paint::Bad => out.push_str(&text.red().to_string()),
                Paint::Holder(run) => out.push_str(&text.color(COLOURS[run % COLOURS.len()]).to_string()),
            }
        }
        out.push('\n');
    }
}

/// The longest start of `text` that is at most `most` columns wide.
fn cut(text: &str, most: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += columns(c);
        if used > most {
            return &text[..at];
        }
    }
    text
}

/// Terminal columns of a text.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// East Asian wide characters and emoji take two columns, combining marks none (Unicode's East Asian Width, in the ranges
/// that names are written with).
fn columns(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}
