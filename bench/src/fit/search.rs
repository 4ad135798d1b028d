//! The search for the least cost: Nelder and Mead's simplex, started anew from its best point.

use std::cell::Cell;

use argmin::{
    core::{CostFunction, Executor, State},
    solver::neldermead::NelderMead,
};

/// A cost and the point where it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) point: Vec<f64>,
    pub(super) cost: f64,
    /// Costs that were computed.
    pub(super) evaluations: u64,
}

/// Sides of the first simplex of each start. The points are logarithms: the first looks within a third of where it
/// begins, the later ones nearer, for a simplex that collapsed where the cost is rough.
const SIDES: [f64; 4] = [0.3, 0.15, 0.1, 0.05];
/// Iterations of each start. More than the last start ever needed.
const ITERATIONS: u64 = 150;
/// A simplex whose costs differ by less has found what there is to find.
const TOLERANCE: f64 = 1e-4;

struct Problem<'a, F> {
    cost: &'a F,
    evaluations: &'a Cell<u64>,
}

impl<F: Fn(&[f64]) -> f64> CostFunction for Problem<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, point: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        self.evaluations.set(self.evaluations.get() + 1);
        Ok((self.cost)(point))
    }
}

/// Looks for the least cost from `start`; `on_start` is called before each of the starts with the best cost so far.
pub(super) fn least(start: Vec<f64>, cost: impl Fn(&[f64]) -> f64) -> Found {
    let evaluations = Cell::new(0);
    let (mut point, mut least) = (start, f64::INFINITY);
    for side in SIDES {
        let solver = NelderMead::new(simplex(&point, side))
            .with_sd_tolerance(TOLERANCE)
            .expect("the tolerance is positive");
        let problem = Problem {
            cost: &cost,
            evaluations: &evaluations,
        };
        let run = Executor::new(problem, solver)
            .configure(|state| state.max_iters(ITERATIONS))
            .run()
            .expect("a cost is always computed");
        let state = run.state();
        if let Some(best) = state.get_best_param()
            && state.get_best_cost() < least
        {
            (point, least) = (best.clone(), state.get_best_cost());
        }
    }
    Found {
        point,
        cost: least,
        evaluations: evaluations.get(),
    }
}

fn simplex(point: &[f64], side: f64) -> Vec<Vec<f64>> {
    let corner = |moved: usize| {
        let mut corner = point.to_vec();
        corner[moved] += side;
        corner
    };
    let corners = (0..point.len()).map(corner);
    std::iter::once(point.to_vec()).chain(corners).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_a_curved_valley_is_found() {
        let valley = |x: &[f64]| {
            let bend = x[1] - x[0] * x[0];
            (1.0 - x[0]).powi(2) + 100.0 * bend * bend
        };
        let found = least(vec![-1.0, 1.5], valley);
        assert!(found.cost < 1e-3, "{found:?}");
        assert!(
            (found.point[0] - 1.0).abs() < 0.05 && found.evaluations < 1_500,
            "{found:?}"
        );
    }
}
