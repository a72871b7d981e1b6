//! Attacks that look for a privilege left over, or for a way to a new one.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    process::Command,
};

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
        "io_uring, past every filter of calls".into(),
        call(
            libc::SYS_io_uring_setup,
            &mut [Arg::Number(4), Arg::Out(&mut [0; 120])],
        )
        .map(|_| "set up".into()),
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

/// Makes a file of a path, which is given twice, in one of the ways there are.
type Way<'a> = &'a dyn Fn(&Path, &CString) -> io::Result<()>;

/// `plant_setuid DIRECTORY`: leaves a file there that whoever owns it on the
/// machine lends its identity by, made in every way that a mode can be given.
pub(crate) fn plant_setuid(args: &[String]) -> Verdict {
    const MODE: u32 = 0o6755;
    const SYS_FCHMODAT2: i64 = 452;
    let directory = Path::new(&args[0]);
    let here = i64::from(libc::AT_FDCWD);
    let create = i64::from(libc::O_CREAT | libc::O_WRONLY);
    let ways: [(&str, Way<'_>); 9] = [
        ("chmod", &|path, _| {
            File::create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(MODE))
        }),
        ("fchmod", &|path, _| {
            File::create(path)?.set_permissions(fs::Permissions::from_mode(MODE))
        }),
        ("fchmodat", &|path, c_path| {
            File::create(path)?;
            call(
                libc::SYS_fchmodat,
                &mut [
                    Arg::Number(here),
                    Arg::Text(c_path),
                    Arg::Number(MODE.into()),
                ],
            )
            .map(drop)
        }),
        ("fchmodat2", &|path, _| {
            let file = File::create(path)?;
            call(
                SYS_FCHMODAT2,
                &mut [
                    Arg::Number(file.as_raw_fd().into()),
                    Arg::Text(c""),
                    Arg::Number(MODE.into()),
                    Arg::Number(libc::AT_EMPTY_PATH.into()),
                ],
            )
            .map(drop)
        }),
        ("openat", &|_, c_path| {
            call(
                libc::SYS_openat,
                &mut [
                    Arg::Number(here),
                    Arg::Text(c_path),
                    Arg::Number(create),
                    Arg::Number(MODE.into()),
                ],
            )
            .map(drop)
        }),
        ("openat2", &|_, c_path| {
            // struct open_how: flags, mode, resolve; openat2(2)
            let how = [create as u64, MODE.into(), 0]
                .map(u64::to_ne_bytes)
                .concat();
            call(
                libc::SYS_openat2,
                &mut [
                    Arg::Number(here),
                    Arg::Text(c_path),
                    Arg::In(&how),
                    Arg::Number(24),
                ],
            )
            .map(drop)
        }),
        ("mknodat", &|_, c_path| {
            call(
                libc::SYS_mknodat,
                &mut [
                    Arg::Number(here),
                    Arg::Text(c_path),
                    Arg::Number((libc::S_IFREG | MODE).into()),
                    Arg::Number(0),
                ],
            )
            .map(drop)
        }),
        ("mkdirat", &|path, c_path| {
            call(
                libc::SYS_mkdirat,
                &mut [Arg::Number(here), Arg::Text(c_path), Arg::Number(0o2755)],
            )?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o2755))
        }),
        ("chmod with upper bits", &|path, c_path| {
            File::create(path)?;
            call(
                libc::SYS_fchmodat,
                &mut [
                    Arg::Number(here),
                    Arg::Text(c_path),
                    Arg::Number(i64::from(MODE) | 1 << 32),
                ],
            )
            .map(drop)
        }),
    ];
    Verdict::of_tries(ways.into_iter().map(|(name, way)| {
        let path = directory.join(name);
        let c_path = CString::new(path.to_string_lossy().as_bytes()).expect("no NUL");
        let done = way(&path, &c_path).and_then(|()| {
            // Whatever was answered, the mode tells.
            match fs::metadata(&path)?.mode() & 0o6000 {
                0 => Err(io::Error::other("made without the bits")),
                bits => Ok(format!("made with {bits:o}")),
            }
        });
        (name.to_owned(), done)
    }))
}

/// `plant_capability DIRECTORY`: leaves a program there with a capability, by
/// the right of a user namespace of its own.
pub(crate) fn plant_capability(args: &[String]) -> Verdict {
    let path = Path::new(&args[0]).join("capable");
    let tried = File::create(&path).and_then(|file| {
        // SAFETY: getuid always succeeds.
        let uid = unsafe { libc::getuid() };
        // SAFETY: getgid always succeeds.
        let gid = unsafe { libc::getgid() };
        // Root has the right already.
        if uid != 0 {
            call(
                libc::SYS_unshare,
                &mut [Arg::Number(libc::CLONE_NEWUSER.into())],
            )?;
            fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            // Both ids of a file must be known in a namespace with a right to it.
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        }
        // struct vfs_cap_data, revision 2, effective: CAP_SYS_ADMIN; capabilities(7)
        let value = [0x0200_0001_u32, 1 << 21, 0, 0, 0]
            .map(u32::to_le_bytes)
            .concat();
        call(
            libc::SYS_fsetxattr,
            &mut [
                Arg::Number(file.as_raw_fd().into()),
                Arg::Text(c"security.capability"),
                Arg::In(&value),
                Arg::Number(20),
                Arg::Number(0),
            ],
        )
    });
    Verdict::of_tries([("security.capability".into(), tried.map(|_| "set".into()))])
}
