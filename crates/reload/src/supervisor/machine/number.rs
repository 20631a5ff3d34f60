//! How many children there are to be, and of which version: during a round, for those that died, and for those that have
//! asked for a successor.

use std::time::Instant;

use super::member::{Member, Step};
use super::{Hold, Machine, Notice, Version, Why, World};

impl Machine {
    pub(super) fn go_on_with_round(&mut self, now: Instant, world: &mut impl World) {
        let Some(round) = &self.round else { return };
        let version = round.version.clone();
        let old = self.serving().any(|(generation, _)| generation < version.generation);
        let new = self.serving().filter(|(generation, _)| *generation == version.generation).count();
        if new >= self.workers {
            let before = round.before;
            self.round = None;
            for member in &mut self.members {
                if member.is_ready() && member.generation() < version.generation {
                    member.leave(Step::Drained, now, &self.options, world);
                }
            }
            if let Some(old) = before {
                world.tell(Notice::Swapped { old, new: version.generation });
            }
            return;
        }
        let proven = self.proven.as_ref().is_some_and(|proven| proven.generation == version.generation);
        // One alone shows whether it can start at all, and while something old serves there is no hurry.
        let most = if old || !proven { 1 } else { self.workers - new };
        while self.round.is_some() && self.hold == Hold::No && self.starting() < most {
            self.start(&version, now, world);
        }
    }

    pub(super) fn keep_number(&mut self, now: Instant, world: &mut impl World) {
        if self.round.is_some() {
            return;
        }
        let Some(version) = self.proven.clone() else { return };
        // Where a successor serves, whoever asked for one goes.
        while self.serving().count() > self.workers {
            let Some(retiring) = self.members.iter_mut().find(|member| member.is_retiring()) else { break };
            retiring.leave(Step::Drained, now, &self.options, world);
        }
        while self.hold == Hold::No && self.starting() + self.serving().count() < self.number() {
            self.start(&version, now, world);
        }
        let mut excess = (self.starting() + self.serving().count()).saturating_sub(self.number());
        while excess > 0 {
            excess -= 1;
            let starting = self.members.iter().position(Member::is_starting);
            let Some(index) = starting.or_else(|| self.members.iter().position(Member::is_ready)) else { return };
            let step = if starting.is_some() { Step::Abandoned } else { Step::Drained };
            self.members[index].leave(step, now, &self.options, world);
        }
    }

    /// How many children there should be now: one more than workers for whoever has asked for a successor. One after the
    /// other, since they may all ask at the same time.
    fn number(&self) -> usize {
        let successor = self.successor_at.is_none() && self.members.iter().any(Member::is_retiring);
        self.workers + usize::from(successor)
    }

    fn starting(&self) -> usize {
        self.members.iter().filter(|member| member.is_starting()).count()
    }

    fn start(&mut self, version: &Version, now: Instant, world: &mut impl World) {
        self.ids += 1;
        let id = self.ids;
        match world.start(id, version.generation, &version.program) {
            Ok(()) => self.members.push(Member::new(id, version.clone(), now, &self.options)),
            Err(error) => self.failed(id, version.generation, Why::NotStarted(error), now, world),
        }
    }
}
