//! Horovod with gloo: `horovodrun` serves the rendezvous of its ranks, and is put before a command that lacks it.
//!
//! Source: Horovod's documentation, "Run Horovod".

use super::{BARE, Once, Place, Recipe, Sees, Wrapped};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Horovod,
    name: "horovod",
    summary: "horovodrun once, with gloo; added where the command lacks it",
    sees: Sees::Run,
    once: Once::Always,
    fill,
    wrap,
    ..BARE
};

fn fill(variables: &mut Variables, _: &Place) {
    variables.set("HOROVOD_GLOO_IFACE", "lo", "all ranks are on this machine");
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let (ranks, hosts) = (place.ranks.to_string(), format!("localhost:{}", place.ranks));
    let ours = ["--gloo", "-np", ranks.as_str(), "-H", hosts.as_str()].map(String::from);
    match place.launcher {
        Some(_) => place.after_launcher(argv, &ours, "horovodrun is told how many ranks"),
        None if place.ranks < 2 => Wrapped { argv, why: None },
        None => {
            let whole = std::iter::once("horovodrun".to_string()).chain(ours).chain(argv).collect();
            Wrapped { argv: whole, why: Some("horovodrun brings the ranks together") }
        }
    }
}
