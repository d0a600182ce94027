//! Preempt: moves of running work that can be moved, when they pay.
//!
//! A move is a placement taken back and decided again. It pays when the fleet's cost falls by more than a move costs.

use crate::packing::model::{Placement, Request};
use crate::packing::pack::Packer;
use crate::packing::score::Score;

/// Something that runs and may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub id: u64,
    pub request: Request,
    pub at: Placement,
}

/// One move, verified: the place was free when it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    pub id: u64,
    pub from: Placement,
    pub to: Placement,
    /// By how much the cost of the fleet falls, in the policy's terms.
    pub gain: f32,
}

/// The best moves among `running`, one after the other, `most` at most, each of a gain of at least `least`. Applied to the
/// fleet as they are found, so that they hold together; the caller carries them out.
pub fn best_moves<S: Score>(packer: &mut Packer<S>, running: &mut [Running], most: usize, least: f32) -> Vec<Move> {
    let mut gains: Vec<(f32, usize)> = vec![];
    for (index, run) in running.iter().enumerate() {
        if let Some(found) = packer.move_of(run)
            && found.gain >= least
        {
            gains.push((found.gain, index));
        }
    }
    gains.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut moves = vec![];
    for (_, index) in gains {
        if moves.len() == most {
            break;
        }
        // An earlier move may have changed what this one is worth.
        let Some(found) = packer.move_of(&running[index]).filter(|found| found.gain >= least) else { continue };
        if packer.carry_out(&running[index].request, &found) {
            running[index].at = found.to;
            moves.push(found);
        }
    }
    moves
}

impl<S: Score> Packer<S> {
    /// What the best other place for a run gains.
    fn move_of(&mut self, run: &Running) -> Option<Move> {
        let mark = self.fleet_mut().mark();
        let found = self.fleet_mut().release(&run.request, run.at).ok().and_then(|()| {
            let here = self.cost_at(&run.request, run.at)?;
            let (to, cost) = self.cheapest(&run.request)?;
            (to.machine != run.at.machine).then_some(Move { id: run.id, from: run.at, to, gain: here - cost })
        });
        self.fleet_mut().undo(mark);
        found
    }

    fn carry_out(&mut self, request: &Request, found: &Move) -> bool {
        let mark = self.fleet_mut().mark();
        let done = self.fleet_mut().release(request, found.from).is_ok() && self.fleet_mut().place(request, found.to).is_ok();
        if done {
            self.fleet_mut().keep(mark)
        } else {
            self.fleet_mut().undo(mark)
        }
        done
    }
}
