//! Packing many machines: which devices of which machine a request gets.
//!
//! Where [`crate::plan`] decides everything about a few machines, this decides one thing about up to 100,000 of
//! them: where a request that may start now does the least harm to those that come later. Whole and shared devices,
//! typed device models, several resources; a request is placed whenever it fits anywhere.
//!
//! ```text
//! request ── filter: does it fit ── group: machines of equal free state, once ── score: cost by the policy ── pack: cheapest, which devices
//!                                                                                  │
//!                                              reserve: prices of scarce models ───┘          preempt: moves of what runs, when they pay
//! ```
//!
//! Every stage is a small function over [`Free`] and [`Request`]. A new policy is a new [`Score`]; a new constraint is a
//! line in `filter`. [`audit`] replays decisions and trusts nothing of this.

pub mod audit;
mod cache;
pub mod demand;
mod filter;
mod fleet;
mod group;
mod learn;
mod measure;
mod model;
pub mod openb;
mod pack;
pub mod policy;
mod preempt;
mod reserve;
mod score;
mod values;

pub use filter::{fits, fits_empty, shared_choices};
pub use fleet::{Fleet, Mark, PackError};
pub use group::Groups;
pub use learn::{Course, Learner};
pub use measure::{Fragmentation, allocated, fragment};
pub use model::{Free, KindSet, MAX_DEVICES, MAX_KINDS, Placement, Request, RequestError, Shape, WHOLE};
pub use pack::{Packer, Seeded};
pub use preempt::{Move, Running, best_moves};
pub use score::{Cost, Event, Score, Spot};
pub use values::{Moment, Values};
