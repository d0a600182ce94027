//! XGBoost's collective training: a tracker beside rank 0, and a task number in every rank.
//!
//! Source: XGBoost's reference of `xgboost.tracker` and `xgboost.collective` (2.1 and later).

use super::{BARE, HOST, Place, Ports, Recipe, Wrapped, shell_before};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Xgboost,
    name: "xgboost",
    summary: "a tracker beside rank 0 and DMLC_* in every rank, for xgboost.collective",
    ports: Ports::One,
    fill,
    wrap,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    let Some(port) = place.port().filter(|_| place.ranks > 1) else { return };
    variables.fix("DMLC_TRACKER_URI", HOST, "the tracker runs beside rank 0");
    variables.fix("DMLC_TRACKER_PORT", port.to_string(), "leased for this attempt");
    variables.fix("DMLC_TASK_ID", place.rank.to_string(), "this rank");
    variables.fix("DMLC_NUM_WORKER", place.ranks.to_string(), "ranks of the gang");
}

/// The tracker reads where it serves from the variables of its rank.
const TRACKER: &str = "python3 -c 'import os
from xgboost.tracker import RabitTracker
tracker = RabitTracker(n_workers=int(os.environ[\"DMLC_NUM_WORKER\"]), host_ip=os.environ[\"DMLC_TRACKER_URI\"], port=int(os.environ[\"DMLC_TRACKER_PORT\"]))
tracker.start()
tracker.wait_for()' &";

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    if place.ranks < 2 || place.rank > 0 {
        return Wrapped { argv, why: None };
    }
    shell_before(TRACKER, argv, "the tracker that brings the workers together runs beside rank 0")
}
