//! A machine, a caller and programs made by hand, for the planner's tests.

use belljar_plan::{Bytes, Plan, Rule, Step, plan::PlannedRule, step::OwnedStep};
use belljar_policy::{
    HostFacts, Policy, UnixPath, Verified,
    facts::{Ability, Bounds, Layout, Os, Place, PlaceKind},
    verified::{
        Caller, Candidate, Executable, ExecutableKind, FileKind, Found, Library, Program, Subject,
        Survey,
    },
};

pub(crate) fn path(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn place(at: &str, kind: PlaceKind) -> Place {
    Place {
        path: path(at),
        kind,
    }
}

fn directory(at: &str) -> Place {
    place(
        at,
        PlaceKind::Directory {
            device: 1,
            inode: 2,
        },
    )
}

fn link(at: &str, target: &str) -> Place {
    place(
        at,
        PlaceKind::Link {
            target: target.into(),
        },
    )
}

/// A Debian 12 as an ordinary user sees it.
pub(crate) fn machine() -> HostFacts {
    let none = u64::MAX;
    HostFacts {
        os: Os::Linux,
        release: "6.1.0".into(),
        machine: "x86_64".into(),
        uid: 1000,
        gid: 1000,
        groups: vec![1000, 44],
        privileged: false,
        mapped_root: false,
        namespaces: Ability::Available,
        mounts: Ability::Available,
        proc: Ability::Available,
        idmap: Ability::Available,
        tasks: Ability::Available,
        seccomp: Ability::Available,
        listener: Ability::Available,
        fixed_code: true,
        landlock: Ability::Available,
        jar_cgroups: belljar_policy::facts::JarCgroups::default(),
        socket_buffer: 212_992,
        landlock_abi: 7,
        processes_counted: Ability::Available,
        tasks_seen: Ability::Available,
        bounds: Bounds {
            open_files: 1 << 20,
            file_size: none,
            data: none,
            cpu: none,
            processes: 96_365,
            stack: none,
            core: none,
            locked_memory: none,
            pending_signals: 96_365,
            message_queues: 819_200,
        },
        layout: Layout {
            system: vec![
                directory("/usr"),
                link("/bin", "usr/bin"),
                link("/lib", "usr/lib"),
                link("/lib64", "usr/lib64"),
            ],
            configuration: vec![
                place(
                    "/etc/ld.so.cache",
                    PlaceKind::File {
                        device: 1,
                        inode: 3,
                    },
                ),
                directory("/etc/ssl/certs"),
            ],
            top: vec![
                directory("/usr"),
                directory("/etc"),
                directory("/home"),
                directory("/tmp"),
                directory("/run"),
                directory("/proc"),
                directory("/dev"),
                link("/bin", "usr/bin"),
            ],
            secrets: vec![
                directory("/home/me/.ssh"),
                place(
                    "/etc/shadow",
                    PlaceKind::File {
                        device: 1,
                        inode: 9,
                    },
                ),
            ],
            proc_hidden: vec!["kcore".into(), "keys".into()],
            proc_read_only: vec!["sys".into()],
            sockets: Vec::new(),
            stage: "/tmp".into(),
        },
        examined: None,
    }
}

/// The same as root sees it.
pub(crate) fn as_root() -> HostFacts {
    HostFacts {
        uid: 0,
        gid: 0,
        groups: vec![0],
        privileged: true,
        ..machine()
    }
}

pub(crate) fn found(at: &str, kind: FileKind) -> Found {
    Found {
        path: path(at),
        kind,
        device: 1,
        inode: 5,
        uid: 1000,
        gid: 1000,
        mode: 0o755,
        idmap: true,
    }
}

pub(crate) fn file(at: &str) -> Found {
    found(at, FileKind::File)
}

pub(crate) fn library(at: &str, real: &str) -> Library {
    Library {
        path: path(at),
        file: file(real),
    }
}

/// A dynamic program that needs one library of the system.
pub(crate) fn elf(at: &str) -> Executable {
    Executable {
        file: file(at),
        kind: ExecutableKind::Elf {
            loader: Some(library(
                "/lib64/ld-linux-x86-64.so.2",
                "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            )),
            libraries: vec![library(
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/usr/lib/x86_64-linux-gnu/libc.so.6",
            )],
            missing: Vec::new(),
            runtime: Vec::new(),
            writable_code: false,
            go: false,
            elsewhere: Vec::new(),
        },
    }
}

/// A program that is asked for by `asked` and found at `at`.
pub(crate) fn program(asked: &str, at: &str, executable: Executable) -> Verified {
    let mut survey = Survey::default();
    survey.0.insert(
        path("/home/me/work"),
        Ok(found("/home/me/work", FileKind::Directory)),
    );
    Verified {
        subject: Subject::Program(Program {
            asked: asked.into(),
            arguments: vec!["one".into()],
            candidates: vec![Candidate {
                path: path(at),
                found: Ok(executable),
            }],
            bytes: Default::default(),
        }),
        caller: Caller {
            environment: vec![
                ("PATH".into(), "/home/me/bin:/usr/bin:/bin".into()),
                ("HOME".into(), "/home/me".into()),
                ("GITHUB_TOKEN".into(), "x".into()),
            ],
            workdir: Some(path("/home/me/work")),
            homes: vec![path("/home/me")],
        },
        survey,
        writable_code: Default::default(),
        project: None,
    }
}

pub(crate) fn true_program() -> Verified {
    program("true", "/usr/bin/true", elf("/usr/bin/true"))
}

pub(crate) fn survey(verified: &mut Verified, at: &str, what: Found) {
    verified.survey.0.insert(path(at), Ok(what));
}

pub(crate) fn plan(verified: &Verified, policy: &Policy, facts: &HostFacts) -> Plan {
    belljar_policy::plan(verified, policy, facts).unwrap()
}

pub(crate) fn rule(plan: &Plan, rule: Rule) -> &PlannedRule {
    plan.rules
        .iter()
        .find(|planned| planned.rule == rule)
        .unwrap()
}

pub(crate) fn exec(plan: &Plan) -> (String, Vec<String>, Vec<String>) {
    let text = |bytes: &Bytes| String::from_utf8(bytes.0.clone()).unwrap();
    match plan.steps.last().unwrap() {
        Step::Exec {
            path,
            arguments,
            variables,
        } => (
            text(path),
            arguments.iter().map(text).collect(),
            variables.iter().map(text).collect(),
        ),
        other => panic!("the last step is {other:?}"),
    }
}

pub(crate) fn position(plan: &Plan, wanted: impl Fn(&OwnedStep) -> bool) -> Option<usize> {
    plan.steps.iter().position(wanted)
}
