//! Attacks that look for a privilege left over, or for a way to a new one.

use std::{fs, process::Command};

use crate::{
    Verdict,
    kernel::{Arg, call},
};

/// One field of /proc/self/status.
fn field(status: &str, name: &str) -> String {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}

/// `see_privileges`: a capability in any set, securebits that are open,
/// privileges to be had by exec, a group or user that is not the jar's.
pub(crate) fn see_privileges(_: &[String]) -> Verdict {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let bits = field(&status, set);
        if u64::from_str_radix(&bits, 16) != Ok(0) {
            return Verdict::Escaped(format!("{set} is {bits}"));
        }
    }
    if field(&status, "NoNewPrivs") != "1" {
        return Verdict::Escaped("no_new_privs is not set".into());
    }
    for (name, wanted) in [
        ("Uid", "1000 1000 1000 1000"),
        ("Gid", "1000 1000 1000 1000"),
    ] {
        let ids = field(&status, name);
        if ids != wanted {
            return Verdict::Escaped(format!("{name} is {ids}"));
        }
    }
    // SAFETY: PR_GET_SECUREBITS takes and writes nothing.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    // NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each with its lock, and KEEP_CAPS locked off.
    if bits & 0b1110_1111 != 0b1110_1111 {
        return Verdict::Escaped(format!("securebits are {bits:#b}"));
    }
    Verdict::Stopped(format!("groups {:?}", field(&status, "Groups")))
}

/// `run_setuid PROGRAM`: a copy of this program that is set-user-id root.
pub(crate) fn run_setuid(args: &[String]) -> Verdict {
    match Command::new(&args[0]).arg("effective_user").output() {
        Err(error) => Verdict::Stopped(error.to_string()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            // SAFETY: geteuid always succeeds.
            let own = unsafe { libc::geteuid() };
            if said == own.to_string() {
                Verdict::Stopped(format!("still {said}"))
            } else {
                Verdict::Escaped(format!("became {said}: {}", output.status))
            }
        }
    }
}

/// `become_root`: sets ids, groups and bounds that only a privileged task may.
pub(crate) fn become_root(_: &[String]) -> Verdict {
    let mut tries: Vec<_> = [
        ("setuid", libc::SYS_setuid, 0),
        ("setgid", libc::SYS_setgid, 0),
        ("setfsuid", libc::SYS_setfsuid, 0),
        ("setuid 65534", libc::SYS_setuid, 65534),
    ]
    .into_iter()
    .map(|(name, number, id)| {
        let done = call(number, &mut [Arg::Number(id)]);
        let done = match (name, done) {
            // It answers the id before, and never an error: setfsuid(2).
            ("setfsuid", Ok(_)) => match call(number, &mut [Arg::Number(-1)]) {
                Ok(0) => Ok(0),
                _ => Err(std::io::ErrorKind::PermissionDenied.into()),
            },
            (_, done) => done,
        };
        (name.to_owned(), done.map(|_| "done".to_owned()))
    })
    .collect();
    tries.push((
        "setgroups".into(),
        call(
            libc::SYS_setgroups,
            &mut [Arg::Number(1), Arg::In(&0_u32.to_ne_bytes())],
        )
        .map(|_| "done".into()),
    ));
    tries.push((
        "sethostname".into(),
        call(
            libc::SYS_sethostname,
            &mut [Arg::Text(c"escaped"), Arg::Number(7)],
        )
        .map(|_| "done".into()),
    ));
    Verdict::of_tries(tries)
}
