//! Calls that are looked at in a jar that is observed, and in which arguments
//! they name something.
//!
//! Looking decides nothing: only what the filter allows anyway is held for it, and
//! whatever was read of the guest's memory, the call goes on; `docs/adr/0010`.

use belljar_plan::observation::Intent;

use super::{
    Attempt, Call, Check, Clause, Decision, Filter, Test, Verdict,
    names::{AT_EMPTY_PATH, CREATES, O_ACCMODE, O_PATH, O_TRUNC},
};

/// Something that a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A path.
    Path {
        /// The argument with the directory that it is relative to; the working
        /// directory where the call has none.
        directory: Option<u8>,
        /// The argument with its address.
        path: u8,
        /// What is to be done with it.
        intent: Intent,
    },
    /// The address of a socket.
    Address {
        /// The argument with its address.
        address: u8,
        /// The argument with its length.
        length: u8,
    },
}

/// What a call names, in a table.
#[derive(Clone, Copy)]
enum Names {
    /// The path in this argument, from the working directory.
    Here(u8, Use),
    /// The path in the argument after this one, which has a directory.
    At(u8, Use),
    /// A socket's address, with its length in the argument behind it.
    Socket(u8),
}

/// What is done with what is named.
#[derive(Clone, Copy)]
enum Use {
    Always(Intent),
    /// As the flags of open(2) in this argument say.
    Opens(u8),
}

use Intent::{Create, Execute, Look, Read, Remove, Write};
use Names::{At, Here, Socket};
use Use::{Always, Opens};

const LOOK: Use = Always(Look);
const WRITE: Use = Always(Write);
const CREATE: Use = Always(Create);
const REMOVE: Use = Always(Remove);

/// Every call that is looked at; their manual pages. Calls about what is open
/// already name nothing new.
const OBSERVED: &[(&str, &[Names])] = &[
    ("open", &[Here(0, Opens(1))]),
    ("openat", &[At(0, Opens(2))]),
    ("creat", &[Here(0, CREATE)]),
    ("execve", &[Here(0, Always(Execute))]),
    ("execveat", &[At(0, Always(Execute))]),
    ("connect", &[Socket(1)]),
    ("sendto", &[Socket(4)]),
    ("stat", &[Here(0, LOOK)]),
    ("lstat", &[Here(0, LOOK)]),
    ("newfstatat", &[At(0, LOOK)]),
    ("statx", &[At(0, LOOK)]),
    ("access", &[Here(0, LOOK)]),
    ("faccessat", &[At(0, LOOK)]),
    ("faccessat2", &[At(0, LOOK)]),
    ("readlink", &[Here(0, LOOK)]),
    ("readlinkat", &[At(0, LOOK)]),
    ("chdir", &[Here(0, Always(Read))]),
    ("statfs", &[Here(0, LOOK)]),
    ("mkdir", &[Here(0, CREATE)]),
    ("mkdirat", &[At(0, CREATE)]),
    ("mknod", &[Here(0, CREATE)]),
    ("mknodat", &[At(0, CREATE)]),
    ("symlink", &[Here(1, CREATE)]),
    ("symlinkat", &[At(1, CREATE)]),
    ("link", &[Here(0, Always(Read)), Here(1, CREATE)]),
    ("linkat", &[At(0, Always(Read)), At(2, CREATE)]),
    ("rename", &[Here(0, REMOVE), Here(1, CREATE)]),
    ("renameat", &[At(0, REMOVE), At(2, CREATE)]),
    ("renameat2", &[At(0, REMOVE), At(2, CREATE)]),
    ("unlink", &[Here(0, REMOVE)]),
    ("unlinkat", &[At(0, REMOVE)]),
    ("rmdir", &[Here(0, REMOVE)]),
    ("truncate", &[Here(0, WRITE)]),
    ("chmod", &[Here(0, WRITE)]),
    ("fchmodat", &[At(0, WRITE)]),
    ("fchmodat2", &[At(0, WRITE)]),
    ("chown", &[Here(0, WRITE)]),
    ("lchown", &[Here(0, WRITE)]),
    ("fchownat", &[At(0, WRITE)]),
    ("utime", &[Here(0, WRITE)]),
    ("utimes", &[Here(0, WRITE)]),
    ("futimesat", &[At(0, WRITE)]),
    ("utimensat", &[At(0, WRITE)]),
    ("setxattr", &[Here(0, WRITE)]),
    ("lsetxattr", &[Here(0, WRITE)]),
];

fn names(call: &str) -> Option<&'static [Names]> {
    let found = OBSERVED.iter().find(|(name, _)| *name == call);
    found.map(|(_, names)| *names)
}

/// The decision about a call in a jar that is observed: what was allowed is
/// looked at as well, where the call names something. Nothing else changes.
pub(super) fn observed(call: &Call, mut decision: Decision) -> Decision {
    if names(call.name).is_none() {
        return decision;
    }
    for clause in &mut decision.clauses {
        // Nobody listens yet when the launcher starts the program.
        if clause.verdict == Verdict::Allow && !clause.checks.iter().any(is_secret) {
            clause.verdict = Verdict::Observe;
        }
    }
    if decision.otherwise == Verdict::Allow {
        let spared = spared(call.name).map(|checks| Clause {
            checks,
            verdict: Verdict::Allow,
        });
        decision.clauses.extend(spared);
        decision.otherwise = Verdict::Observe;
    }
    decision
}

fn is_secret(check: &Check) -> bool {
    matches!(check.test, Test::SecretArguments | Test::SecretVariables)
}

/// What such a call does where there is nothing to look at: it is about what is
/// open already, or is the launcher's own.
fn spared(call: &str) -> Option<Vec<Check>> {
    let check = |argument, test| Check {
        argument,
        test,
        wanted: true,
    };
    Some(match call {
        "execveat" => vec![
            check(2, Test::SecretArguments),
            check(3, Test::SecretVariables),
        ],
        // send(2) is a sendto without an address.
        "sendto" => vec![check(4, Test::Whole(0))],
        "newfstatat" => vec![check(3, Test::Any(AT_EMPTY_PATH))],
        "statx" => vec![check(2, Test::Any(AT_EMPTY_PATH))],
        _ => return None,
    })
}

impl Filter {
    /// What a call names, whatever becomes of it; nothing for calls that are
    /// not looked at.
    #[must_use]
    pub fn named(&self, attempt: &Attempt) -> Vec<Named> {
        let architecture = self.architecture();
        if attempt.audit != architecture.audit() {
            return Vec::new();
        }
        Call::numbered(attempt.number, architecture)
            .and_then(|call| names(call.name))
            .unwrap_or_default()
            .iter()
            .map(|named| named.of(attempt))
            .collect()
    }
}

impl Names {
    fn of(self, attempt: &Attempt) -> Named {
        match self {
            Here(path, done) => Named::Path {
                directory: None,
                path,
                intent: done.intent(attempt),
            },
            At(directory, done) => Named::Path {
                directory: Some(directory),
                path: directory + 1,
                intent: done.intent(attempt),
            },
            Socket(address) => Named::Address {
                address,
                length: address + 1,
            },
        }
    }
}

impl Use {
    fn intent(self, attempt: &Attempt) -> Intent {
        match self {
            Always(intent) => intent,
            Opens(at) => {
                let flags = attempt
                    .arguments
                    .get(usize::from(at))
                    .map_or(0, |flags| *flags as u32);
                opened(flags)
            }
        }
    }
}

fn opened(flags: u32) -> Intent {
    if flags & O_PATH != 0 {
        Look
    } else if flags & CREATES != 0 {
        Create
    } else if flags & O_ACCMODE != 0 || flags & O_TRUNC != 0 {
        Write
    } else {
        Read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_is_looked_at_is_one() {
        for (name, _) in OBSERVED {
            assert!(Call::named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_open_is_to_do_is_in_its_flags() {
        for (flags, intent) in [
            (0, Read),
            (0o200_000, Read),
            (0o10_000_000, Look),
            (0o1, Write),
            (0o2, Write),
            (0o1000, Write),
            (0o102, Create),
            (0o100, Create),
            (0o20_200_002, Create),
        ] {
            assert_eq!(opened(flags), intent, "{flags:o}");
        }
    }
}
