//! TensorFlow's distribution strategies: the cluster in one variable.
//!
//! Every worker listens on a port of its own. Source: TensorFlow's guide "Distributed training", "Setting up the TF_CONFIG
//! environment variable".

use super::{BARE, Place, Ports, Recipe};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Tensorflow,
    name: "tensorflow",
    summary: "TF_CONFIG for MultiWorkerMirroredStrategy(), one worker a rank",
    ports: Ports::EachRank,
    fill,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    // A worker alone works without a cluster, and MultiWorkerMirroredStrategy takes that for one worker.
    if place.ranks < 2 {
        return;
    }
    let workers: Vec<String> = place.addresses().iter().map(|address| format!("\"{address}\"")).collect();
    let task = format!("{{\"type\": \"worker\", \"index\": {}}}", place.rank);
    let config = format!("{{\"cluster\": {{\"worker\": [{}]}}, \"task\": {task}}}", workers.join(", "));
    variables.fix("TF_CONFIG", config, "every rank is a worker and listens on a leased port of its own");
}
