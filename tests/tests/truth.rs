//! What is said beforehand is what happens: random policies, questions about each,
//! and a real jar in which a guest tries all that was asked about. This process has
//! a launcher of its own, so it has this binary for itself.
#![cfg(target_os = "linux")]

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
};

use belljar::{
    Answer, Jar, LaunchError, Plan, Policy, Preset, Report,
    policy::{
        UnixPath,
        data::{answer::Verdict, proof},
        manifest::Place,
        policy::{Format, Right},
        seccomp::{Architecture, Call},
    },
    why::Question,
};
use belljar_tests::{Need, guest, is_root, need};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// Policies of which a jar is made in one run of the test.
const POLICIES: u32 = 300;

/// Of so many policies one is proved too: that takes many jars.
const PROVED: u32 = 40;

/// What the machine has for the jars to be asked about.
struct World {
    /// Held so that it is removed with this.
    _room: tempfile::TempDir,
    root: PathBuf,
    port: u16,
}

impl World {
    fn new() -> Self {
        let room = tempfile::Builder::new()
            .prefix("jar-why-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let root = room.path().canonicalize().expect("it is there");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("mine");
        let made = |name: &str, mode: u32| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            fs::write(&path, format!("it is {name}")).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mine");
        };
        for (name, mode) in [
            ("a/file", 0o644),
            ("a/secret", 0o600),
            ("a/sealed", 0o444),
            ("a/nobody", 0o000),
            ("a/deep/er/file", 0o644),
            ("a/closed/file", 0o644),
            ("b/file", 0o666),
            ("b/sub/file", 0o644),
            ("b/foreign", 0o600),
            ("b/foreign-open", 0o644),
            ("c/file", 0o644),
        ] {
            made(name, mode);
        }
        for (name, from, mode) in [
            ("a/program", "/bin/true", 0o755),
            ("a/no-program", "/bin/true", 0o644),
            ("b/sub/program", "/bin/true", 0o755),
        ] {
            fs::copy(from, root.join(name)).expect("a copy");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("mine");
        }
        fs::write(root.join("a/script"), "#!/bin/sh\nexit 0\n").expect("a file");
        fs::set_permissions(root.join("a/script"), fs::Permissions::from_mode(0o755))
            .expect("mine");
        fs::write(root.join("a/lost"), "#!/no/such/interpreter\n").expect("a file");
        fs::set_permissions(root.join("a/lost"), fs::Permissions::from_mode(0o755)).expect("mine");
        for (name, target) in [
            ("a/link", PathBuf::from("file")),
            ("a/out", PathBuf::from("../b/file")),
            ("a/absolute", root.join("b/sub")),
            ("a/round", PathBuf::from("round")),
            ("b/dangling", PathBuf::from("not-there-yet")),
        ] {
            symlink(target, root.join(name)).expect("a link");
        }
        fs::set_permissions(root.join("a/closed"), fs::Permissions::from_mode(0o700))
            .expect("mine");
        if is_root() {
            for name in ["b/foreign", "b/foreign-open", "a/closed"] {
                std::os::unix::fs::chown(root.join(name), Some(4242), Some(4242)).expect("root");
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        // Where nobody takes connections from its queue, the next one waits for minutes.
        thread::spawn(move || listener.incoming().for_each(drop));
        Self {
            _room: room,
            root,
            port,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// Paths that are granted.
const GRANTED: [&str; 11] = [
    "a",
    "b",
    "a/file",
    "a/secret",
    "a/deep",
    "a/link",
    "a/closed",
    "b/sub",
    "b/foreign",
    "c",
    "a/absolute",
];
/// Where grants are put instead of their own place.
const PLACES: [&str; 4] = ["/mnt/x", "/tmp/y", "/srv/z/deep", "/home/plugin/conf"];
/// Below a place or a grant.
const BELOW: [&str; 6] = ["", "/file", "/new", "/sub/file", "/er/file", "/program"];
/// Of every machine.
const OF_SYSTEM: [&str; 29] = [
    "/",
    "/etc",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hostname",
    "/usr",
    "/usr/bin/env",
    "/bin/true",
    "/usr/share",
    "/no/such/file",
    "/tmp",
    "/tmp/new",
    "/home",
    "/home/plugin",
    "/home/plugin/new",
    "/root",
    "/dev",
    "/dev/null",
    "/dev/null/below",
    "/dev/kmsg",
    "/dev/pts",
    "/dev/pts/none",
    "/dev/ptmx/below",
    "/dev/shm/new",
    "/proc/kcore",
    "/proc/version",
    "/proc/version/below",
    "/proc/sys/kernel/ostype",
    "/sys/kernel",
];
/// Everything in the world.
const OF_WORLD: [&str; 24] = [
    "a",
    "a/file",
    "a/secret",
    "a/sealed",
    "a/nobody",
    "a/deep/er/file",
    "a/closed/file",
    "a/closed",
    "b/file",
    "b/sub/file",
    "b/foreign",
    "b/foreign-open",
    "a/program",
    "a/no-program",
    "b/sub/program",
    "a/script",
    "a/lost",
    "a/link",
    "a/out",
    "a/absolute/file",
    "a/round",
    "b/dangling",
    "b/new",
    "c/file",
];
/// Calls with arguments that the kernel itself answers by another error than a
/// filter's: a descriptor that is none, an address that is none.
const CALLS: [(&str, &[i64]); 12] = [
    ("fsync", &[-1]),
    ("fchdir", &[-1]),
    ("flock", &[-1, 0]),
    ("ftruncate", &[-1, 0]),
    ("inotify_add_watch", &[-1, 1, 0]),
    ("add_key", &[1, 1, 0, 0, 0]),
    ("request_key", &[1, 1, 0, 0]),
    ("getcwd", &[1, 1]),
    ("unshare", &[0x1000_0000]),
    ("fanotify_init", &[0x7fff_ffff, 0]),
    ("userfaultfd", &[0x7fff_ffff]),
    ("getpid", &[]),
];

/// A policy and what is asked of it, by indices into the lists above.
#[derive(Clone, Debug)]
struct Case {
    preset: u8,
    grants: Vec<(usize, bool, Option<usize>)>,
    deny: Vec<usize>,
    rights: (bool, bool),
    calls_denied: Vec<usize>,
    calls_allowed: Vec<usize>,
    questions: Vec<(u8, u8, usize, usize)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let grant = (
        0..GRANTED.len(),
        any::<bool>(),
        prop::option::weighted(0.3, 0..PLACES.len()),
    );
    (
        0..3_u8,
        prop::collection::vec(grant, 0..4),
        prop::collection::vec(0..OF_WORLD.len(), 0..2),
        (any::<bool>(), any::<bool>()),
        prop::collection::vec(0..CALLS.len(), 0..2),
        prop::collection::vec(5..7_usize, 0..2),
        prop::collection::vec((0..8_u8, 0..3_u8, 0..OF_SYSTEM.len(), 0..BELOW.len()), 12),
    )
        .prop_map(
            |(preset, grants, deny, rights, calls_denied, calls_allowed, questions)| Case {
                preset,
                grants,
                deny,
                rights,
                calls_denied,
                calls_allowed,
                questions,
            },
        )
}

impl Case {
    fn policy(&self) -> Policy {
        let world = world();
        let mut text = String::new();
        let quoted = |names: Vec<String>| names.join(", ");
        if !self.deny.is_empty() {
            let denied = self
                .deny
                .iter()
                .map(|at| format!("{:?}", world.path(OF_WORLD[*at])))
                .collect();
            text.push_str(&format!("[filesystem]\ndeny = [{}]\n", quoted(denied)));
        }
        let names = |list: &[usize]| -> Vec<String> {
            list.iter()
                .map(|at| format!("{:?}", CALLS[*at].0))
                .collect()
        };
        let allowed: Vec<usize> = self
            .calls_allowed
            .iter()
            .copied()
            .filter(|at| !self.calls_denied.contains(at))
            .collect();
        text.push_str(&format!(
            "[seccomp]\ndeny = [{}]\nallow = [{}]\n",
            quoted(names(&self.calls_denied)),
            quoted(names(&allowed)),
        ));
        let mut policy = Policy::parse(&text, Format::Toml, "policy.toml", None).expect("a policy");
        let flags = &mut policy.flags;
        flags.preset = Some(Preset::ALL[usize::from(self.preset)]);
        for (at, write, place) in &self.grants {
            let place = Place {
                path: unix(&world.path(GRANTED[*at])),
                at: place.map(|place| unix(Path::new(PLACES[place]))),
            };
            match write {
                true => flags.write.push(place),
                false => flags.read.push(place),
            }
        }
        flags
            .allow
            .extend(self.rights.0.then_some(Right::Subprocesses));
        flags.allow.extend(self.rights.1.then_some(Right::Jit));
        // What is allowed beyond the list gives up what it must.
        for rule in belljar::Rule::ALL {
            policy.best_effort.insert(*rule, "the test".into());
        }
        policy
    }

    /// Questions, and how the guest is told each.
    fn questions(&self) -> Vec<(Question, String)> {
        let world = world();
        self.questions
            .iter()
            .map(|(verb, place, at, below)| {
                let path = match place {
                    0 => world.path(OF_WORLD[at % OF_WORLD.len()]),
                    1 => PathBuf::from(OF_SYSTEM[*at]),
                    _ => PathBuf::from(format!("{}{}", PLACES[at % PLACES.len()], BELOW[*below])),
                };
                let shown = path.display();
                match verb {
                    0..3 => (Question::Read(unix(&path)), format!("read={shown}")),
                    3..5 => (Question::Write(unix(&path)), format!("write={shown}")),
                    5 => (Question::Exec(unix(&path)), format!("exec={shown}")),
                    6 => {
                        let port = world.port;
                        let host = "127.0.0.1".to_owned();
                        (
                            Question::Connect { host, port },
                            format!("connect=127.0.0.1:{port}"),
                        )
                    }
                    _ => {
                        let (name, arguments) = CALLS[at % CALLS.len()];
                        let told: Vec<String> = std::iter::once(i64::from(number_of(name)))
                            .chain(arguments.iter().copied())
                            .map(|number| number.to_string())
                            .collect();
                        let question = Question::Call {
                            name: name.into(),
                            arguments: arguments
                                .iter()
                                .map(|argument| argument.cast_unsigned())
                                .collect(),
                        };
                        (question, format!("call={}", told.join(",")))
                    }
                }
            })
            .collect()
    }
}

fn architecture() -> Architecture {
    let name = rustix::system::uname();
    Architecture::of_machine(&name.machine().to_string_lossy()).expect("a known machine")
}

fn unix(path: &Path) -> UnixPath {
    UnixPath::new(path.to_str().expect("text")).expect("absolute")
}

/// What the guest said: what it read, or an errno.
type Came = Result<String, i32>;

fn came(line: &str) -> Came {
    match line.split_once(' ') {
        Some(("ok", read)) => Ok(read.to_owned()),
        Some(("errno", number)) => Err(number.parse().expect("a number")),
        _ if line == "ok" => Ok(String::new()),
        _ => panic!("not an answer: {line}"),
    }
}

/// Why an answer and what happened do not agree; none where they do.
fn disagreement(answer: &Answer, came: &Came) -> Option<String> {
    let expected = answer.errno.as_deref().and_then(errno_of);
    match (answer.verdict, came) {
        (Verdict::Depends, _) => None,
        (Verdict::Allowed, Ok(_)) => None,
        // The call was let through, and the kernel itself had something to say.
        (Verdict::Allowed, Err(errno))
            if answer.question.starts_with("call ") && !matches!(errno, 1 | 38) =>
        {
            None
        }
        // Of scratch, only what the guest put there is there.
        (Verdict::Allowed, Err(2)) if answer.reason.contains("scratch") => None,
        (Verdict::Denied, Ok(read))
            if answer.reason.contains("hidden") || answer.reason.contains("something empty") =>
        {
            (!read.is_empty() && read != "0 entries").then(|| format!("it reads {read:?}"))
        }
        (Verdict::Denied | Verdict::NotThere, Err(errno)) => match expected {
            Some(expected) if expected == *errno => None,
            // Which of two refusals comes first is the kernel's affair.
            Some(1 | 13 | 30) if matches!(errno, 1 | 13 | 30) => None,
            // Something empty stands there, and nothing below it.
            _ if answer.reason.contains("hidden") || answer.reason.contains("something empty") => {
                None
            }
            // What scratch holds is the guest's to say.
            Some(13) if *errno == 2 && answer.reason.contains("started from there") => None,
            // Without a route or without a listener.
            Some(101) if matches!(errno, 101 | 111) => None,
            expected => Some(format!("errno {errno}, not {expected:?}")),
        },
        (verdict, came) => Some(format!("{verdict:?}, and it came to {came:?}")),
    }
}

fn errno_of(name: &str) -> Option<i32> {
    let known = BTreeMap::from([
        ("EPERM", 1),
        ("ENOENT", 2),
        ("ENXIO", 6),
        ("ENOEXEC", 8),
        ("EACCES", 13),
        ("ENOTDIR", 20),
        ("EISDIR", 21),
        ("EINVAL", 22),
        ("EROFS", 30),
        ("ENOSYS", 38),
        ("ELOOP", 40),
        ("ENETUNREACH", 101),
    ]);
    known.get(name).copied()
}

/// Where a plan that was told beforehand and the report of its run do not agree.
fn unlike(plan: &Plan, report: &Report) -> Option<String> {
    let digest = belljar::policy::digest(plan);
    if report.plan_digest.as_ref() != Some(&digest) {
        return Some(format!("digest {:?}, not {digest}", report.plan_digest));
    }
    plan.rules
        .iter()
        .zip(&report.enforcement)
        .find(|(planned, held)| {
            (
                planned.rule,
                planned.requested,
                &planned.planned,
                planned.planned.strength,
            ) != (held.rule, held.requested, &held.planned, held.applied)
        })
        .map(|(planned, held)| format!("{planned:?} and {held:?}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Asks, tries, and compares; `None` where the policy itself is refused.
fn compare(case: &Case) -> Option<Result<usize, String>> {
    let questions = case.questions();
    let jar = || {
        Jar::program(guest())
            .arg("try_all")
            .args(questions.iter().map(|(_, told)| told))
            .policy(case.policy())
    };
    let plan = match jar().plan() {
        Ok(plan) => plan,
        // A grant that can never apply, or a path that denies it.
        Err(LaunchError::Invalid { .. } | LaunchError::Ended { .. }) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let answers: Vec<Answer> = questions
        .iter()
        .map(|(question, _)| belljar::why::why(&plan, question))
        .collect();
    let output = match runtime().block_on(jar().output()) {
        Ok(output) => output,
        Err(error) => return Some(Err(format!("no jar: {error}"))),
    };
    if let Some(why) = unlike(&plan, &output.report) {
        // Sockets and secrets come and go on a machine, and `minimal` tells them apart.
        let changed = jar().plan().is_ok_and(|now| now != plan);
        return (!changed).then_some(Err(why));
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    if lines.len() != questions.len() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Some(Err(format!(
            "{said}\n{stderr}\n{:?}",
            output.report.outcome
        )));
    }
    let wrong: Vec<String> = answers
        .iter()
        .zip(&lines)
        .filter_map(|(answer, line)| {
            disagreement(answer, &came(line)).map(|why| format!("{why}\n{answer:#?}"))
        })
        .collect();
    Some(match wrong.is_empty() {
        true => Ok(answers
            .iter()
            .filter(|answer| answer.verdict != Verdict::Depends)
            .count()),
        false => Err(wrong.join("\n")),
    })
}

/// Where what is proved of a case and its plan do not agree.
fn proved(case: &Case) -> Option<String> {
    let jar = || {
        Jar::program(guest())
            .args(["exit", "0"])
            .policy(case.policy())
    };
    let plan = jar().plan().ok()?;
    let proof = match runtime().block_on(belljar::prove::prove(jar())) {
        Ok(proof) => proof,
        Err(error) => return Some(error.to_string()),
    };
    if proof.plan_digest != belljar::policy::digest(&plan) && jar().plan().ok()? == plan {
        return Some(format!("another plan is proved: {}", proof.plan_digest));
    }
    let differs = plan
        .rules
        .iter()
        .zip(&proof.rules)
        .find(|(planned, proved)| (planned.rule, &planned.planned) != (proved.rule, &proved.claim));
    let broken = proof
        .rules
        .iter()
        .find(|proved| proved.verdict == proof::Verdict::Broken);
    match (differs, broken) {
        (Some((planned, proved)), _) => Some(format!("{planned:?} and {proved:?}")),
        (None, Some(broken)) => Some(format!("{broken:#?}")),
        (None, None) => None,
    }
}

#[test]
fn what_why_answers_is_what_a_jar_does() {
    if !need(Need::UserNamespaces) {
        return;
    }
    let config = Config {
        cases: POLICIES,
        max_global_rejects: 10 * POLICIES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let compared = std::cell::Cell::new(0);
    let policies = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(config);
    let result = runner.run(&cases(), |case| match compare(&case) {
        None => Err(TestCaseError::reject("refused")),
        Some(Err(why)) => Err(TestCaseError::fail(why)),
        Some(Ok(answers)) => {
            compared.set(compared.get() + answers);
            policies.set(policies.get() + 1);
            match policies.get() % PROVED {
                0 => proved(&case).map_or(Ok(()), |why| Err(TestCaseError::fail(why))),
                _ => Ok(()),
            }
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Most questions have an answer that can be wrong.
    assert!(compared.get() > 5 * POLICIES as usize, "{}", compared.get());
}

fn number_of(name: &str) -> u32 {
    Call::named(name)
        .and_then(|call| call.number(architecture()))
        .expect("it has a number")
}
