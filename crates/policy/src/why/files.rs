//! What becomes of opening, writing and starting a file: walked as the kernel
//! would, then judged by what is there.

mod reading;
mod refused;
mod starting;
mod writing;

use belljar_plan::{Plan, Rule, Step, filter::Exec};

use super::{
    Answers, Finding, Verdict,
    grant::{Grant, Surroundings},
    view::{EntryKind, Machine, Shows, Spot, Stop, View, What},
};
use crate::{path::UnixPath, policy};

/// One question about a path, with everything that answering looks at.
struct Ask<'a> {
    plan: &'a Plan,
    /// As it was asked.
    path: &'a UnixPath,
    write: bool,
    view: &'a View<'a>,
    machine: &'a dyn Machine,
    around: &'a Surroundings,
}

pub(super) fn read(jar: &Answers<'_>, path: &UnixPath) -> Finding {
    let ask = Ask::new(jar, path, false);
    match ask.view.walk(path, true) {
        Ok(spot) => ask.reading(&spot),
        Err(stop) => ask.stopped(stop),
    }
}

pub(super) fn write(jar: &Answers<'_>, path: &UnixPath) -> Finding {
    let ask = Ask::new(jar, path, true);
    match ask.view.walk(path, true) {
        Ok(spot) => ask.writing(&spot),
        Err(Stop::Missing {
            last: true, parent, ..
        }) => ask.making(&parent),
        Err(stop) => ask.stopped(stop),
    }
}

pub(super) fn exec(jar: &Answers<'_>, path: &UnixPath) -> Finding {
    let plan = jar.plan;
    let once = plan
        .filter
        .as_ref()
        .is_some_and(|filter| filter.exec != Exec::Any);
    let ask = Ask::new(jar, path, false);
    if once {
        if path.as_str().as_bytes() == plan.program.0 {
            return Finding::allowed(
                Rule::Exec,
                "it is the program itself, which is started once",
            );
        }
        let denied = Finding::denied(
            Rule::Exec,
            "EPERM",
            "no program but the plugin itself is started",
        );
        let said = plan.said.get("process.subprocesses");
        return match said {
            Some(origin) => denied.by(origin.clone()),
            None => denied,
        }
        .with(Some(Grant::Right(policy::Right::Subprocesses)));
    }
    ask.starting(path, 0)
}

impl<'a> Ask<'a> {
    fn new(jar: &'a Answers<'a>, path: &'a UnixPath, write: bool) -> Self {
        Self {
            plan: jar.plan,
            path,
            write,
            view: &jar.view,
            machine: jar.machine,
            around: jar.around,
        }
    }

    fn allowed(&self, spot: &Spot, how: &str) -> Finding {
        let by = match &spot.what {
            What::Machine { path, .. } => {
                let granted = self
                    .plan
                    .grants
                    .iter()
                    .filter(|grant| {
                        let text = |bytes: &belljar_plan::Bytes| {
                            UnixPath::new(&String::from_utf8_lossy(&bytes.0)).ok()
                        };
                        text(&grant.at).is_some_and(|at| spot.path.is_within(&at))
                            && text(&grant.path).is_some_and(|of| path.is_within(&of))
                    })
                    .max_by_key(|grant| grant.at.0.len());
                granted.map(|grant| grant.origin.clone())
            }
            _ => None,
        };
        let own = !matches!(spot.what, What::Machine { .. });
        let reason = match (&by, own) {
            (Some(origin), _) => format!("it is granted by {origin}, and may be {how}"),
            (None, true) => format!("it is the jar's own, and may be {how}"),
            (None, false) => format!("preset {} shows it, and it may be {how}", self.plan.preset),
        };
        let finding = Finding::allowed(Rule::Files, reason);
        match by {
            Some(origin) => finding.by(origin),
            None => finding,
        }
    }

    /// What is let through to a device of the machine, its driver may refuse by reasons
    /// of its own; and to ask it, one would have to open it.
    fn driven(&self, spot: &Spot, allowed: Finding) -> Finding {
        match &spot.what {
            What::Machine { path, entry }
                if entry.kind == EntryKind::Device && !UNDRIVEN.contains(&path.as_str()) =>
            {
                Finding {
                    verdict: Verdict::Depends,
                    rule: Some(Rule::Devices),
                    reason: format!(
                        "{} as far as rules go: opening a device is for its driver to allow, \
                         which may want a privilege that no jar has",
                        allowed.reason
                    ),
                    ..allowed
                }
            }
            _ => allowed,
        }
    }

    fn no_devices(&self, spot: &Spot) -> bool {
        self.view
            .mount_of(spot)
            .is_some_and(|mount| mount.attributes.no_dev)
    }

    fn is_root_of_mount(&self, spot: &Spot) -> bool {
        self.view
            .mount_of(spot)
            .is_some_and(|mount| mount.at == spot.path)
    }

    fn is_read_only(&self, spot: &Spot) -> bool {
        self.view
            .mount_of(spot)
            .is_none_or(|mount| mount.attributes.read_only)
    }

    fn in_scratch(&self, spot: &Spot) -> bool {
        self.view
            .mount_of(spot)
            .is_some_and(|mount| matches!(mount.shows, Shows::Scratch))
    }

    fn is_directory(&self, spot: &Spot) -> bool {
        match &spot.what {
            What::Directory => true,
            What::Machine { entry, .. } => entry.kind == EntryKind::Directory,
            What::File { .. } | What::Inside | What::Hidden => false,
        }
    }
}

/// Devices of the machine that refuse nobody; null(4), full(4), random(4).
const UNDRIVEN: [&str; 5] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// What the machine's own `/proc` answers for a name that it has not either.
fn nothing_in_proc(errno: i32) -> Finding {
    match errno {
        ENOTDIR => Finding::not_there(
            "ENOTDIR",
            "what is above it is no directory, so nothing lies below it",
        ),
        _ => Finding::not_there("ENOENT", "the kernel has no such entry in /proc"),
    }
}

/// errno(3)
const ENOTDIR: i32 = 20;

/// A path in `/proc` that is about one task; proc(5).
fn is_of_task(path: &UnixPath) -> bool {
    let rest = path.as_str().strip_prefix("/proc/").unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    matches!(first, "self" | "thread-self")
        || first
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit())
}

/// What the guest takes for its home.
pub(super) fn home_inside(plan: &Plan) -> Option<UnixPath> {
    let Some(Step::Exec { variables, .. }) = plan.steps.last() else {
        return None;
    };
    let home = variables
        .iter()
        .find_map(|variable| variable.0.strip_prefix(b"HOME="))?;
    UnixPath::new(std::str::from_utf8(home).ok()?).ok()
}
