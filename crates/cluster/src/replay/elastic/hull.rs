//! Between measured points: linear interpolation over the Delaunay tetrahedra of points in space.
//!
//! The tetrahedron that holds a point is the face of the lower hull of the points lifted to the paraboloid. So no
//! triangulation is built: the weights of its four corners are the solution of a linear programme with four equations (least
//! sum of lifted heights, weights that are not negative, add up to one and give the point), solved by the simplex method.

pub type Point = [f64; 3];

const TINY: f64 = 1e-9;
/// Pivots by steepest cost before turning to the rule of least index, which cannot cycle.
const FAST_PIVOTS: usize = 200;
const MOST_PIVOTS: usize = 5000;

/// Weights of at most four of the points whose mean is `at`; none outside their hull.
pub fn weights(points: &[Point], at: Point) -> Option<Vec<(usize, f64)>> {
    let lift = |p: &Point| p.iter().zip(at).map(|(x, o)| (x - o) * (x - o)).sum::<f64>();
    let heights: Vec<f64> = points.iter().map(lift).collect();
    if let Some(same) = heights.iter().position(|height| *height < 1e-12) {
        return Some(vec![(same, 1.0)]);
    }
    // Columns are relative to the point, so the right side is (0, 0, 0, 1). Starts with four artificial columns, which cost
    // more than any way through real ones.
    let dear = heights.iter().fold(1.0_f64, |a, b| a.max(*b)) * 1e4;
    let column = |index: usize| match index.checked_sub(4) {
        Some(real) => {
            let p = points[real];
            [p[0] - at[0], p[1] - at[1], p[2] - at[2], 1.0]
        }
        None => std::array::from_fn(|row| f64::from(u8::from(row == index))),
    };
    let cost = |index: usize| index.checked_sub(4).map_or(dear, |real| heights[real]);
    let mut basis = [0, 1, 2, 3];
    let mut inverse: [[f64; 4]; 4] = std::array::from_fn(|row| std::array::from_fn(|c| f64::from(u8::from(row == c))));
    let mut solution = [0.0, 0.0, 0.0, 1.0];
    for pivot in 0..MOST_PIVOTS {
        let prices: [f64; 4] = std::array::from_fn(|c| (0..4).map(|row| cost(basis[row]) * inverse[row][c]).sum());
        let gain = |index: usize| cost(index) - column(index).iter().zip(prices).map(|(a, b)| a * b).sum::<f64>();
        let scale = TINY * dear;
        let entering = if pivot < FAST_PIVOTS {
            (4..points.len() + 4).map(|index| (index, gain(index))).min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, gain)| *gain < -scale)
        } else {
            (4..points.len() + 4).map(|index| (index, gain(index))).find(|(_, gain)| *gain < -scale)
        };
        let Some((entering, _)) = entering else { break };
        let new = column(entering);
        let along: [f64; 4] = std::array::from_fn(|row| (0..4).map(|c| inverse[row][c] * new[c]).sum());
        let ratio = |row: usize| solution[row] / along[row];
        let leaving =
            (0..4).filter(|row| along[*row] > 1e-10).min_by(|a, b| ratio(*a).total_cmp(&ratio(*b)).then(basis[*a].cmp(&basis[*b])))?;
        let step = ratio(leaving);
        for row in 0..4 {
            solution[row] -= step * along[row];
        }
        solution[leaving] = step;
        let pivot_row = inverse[leaving].map(|value| value / along[leaving]);
        for row in 0..4 {
            if row != leaving {
                for c in 0..4 {
                    inverse[row][c] -= along[row] * pivot_row[c];
                }
            }
        }
        inverse[leaving] = pivot_row;
        basis[leaving] = entering;
    }
    let outside = basis.iter().zip(solution).any(|(index, weight)| *index < 4 && weight > 1e-6);
    let corners = basis.iter().zip(solution).filter(|(index, weight)| **index >= 4 && *weight > 0.0);
    (!outside).then(|| corners.map(|(index, weight)| (index - 4, weight)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(points: &[Point], at: Point, of: impl Fn(&Point) -> f64) -> Option<f64> {
        Some(weights(points, at)?.iter().map(|(index, weight)| weight * of(&points[*index])).sum())
    }

    fn grid() -> Vec<Point> {
        (0..60).map(|n| [f64::from(n % 4), f64::from(n / 4 % 5) * 3.0, f64::from(n / 20) * 100.0]).collect()
    }

    #[test]
    fn corners_are_themselves_and_what_is_linear_is_met_exactly() {
        let points = grid();
        assert_eq!(weights(&points, points[17]), Some(vec![(17, 1.0)]));
        let plane = |p: &Point| 2.0 * p[0] - 0.5 * p[1] + 0.01 * p[2] + 7.0;
        for at in [[0.5, 1.0, 50.0], [2.9, 11.9, 199.0], [1.0, 6.0, 42.0], [0.0, 0.0, 1.0], [1.5, 3.0, 0.0]] {
            let found = mean(&points, at, plane).unwrap();
            assert!((found - plane(&at)).abs() < 1e-6, "{at:?}: {found}");
        }
    }

    #[test]
    fn only_the_corners_around_count() {
        let points = grid();
        for (index, weight) in weights(&points, [1.2, 4.0, 130.0]).unwrap() {
            let corner = points[index];
            assert!(weight > 0.0 && weight <= 1.0);
            assert!((1.0..=2.0).contains(&corner[0]) && (3.0..=6.0).contains(&corner[1]) && corner[2] >= 100.0, "{corner:?}");
        }
    }

    #[test]
    fn outside_is_outside() {
        let points = grid();
        for at in [[-0.1, 1.0, 50.0], [3.1, 1.0, 50.0], [1.0, 12.5, 50.0], [1.0, 1.0, 201.0]] {
            assert_eq!(weights(&points, at), None, "{at:?}");
        }
        assert_eq!(weights(&[], [0.0; 3]), None);
        assert_eq!(weights(&[[0.0; 3], [1.0; 3]], [0.5, 0.5, 0.6]), None);
        assert!((mean(&[[0.0; 3], [1.0; 3]], [0.5; 3], |p| p[0]).unwrap() - 0.5).abs() < 1e-9, "on a line");
    }
}
