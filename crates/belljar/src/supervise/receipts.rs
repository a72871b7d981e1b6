//! What is known to be done of a plan: the receipts that pid 1 and the guest
//! left, and what follows for each rule.

use belljar_plan::{
    Plan, Step, Strength,
    message::{DONE_PER_PACKET, Done, Progress},
    plan::{Dropped, PlannedRule},
    report::{EnforcementReport, LandlockReport},
};

/// What is known of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    Missing,
    Done { nanoseconds: u32 },
    Skipped { errno: u16 },
}

/// The receipts of one launch.
#[derive(Clone, Debug)]
pub(crate) struct Receipts(Vec<Receipt>);

impl Receipts {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(vec![Receipt::Missing; plan.steps.len()])
    }

    /// Notes the records of one packet. What is no record of this plan is ignored.
    pub(crate) fn note(&mut self, records: &[u8]) {
        for record in records.chunks(Done::LENGTH).take(DONE_PER_PACKET) {
            let Some(done) = Done::from_bytes(record) else {
                continue;
            };
            if let Some(place) = self.0.get_mut(usize::from(done.step)) {
                *place = match done.errno {
                    0 => Receipt::Done {
                        nanoseconds: done.nanoseconds,
                    },
                    errno => Receipt::Skipped { errno },
                };
            }
        }
    }

    /// The launcher has made pid 1: its own part of the plan is done.
    pub(crate) fn note_started(&mut self, plan: &Plan) {
        self.note_implied(plan, |step| {
            matches!(
                step,
                Step::Detach { .. }
                    | Step::Cgroup { .. }
                    | Step::Clone { .. }
                    | Step::MapIds { .. }
            )
        });
    }

    /// The guest's socket closed on exec: it was forked, and it runs.
    pub(crate) fn note_running(&mut self, plan: &Plan) {
        self.note_implied(plan, |step| {
            matches!(step, Step::Fork {} | Step::Exec { .. })
        });
    }

    fn note_implied(
        &mut self,
        plan: &Plan,
        which: impl Fn(&belljar_plan::step::OwnedStep) -> bool,
    ) {
        for (step, place) in plan.steps.iter().zip(&mut self.0) {
            if which(step) && *place == Receipt::Missing {
                *place = Receipt::Done { nanoseconds: 0 };
            }
        }
    }

    /// The first step before the program's start that left no receipt, or that
    /// was skipped and may not be.
    pub(crate) fn first_missing(&self, plan: &Plan) -> Option<usize> {
        plan.steps.iter().zip(&self.0).position(|(step, receipt)| {
            !matches!(step, Step::Fork {} | Step::Exec { .. }) && !holds(step, *receipt)
        })
    }

    /// The report's three columns.
    pub(crate) fn enforcement(&self, plan: &Plan) -> Vec<EnforcementReport> {
        plan.rules
            .iter()
            .map(|rule| EnforcementReport {
                rule: rule.rule,
                requested: rule.requested,
                planned: rule.planned.clone(),
                applied: self.applied(plan, rule),
            })
            .collect()
    }

    fn applied(&self, plan: &Plan, rule: &PlannedRule) -> Strength {
        let running = self
            .0
            .last()
            .is_some_and(|last| matches!(last, Receipt::Done { .. }));
        let all = rule.steps.iter().all(|index| {
            let index = usize::from(*index);
            match (plan.steps.get(index), self.0.get(index)) {
                (Some(step), Some(receipt)) => holds(step, *receipt),
                _ => false,
            }
        });
        if all && (running || !rule.steps.is_empty()) {
            rule.planned.strength
        } else {
            Strength::None
        }
    }

    /// The same for each of Landlock's rights: the guest's process was seen to
    /// be held where it went on from there.
    pub(crate) fn landlock(&self, plan: &Plan) -> Option<LandlockReport> {
        let landlock = plan.landlock.as_ref()?;
        let held =
            plan.steps.iter().zip(&self.0).any(|(step, receipt)| {
                matches!(step, Step::Restrict { .. }) && holds(step, *receipt)
            });
        Some(LandlockReport {
            abi: landlock.abi,
            requested: landlock.requested(),
            planned: landlock.handled.clone(),
            applied: if held {
                landlock.handled.clone()
            } else {
                Vec::new()
            },
        })
    }

    /// Grants that failed and may.
    pub(crate) fn dropped(&self, plan: &Plan) -> Vec<Dropped> {
        self.0
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.follows_from_another(plan, *index))
            .filter_map(|(index, receipt)| match receipt {
                Receipt::Skipped { errno } => Some(Dropped {
                    request: plan.describe_step(index),
                    reason: std::io::Error::from_raw_os_error(i32::from(*errno)).to_string(),
                }),
                _ => None,
            })
            .collect()
    }

    /// A rule for what was not mounted either is no other loss.
    fn follows_from_another(&self, plan: &Plan, index: usize) -> bool {
        let Some(Step::AllowPath { path, .. }) = plan.steps.get(index) else {
            return false;
        };
        plan.steps.iter().zip(&self.0).any(|(step, receipt)| {
            let same = matches!(step, Step::Bind { target, .. } if target == path);
            same && matches!(receipt, Receipt::Skipped { .. })
        })
    }

    /// Steps that were done, with how long each took.
    pub(crate) fn timings(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(index, receipt)| match receipt {
                Receipt::Done { nanoseconds } => Some((index, *nanoseconds)),
                _ => None,
            })
    }
}

/// A step did what it promises. A grant that may fail takes nothing from a rule.
fn holds(step: &belljar_plan::step::OwnedStep, receipt: Receipt) -> bool {
    match receipt {
        Receipt::Done { .. } => true,
        Receipt::Skipped { .. } => matches!(
            step,
            Step::Bind { optional: true, .. } | Step::AllowPath { optional: true, .. }
        ),
        Receipt::Missing => false,
    }
}

/// A packet of progress: its head, and the records behind it. None for what is
/// no such packet.
pub(crate) fn parse_progress(packet: &[u8]) -> Option<(Progress, &[u8])> {
    let (head, records) = packet.split_at_checked(Progress::LENGTH)?;
    let head = Progress::from_bytes(head)?;
    let counted = usize::try_from(head.count).ok()?;
    (counted.checked_mul(Done::LENGTH)? == records.len()).then_some((head, records))
}

#[cfg(test)]
pub(crate) mod tests {
    use belljar_plan::{
        Bytes, Landlock, Preset, Rule, Source,
        landlock::Right,
        message::progress,
        plan::{Enforcement, Identity, MachineIdentity},
        step::{Attributes, OwnedStep},
    };

    use super::*;

    pub(crate) fn plan(steps: Vec<OwnedStep>, rules: Vec<(Rule, Vec<u16>)>) -> Plan {
        Plan {
            schema: 1,
            preset: Preset::Standard,
            plugin: None,
            program: Bytes::from("/bin/true"),
            rules: rules
                .into_iter()
                .map(|(rule, steps)| PlannedRule {
                    rule,
                    requested: Strength::Kernel,
                    best_effort: false,
                    planned: Enforcement {
                        mechanism: "test".into(),
                        strength: Strength::Kernel,
                    },
                    steps,
                    origin: "test".into(),
                })
                .collect(),
            together: Vec::new(),
            quota: None,
            limits: Vec::new(),
            filter: None,
            landlock: None,
            grants: Vec::new(),
            hidden: Vec::new(),
            sockets: Vec::new(),
            end_on: Vec::new(),
            identity: Identity {
                uid: 1000,
                gid: 1000,
                machine: MachineIdentity::Caller { uid: 1, gid: 1 },
                groups_kept: Vec::new(),
            },
            slots: Vec::new(),
            image: None,
            terminal: false,
            said: Default::default(),
            dropped: Vec::new(),
            weakenings: Vec::new(),
            notes: Vec::new(),
            steps,
        }
    }

    fn grant(optional: bool) -> OwnedStep {
        Step::Bind {
            source: Source::Slot { slot: 0 },
            target: "data".into(),
            recursive: true,
            attributes: Attributes::ALL,
            optional,
        }
    }

    fn done(step: u16, errno: u16) -> [u8; Done::LENGTH] {
        Done {
            step,
            errno,
            nanoseconds: 1,
        }
        .to_bytes()
    }

    #[test]
    fn a_rule_is_applied_only_where_every_step_left_a_receipt() {
        let steps = vec![Step::NoNewPrivs {}, Step::Securebits {}, Step::Fork {}];
        let plan = plan(
            steps,
            vec![
                (Rule::Privileges, vec![0, 1]),
                (Rule::Terminal, vec![0]),
                (Rule::Ipc, vec![9]),
            ],
        );
        let mut receipts = Receipts::new(&plan);
        receipts.note(&done(0, 0));
        let applied = |receipts: &Receipts| {
            receipts
                .enforcement(&plan)
                .iter()
                .map(|rule| rule.applied)
                .collect::<Vec<_>>()
        };
        let (none, kernel) = (Strength::None, Strength::Kernel);
        assert_eq!(applied(&receipts), [none, kernel, none]);
        assert_eq!(receipts.first_missing(&plan), Some(1));
        receipts.note(&done(1, 0));
        assert_eq!(applied(&receipts), [kernel, kernel, none]);
        assert_eq!(receipts.first_missing(&plan), None);
    }

    #[test]
    fn a_skipped_grant_is_told_and_only_an_optional_one_may_be() {
        for optional in [true, false] {
            let plan = plan(vec![grant(optional)], vec![(Rule::Files, vec![0])]);
            let mut receipts = Receipts::new(&plan);
            receipts.note(&done(0, 2));
            assert_eq!(receipts.first_missing(&plan).is_none(), optional);
            assert_eq!(receipts.dropped(&plan).len(), 1);
        }
    }

    #[test]
    fn a_rule_for_a_grant_that_was_skipped_is_no_second_loss() {
        let rule = Step::AllowPath {
            path: "data".into(),
            access: 1,
            optional: true,
        };
        let plan = plan(vec![grant(true), rule], vec![(Rule::Files, vec![0, 1])]);
        let mut receipts = Receipts::new(&plan);
        receipts.note(&done(1, 2));
        receipts.note(&done(0, 0));
        assert_eq!(receipts.dropped(&plan)[0].request, "allow_path /data");
        receipts.note(&done(0, 2));
        assert_eq!(receipts.dropped(&plan).len(), 1);
        assert_ne!(receipts.dropped(&plan)[0].request, "allow_path /data");
        assert_eq!(receipts.first_missing(&plan), None);
    }

    #[test]
    fn landlock_is_applied_where_the_guest_was_seen_to_be_held() {
        let plan = Plan {
            landlock: Some(Landlock {
                abi: 2,
                handled: vec![Right::ReadFile],
                missing: vec![Right::Truncate],
            }),
            ..plan(vec![Step::Restrict { quiet: false }], Vec::new())
        };
        let mut receipts = Receipts::new(&plan);
        let told = receipts.landlock(&plan).unwrap();
        assert_eq!(told.requested, [Right::ReadFile, Right::Truncate]);
        assert_eq!((told.planned.len(), told.applied.len()), (1, 0));
        receipts.note(&done(0, 0));
        let told = receipts.landlock(&plan).unwrap();
        assert_eq!(told.applied, told.planned);
    }

    #[test]
    fn a_hostile_packet_is_no_record_and_no_panic() {
        let plan = plan(vec![Step::Fork {}], Vec::new());
        let mut receipts = Receipts::new(&plan);
        receipts.note(&done(u16::MAX, 0));
        receipts.note(&[1, 2, 3]);
        let head = |count| {
            Progress {
                kind: progress::STEPS,
                count,
                ..Progress::default()
            }
            .to_bytes()
        };
        assert_eq!(parse_progress(&[]), None);
        assert_eq!(parse_progress(&head(1)), None);
        assert_eq!(parse_progress(&head(u32::MAX)), None);
        assert_eq!(parse_progress(&head(0)[1..]), None);
        let good = [head(1).as_slice(), &done(0, 0)].concat();
        assert_eq!(parse_progress(&good).unwrap().1.len(), Done::LENGTH);
    }
}
