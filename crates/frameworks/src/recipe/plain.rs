//! Only Ashlar's own variables.

use super::{BARE, Place, Recipe};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Plain,
    name: "plain",
    summary: "Ashlar's own variables; ASHLAR_RENDEZVOUS where several ranks meet",
    fill,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    if let (Some(address), 2..) = (place.address(), place.ranks) {
        variables.fix("ASHLAR_RENDEZVOUS", address, "leased for this attempt: rank 0 may listen there, the others connect");
    }
}
