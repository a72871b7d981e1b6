//! From decisions to the kernel's program: architecture first, then a tree over
//! ranges of numbers, at whose leaves arguments are looked at.
//!
//! A launch pays for each instruction, since the kernel compiles them, and for
//! each step on the way of each number, since it runs through all of them once to
//! find those that are always allowed. So a program is short before it is shallow:
//! what answers alike is there once, and is jumped to.
//!
//! It is put together from its end: jumps only go forward, so that whatever is
//! jumped to is there already and its distance known.

use super::{
    Architecture, Check, Decision, Filter, Instruction, Program, Test,
    bpf::{
        AND, ARCHITECTURE, ARGUMENTS, Ear, JUMP, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL,
        LOAD, NUMBER, RETURN, action,
    },
    filter::{FOREIGN, OF_X32, UNKNOWN, X32},
};

/// So few numbers are looked for one by one.
const FEW: usize = 4;

/// Which half of which secret address an instruction compares with.
type Secret = usize;

/// Where a jump leads: to an answer, or to what is there already, counted from
/// the program's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Return(u32),
    There(usize),
}

/// What becomes of a range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'a> {
    To(Target),
    Look(&'a Decision),
}

/// A range of numbers, up to the next one's first.
#[derive(Clone, Copy, Debug)]
struct Range<'a> {
    first: u32,
    fate: Fate<'a>,
    /// How much it counts that it is found soon.
    weight: u32,
}

impl Filter {
    /// The program for the kernel. Equal filters give equal programs.
    ///
    /// # Panics
    /// Never for the decisions that this crate makes: a filter is shorter than the
    /// longest program; tests compile every one there is.
    #[must_use]
    pub fn compile(&self) -> Program {
        let mut code = Code {
            ear: self.ear,
            ..Code::default()
        };
        let known = code.tree(&self.ranges());
        let known = code.load(NUMBER, known);
        let foreign = Target::Return(action(FOREIGN, self.ear));
        let known = code.test(JUMP_IF_EQUAL, self.architecture.audit(), known, foreign);
        code.load(ARCHITECTURE, known);
        code.finish()
    }

    /// What becomes of each range of numbers. Neighbours with one fate are one range.
    fn ranges(&self) -> Vec<Range<'_>> {
        /// A call whose arguments are looked at is looked up whenever it is made;
        /// of the others the kernel remembers those that it allows.
        const LOOKED_AT: u32 = 8;
        let to = |verdict| Fate::To(Target::Return(action(verdict, self.ear)));
        let mut ranges: Vec<Range<'_>> = Vec::with_capacity(self.decisions.len());
        let mut put = |first, count, fate| match ranges.last_mut() {
            Some(last) if last.fate == fate => last.weight += count,
            _ => ranges.push(Range {
                first,
                fate,
                weight: match fate {
                    Fate::To(_) => count,
                    Fate::Look(_) => count + LOOKED_AT,
                },
            }),
        };
        let mut next = 0;
        for (number, decision) in &self.decisions {
            if *number > next {
                put(next, *number - next, to(UNKNOWN));
            }
            let fate = match decision.clauses.as_slice() {
                [] => to(decision.otherwise),
                _ => Fate::Look(decision),
            };
            put(*number, 1, fate);
            next = number + 1;
        }
        put(next, 1, to(UNKNOWN));
        if self.architecture == Architecture::X86_64 {
            put(X32, 1, to(OF_X32));
        }
        ranges
    }
}

/// A program, its last instruction first.
#[derive(Debug, Default)]
struct Code<'a> {
    ear: Ear,
    reversed: Vec<Instruction>,
    /// Answers that are there, each where it was put last.
    answers: Vec<(u32, usize)>,
    /// Looks at arguments that are there.
    looks: Vec<(&'a Decision, Target)>,
    secrets: [Option<usize>; 4],
}

impl<'a> Code<'a> {
    fn finish(self) -> Program {
        let last = self.reversed.len().saturating_sub(1);
        let place = |at: Option<usize>| Some(u16::try_from(last - at?).expect("a filter is short"));
        let secrets = match self.secrets.map(place) {
            [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
            _ => None,
        };
        let mut instructions = self.reversed;
        instructions.reverse();
        Program {
            instructions,
            secrets,
        }
    }

    fn put(&mut self, code: u16, k: u32) -> Target {
        self.jump(code, k, 0, 0)
    }

    fn jump(&mut self, code: u16, k: u32, if_true: u8, if_false: u8) -> Target {
        self.reversed.push(Instruction {
            code,
            if_true,
            if_false,
            k,
        });
        Target::There(self.reversed.len() - 1)
    }

    /// Loads something and goes on to `then`.
    fn load(&mut self, offset: u32, then: Target) -> Target {
        self.before(then);
        self.put(LOAD, offset)
    }

    /// Sees that what is put next falls through to `then`.
    fn before(&mut self, then: Target) {
        match then {
            Target::Return(answer) => {
                self.answer(answer);
            }
            Target::There(at) if at + 1 == self.reversed.len() => {}
            Target::There(at) => {
                self.put(JUMP, self.distance(at));
            }
        }
    }

    fn answer(&mut self, answer: u32) -> usize {
        self.put(RETURN, answer);
        let at = self.reversed.len() - 1;
        match self.answers.iter_mut().find(|(other, _)| *other == answer) {
            Some(known) => known.1 = at,
            None => self.answers.push((answer, at)),
        }
        at
    }

    /// How many instructions a jump that is put next skips.
    fn distance(&self, to: usize) -> u32 {
        u32::try_from(self.reversed.len() - 1 - to).expect("a filter is short")
    }

    /// Goes to one of two places.
    fn test(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (no, yes) = (self.near(no), self.near(yes));
        let over = |at| u8::try_from(self.distance(at)).expect("it is near");
        let (if_true, if_false) = (over(yes), over(no));
        self.jump(code, k, if_true, if_false)
    }

    /// A place that a test can reach which is put next, or next but one.
    fn near(&mut self, target: Target) -> usize {
        let near = |code: &Self, at| code.distance(at) < u8::MAX.into();
        match target {
            Target::There(at) if near(self, at) => at,
            Target::There(at) => {
                self.put(JUMP, self.distance(at));
                self.reversed.len() - 1
            }
            Target::Return(answer) => {
                let known = self.answers.iter().find(|(other, _)| *other == answer);
                match known {
                    Some((_, at)) if near(self, *at) => *at,
                    _ => self.answer(answer),
                }
            }
        }
    }

    /// Finds the range that the number at hand lies in.
    fn tree(&mut self, ranges: &[Range<'a>]) -> Target {
        if let Some((most, others)) = one_by_one(ranges) {
            let mut target = self.fate(most);
            for range in others.into_iter().rev() {
                let found = self.fate(range.fate);
                target = self.test(JUMP_IF_EQUAL, range.first, found, target);
            }
            return target;
        }
        let (below, from) = ranges.split_at(middle(ranges));
        let limit = from.first().map_or(0, |range| range.first);
        let from = self.tree(from);
        let below = self.tree(below);
        self.test(JUMP_IF_AT_LEAST, limit, from, below)
    }

    fn fate(&mut self, fate: Fate<'a>) -> Target {
        match fate {
            Fate::To(target) => target,
            Fate::Look(decision) => self.look(decision),
        }
    }

    /// Looks at the arguments of a call.
    fn look(&mut self, decision: &'a Decision) -> Target {
        if let Some((_, target)) = self.looks.iter().find(|(other, _)| *other == decision) {
            return *target;
        }
        let mut next = Target::Return(action(decision.otherwise, self.ear));
        for (at, clause) in decision.clauses.iter().enumerate().rev() {
            // All ways to a clause come from the one before it. They agree on
            // what is at hand only where that looked at one thing.
            let before = at.checked_sub(1).map(|at| &decision.clauses[at].checks[..]);
            let mut at_hand = match before {
                Some([check]) => check.leaves(),
                _ => None,
            };
            let at_hand: Vec<Option<u32>> = clause
                .checks
                .iter()
                .map(|check| std::mem::replace(&mut at_hand, check.leaves()))
                .collect();
            let mut yes = Target::Return(action(clause.verdict, self.ear));
            for (check, at_hand) in clause.checks.iter().zip(at_hand).rev() {
                yes = self.check(check, at_hand, yes, next);
            }
            next = yes;
        }
        self.looks.push((decision, next));
        next
    }

    /// Looks at one argument, of which a half may be at hand.
    fn check(&mut self, check: &Check, at_hand: Option<u32>, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = match check.wanted {
            true => (yes, no),
            false => (no, yes),
        };
        let low = lower(check.argument);
        let mut found = match &check.test {
            Test::Any(bits) => self.test(JUMP_IF_ANY_BIT, *bits, yes, no),
            Test::Among { mask, values } => {
                let found = self.tree(&split(values, yes, no));
                if found == no {
                    // None is looked for.
                    return no;
                }
                match *mask {
                    u32::MAX => found,
                    mask => self.put(AND, mask),
                }
            }
            Test::Whole(value) => self.whole(low, *value, yes, no, None),
            Test::SecretArguments => self.whole(low, 0, yes, no, Some([0, 1])),
            Test::SecretVariables => self.whole(low, 0, yes, no, Some([2, 3])),
        };
        if at_hand != Some(low) {
            found = self.load(low, found);
        }
        found
    }

    /// Compares the upper half after the lower one, which is at hand.
    fn whole(
        &mut self,
        low: u32,
        value: u64,
        yes: Target,
        no: Target,
        secrets: Option<[Secret; 2]>,
    ) -> Target {
        let upper = self.test(JUMP_IF_EQUAL, (value >> 32) as u32, yes, no);
        let upper_at = self.reversed.len() - 1;
        let upper = self.load(low + 4, upper);
        let lower = self.test(JUMP_IF_EQUAL, value as u32, upper, no);
        if let Some([of_lower, of_upper]) = secrets {
            self.secrets[of_lower] = Some(self.reversed.len() - 1);
            self.secrets[of_upper] = Some(upper_at);
        }
        lower
    }
}

/// The ranges of single numbers, where they are few and all others have one fate.
fn one_by_one<'a>(ranges: &[Range<'a>]) -> Option<(Fate<'a>, Vec<Range<'a>>)> {
    let is_single = |at: usize| {
        let next = ranges.get(at + 1).map(|next| next.first);
        next == ranges[at].first.checked_add(1)
    };
    let most = (0..ranges.len())
        .find(|at| !is_single(*at))
        .map(|at| ranges[at].fate)?;
    let mut others = Vec::new();
    for (at, range) in ranges.iter().enumerate() {
        if range.fate == most {
            continue;
        }
        if !is_single(at) || others.len() == FEW {
            return None;
        }
        others.push(*range);
    }
    Some((most, others))
}

/// Where to split so that both sides weigh about the same.
fn middle(ranges: &[Range<'_>]) -> usize {
    let all: u32 = ranges.iter().map(|range| range.weight).sum();
    let mut below = 0;
    let balanced = |below: u32| below.abs_diff(all - below);
    let mut best = (u32::MAX, 1);
    for (at, range) in ranges.iter().enumerate().skip(1) {
        below += ranges[at - 1].weight;
        if balanced(below) < best.0 {
            best = (balanced(below), at);
        }
        debug_assert!(ranges[at - 1].first < range.first);
    }
    best.1
}

/// The ranges of all numbers that are, or are not, among some.
fn split<'a>(values: &[u32], yes: Target, no: Target) -> Vec<Range<'a>> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    let mut ranges: Vec<Range<'a>> = Vec::with_capacity(2 * values.len() + 1);
    let mut put = |first, to| {
        if ranges.last().is_none_or(|last| last.fate != Fate::To(to)) {
            ranges.push(Range {
                first,
                fate: Fate::To(to),
                weight: 1,
            });
        }
    };
    let mut next = Some(0);
    for value in values {
        if next.is_some_and(|next| next < value) {
            put(next.unwrap_or(0), no);
        }
        put(value, yes);
        next = value.checked_add(1);
    }
    if let Some(next) = next {
        put(next, no);
    }
    ranges
}

impl Check {
    /// Which half of which argument is at hand after it, whatever it found.
    fn leaves(&self) -> Option<u32> {
        match &self.test {
            Test::Any(_) => Some(lower(self.argument)),
            Test::Among {
                mask: u32::MAX,
                values,
            } if !values.is_empty() => Some(lower(self.argument)),
            _ => None,
        }
    }
}

const fn lower(argument: u8) -> u32 {
    ARGUMENTS + 8 * argument as u32
}
