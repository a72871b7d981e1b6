//! From decisions to the kernel's program: architecture and convention first,
//! then a balanced tree over ranges of numbers, at whose leaves arguments are
//! looked at. The kernel runs it for every call that a guest makes, and once for
//! every number when it is installed, so its depth is what counts.

use super::{
    Architecture, Check, Decision, Filter, Instruction, Program, Test,
    bpf::{
        AND, ARCHITECTURE, ARGUMENTS, JUMP, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD,
        NUMBER, RETURN, action,
    },
    filter::{FOREIGN, OF_X32, UNKNOWN, X32},
};

/// So few numbers are looked for one by one.
const FEW: usize = 3;

/// Which half of which secret address an instruction compares with.
type Secret = usize;

/// An instruction, or a place to jump to, before distances are known.
#[derive(Clone, Copy, Debug)]
enum Item {
    /// With no jump in it.
    Plain(u16, u32),
    /// To one of two places; `None` is the next instruction.
    Test {
        code: u16,
        k: u32,
        secret: Option<Secret>,
        if_true: Option<Place>,
        if_false: Option<Place>,
    },
    /// A place.
    Here(Place),
}

type Place = usize;

/// Instructions of which the distances are known.
type Code = Vec<(Instruction, Option<Secret>)>;

impl Filter {
    /// The program for the kernel. Equal filters give equal programs.
    ///
    /// # Panics
    /// Never for the decisions that this crate makes: a look at arguments is
    /// shorter than the longest jump, and a filter than the longest program; tests
    /// compile every one there is.
    #[must_use]
    pub fn compile(&self) -> Program {
        let give = |verdict| plain(RETURN, action(verdict, self.events));
        let mut code: Code = vec![
            plain(LOAD, ARCHITECTURE),
            jump(JUMP_IF_EQUAL, self.architecture.audit(), 1, 0),
            give(FOREIGN),
            plain(LOAD, NUMBER),
        ];
        if self.architecture == Architecture::X86_64 {
            code.push(jump(JUMP_IF_AT_LEAST, X32, 0, 1));
            code.push(give(OF_X32));
        }
        code.extend(tree(&self.leaves()));
        let mut places = [None; 4];
        for (at, (_, secret)) in code.iter().enumerate() {
            if let Some(secret) = secret {
                places[*secret] = Some(u16::try_from(at).expect("a filter is short"));
            }
        }
        let secrets = match places {
            [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
            _ => None,
        };
        Program {
            instructions: code
                .into_iter()
                .map(|(instruction, _)| instruction)
                .collect(),
            secrets,
        }
    }

    /// What becomes of each range of numbers, by its first. Neighbours with one
    /// fate are one range.
    fn leaves(&self) -> Vec<(u32, Code)> {
        let unknown = vec![plain(RETURN, action(UNKNOWN, self.events))];
        let mut leaves: Vec<(u32, Code)> = Vec::new();
        let mut put = |first, leaf: Code| {
            if leaves.last().is_none_or(|(_, last)| *last != leaf) {
                leaves.push((first, leaf));
            }
        };
        let mut next = 0;
        for (number, decision) in &self.decisions {
            if *number > next {
                put(next, unknown.clone());
            }
            put(*number, self.leaf(decision));
            next = number + 1;
        }
        put(next, unknown);
        leaves
    }

    /// What is done once the call is known; every way through it returns.
    fn leaf(&self, decision: &Decision) -> Code {
        let mut body = Body::default();
        for clause in &decision.clauses {
            let next = body.place();
            body.checks(&clause.checks, next);
            body.put(Item::Plain(RETURN, action(clause.verdict, self.events)));
            body.put(Item::Here(next));
        }
        body.put(Item::Plain(RETURN, action(decision.otherwise, self.events)));
        body.resolve()
    }
}

fn tree(leaves: &[(u32, Code)]) -> Code {
    let [first, rest @ ..] = leaves else {
        return Vec::new();
    };
    if rest.is_empty() {
        return first.1.clone();
    }
    let (below, from) = leaves.split_at(leaves.len() / 2);
    let limit = from.first().map_or(0, |(number, _)| *number);
    let below = tree(below);
    let mut node = match u8::try_from(below.len()) {
        Ok(over) => vec![jump(JUMP_IF_AT_LEAST, limit, over, 0)],
        Err(_) => vec![
            jump(JUMP_IF_AT_LEAST, limit, 0, 1),
            plain(JUMP, u32::try_from(below.len()).expect("a filter is short")),
        ],
    };
    node.extend(below);
    node.extend(tree(from));
    node
}

const fn plain(code: u16, k: u32) -> (Instruction, Option<Secret>) {
    jump(code, k, 0, 0)
}

const fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> (Instruction, Option<Secret>) {
    let instruction = Instruction {
        code,
        if_true,
        if_false,
        k,
    };
    (instruction, None)
}

/// A look at arguments, while it is put together.
#[derive(Debug, Default)]
struct Body {
    items: Vec<Item>,
    places: usize,
    /// Which half of which argument is at hand on every way to the next item.
    at_hand: Option<u32>,
}

impl Body {
    fn place(&mut self) -> Place {
        self.places += 1;
        self.places - 1
    }

    fn put(&mut self, item: Item) {
        self.items.push(item);
    }

    fn load(&mut self, offset: u32) {
        if self.at_hand != Some(offset) {
            self.put(Item::Plain(LOAD, offset));
            self.at_hand = Some(offset);
        }
    }

    fn test(&mut self, code: u16, k: u32, if_true: Option<Place>, if_false: Option<Place>) {
        self.put(Item::Test {
            code,
            k,
            secret: None,
            if_true,
            if_false,
        });
    }

    /// Goes on where all hold, else to `next`.
    fn checks(&mut self, checks: &[Check], next: Place) {
        for check in checks {
            self.check(check, next);
        }
        // The ways to `next` agree on what is at hand only where nothing else
        // was loaded meanwhile, and what was loaded was not changed.
        self.at_hand = match checks {
            [Check { argument, test, .. }] if test.leaves_it_whole() => Some(lower(*argument)),
            _ => None,
        };
    }

    fn check(&mut self, check: &Check, next: Place) {
        let low = lower(check.argument);
        let (yes, no) = match check.wanted {
            true => (None, Some(next)),
            false => (Some(next), None),
        };
        match &check.test {
            Test::Any(bits) => {
                self.load(low);
                self.test(JUMP_IF_ANY_BIT, *bits, yes, no);
            }
            Test::Among { mask, values } => {
                self.load(low);
                if *mask != u32::MAX {
                    self.put(Item::Plain(AND, *mask));
                    self.at_hand = None;
                }
                let on = self.place();
                let mut values = values.clone();
                values.sort_unstable();
                self.search(&values, yes.unwrap_or(on), no.unwrap_or(on));
                self.put(Item::Here(on));
            }
            Test::Whole(value) => {
                let halves = [(low, *value as u32), (low + 4, (*value >> 32) as u32)];
                self.wide(halves, [None; 2], check.wanted, next);
            }
            Test::SecretArguments => {
                self.wide(
                    [(low, 0), (low + 4, 0)],
                    [Some(0), Some(1)],
                    check.wanted,
                    next,
                );
            }
            Test::SecretVariables => {
                self.wide(
                    [(low, 0), (low + 4, 0)],
                    [Some(2), Some(3)],
                    check.wanted,
                    next,
                );
            }
        }
    }

    /// Both halves of an argument.
    fn wide(
        &mut self,
        halves: [(u32, u32); 2],
        secrets: [Option<Secret>; 2],
        wanted: bool,
        next: Place,
    ) {
        let differs = self.place();
        let missed = if wanted { next } else { differs };
        for ((offset, k), secret) in halves.into_iter().zip(secrets) {
            self.load(offset);
            self.put(Item::Test {
                code: JUMP_IF_EQUAL,
                k,
                secret,
                if_true: None,
                if_false: Some(missed),
            });
        }
        if !wanted {
            // It is the same after all: to the next clause.
            self.test(JUMP_IF_AT_LEAST, 0, Some(next), Some(next));
        }
        self.put(Item::Here(differs));
        self.at_hand = None;
    }

    /// Finds out whether a number is one of these, which are sorted.
    fn search(&mut self, numbers: &[u32], hit: Place, miss: Place) {
        if numbers.len() > FEW {
            let (below, from) = numbers.split_at(numbers.len() / 2);
            let upper = self.place();
            let limit = from.first().copied().unwrap_or(0);
            self.test(JUMP_IF_AT_LEAST, limit, Some(upper), None);
            self.search(below, hit, miss);
            self.put(Item::Here(upper));
            return self.search(from, hit, miss);
        }
        if numbers.is_empty() {
            // Always.
            self.test(JUMP_IF_AT_LEAST, 0, Some(miss), Some(miss));
        }
        for (at, number) in numbers.iter().enumerate() {
            let last = at + 1 == numbers.len();
            self.test(JUMP_IF_EQUAL, *number, Some(hit), last.then_some(miss));
        }
    }

    /// Puts distances in place of places.
    fn resolve(self) -> Code {
        let mut at = vec![0; self.places];
        let mut length = 0;
        for item in &self.items {
            match item {
                Item::Here(place) => at[*place] = length,
                Item::Plain(..) | Item::Test { .. } => length += 1,
            }
        }
        let mut code = Code::with_capacity(length);
        for item in self.items {
            let here = code.len() + 1;
            let over = |place: Option<Place>| {
                let distance = place.map_or(0, |place| at[place] - here);
                u8::try_from(distance).expect("a look at arguments is short")
            };
            match item {
                Item::Here(_) => {}
                Item::Plain(operation, k) => code.push(plain(operation, k)),
                Item::Test {
                    code: operation,
                    k,
                    secret,
                    if_true,
                    if_false,
                } => {
                    let (instruction, _) = jump(operation, k, over(if_true), over(if_false));
                    code.push((instruction, secret));
                }
            }
        }
        code
    }
}

impl Test {
    /// The lower half of the argument is at hand after it, whatever it found.
    const fn leaves_it_whole(&self) -> bool {
        matches!(self, Self::Any(_) | Self::Among { mask: u32::MAX, .. })
    }
}

const fn lower(argument: u8) -> u32 {
    ARGUMENTS + 8 * argument as u32
}
