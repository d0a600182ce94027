//! The curves of a comparison as a picture: held devices above, fragmented ones below, a line a policy.

use super::Outcome;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 40.0;
const GAP: f64 = 60.0;
/// Told apart by people who see red and green alike (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

struct Panel<'a> {
    title: &'a str,
    unit: &'a str,
    top: f64,
    lines: Vec<Line>,
}

/// An SVG document.
pub fn draw(outcomes: &[Outcome]) -> String {
    let churn = outcomes.iter().any(|outcome| outcome.churn.is_some());
    let lines = |fragmented: bool| -> Vec<Line> { outcomes.iter().map(|outcome| line(outcome, fragmented)).collect() };
    let unit = if churn { "days" } else { "% of the devices asked for so far" };
    let panels = [
        Panel { title: "Devices held, % of all", unit, top: TOP, lines: lines(false) },
        Panel { title: "Free but of no use to a typical request, % of all devices", unit, top: TOP + PANEL + GAP, lines: lines(true) },
    ];
    let height = TOP + 2.0 * PANEL + 2.0 * GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for panel in &panels {
        // Writing into a String does not fail.
        let _ = panel.draw(&mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(outcome: &Outcome, fragmented: bool) -> Line {
    let mut points = vec![];
    if let Some(fill) = &outcome.fill {
        let pick = |s: &cluster::replay::FillSample| (100.0 * s.arrived, 100.0 * if fragmented { s.fragmented } else { s.allocated });
        points = fill.curve.iter().map(pick).collect();
    }
    if let Some(churn) = &outcome.churn {
        let pick = |s: &cluster::replay::ChurnSample| (s.at as f64 / 86_400.0, 100.0 * if fragmented { s.fragmented } else { s.allocated });
        points = churn.samples.iter().map(pick).collect();
    }
    Line { name: outcome.policy.to_string(), points }
}

/// A round step that gives about five marks.
fn step(range: f64) -> f64 {
    let rough = (range / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(power)
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String) -> std::fmt::Result {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
        let (right, high) = (most(|point| point.0).max(1e-9), most(|point| point.1).max(1e-9) * 1.04);
        let x = |value: f64| LEFT + value / right * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| self.top + PANEL - value / high * PANEL;
        writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", self.top - 12.0, self.title)?;
        let mut mark = 0.0;
        while mark <= high {
            let at = y(mark);
            writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#ddd\"/>", WIDTH - RIGHT)?;
            writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, at + 4.0, number(mark))?;
            mark += step(high);
        }
        let mut mark = 0.0;
        while mark <= right {
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", x(mark), self.top + PANEL + 16.0, number(mark))?;
            mark += step(right);
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>", self.top + PANEL + 34.0, self.unit)?;
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<String> = line.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
            writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>", points.join(" "))?;
            let (left, at) = (WIDTH - RIGHT + 12.0, self.top + 14.0 + 18.0 * index as f64);
            writeln!(svg, "<text x=\"{left}\" y=\"{at}\" fill=\"{colour}\">{}</text>", line.name)?;
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value.fract().abs() < 1e-9 { format!("{value:.0}") } else { format!("{value:.1}") }
}
