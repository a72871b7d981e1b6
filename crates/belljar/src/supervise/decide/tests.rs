//! The table of endings, and every order that proofs can come in.

use super::*;

const EXITED: Option<MainEnd> = Some(MainEnd::Exited(0));
const KILLED_ITSELF: Option<MainEnd> = Some(MainEnd::Signaled {
    signal: 9,
    core: false,
});
const ENDED: Arbiter = Arbiter {
    cause: None,
    later: Vec::new(),
    killed: false,
    main: EXITED,
    init: Some(0),
    out_of_memory: None,
    output_over: false,
};

fn signaled(signal: i32, name: &str) -> Outcome {
    Outcome::Signaled {
        signal,
        name: name.into(),
        core: false,
    }
}

fn limit(limit: Limit) -> Outcome {
    Outcome::Limit { limit }
}

fn stopped(by: StoppedBy, grace_used: bool) -> Outcome {
    Outcome::Stopped { by, grace_used }
}

#[test]
fn the_endings_table_is_decided_by_the_first_cause() {
    let killed = Arbiter {
        killed: true,
        main: None,
        init: Some(9),
        ..ENDED
    };
    let cause = |cause, evidence: Arbiter| Arbiter {
        cause: Some(cause),
        ..evidence
    };
    let term = StoppedBy::Signal(15);
    let terminated = Some(MainEnd::Signaled {
        signal: 15,
        core: false,
    });
    #[rustfmt::skip]
    let table = [
        ("exits", ENDED, Outcome::Exited { code: 0 }),
        ("exits 137 by itself", Arbiter { main: Some(MainEnd::Exited(137)), ..ENDED }, Outcome::Exited { code: 137 }),
        ("kills itself", Arbiter { main: KILLED_ITSELF, ..ENDED }, signaled(9, "KILL")),
        ("wall", cause(Cause::Limit(Limit::Wall), killed.clone()), limit(Limit::Wall)),
        ("cpu_time", cause(Cause::Limit(Limit::CpuTime), killed.clone()), limit(Limit::CpuTime)),
        ("memory", cause(Cause::Limit(Limit::Memory), killed.clone()), limit(Limit::Memory)),
        ("exits just before the wall's kill lands", cause(Cause::Limit(Limit::Wall), Arbiter { killed: true, ..ENDED }), Outcome::Exited { code: 0 }),
        ("kills itself just before the wall's kill lands", cause(Cause::Limit(Limit::Wall), Arbiter { killed: true, main: KILLED_ITSELF, ..ENDED }), signaled(9, "KILL")),
        ("wrote too much, then exited", Arbiter { output_over: true, ..ENDED }, limit(Limit::Output)),
        ("wrote too much and was killed", cause(Cause::Limit(Limit::Output), killed.clone()), limit(Limit::Output)),
        ("wrote too much, exited before the kill", cause(Cause::Limit(Limit::Output), Arbiter { killed: true, output_over: true, ..ENDED }), limit(Limit::Output)),
        ("wall first, too much output seen while draining", cause(Cause::Limit(Limit::Wall), Arbiter { output_over: true, ..killed.clone() }), limit(Limit::Wall)),
        ("stopped, obeyed", cause(Cause::Stop(term), Arbiter { main: terminated, ..ENDED }), stopped(term, false)),
        ("stopped, exited 0", cause(Cause::Stop(term), ENDED), stopped(term, false)),
        ("stopped, ignored it", cause(Cause::Stop(term), killed.clone()), stopped(term, true)),
        ("stopped, obeyed as the grace ended", cause(Cause::Stop(term), Arbiter { killed: true, ..ENDED }), stopped(term, false)),
        ("host kills", cause(Cause::Stop(StoppedBy::Host), killed.clone()), stopped(StoppedBy::Host, true)),
        ("stopped, then the launcher is lost", cause(Cause::Stop(term), Arbiter { init: None, main: None, ..ENDED }), stopped(term, false)),
        ("launcher lost", Arbiter { init: None, main: None, ..ENDED }, Outcome::Lost),
        ("pid 1 killed by another", Arbiter { init: Some(9), main: None, ..ENDED }, Outcome::Lost),
        ("broke a rule", cause(Cause::Violation(Rule::Nesting), killed.clone()), Outcome::Violation { rule: Rule::Nesting }),
        ("broke a rule while another thread exited", cause(Cause::Violation(Rule::Nesting), ENDED), Outcome::Violation { rule: Rule::Nesting }),
        ("cannot be seen", cause(Cause::Blind, killed.clone()), Outcome::Lost),
    ];
    for (what, evidence, outcome) in table {
        assert_eq!(evidence.verdict(), outcome, "{what}");
    }
}

#[test]
fn a_symptom_is_told_and_never_the_verdict() {
    let evidence = Arbiter {
        main: Some(MainEnd::Signaled {
            signal: 25,
            core: false,
        }),
        ..ENDED
    };
    let outcome = evidence.verdict();
    assert_eq!(outcome, signaled(25, "XFSZ"));
    assert_eq!(evidence.symptoms(&outcome), ["file_size?"]);
    assert!(ENDED.symptoms(&ENDED.verdict()).is_empty());
}

#[test]
fn a_record_with_an_unknown_code_is_none() {
    assert_eq!(MainEnd::from_record(1, 3), Some(MainEnd::Exited(3)));
    assert_eq!(
        MainEnd::from_record(3, 11),
        Some(MainEnd::Signaled {
            signal: 11,
            core: true
        })
    );
    assert_eq!(MainEnd::from_record(6, 18), None);
}

/// All orders of these.
fn orders<T: Copy>(of: &[T], each: &mut impl FnMut(&[T])) {
    fn go<T: Copy>(rest: &mut Vec<T>, taken: &mut Vec<T>, each: &mut impl FnMut(&[T])) {
        if rest.is_empty() {
            return each(taken);
        }
        for at in 0..rest.len() {
            let one = rest.remove(at);
            taken.push(one);
            go(rest, taken, each);
            taken.pop();
            rest.insert(at, one);
        }
    }
    go(&mut of.to_vec(), &mut Vec::new(), each);
}

const CAUSES: [Cause; 6] = [
    Cause::Limit(Limit::Wall),
    Cause::Limit(Limit::CpuTime),
    Cause::Limit(Limit::Output),
    Cause::Stop(StoppedBy::Host),
    Cause::Violation(Rule::Nesting),
    Cause::Blind,
];

/// Everything that can be known of one ending: none or up to two causes with all else that
/// there is or is not.
fn endings(each: &mut impl FnMut(&[Proof])) {
    let exited = |code| Some(Proof::Main(MainEnd::Exited(code)));
    let by = |signal| {
        let core = false;
        Some(Proof::Main(MainEnd::Signaled { signal, core }))
    };
    let mains = [
        None,
        exited(0),
        exited(124),
        exited(137),
        by(9),
        by(24),
        by(25),
    ];
    let inits = [None, Some(Proof::Init(0)), Some(Proof::Init(9))];
    let memory = [
        None,
        Some(Whose::Own),
        Some(Whose::OfAll),
        Some(Whose::Above),
    ];
    let flags = [false, true];
    let mut causes: Vec<Vec<Cause>> = vec![Vec::new()];
    for one in CAUSES {
        causes.push(vec![one]);
        let others = CAUSES.iter().filter(|other| **other != one);
        causes.extend(others.map(|other| vec![one, *other]));
    }
    for causes in &causes {
        for main in mains {
            for init in inits {
                for whose in memory {
                    for (killed, over) in flags.map(|a| flags.map(|b| (a, b))).concat() {
                        let mut proofs: Vec<Proof> =
                            causes.iter().copied().map(Proof::Cause).collect();
                        proofs.extend(main);
                        proofs.extend(init);
                        proofs.extend(whose.map(Proof::OutOfMemory));
                        proofs.extend(killed.then_some(Proof::Killed));
                        proofs.extend(over.then_some(Proof::OutputOver));
                        each(&proofs);
                    }
                }
            }
        }
    }
}

fn heard(proofs: &[Proof]) -> Arbiter {
    let mut arbiter = Arbiter::default();
    for proof in proofs {
        arbiter.hear(*proof);
    }
    arbiter
}

fn first_cause(proofs: &[Proof]) -> Option<Cause> {
    proofs.iter().find_map(|proof| match proof {
        Proof::Cause(cause) => Some(*cause),
        _ => None,
    })
}

/// Whatever comes when: only which cause was the first counts.
#[test]
fn the_verdict_is_the_same_in_every_order_that_has_the_same_first_cause() {
    let mut seen = 0_u64;
    endings(&mut |proofs| {
        // Orders of six are enough of them, and as many as a second has time for.
        if proofs.len() > 6 {
            return;
        }
        let expected = heard(proofs);
        let (verdict, mut symptoms) = (expected.verdict(), expected.symptoms(&expected.verdict()));
        symptoms.sort();
        orders(proofs, &mut |order| {
            if first_cause(order) == first_cause(proofs) {
                let arbiter = heard(order);
                assert_eq!(arbiter.verdict(), verdict, "{order:?}");
                let mut others = arbiter.symptoms(&verdict);
                others.sort();
                assert_eq!(others, symptoms, "{order:?}");
                seen += 1;
            }
        });
    });
    assert!(seen > 100_000, "{seen}");
}

/// What a plugin can do by itself is in `Main` alone.
#[test]
fn no_ending_that_a_plugin_chooses_is_a_limit_s_or_anybody_else_s() {
    endings(&mut |proofs| {
        let verdict = heard(proofs).verdict();
        let cause = first_cause(proofs);
        let has = |proof: Proof| proofs.contains(&proof);
        let of_memory = [Whose::Own, Whose::OfAll].map(Proof::OutOfMemory);
        match verdict {
            Outcome::Limit {
                limit: Limit::Output,
            } => assert!(
                cause == Some(Cause::Limit(Limit::Output))
                    || cause.is_none() && has(Proof::OutputOver),
                "{proofs:?}"
            ),
            Outcome::Limit {
                limit: Limit::Memory,
            } => assert!(
                cause.is_none() && of_memory.into_iter().any(has),
                "{proofs:?}"
            ),
            Outcome::Limit { limit } => {
                assert_eq!(cause, Some(Cause::Limit(limit)), "{proofs:?}");
            }
            Outcome::Stopped { by, .. } => assert_eq!(cause, Some(Cause::Stop(by))),
            Outcome::Violation { rule } => assert_eq!(cause, Some(Cause::Violation(rule))),
            Outcome::Exited { .. } | Outcome::Signaled { .. } => assert!(
                proofs.iter().any(|proof| matches!(proof, Proof::Main(_))),
                "{proofs:?}"
            ),
            Outcome::Lost => assert!(
                !proofs.iter().any(|proof| matches!(proof, Proof::Main(_))),
                "{proofs:?}"
            ),
            other => panic!("{other:?} of {proofs:?}"),
        }
    });
}

#[test]
fn causes_that_come_later_are_symptoms_each_once() {
    let wall = Proof::Cause(Cause::Limit(Limit::Wall));
    let stop = Proof::Cause(Cause::Stop(StoppedBy::Host));
    let arbiter = heard(&[stop, wall, stop, wall, Proof::Killed, Proof::Init(9)]);
    let verdict = arbiter.verdict();
    assert_eq!(verdict, stopped(StoppedBy::Host, true));
    assert_eq!(arbiter.symptoms(&verdict), ["then the limit wall"]);
}

#[test]
fn want_of_memory_that_is_not_belljar_s_is_no_limit_of_it() {
    let above = Proof::OutOfMemory(Whose::Above);
    let killed = Proof::Main(MainEnd::Signaled {
        signal: 9,
        core: false,
    });
    let said = "tasks of it were killed for want of memory of the machine, or at the limit of a cgroup above";
    for (proofs, verdict) in [
        (vec![above, killed, Proof::Init(0)], signaled(9, "KILL")),
        (vec![above, Proof::Init(9)], Outcome::Lost),
        (
            vec![above, Proof::Main(MainEnd::Exited(0)), Proof::Init(0)],
            Outcome::Exited { code: 0 },
        ),
    ] {
        let arbiter = heard(&proofs);
        assert_eq!(arbiter.verdict(), verdict);
        assert_eq!(arbiter.symptoms(&verdict), [said]);
    }
}
