//! Devices to machines: who keeps its number stays, whole machines go to those who fill them, the rest is packed tightly.
//!
//! Numbers of devices come as powers of two up to a machine's, or as machines and a half (see [`parts`]). On alike machines
//! such numbers always fit if their sum does: at worst everything moves. So a machine is emptied only when somebody needs it
//! whole, the one whose people hold least first.

use super::job::{Seats, devices};

/// Numbers of devices worth considering, up to `most`: powers of two up to a machine's, then whole machines and halves between them, and
/// beyond sixteen machines ever larger steps.
pub fn parts(per_machine: u32, most: u32) -> Vec<u32> {
    let per = per_machine.max(1);
    let mut counts: Vec<u32> = std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count < per).collect();
    let (mut count, half) = (per, if per.is_multiple_of(2) { per / 2 } else { per });
    while count <= most {
        counts.push(count);
        count += if count < 16 * per { half } else { (count / 8).next_multiple_of(per) };
    }
    counts.retain(|count| *count <= most);
    counts
}

struct Rooms<'a> {
    machines: &'a [u32],
    free: Vec<u32>,
}

impl Rooms<'_> {
    fn take(&mut self, seats: &Seats) {
        for (machine, count) in seats {
            self.free[*machine] -= count;
        }
    }

    /// The machine with least room that has `count` free.
    fn tightest(&self, count: u32) -> Option<usize> {
        (0..self.free.len()).filter(|machine| self.free[*machine] >= count).min_by_key(|machine| (self.free[*machine], *machine))
    }

    /// On as few machines as can be: empty ones, and one with room for the rest.
    fn fit(&self, want: u32) -> Option<Seats> {
        if let Some(machine) = self.tightest(want) {
            return Some(vec![(machine, want)]);
        }
        let mut empty: Vec<usize> =
            (0..self.free.len()).filter(|machine| self.free[*machine] == self.machines[*machine] && self.free[*machine] > 0).collect();
        empty.sort_by_key(|machine| (std::cmp::Reverse(self.free[*machine]), *machine));
        let (mut seats, mut left) = (Seats::new(), want);
        for machine in empty {
            if left < self.free[machine] {
                break;
            }
            left -= self.free[machine];
            seats.push((machine, self.free[machine]));
            if left == 0 {
                return Some(seats);
            }
        }
        let rest = (0..self.free.len())
            .filter(|machine| self.free[*machine] >= left && !seats.iter().any(|(taken, _)| taken == machine))
            .min_by_key(|machine| (self.free[*machine], *machine))?;
        seats.push((rest, left));
        Some(seats)
    }

    /// Wherever there is room, most first; none if there is too little.
    fn scatter(&self, want: u32) -> Option<Seats> {
        let mut order: Vec<usize> = (0..self.free.len()).filter(|machine| self.free[*machine] > 0).collect();
        order.sort_by_key(|machine| (std::cmp::Reverse(self.free[*machine]), *machine));
        let (mut seats, mut left) = (Seats::new(), want);
        for machine in order {
            let count = left.min(self.free[machine]);
            seats.push((machine, count));
            left -= count;
            if left == 0 {
                return Some(seats);
            }
        }
        None
    }
}

/// Seats for jobs that hold `held` and shall hold `want` devices; none for one that finds no room (on machines that
/// are not alike). Their sum must not be more than there is.
pub fn seat(machines: &[u32], jobs: &[(&Seats, u32)]) -> Vec<Option<Seats>> {
    let mut kept: Vec<bool> = jobs.iter().map(|(held, want)| *want > 0 && devices(held) == *want).collect();
    loop {
        let mut rooms = Rooms { machines, free: machines.to_vec() };
        for (held, _) in jobs.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(job, _)| job) {
            rooms.take(held);
        }
        let mut order: Vec<usize> = (0..jobs.len()).filter(|job| !kept[*job] && jobs[*job].1 > 0).collect();
        order.sort_by_key(|job| (std::cmp::Reverse(jobs[*job].1), *job));
        let mut seats: Vec<Option<Seats>> = jobs
            .iter()
            .zip(&kept)
            .map(|((held, want), kept)| if *kept { Some((*held).clone()) } else { (*want == 0).then(Seats::new) })
            .collect();
        let mut emptied = false;
        for job in order {
            let found = rooms.fit(jobs[job].1);
            if found.is_none()
                && let Some(machine) = cheapest(&rooms, jobs, &kept)
            {
                for (other, kept) in kept.iter_mut().enumerate() {
                    *kept &= !jobs[other].0.iter().any(|(at, _)| *at == machine);
                }
                emptied = true;
                break;
            }
            let found = found.or_else(|| rooms.scatter(jobs[job].1));
            found.iter().for_each(|found| rooms.take(found));
            seats[job] = found;
        }
        if !emptied {
            return seats;
        }
    }
}

/// The machine to empty: the one where those who would move hold fewest devices in all.
fn cheapest(rooms: &Rooms<'_>, jobs: &[(&Seats, u32)], kept: &[bool]) -> Option<usize> {
    let mut cost = vec![0_u32; rooms.machines.len()];
    for (job, (held, want)) in jobs.iter().enumerate() {
        for (machine, _) in held.iter().filter(|_| kept[job]) {
            cost[*machine] += want;
        }
    }
    (0..cost.len()).filter(|machine| cost[*machine] > 0).min_by_key(|machine| (cost[*machine], *machine))
}
