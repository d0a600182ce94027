//! Policies by name.

use placement::packing::demand::Demand;
use placement::packing::policy::{Ashlar, BestFit, DotProd, Fgd, Packing, Random};
use placement::packing::{Cost, Course, Event, Fleet, Free, Request, Score, Shape, Spot};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    Ashlar,
    Fgd,
    BestFit,
    Packing,
    DotProd,
    Random,
}

impl PolicyName {
    pub const ALL: [PolicyName; 6] =
        [PolicyName::Ashlar, PolicyName::Fgd, PolicyName::BestFit, PolicyName::Packing, PolicyName::DotProd, PolicyName::Random];

    pub fn as_str(self) -> &'static str {
        match self {
            PolicyName::Ashlar => "ashlar",
            PolicyName::Fgd => "fgd",
            PolicyName::BestFit => "bestfit",
            PolicyName::Packing => "packing",
            PolicyName::DotProd => "dotprod",
            PolicyName::Random => "random",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{0}`")]
pub struct UnknownPolicy(pub String);

impl UnknownPolicy {
    pub fn hint(&self) -> String {
        format!("one of {}", PolicyName::ALL.map(PolicyName::as_str).join(", "))
    }
}

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<PolicyName, UnknownPolicy> {
        PolicyName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| UnknownPolicy(text.to_string()))
    }
}

/// What the ashlar policy may know before the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Knowledge {
    /// How often each request comes, as FGD knows it.
    Distribution,
    /// Nothing: it counts what comes and learns from it.
    Nothing,
}

/// A policy chosen at run time.
#[derive(Clone, Debug)]
pub enum AnyPolicy {
    Ashlar(Box<Ashlar>),
    Fgd(Fgd),
    BestFit(BestFit),
    Packing(Packing),
    DotProd(DotProd),
    Random(Random),
}

impl AnyPolicy {
    /// Gets a policy ready for a fleet. `progress` hears of each simulated day of learning.
    pub fn ready(
        name: PolicyName,
        fleet: &Fleet,
        demand: &Demand,
        (knowledge, course): (Knowledge, Course),
        progress: impl FnMut(u32, f64),
    ) -> AnyPolicy {
        match (name, knowledge) {
            (PolicyName::Ashlar, Knowledge::Distribution) => AnyPolicy::Ashlar(Box::new(Ashlar::knowing(fleet, demand, course, progress))),
            (PolicyName::Ashlar, Knowledge::Nothing) => AnyPolicy::Ashlar(Box::new(Ashlar::learning(fleet, course))),
            (PolicyName::Fgd, _) => AnyPolicy::Fgd(Fgd::new(demand)),
            (PolicyName::BestFit, _) => AnyPolicy::BestFit(BestFit),
            (PolicyName::Packing, _) => AnyPolicy::Packing(Packing),
            (PolicyName::DotProd, _) => AnyPolicy::DotProd(DotProd),
            (PolicyName::Random, _) => AnyPolicy::Random(Random),
        }
    }

    fn as_score(&self) -> &dyn Score {
        match self {
            AnyPolicy::Ashlar(policy) => &**policy,
            AnyPolicy::Fgd(policy) => policy,
            AnyPolicy::BestFit(policy) => policy,
            AnyPolicy::Packing(policy) => policy,
            AnyPolicy::DotProd(policy) => policy,
            AnyPolicy::Random(policy) => policy,
        }
    }
}

impl Score for AnyPolicy {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        match self {
            // The hot one without a second indirection.
            AnyPolicy::Ashlar(ashlar) => ashlar.cost(spot, request),
            _ => self.as_score().cost(spot, request),
        }
    }

    fn potential(&self, number: u16, shape: &Shape, free: &Free) -> f32 {
        self.as_score().potential(number, shape, free)
    }

    fn epoch(&self) -> u32 {
        self.as_score().epoch()
    }

    fn note(&mut self, event: &Event, load: (u64, u64)) {
        if let AnyPolicy::Ashlar(ashlar) = self {
            ashlar.note(event, load);
        }
    }

    fn study(&mut self, fleet: &Fleet) -> bool {
        match self {
            AnyPolicy::Ashlar(ashlar) => ashlar.study(fleet),
            _ => false,
        }
    }

    fn draws(&self) -> bool {
        self.as_score().draws()
    }
}
