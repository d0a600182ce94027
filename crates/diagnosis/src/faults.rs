//! Faults: from lines of logs to incidents that a person can act on.
//!
//! A line is read in whatever form it was kept ([`line`]), compared with a catalogue of classes and codes that is data
//! ([`Catalogue`]), and becomes an event; events of one kind at one place are one [`Incident`], and incidents that
//! follow from each other are linked ([`Engine`]). Nothing here opens a file or asks for the time.

mod catalogue;
mod codes;
mod engine;
mod event;
mod explain;
mod incident;
pub mod line;
mod place;
mod stream;

pub use catalogue::{Catalogue, CatalogueError};
pub use codes::Opinion;
pub use engine::{Engine, Limits, Report};
pub use explain::{Explanation, explain};
pub use incident::{Confidence, Evidence, Incident, Level, State};
pub use line::{Base, Moment, Speaker};
pub use place::Place;
pub use stream::Stream;
