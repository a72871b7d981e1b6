//! Lessons about a plan made by hand, on a machine made by hand; the real ones
//! are drawn from real runs in `tests/tests/learn.rs`.

use std::collections::BTreeMap;

use belljar_plan::{
    Bytes, Limit, Outcome, Plan, Report, Rule,
    observation::{Intent, Observation, Observations},
    plan::PlannedLimit,
    report::{Denials, Edge, LimitHit, LimitReport, Violation},
};
use proptest::prelude::*;

use super::{
    places::{may_be_made, may_stand_for_its_files},
    *,
};
use crate::{
    path::UnixPath,
    policy::{Format, Policy, Right},
    risk,
    why::{Entry, EntryKind, Start},
};

/// Files, directories (with a slash behind them) and links (with `->`).
struct Files(BTreeMap<String, EntryKind>);

impl Files {
    fn new(list: &[&str]) -> Self {
        let mut all = BTreeMap::new();
        for text in list {
            let (path, kind) = match text.split_once("->") {
                Some((path, target)) => (path, EntryKind::Link(Bytes::from(target))),
                None if text.ends_with('/') => (text.trim_end_matches('/'), EntryKind::Directory),
                None => (*text, EntryKind::File),
            };
            for above in path.match_indices('/').skip(1).map(|(at, _)| &path[..at]) {
                all.entry(above.to_owned()).or_insert(EntryKind::Directory);
            }
            all.insert(path.to_owned(), kind);
        }
        Self(all)
    }
}

impl Machine for Files {
    fn entry(&self, path: &UnixPath) -> Result<Entry, i32> {
        let kind = self.0.get(path.as_str()).cloned().ok_or(2)?;
        let mode = match kind {
            EntryKind::Directory => 0o755,
            _ => 0o644,
        };
        Ok(Entry {
            kind,
            device: 1,
            uid: 1000,
            gid: 1000,
            mode,
        })
    }

    fn start(&self, _: &UnixPath) -> Start {
        Start::Itself
    }
}

fn at(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn around() -> Surroundings {
    Surroundings {
        home: Some(at("/home/me")),
        workdir: None,
        risk: risk::Surroundings {
            homes: vec![at("/home/me")],
            path_directories: vec![at("/usr/bin")],
        },
    }
}

fn plan() -> Plan {
    crate::why::tests::plan()
}

fn row(intent: Intent, name: &str, syscall: &str) -> Observation {
    Observation {
        intent,
        name: name.into(),
        syscall: syscall.to_owned(),
        arguments: Vec::new(),
        answer: None,
        pid: 7,
        count: 1,
    }
}

fn report(code: u8, rows: Vec<Observation>) -> Report {
    Report {
        schema: 1,
        jar: "jar-1".into(),
        task: None,
        plugin: None,
        plan_digest: Some("x".into()),
        outcome: Outcome::Exited { code },
        limits_hit: Vec::new(),
        limits: Vec::new(),
        limit_changes: Vec::new(),
        reason: String::new(),
        usage: Default::default(),
        enforcement: Vec::new(),
        landlock: None,
        violations: Vec::new(),
        denials: Denials::default(),
        observations: Some(Observations {
            rows,
            ..Observations::default()
        }),
        symptoms: Vec::new(),
        dropped: Vec::new(),
        weakenings: Vec::new(),
        notes: Vec::new(),
    }
}

fn lesson(files: &[&str], rows: Vec<Observation>) -> Lesson {
    learn(&plan(), &report(1, rows), &Files::new(files), &around())
}

fn reads(names: &[&str]) -> Vec<Observation> {
    names
        .iter()
        .map(|name| row(Intent::Read, name, "openat"))
        .collect()
}

/// The lines for a manifest, in order.
fn lines(lesson: &Lesson) -> Vec<String> {
    let lines = lesson.proposals.iter();
    lines
        .flat_map(|proposal| proposal.lines.manifest.clone())
        .collect()
}

#[test]
fn what_the_machine_has_is_proposed_and_what_nobody_has_is_not() {
    let lesson = lesson(
        &["/usr/lib/x.so", "/srv/model"],
        reads(&["/srv/model", "/usr/lib/x.so", "/srv/none", "/nowhere"]),
    );
    assert_eq!(lines(&lesson), [r#"filesystem.read = ["/srv/model"]"#]);
    assert_eq!(
        lesson.absent,
        [Bytes::from("/nowhere"), Bytes::from("/srv/none")]
    );
    assert_eq!(lesson.used.len(), 1);
    assert_eq!(lesson.used[0].place, Bytes::from("/usr/lib"));
}

#[test]
fn a_file_of_the_guest_s_home_is_looked_for_in_the_caller_s() {
    let lesson = lesson(
        &["/home/me/.app.conf"],
        reads(&["/home/plugin/.app.conf", "/home/plugin/.other"]),
    );
    assert_eq!(
        lines(&lesson),
        [r#"filesystem.read = [{ path = "/home/me/.app.conf", at = "/home/plugin/.app.conf" }]"#]
    );
    assert_eq!(
        lesson.proposals[0].lines.policy,
        [r#"filesystem.read = ["/home/me/.app.conf"]"#]
    );
}

#[test]
fn smaller_and_less_risky_ones_come_first_and_those_done_without_last() {
    let lesson = lesson(
        &[
            "/srv/dir/",
            "/srv/file",
            "/home/me/.ssh/id_rsa",
            "/etc/localtime",
        ],
        [
            reads(&[
                "/home/me/.ssh/id_rsa",
                "/srv/dir",
                "/etc/localtime",
                "/srv/file",
            ]),
            vec![row(Intent::Write, "/srv/out", "openat")],
        ]
        .concat(),
    );
    let order: Vec<(bool, risk::Level, String)> = lesson
        .proposals
        .iter()
        .map(|proposal| {
            let line = proposal.lines.flag.clone().unwrap();
            (proposal.optional, proposal.level, line)
        })
        .collect();
    use risk::Level::{Critical, Low};
    assert_eq!(
        order,
        [
            (false, Low, "--read /srv/file".to_owned()),
            (false, Low, "--write /srv/out".to_owned()),
            (false, Low, "--read /srv/dir".to_owned()),
            (false, Critical, "--read /home/me/.ssh/id_rsa".to_owned()),
            (true, Low, "--read /etc/localtime".to_owned()),
        ]
    );
    // It is not there: beside what lies in /srv itself, nothing of it is for a guest.
    assert_eq!(lesson.proposals[1].make, Some(Make::File));
}

#[test]
fn a_directory_that_is_to_be_made_is_granted_and_not_the_one_above() {
    let rows = [
        "/var/cache/tool/index",
        "/var/cache/tool",
        "/var/cache",
        "/var",
    ]
    .map(|name| row(Intent::Create, name, "mkdirat"))
    .to_vec();
    let lesson = lesson(&["/var/cache/"], rows);
    assert_eq!(
        lines(&lesson),
        [r#"filesystem.write = ["/var/cache/tool"]"#]
    );
    assert_eq!(lesson.proposals[0].make, Some(Make::Directory));
}

#[test]
fn nothing_is_made_behind_a_link() {
    let rows = vec![row(Intent::Create, "/srv/link/x/y", "openat")];
    let lesson = lesson(&["/srv/link->/etc", "/etc/passwd"], rows);
    assert!(
        lesson
            .proposals
            .iter()
            .all(|proposal| proposal.make.is_none()),
        "{:?}",
        lesson.proposals
    );
}

#[test]
fn a_policy_grants_where_links_lead_and_the_worse_risk_is_told() {
    let lesson = lesson(
        &["/srv/link->/etc/shadow", "/etc/shadow"],
        reads(&["/srv/link"]),
    );
    let proposal = &lesson.proposals[0];
    assert_eq!(
        proposal.lines.manifest,
        [r#"filesystem.read = ["/srv/link"]"#]
    );
    assert_eq!(
        proposal.lines.policy,
        [r#"filesystem.read = ["/etc/shadow"]"#]
    );
    assert_eq!(proposal.level, risk::Level::Critical);
}

#[test]
fn a_directory_that_is_only_passed_is_not_proposed() {
    let rows = [
        vec![row(Intent::Look, "/srv", "lstat")],
        vec![row(Intent::Look, "/srv/app", "lstat")],
        vec![row(Intent::Look, "/srv/data", "stat")],
        reads(&["/srv/app/x"]),
    ]
    .concat();
    let lesson = lesson(&["/srv/app/x", "/srv/data/"], rows);
    assert_eq!(
        lines(&lesson),
        [
            r#"filesystem.read = ["/srv/app/x"]"#,
            r#"filesystem.read = ["/srv/data"]"#
        ]
    );
    // One that nothing was asked of is for somebody to think about.
    assert!(!lesson.proposals[0].optional && lesson.proposals[1].optional);
}

#[test]
fn directories_stand_for_their_files_under_declared_rules() {
    let many = |directory: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{directory}/{number}.dat"))
            .collect()
    };
    for (files, extra, expected) in [
        // Data: six files of one directory.
        (many("/srv/data", 6), None, vec!["/srv/data"]),
        (
            many("/srv/data", 2),
            None,
            vec!["/srv/data/0.dat", "/srv/data/1.dat"],
        ),
        // Installed together.
        (
            many("/srv/app/node_modules/left-pad/lib", 1),
            None,
            vec!["/srv/app/node_modules"],
        ),
        (
            many("/opt/py/lib/python3/site-packages/x", 1),
            None,
            vec!["/opt/py/lib/python3/site-packages"],
        ),
        // A project, by what it holds.
        (
            many("/srv/app/src", 3),
            Some("/srv/app/package.json"),
            vec!["/srv/app"],
        ),
        (
            many("/home/me/project/data", 6),
            None,
            vec!["/home/me/project/data"],
        ),
    ] {
        let mut there: Vec<&str> = files.iter().map(String::as_str).collect();
        there.extend(extra);
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let lesson = lesson(&there, reads(&names));
        let paths: Vec<String> = expected
            .iter()
            .map(|path| format!("filesystem.read = [\"{path}\"]"))
            .collect();
        assert_eq!(lines(&lesson), paths);
    }
}

#[test]
fn nothing_of_etc_homes_or_credentials_is_ever_a_directory() {
    for directory in [
        "/etc/app",
        "/etc/app/conf.d",
        "/etc/node_modules/x",
        "/home/me",
        "/home/me/.app",
        "/home/me/.app/data",
        "/home/me/.local/lib/python3/site-packages/x",
        "/home/me/.ssh",
        "/home/other",
        "/home/other/.app/data",
        "/run/app",
        "/sys/class/x",
        "/var/lib",
        "/usr/local/bin",
    ] {
        let files: Vec<String> = (0..12)
            .map(|number| format!("{directory}/{number}"))
            .collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let there = [names.clone(), vec!["/home/me/.app/package.json"]].concat();
        let lesson = lesson(&there, reads(&names));
        for proposal in &lesson.proposals {
            let Change::Path { path, .. } = &proposal.change else {
                panic!("{proposal:?}");
            };
            assert!(names.contains(&path.as_str()), "{directory}: {path}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever a guest names, no directory is proposed that may not stand for
    /// its files, unless it was asked for itself.
    #[test]
    fn no_name_makes_a_forbidden_directory_a_proposal(
        names in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "/etc", "/home/me", "/home/me/.config", "/home/me/.ssh", "/root", "/run/secrets",
                    "/srv/data", "/home/me/work/node_modules", "/home/you/.cache", "/var/lib", "/",
                ]),
                prop::collection::vec(prop::sample::select(vec!["a", "b", ".c", "node_modules", "package.json"]), 1..3),
                prop::sample::select(vec![Intent::Read, Intent::Look, Intent::Write, Intent::Create]),
                any::<bool>(),
            ),
            1..40,
        ),
    ) {
        let mut there = Vec::new();
        let mut rows = Vec::new();
        for (directory, parts, intent, exists) in &names {
            let path = format!("{}/{}", directory.trim_end_matches('/'), parts.join("/"));
            if *exists {
                there.push(path.clone());
            }
            rows.push(row(*intent, &path, "openat"));
        }
        let asked: Vec<UnixPath> = rows.iter().map(|row| at(std::str::from_utf8(&row.name.0).unwrap())).collect();
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        let lesson = lesson(&there, rows);
        for proposal in &lesson.proposals {
            if let Change::Path { path, .. } = &proposal.change {
                let may = match proposal.make {
                    Some(Make::Directory) => may_be_made(path, &around()) && !there.contains(&path.as_str()),
                    _ => may_stand_for_its_files(path, &around()),
                };
                prop_assert!(asked.contains(path) || may, "{}", path);
            }
        }
    }

    /// Every line is one that its file takes, with whatever letters the guest chose.
    #[test]
    fn every_line_is_read_back(name in "[ -~\\t\\n\u{e9}\u{202e}]{1,12}") {
        let Ok(path) = UnixPath::new(&format!("/srv/{name}")) else { return Ok(()) };
        prop_assume!(path.as_str() != "/srv");
        let lesson = lesson(&[path.as_str()], reads(&[path.as_str()]));
        for proposal in &lesson.proposals {
            Policy::parse(&proposal.lines.policy.concat(), Format::Toml, "p.toml", None).unwrap();
        }
    }
}

#[test]
fn a_right_that_a_failing_run_was_refused_is_lacking_and_of_one_that_succeeded_optional() {
    let violation = |rule, syscall: &str| Violation {
        id: String::new(),
        rule,
        action: "x".into(),
        syscall: syscall.into(),
        arguments: Vec::new(),
        answer: "EPERM".into(),
        pid: 7,
        count: 1,
    };
    for code in [0, 1] {
        let mut report = report(code, Vec::new());
        report.violations = vec![
            violation(Rule::WritableCode, "mprotect"),
            violation(Rule::Exec, "execve"),
        ];
        let lesson = learn(&plan(), &report, &Files::new(&[]), &around());
        let changes: Vec<(&Change, bool)> = lesson
            .proposals
            .iter()
            .map(|proposal| (&proposal.change, proposal.optional))
            .collect();
        assert_eq!(
            changes,
            [
                (&Change::Right(Right::Jit), code == 0),
                (&Change::Right(Right::Subprocesses), code == 0)
            ]
        );
    }
}

#[test]
fn a_limit_that_was_met_is_raised() {
    let mut plan = plan();
    plan.limits = vec![PlannedLimit {
        limit: Limit::Memory,
        soft: None,
        hard: Some(64 << 20),
        stop: false,
        origin: "preset strict".into(),
    }];
    let mut report = report(1, Vec::new());
    report.outcome = Outcome::Limit {
        limit: Limit::Memory,
    };
    report.limits_hit = vec![LimitHit {
        limit: Limit::Memory,
        at: Edge::Hard,
    }];
    report.limits = vec![LimitReport {
        limit: Limit::Memory,
        soft: None,
        hard: Some(64 << 20),
        used: Some((100 << 20) + 1),
        decided_by: "preset strict".into(),
    }];
    let lesson = learn(&plan, &report, &Files::new(&[]), &around());
    // More than half above what was used.
    assert_eq!(lines(&lesson), [r#"limits.memory = "151MiB""#]);
    assert_eq!(
        lesson.proposals[0].lines.flag.as_deref(),
        Some("--memory 151MiB")
    );
}

#[test]
fn what_is_written_in_the_home_may_be_kept() {
    let rows = vec![
        row(Intent::Create, "/home/plugin/.cache", "mkdir"),
        row(Intent::Create, "/home/plugin/.cache/tool", "mkdir"),
        row(Intent::Create, "/home/plugin/.cache/tool/x", "openat"),
        row(Intent::Create, "/tmp/x", "openat"),
    ];
    let lesson = lesson(&["/home/me/"], rows);
    assert_eq!(
        lines(&lesson),
        [
            r#"filesystem.write = [{ path = "/home/me/.cache/tool", at = "/home/plugin/.cache/tool" }]"#
        ]
    );
    let proposal = &lesson.proposals[0];
    assert_eq!(
        (proposal.optional, proposal.keeps, proposal.make),
        (true, true, Some(Make::Directory))
    );
}

/// A jar's scratch is at the machine's own names: `/tmp` and the home.
#[test]
fn in_scratch_a_guest_looks_for_what_it_made_or_for_the_machine_s() {
    let machine = ["/tmp/project/input", "/tmp/project/out/"];
    // What it did not make, it wants of the machine.
    let told = lesson(&machine, reads(&["/tmp/project/input"]));
    assert_eq!(
        lines(&told),
        [r#"filesystem.read = ["/tmp/project/input"]"#]
    );
    let told = lesson(
        &machine,
        vec![row(Intent::Create, "/tmp/project/out/x", "openat")],
    );
    assert_eq!(lines(&told), [r#"filesystem.write = ["/tmp/project/out"]"#]);
    // What it made is its own, whatever the machine has of that name.
    let own = [
        vec![
            row(Intent::Create, "/tmp/project", "mkdir"),
            row(Intent::Create, "/tmp/project/input", "openat"),
        ],
        reads(&["/tmp/project/input"]),
    ]
    .concat();
    let told = lesson(&machine, own);
    assert_eq!(lines(&told), Vec::<String>::new());
    assert_eq!(told.used[0].by, "the jar's own scratch");
}

#[test]
fn a_name_of_more_than_one_line_is_told_and_proposed_nowhere() {
    for name in ["/srv/x\njit = true", "/srv/\u{1b}[2J", "/srv/\u{202e}x"] {
        let lesson = lesson(&[name], reads(&[name]));
        assert!(lesson.proposals.is_empty(), "{name:?}");
        assert!(
            !lesson.refused[0]
                .question
                .contains(['\n', '\u{1b}', '\u{202e}'])
        );
    }
}

#[test]
fn a_name_that_is_no_text_is_told_and_proposed_nowhere() {
    let mut odd = row(Intent::Read, "", "openat");
    odd.name = Bytes(b"/srv/\xff".to_vec());
    let lesson = lesson(&["/srv/x"], vec![odd]);
    assert!(lesson.proposals.is_empty());
    assert_eq!(lesson.refused.len(), 1);
}

#[test]
fn grants_that_nothing_was_used_of_are_named() {
    let nothing = lesson(&["/data/x"], Vec::new());
    assert_eq!(nothing.unused, ["/data (--read)"]);
    let used = lesson(&["/data/x"], reads(&["/in/x"]));
    assert_eq!(used.unused, Vec::<String>::new());
    assert_eq!(used.used[0].by, "--read");
}
