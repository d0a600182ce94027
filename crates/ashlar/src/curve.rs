//! A curve of the loss as text.

/// Lines of the plot.
const HEIGHT: usize = 6;

/// Draws points (step, loss) at most `width` columns wide, labels included; empty for fewer than two points.
pub fn draw(points: &[(u64, f64)], width: usize) -> Vec<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return vec![] };
    if points.len() < 2 || last.0 <= first.0 {
        return vec![];
    }
    let losses = points.iter().map(|point| point.1);
    let (low, high) = losses.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), loss| (low.min(loss), high.max(loss)));
    let labels = [number(high), number(low)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0) + 2;
    let columns = width.saturating_sub(margin).clamp(8, 72).min(points.len().max(8));
    let mut rows = vec![vec![' '; columns]; HEIGHT];
    for (column, loss) in means(points, columns) {
        let part = if high > low { (high - loss) / (high - low) } else { 0.5 };
        let row = (part * (HEIGHT - 1) as f64).round() as usize;
        rows[row.min(HEIGHT - 1)][column] = '*';
    }
    let label = |row: usize| match row {
        0 => labels[0].as_str(),
        _ if row == HEIGHT - 1 => labels[1].as_str(),
        _ => "",
    };
    let mut lines: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(row, cells)| format!("{:>1$} |{2}", label(row), margin - 2, cells.iter().collect::<String>()).trim_end().to_string())
        .collect();
    let ends = (first.0.to_string(), last.0.to_string());
    lines.push(format!("{:>1$}  {2}{3:>4$}", "", margin - 2, ends.0, ends.1, columns.saturating_sub(ends.0.len())));
    lines
}

/// The mean of the points in each column that has any.
fn means(points: &[(u64, f64)], columns: usize) -> Vec<(usize, f64)> {
    let (from, to) = (points[0].0 as f64, points[points.len() - 1].0 as f64);
    let mut sums = vec![(0.0, 0u32); columns];
    for (step, loss) in points {
        let column = ((*step as f64 - from) / (to - from) * (columns - 1) as f64).round().max(0.0) as usize;
        let sum = &mut sums[column.min(columns - 1)];
        *sum = (sum.0 + loss, sum.1 + 1);
    }
    let mean = |(column, (sum, count)): (usize, (f64, u32))| (count > 0).then(|| (column, sum / f64::from(count)));
    sums.into_iter().enumerate().filter_map(mean).collect()
}

/// Four figures, as short as they can be.
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let text = format!("{value:.4}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if text.is_empty() || text == "-" { "0".into() } else { text.into() };
    }
    format!("{value:.2e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_falls() {
        let points: Vec<(u64, f64)> = (1..=60).map(|step| (step, 4.0 / step as f64)).collect();
        insta::assert_snapshot!(draw(&points, 50).join("\n"), @r"
             4 |*
               |
               |
               | *
               |  ****
        0.0667 |      ************************************
                1                                       60
        ");
    }

    #[test]
    fn what_cannot_be_drawn_is_not() {
        assert!(draw(&[], 80).is_empty() && draw(&[(1, 2.0)], 80).is_empty());
        assert!(draw(&[(1, 2.0), (1, 3.0)], 80).is_empty());
        assert_eq!(draw(&[(1, 2.0), (2, 2.0)], 1).len(), HEIGHT + 1);
        assert_eq!([number(0.0), number(0.31), number(1e-5), number(123456.0), number(-2.5)], ["0", "0.31", "1.00e-5", "1.23e5", "-2.5"]);
    }

    proptest::proptest! {
        #[test]
        fn any_curve_fits(steps in proptest::collection::btree_map(0u64..1_000_000, -1e9f64..1e9, 0..40), width in 0usize..200) {
            let points: Vec<(u64, f64)> = steps.into_iter().collect();
            for line in draw(&points, width) {
                proptest::prop_assert!(line.chars().count() <= width.max(24));
            }
        }
    }
}
