//! Linear programmes of the form: most `c x` with `A x <= b`, `x >= 0`, where no `b` is negative. The simplex method on a dense table.
//!
//! Time shares are a few hundred such variables. The prices (one a row) that come with the solution prove it: they
//! are not negative, no column is worth more than it costs, and they cost together what the solution is worth.

/// A solution and the prices of its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    pub x: Vec<f64>,
    pub prices: Vec<f64>,
    pub worth: f64,
}

const TINY: f64 = 1e-9;
/// Pivots by steepest cost, for each row and column, before turning to the rule of least index, which cannot cycle.
const FAST: usize = 4;
const MOST: usize = 200;

/// None where `x` has no bound, or `b` is negative.
pub fn solve(rows: &[Vec<f64>], b: &[f64], c: &[f64]) -> Option<Solution> {
    let (m, n) = (rows.len(), c.len());
    if b.iter().any(|b| *b < 0.0) || rows.iter().any(|row| row.len() != n) || b.len() != m {
        return None;
    }
    // A dictionary: each row is a variable of the basis in terms of those outside it; the last row is the worth.
    let width = n + 1;
    let mut table: Vec<f64> = Vec::with_capacity((m + 1) * width);
    for (row, b) in rows.iter().zip(b) {
        table.extend_from_slice(row);
        table.push(*b);
    }
    table.extend(c.iter().map(|c| -c));
    table.push(0.0);
    // Variables 0 to n are x, those from n on what the rows leave.
    let mut outside: Vec<usize> = (0..n).collect();
    let mut basis: Vec<usize> = (n..n + m).collect();
    for pivot in 0..MOST * (m + n) {
        let goal = &table[m * width..m * width + n];
        let gains = (0..n).filter(|column| goal[*column] < -TINY);
        let column = if pivot < FAST * (m + n) {
            gains.min_by(|a, b| goal[*a].total_cmp(&goal[*b]))
        } else {
            gains.min_by_key(|column| outside[*column])
        };
        let Some(column) = column else { break };
        let ratio = |row: usize| table[row * width + n] / table[row * width + column];
        let row = (0..m)
            .filter(|row| table[row * width + column] > TINY)
            .min_by(|a, b| ratio(*a).total_cmp(&ratio(*b)).then(basis[*a].cmp(&basis[*b])))?;
        turn(&mut table, width, m, (row, column));
        std::mem::swap(&mut basis[row], &mut outside[column]);
    }
    let (mut x, mut prices) = (vec![0.0; n], vec![0.0; m]);
    for (row, variable) in basis.iter().enumerate().filter(|(_, variable)| **variable < n) {
        x[*variable] = table[row * width + n].max(0.0);
    }
    for (column, variable) in outside.iter().enumerate().filter(|(_, variable)| **variable >= n) {
        prices[variable - n] = table[m * width + column].max(0.0);
    }
    Some(Solution { x, prices, worth: table[m * width + n] })
}

/// The variable of a row and that of a column change places.
fn turn(table: &mut [f64], width: usize, m: usize, (row, column): (usize, usize)) {
    let by = table[row * width + column];
    for entry in &mut table[row * width..(row + 1) * width] {
        *entry /= by;
    }
    table[row * width + column] = 1.0 / by;
    let (before, rest) = table.split_at_mut(row * width);
    let (pivot, after) = rest.split_at_mut(width);
    debug_assert_eq!(after.len(), (m - row) * width);
    for other in before.chunks_exact_mut(width).chain(after.chunks_exact_mut(width)) {
        let factor = other[column];
        if factor.abs() < 1e-14 {
            other[column] = 0.0;
            continue;
        }
        for (entry, pivot) in other.iter_mut().zip(pivot.iter()) {
            *entry -= factor * pivot;
        }
        other[column] = -factor / by;
    }
}
