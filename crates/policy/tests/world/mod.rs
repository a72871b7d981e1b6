//! Launches made by hand: a few paths of a machine, a program or plugin, a policy.
#![allow(dead_code, reason = "each test program uses its own part")]

use belljar_policy::{
    Manifest, Policy, Refusal, UnixPath, Verified,
    effective::{Effective, effective},
    manifest::{Format, Place},
    verified::{Caller, FileKind, Found, Plugin, Program, Subject, Survey},
};

/// What is on the machine, and where it leads. Everything else is not there.
pub(crate) const PATHS: &[(&str, &str)] = &[
    ("/", "/"),
    ("/data", "/data"),
    ("/data/a", "/data/a"),
    ("/data/a/secret", "/data/a/secret"),
    ("/data/b", "/data/b"),
    ("/data/out", "/etc"),
    ("/etc", "/etc"),
    ("/link", "/data/a"),
    ("/srv", "/srv"),
    ("/proc/self", "/proc/1"),
    ("/usr/share/dict", "/usr/share/dict"),
];

pub(crate) fn path(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

pub(crate) fn place(text: &str) -> Place {
    Place {
        path: path(text),
        at: None,
    }
}

/// Where a path of this machine leads.
pub(crate) fn real(text: &UnixPath) -> Option<UnixPath> {
    PATHS
        .iter()
        .find(|(from, _)| *from == text.as_str())
        .map(|(_, to)| path(to))
}

pub(crate) fn survey() -> Survey {
    let found = |to: &str| Found {
        path: path(to),
        kind: FileKind::Directory,
        device: 1,
        inode: 1,
        uid: 0,
        gid: 0,
        mode: 0o755,
        idmap: true,
    };
    Survey(
        PATHS
            .iter()
            .map(|(from, to)| (path(from), Ok(found(to))))
            .collect(),
    )
}

/// A bare program.
pub(crate) fn program() -> Verified {
    Verified {
        subject: Subject::Program(Program {
            asked: "true".into(),
            arguments: Vec::new(),
            candidates: Vec::new(),
            bytes: Default::default(),
        }),
        caller: Caller::default(),
        survey: survey(),
        writable_code: Default::default(),
        project: None,
    }
}

/// A plugin `p` whose manifest has these lines besides `[plugin]`.
pub(crate) fn plugin(rest: &str) -> Verified {
    let text = format!("[plugin]\nname = \"p\"\nversion = \"1.0.0\"\nentry = \"run\"\n{rest}");
    Verified {
        subject: Subject::Plugin(Box::new(Plugin {
            manifest: Manifest::parse(&text, Format::Toml, "m").unwrap(),
            directory: path("/srv"),
            arguments: Vec::new(),
            files: Vec::new(),
            image: String::new(),
            writable_code: None,
            entry: Err(2),
        })),
        ..program()
    }
}

pub(crate) fn policy(text: &str) -> Policy {
    Policy::parse(text, Format::Toml, "p", None).unwrap()
}

pub(crate) fn decide(verified: &Verified, policy: &Policy) -> Effective {
    effective(verified, policy).unwrap()
}

/// Why a contradiction in the operator's words is refused.
pub(crate) fn invalid(verified: &Verified, policy: &Policy) -> String {
    match effective(verified, policy) {
        Err(Refusal::Invalid { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Reason and remedy of each request that is not granted.
pub(crate) fn unmet(verified: &Verified, policy: &Policy) -> Vec<(String, String)> {
    match effective(verified, policy) {
        Err(Refusal::Unmet { unmet }) => unmet
            .into_iter()
            .map(|unmet| (unmet.reason, unmet.remedy))
            .collect(),
        other => panic!("{other:?}"),
    }
}
