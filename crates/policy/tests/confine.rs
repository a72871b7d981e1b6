//! What a process lays upon itself, on machines and for processes of every kind.

#[expect(dead_code, reason = "the planner's own tests use the rest")]
mod common;
#[path = "confine/refused.rs"]
mod refused;

use std::collections::BTreeMap;

use belljar_plan::{Limit, Preset, Rule, Step, Strength, filter::Exec, landlock::Right};
use belljar_policy::{
    HostFacts, Policy, Refusal, Verified,
    confine::{
        self, Confinement, Decision, Entry, Held, HeldKind, Mapped, NOT_IN_CONFINE, Process, RULES,
        Start, Unsupported,
    },
    facts::{Ability, Os},
    manifest::{Bound, Place},
    policy::{Right as Granted, Said},
    seccomp::{self, Attempt, Call, Secrets, Verdict},
    verified::{ExecutableKind, FileKind, Library, Subject},
};
use common::{as_root, found, machine, path, survey, true_program};

fn process(start: Start) -> Process {
    Process {
        mapped: Default::default(),
        threads: 1,
        filtered_apart: false,
        capabilities: false,
        bounding: false,
        start,
        held: Vec::new(),
        beyond_limit: None,
        procs: Vec::new(),
        entries: BTreeMap::new(),
    }
}

fn decide(policy: &Policy, facts: &HostFacts, process: &Process) -> Result<Decision, Refusal> {
    confine::plan(&true_program(), policy, facts, process)
}

fn planned(policy: &Policy, facts: &HostFacts, process: &Process) -> Confinement {
    match decide(policy, facts, process) {
        Ok(Decision::Plan(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

fn strict() -> Confinement {
    planned(&Policy::strict(), &machine(), &process(Start::Stays))
}

fn unsupported(policy: &Policy, facts: &HostFacts, process: &Process) -> Unsupported {
    match decide(policy, facts, process) {
        Ok(Decision::Unsupported(unsupported)) => unsupported,
        other => panic!("{other:?}"),
    }
}

/// Each rule that is refused, with why and the remedy.
fn unmet(decision: Result<Decision, Refusal>) -> Vec<(Rule, String, String)> {
    match decision {
        Err(Refusal::Unmet { unmet }) => unmet
            .into_iter()
            .map(|unmet| (unmet.rule, unmet.reason, unmet.remedy))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn invalid(decision: Result<Decision, Refusal>) -> String {
    match decision {
        Err(Refusal::Invalid { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

fn strength(plan: &Confinement, rule: Rule) -> Strength {
    let mut rules = plan.rules.iter();
    rules
        .find(|planned| planned.rule == rule)
        .unwrap()
        .planned
        .strength
}

fn words(plan: &Confinement) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.word()).collect()
}

fn at(plan: &Confinement, word: &str) -> Option<usize> {
    words(plan).iter().position(|step| *step == word)
}

/// What a place may be used for; none where there is no rule of just this place.
fn access(plan: &Confinement, place: &str) -> Option<u64> {
    plan.steps.iter().find_map(|step| match step {
        Step::AllowPath { path, access, .. } if path.0 == place.as_bytes()[1..] => Some(*access),
        _ => None,
    })
}

const READ: u64 = 1 << 2;
const WRITE: u64 = 1 << 1;
const LIST: u64 = 1 << 3;

fn without_landlock() -> HostFacts {
    HostFacts {
        landlock: Ability::Unavailable {
            cause: "Landlock is off".into(),
            remedy: "switch it on".into(),
        },
        landlock_abi: 0,
        ..machine()
    }
}

/// What the filter answers to a call by its name.
fn answer(plan: &Confinement, name: &str, arguments: [u64; 6]) -> Verdict {
    let filter = seccomp::Filter::new(plan.filter.as_ref().unwrap()).unwrap();
    let architecture = filter.architecture();
    let call = Call::named(name).unwrap();
    let attempt = Attempt {
        audit: architecture.audit(),
        number: call.number(architecture).unwrap(),
        arguments,
    };
    let secrets = Secrets {
        arguments: 0x7000_0000,
        variables: 0x7100_0000,
    };
    filter.evaluate(&attempt, Some(secrets))
}

fn denies(plan: &Confinement, name: &str, arguments: [u64; 6]) -> bool {
    matches!(answer(plan, name, arguments), Verdict::Deny(_))
}

#[test]
fn its_own_rules_are_held_by_the_kernel_and_every_other_is_listed_as_not_in_confine() {
    for facts in [machine(), as_root()] {
        let plan = planned(&Policy::strict(), &facts, &process(Start::Stays));
        assert_eq!(plan.rules.len(), Rule::ALL.len());
        for rule in &plan.rules {
            if RULES.contains(&rule.rule) {
                assert_eq!(rule.planned.strength, Strength::Kernel, "{rule:?}");
                assert!(!rule.steps.is_empty(), "{rule:?}");
                continue;
            }
            assert_eq!(rule.planned.mechanism, NOT_IN_CONFINE, "{rule:?}");
            assert_eq!(rule.planned.strength, Strength::None);
            assert_eq!(rule.requested, Strength::None);
            assert!(rule.steps.is_empty());
        }
    }
}

#[test]
fn without_landlock_it_is_refused_and_where_that_is_accepted_the_rest_is_held() {
    let refused = unmet(decide(
        &Policy::strict(),
        &without_landlock(),
        &process(Start::Stays),
    ));
    let rules: Vec<Rule> = refused.iter().map(|(rule, ..)| *rule).collect();
    // Its own code can be written over by a file of /proc, which nothing else closes.
    assert_eq!(rules, [Rule::Files, Rule::WritableCode]);
    let (_, reason, remedy) = &refused[0];
    assert_eq!(reason, "Landlock is off");
    assert!(remedy.contains("switch it on") && remedy.contains("--best-effort files"));
    assert!(refused[1].1.contains("/proc/self/mem"), "{refused:?}");
    assert!(refused[1].2.contains("--best-effort writable_code"));

    let accepting = Policy::strict()
        .best_effort(Rule::Files)
        .best_effort(Rule::WritableCode);
    let plan = planned(&accepting, &without_landlock(), &process(Start::Stays));
    for rule in [Rule::Files, Rule::WritableCode] {
        assert_eq!(strength(&plan, rule), Strength::None, "{rule}");
    }
    assert_eq!(strength(&plan, Rule::Syscalls), Strength::Kernel);
    assert_eq!((at(&plan, "ruleset"), at(&plan, "restrict")), (None, None));
    assert_eq!(plan.landlock, None);
    let told = |plan: &Confinement| plan.notes.iter().any(|note| note.contains("by /proc"));
    assert!(told(&plan) && !told(&strict()));
}

#[test]
fn the_first_landlock_is_refused_and_the_second_is_helped_by_the_filter() {
    let of = |landlock_abi| HostFacts {
        landlock_abi,
        ..machine()
    };
    let first = unmet(decide(&Policy::strict(), &of(1), &process(Start::Stays)));
    assert_eq!(first[0].0, Rule::Files);
    assert!(first[0].2.contains("5.19"), "{first:?}");
    for (abi, denied) in [(2, true), (3, false), (7, false)] {
        let plan = planned(&Policy::strict(), &of(abi), &process(Start::Stays));
        assert_eq!(denies(&plan, "truncate", [0; 6]), denied, "ABI {abi}");
        let handled = &plan.landlock.as_ref().unwrap().handled;
        assert_eq!(handled.contains(&Right::Truncate), !denied);
    }
}

#[test]
fn what_a_file_is_to_others_cannot_be_changed_past_landlock() {
    for policy in [Policy::strict(), Policy::minimal()] {
        let plan = planned(&policy, &machine(), &process(Start::Stays));
        for call in ["chmod", "fchmod", "fchmodat2", "fchownat", "fsetxattr"] {
            assert!(denies(&plan, call, [0; 6]), "{call}");
        }
    }
    // Whoever lets one through gives the rule up, and has to say so.
    let mut lets = Policy::minimal();
    lets.seccomp.allow.push(Said {
        value: "fsetxattr".into(),
        origin: "policy.toml line 3".into(),
    });
    let refused = unmet(decide(&lets, &machine(), &process(Start::Stays)));
    assert_eq!(refused[0].0, Rule::Files);
    let plan = planned(
        &lets.best_effort(Rule::Files),
        &machine(),
        &process(Start::Stays),
    );
    assert!(!denies(&plan, "fsetxattr", [0; 6]) && denies(&plan, "chmod", [0; 6]));
}

#[test]
fn with_more_threads_it_is_unsupported_and_says_what_to_do() {
    let threads = Process {
        threads: 3,
        ..process(Start::Stays)
    };
    let capable = Process {
        capabilities: true,
        bounding: true,
        ..threads.clone()
    };
    let why = unsupported(&Policy::strict(), &machine(), &threads);
    assert!(why.what.contains("3 threads") && why.what.contains("Landlock holds"));
    assert!(why.remedy.contains("before any thread"), "{why:?}");
    let why = unsupported(&Policy::strict(), &as_root(), &capable);
    assert!(why.what.contains("Landlock and capset(2) hold"), "{why:?}");
    let without_files = Policy::strict().best_effort(Rule::Files);
    let why = unsupported(&without_files, &as_root(), &capable);
    assert!(why.what.contains("capset(2) holds"), "{why:?}");

    // What holds all threads is left where the rest is accepted, and no more is claimed.
    let half = without_files.best_effort(Rule::Privileges);
    let refused = unmet(decide(&half, &as_root(), &capable));
    let lost: Vec<Rule> = refused.iter().map(|(rule, ..)| *rule).collect();
    let of_one = [
        Rule::Sockets,
        Rule::Descriptors,
        Rule::WritableCode,
        Rule::OpenFiles,
        Rule::FileSize,
    ];
    assert_eq!(lost, of_one);
    // Whoever has no capability cannot raise a limit.
    let refused = unmet(decide(&half, &machine(), &threads));
    let lost: Vec<Rule> = refused.iter().map(|(rule, ..)| *rule).collect();
    assert_eq!(lost, of_one[..3]);
    let filter_alone = of_one.into_iter().fold(half, Policy::best_effort);
    let plan = planned(&filter_alone, &as_root(), &capable);
    for rule in of_one.into_iter().chain([Rule::Files, Rule::Privileges]) {
        assert_eq!(strength(&plan, rule), Strength::None, "{rule}");
    }
    for word in ["restrict", "capabilities", "securebits"] {
        assert_eq!(at(&plan, word), None, "{word}");
    }
    assert_eq!(strength(&plan, Rule::Syscalls), Strength::Kernel);

    // Where one of them has a filter of its own not even that can be.
    let apart = Process {
        filtered_apart: true,
        ..capable
    };
    let why = unsupported(&filter_alone, &as_root(), &apart);
    assert!(why.what.contains("a filter of their own"), "{why:?}");
}

#[test]
fn a_descriptor_in_whose_place_nothing_can_be_put_is_found_before_anything_holds() {
    let beyond = Process {
        beyond_limit: Some(100),
        ..process(Start::Stays)
    };
    let why = unsupported(&Policy::strict(), &machine(), &beyond);
    assert!(
        why.what.starts_with("descriptor 100 is not below"),
        "{why:?}"
    );
    assert!(why.remedy.contains("ulimit -n"), "{why:?}");
}

#[test]
fn what_can_fail_comes_before_what_holds_for_good_and_the_filter_is_last() {
    for facts in [machine(), as_root()] {
        for start in [Start::Stays, Start::Executes] {
            let privileged = Process {
                capabilities: facts.uid == 0,
                bounding: facts.uid == 0,
                ..process(start)
            };
            let plan = planned(&Policy::strict(), &facts, &privileged);
            let first = at(&plan, "no_new_privs").unwrap();
            let (undone, good) = plan.steps.split_at(first);
            assert!(
                undone
                    .iter()
                    .all(|step| matches!(step, Step::Ruleset { .. } | Step::AllowPath { .. }))
            );
            assert!(
                !good
                    .iter()
                    .any(|step| matches!(step, Step::Ruleset { .. } | Step::AllowPath { .. }))
            );
            assert_eq!(at(&plan, "filter"), Some(plan.steps.len() - 1));
            let place = |word| at(&plan, word).unwrap_or_else(|| panic!("no {word}"));
            assert!(place("restrict") < place("rlimit"));
            assert!(place("close_descriptors") < place("restrict"));
        }
    }
}

#[test]
fn secrets_are_taken_out_of_what_minimal_lets_be_read() {
    let entries = |all: &[(&str, &[(&str, bool)])]| -> BTreeMap<_, _> {
        let entry = |(name, directory): &(&str, bool)| Entry {
            name: (*name).to_owned(),
            directory: *directory,
        };
        all.iter()
            .map(|(at, list)| (path(at), list.iter().map(entry).collect()))
            .collect()
    };
    let listing = Process {
        entries: entries(&[
            ("/home", &[("me", true), ("you", true)]),
            (
                "/home/me",
                &[(".ssh", true), ("work", true), ("notes", false)],
            ),
            ("/etc", &[("shadow", false), ("passwd", false)]),
        ]),
        ..process(Start::Stays)
    };
    let plan = planned(&Policy::minimal(), &machine(), &listing);
    for closed in [
        "/home",
        "/home/me",
        "/home/me/.ssh",
        "/etc",
        "/etc/shadow",
        "/dev",
        "/run",
    ] {
        assert_eq!(access(&plan, closed), None, "{closed}");
    }
    for open in [
        "/usr",
        "/proc",
        "/home/you",
        "/home/me/work",
        "/home/me/notes",
        "/etc/passwd",
    ] {
        let access = access(&plan, open).unwrap_or_else(|| panic!("no {open}"));
        assert_eq!(access & (READ | WRITE), READ, "{open}");
    }
    assert_eq!(access(&plan, "/"), Some(LIST));
    // What is asked to be listed is what was listed here, and what nobody listed is closed.
    let wanted = confine::listed(&true_program(), &Policy::minimal(), &machine());
    assert!(listing.entries.keys().all(|at| wanted.contains(at)));
    let blind = planned(&Policy::minimal(), &machine(), &process(Start::Stays));
    for closed in ["/home", "/home/you", "/etc/passwd"] {
        assert_eq!(access(&blind, closed), None, "{closed}");
    }
}

#[test]
fn what_is_named_inside_of_a_known_secret_can_be_used_and_the_rest_of_it_not() {
    let mut verified = true_program();
    let inside = "/home/me/.ssh/known_hosts";
    survey(&mut verified, inside, found(inside, FileKind::File));
    let policy = Policy::minimal().allow_read(inside).unwrap();
    let of =
        |verified: &Verified| confine::plan(verified, &policy, &machine(), &process(Start::Stays));
    let Ok(Decision::Plan(plan)) = of(&verified) else {
        panic!("no plan");
    };
    assert_eq!(access(&plan, inside).unwrap() & (READ | WRITE), READ);
    assert_eq!(access(&plan, "/home/me/.ssh"), None);
    assert_eq!(access(&plan, "/home/me"), None);
    assert_eq!(plan.hidden[0].path.escaped(), "/home/me/.ssh");

    // Nor is a program kept from its start by where it lies.
    let mut lies = true_program();
    let Subject::Program(program) = &mut lies.subject else {
        panic!("a program");
    };
    for candidate in &mut program.candidates {
        let executable = candidate.found.as_mut().unwrap();
        executable.file = found("/home/me/.ssh/true", FileKind::File);
        executable.file.mode = 0o755;
    }
    let starts = confine::plan(
        &lies,
        &Policy::minimal(),
        &machine(),
        &process(Start::Executes),
    );
    let Ok(Decision::Plan(plan)) = starts else {
        panic!("{starts:?}");
    };
    assert!(access(&plan, "/home/me/.ssh/true").is_some());
}

/// Its own tree is the program's, with what links of it lead to.
#[test]
fn a_program_opens_no_door_by_what_it_says_that_it_needs() {
    for (needed, opens) in [
        ("/home/me/.ssh", [false, false]),
        ("/opt/plug", [false, false]),
        ("/usr/lib/plug", [true, true]),
    ] {
        let mut verified = true_program();
        let Subject::Program(program) = &mut verified.subject else {
            panic!("a program");
        };
        for candidate in &mut program.candidates {
            let executable = candidate.found.as_mut().unwrap();
            let ExecutableKind::Elf {
                libraries, runtime, ..
            } = &mut executable.kind
            else {
                panic!("a program");
            };
            let library = Library {
                path: path("/plug/lib/python3.11"),
                file: found(needed, FileKind::Directory),
            };
            libraries.push(library.clone());
            runtime.push(library);
        }
        for (policy, opens) in [Policy::strict(), Policy::minimal()].into_iter().zip(opens) {
            let decided = confine::plan(&verified, &policy, &machine(), &process(Start::Executes));
            let Ok(Decision::Plan(plan)) = decided else {
                panic!("{decided:?}");
            };
            assert_eq!(access(&plan, needed).is_some(), opens, "{needed}");
        }
    }
}

#[test]
fn a_link_of_one_secret_opens_no_other() {
    let mut verified = true_program();
    let place = "/home/me/.ssh/link";
    survey(&mut verified, place, found("/etc/shadow", FileKind::File));
    let policy = Policy::minimal().allow_read(place).unwrap();
    let decided = confine::plan(&verified, &policy, &machine(), &process(Start::Stays));
    let reason = invalid(decided);
    assert!(
        reason.contains("leads by a symbolic link to /etc/shadow"),
        "{reason}"
    );
}

#[test]
fn a_link_that_leads_into_a_known_secret_is_refused_and_not_left_out() {
    let mut verified = true_program();
    let secret = found("/home/me/.ssh", FileKind::Directory);
    survey(&mut verified, "/srv/data", secret);
    let policy = Policy::minimal().allow_read("/srv/data").unwrap();
    let decided = confine::plan(&verified, &policy, &machine(), &process(Start::Stays));
    let reason = invalid(decided);
    assert!(
        reason.contains("/srv/data")
            && reason.contains("leads by a symbolic link to /home/me/.ssh"),
        "{reason}"
    );
    assert!(reason.contains("by its own path"), "{reason}");
}

#[test]
fn a_place_that_a_policy_denies_is_taken_out_of_a_grant() {
    let mut verified = true_program();
    for at in ["/srv", "/srv/secret"] {
        survey(&mut verified, at, found(at, FileKind::Directory));
    }
    let policy = Policy::strict()
        .deny("/srv/secret")
        .and_then(|policy| policy.allow_path_prefix("/srv"))
        .unwrap();
    let entry = |name: &str| Entry {
        name: name.to_owned(),
        directory: true,
    };
    let listing = Process {
        entries: [(path("/srv"), vec![entry("open"), entry("secret")])].into(),
        ..process(Start::Stays)
    };
    let Decision::Plan(plan) = confine::plan(&verified, &policy, &machine(), &listing).unwrap()
    else {
        panic!("no plan");
    };
    assert_eq!(access(&plan, "/srv"), None);
    assert_eq!(access(&plan, "/srv/secret"), None);
    assert_eq!(access(&plan, "/srv/open").unwrap() & WRITE, WRITE);
    assert_eq!(plan.hidden[0].path.escaped(), "/srv/secret");
}

#[test]
fn a_strict_process_that_stays_starts_nothing_and_gets_no_more_code() {
    let plan = strict();
    // Nor does the start by which a launcher gets past such a filter.
    for arguments in [[0; 6], [0, 0, 0x7000_0000, 0x7100_0000, 0, 0]] {
        assert!(denies(&plan, "execve", arguments));
        assert!(denies(&plan, "execveat", arguments));
    }
    let (read, execute) = (1, 4);
    let private = 2;
    assert!(denies(
        &plan,
        "mmap",
        [0, 4096, read | execute, private, 7, 0]
    ));
    assert!(denies(&plan, "mprotect", [0, 4096, execute, 0, 0, 0]));
    assert!(!denies(&plan, "mmap", [0, 4096, read, private, 7, 0]));

    let starts = planned(&Policy::strict(), &machine(), &process(Start::Executes));
    assert_eq!(starts.filter.as_ref().unwrap().exec, Exec::Once);
    assert!(!denies(
        &starts,
        "execveat",
        [0, 0, 0x7000_0000, 0x7100_0000, 0, 0]
    ));
    assert!(denies(&starts, "execveat", [0; 6]));
    let (program, arguments) = starts.program.unwrap();
    assert_eq!(program.escaped(), "/usr/bin/true");
    assert_eq!(arguments.len(), 2);
    assert_eq!(plan.program, None);
}

fn writing() -> (Verified, Policy) {
    let mut verified = true_program();
    survey(&mut verified, "/out", found("/out", FileKind::Directory));
    let policy = Policy::strict().allow_path_prefix("/out").unwrap();
    (verified, policy)
}

#[test]
fn what_may_be_written_could_become_code_of_a_program_that_is_started() {
    let (verified, policy) = writing();
    let starts = process(Start::Executes);
    let refused = unmet(confine::plan(&verified, &policy, &machine(), &starts));
    assert_eq!(refused.len(), 1);
    let (rule, reason, remedy) = &refused[0];
    assert_eq!(*rule, Rule::WritableCode);
    assert!(reason.contains("/out"), "{reason}");
    assert!(remedy.contains("--allow jit"), "{remedy}");
    for accepting in [
        policy.clone().allow(Granted::Jit),
        policy.clone().best_effort(Rule::WritableCode),
    ] {
        confine::plan(&verified, &accepting, &machine(), &starts).unwrap();
    }
    // A process that stays has all its code already.
    confine::plan(&verified, &policy, &machine(), &process(Start::Stays)).unwrap();
    // A stream that is a file does as well as a grant.
    let stream = Process {
        held: vec![Held {
            number: 0,
            kind: HeldKind::WrittenFile { read: true },
        }],
        ..starts
    };
    let refused = unmet(decide(&Policy::strict(), &machine(), &stream));
    assert_eq!(refused[0].0, Rule::WritableCode);
}

#[test]
fn where_nobody_says_a_preset_it_is_strict_and_equal_input_decides_alike() {
    let plan = planned(&Policy::default(), &machine(), &process(Start::Stays));
    assert_eq!(plan.preset, Preset::Strict);
    assert_eq!(plan.steps, strict().steps);
    assert_eq!(strict(), strict());
}

#[test]
fn code_that_is_mapped_already_must_be_such_that_nobody_can_write_it() {
    let (verified, policy) = writing();
    let stays = |mapped: Mapped| Process {
        mapped,
        ..process(Start::Stays)
    };
    let files = |file: &str| Mapped {
        writable: false,
        files: vec![path("/usr/lib/libc.so"), path(file)],
    };
    let writes = |mapped| confine::plan(&verified, &policy, &machine(), &stays(mapped));
    writes(files("/opt/plugin.so")).unwrap();
    for mapped in [
        files("/out/plugin.so"),
        Mapped {
            writable: true,
            files: Vec::new(),
        },
    ] {
        let refused = unmet(writes(mapped));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, Rule::WritableCode);
    }
    // Whatever it starts besides.
    let starting = Policy::strict().allow(Granted::Subprocesses);
    let of = |mapped| decide(&starting, &machine(), &stays(mapped));
    of(files("/opt/plugin.so")).unwrap();
    let writable = Mapped {
        writable: true,
        ..files("/opt/plugin.so")
    };
    assert_eq!(unmet(of(writable))[0].0, Rule::WritableCode);
}

#[test]
fn a_stream_that_writes_a_file_may_become_code_of_a_program_that_is_started() {
    for read in [false, true] {
        let stream = Process {
            held: vec![Held {
                number: 1,
                kind: HeldKind::WrittenFile { read },
            }],
            ..process(Start::Executes)
        };
        let refused = unmet(decide(&Policy::strict(), &machine(), &stream));
        assert_eq!(refused[0].0, Rule::WritableCode);
    }
}

#[test]
fn a_link_that_leads_out_of_what_may_be_written_is_followed_for_no_grant() {
    let (mut verified, policy) = writing();
    survey(
        &mut verified,
        "/out/in",
        found("/home/somebody/.ssh", FileKind::Directory),
    );
    let policy = policy.allow_read("/out/in").unwrap();
    for start in [Start::Stays, Start::Executes] {
        let policy = policy.clone().best_effort(Rule::WritableCode);
        let reason = invalid(confine::plan(
            &verified,
            &policy,
            &machine(),
            &process(start),
        ));
        assert!(reason.contains("leads out of it"), "{reason}");
    }
}
