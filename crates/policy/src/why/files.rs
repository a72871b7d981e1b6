//! What becomes of opening, writing and starting a file.

use belljar_plan::{
    Limit, Plan, Preset, Rule, Step,
    filter::{Code, Exec},
    landlock::Right,
};

use super::{
    Answers, Finding,
    grant::{Grant, Surroundings},
    view::{ENTER, EntryKind, Machine, READ, Shows, Spot, Start, Stop, View, WRITE, What},
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
        .is_some_and(|filter| filter.exec == Exec::Once);
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

    fn reading(&self, spot: &Spot) -> Finding {
        let directory = self.is_directory(spot);
        let right = match directory {
            true => Right::ReadDir,
            false => Right::ReadFile,
        };
        match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside => return self.reading_inside(spot),
            What::Machine { path, entry } => match entry.kind {
                EntryKind::Socket => return self.socket(path),
                EntryKind::Device if self.no_devices(spot) => return self.no_device(path),
                _ => {}
            },
            What::Directory | What::File { .. } => {}
        }
        if !self.view.may(spot, READ) {
            return self.refused_by_mode(spot);
        }
        if !self.view.landlock_allows(spot, right) {
            return self.refused_by_landlock(spot);
        }
        self.allowed(spot, "read")
    }

    /// Something that only the kernel or the guest itself puts there.
    fn reading_inside(&self, spot: &Spot) -> Finding {
        match self.view.mount_of(spot).map(|mount| &mount.shows) {
            Some(Shows::Scratch) if self.is_root_of_mount(spot) => {
                Finding::allowed(Rule::Files, "it is the jar's own scratch")
            }
            // What the guest did not put there itself, it looks for in vain.
            Some(Shows::Scratch) => self.absent_or(
                "ENOENT",
                Finding::allowed(
                    Rule::Files,
                    "it is the jar's own scratch: the guest finds there what it put there",
                ),
            ),
            Some(Shows::Proc) => self.of_proc(spot),
            _ => Finding::allowed(Rule::Devices, "it is one of the jar's own devices"),
        }
    }

    /// What the jar's own `/proc` has; proc(5).
    fn of_proc(&self, spot: &Spot) -> Finding {
        if is_of_task(&spot.path) {
            return Finding::new(
                super::Verdict::Depends,
                Rule::Tasks,
                "the jar's own /proc shows its own tasks, each as the kernel lets them look at one another",
            );
        }
        match self.machine.entry(&spot.path) {
            Ok(entry) if entry.mode & READ != 0 => Finding::allowed(
                Rule::KernelInfo,
                "the jar's own /proc has it, and it is not hidden",
            ),
            Ok(_) => Finding::denied(
                Rule::KernelInfo,
                "EACCES",
                "only root may read it, and no jar is root",
            ),
            Err(_) => Finding::not_there("ENOENT", "the kernel has no such entry in /proc"),
        }
    }

    fn writing(&self, spot: &Spot) -> Finding {
        if self.is_directory(spot) && !matches!(spot.what, What::Hidden | What::Inside) {
            return self.making(spot);
        }
        match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside => return self.writing_inside(spot),
            What::Machine { path, entry } => match entry.kind {
                EntryKind::Socket => return self.socket(path),
                EntryKind::Device if self.no_devices(spot) => return self.no_device(path),
                _ => {}
            },
            What::File { .. } => return self.sealed(),
            What::Directory => {}
        }
        let device =
            matches!(&spot.what, What::Machine { entry, .. } if entry.kind == EntryKind::Device);
        if !self.view.may(spot, WRITE) {
            // A grant for writing may bring the owner's rights with it.
            return match self.is_read_only(spot) {
                true => self.read_only(spot),
                false => self.refused_by_mode(spot),
            };
        }
        // A device is written through a read-only mount too: nothing on the file system changes.
        if self.is_read_only(spot) && !device {
            return self.read_only(spot);
        }
        if !self.view.landlock_allows(spot, Right::WriteFile) {
            return self.refused_by_landlock(spot);
        }
        self.allowed(spot, "written")
    }

    fn writing_inside(&self, spot: &Spot) -> Finding {
        let mount = self.view.mount_of(spot);
        match mount.map(|mount| (&mount.shows, mount)) {
            Some((Shows::Scratch, _))
                if !self.has_parent(spot) && self.where_on_machine().is_some() =>
            {
                let there = self.where_on_machine();
                Finding::new(
                    super::Verdict::Depends,
                    Rule::Files,
                    "the jar has scratch of its own there, empty at first: the guest may make the directories above it, \
                     and what it writes is gone with the jar; the machine's own is not reached",
                )
                .with(there.and_then(|there| {
                    let place = (there != *self.path).then_some(self.path);
                    Grant::of_path(&there, place, true)
                }))
            }
            Some((Shows::Scratch, _)) => {
                let disk = self.plan.limit(Limit::Disk).and_then(|limit| limit.hard);
                let bound = disk.map_or_else(String::new, |bytes| {
                    format!(", {} of it", crate::units::format_value(Limit::Disk, bytes))
                });
                Finding::allowed(
                    Rule::Files,
                    format!("it is the jar's own scratch{bound}, gone with the jar"),
                )
            }
            Some((Shows::Proc, _))
                if !is_of_task(&spot.path) && self.machine.entry(&spot.path).is_err() =>
            {
                Finding::not_there("ENOENT", "the kernel has no such entry in /proc")
            }
            Some((Shows::Proc, mount)) if mount.attributes.read_only => Finding::denied(
                Rule::KernelInfo,
                "EROFS",
                match mount.made_read_only {
                    true => "this part of the jar's own /proc is read-only",
                    false => "the jar's own /proc is read-only",
                },
            ),
            Some((Shows::Proc, _)) => Finding::new(
                super::Verdict::Depends,
                Rule::KernelInfo,
                "the jar's own /proc: of its own tasks a guest may set what the kernel lets each of them set",
            ),
            _ => Finding::allowed(Rule::Devices, "it is one of the jar's own devices"),
        }
    }

    /// Making something in a directory.
    fn making(&self, parent: &Spot) -> Finding {
        match &parent.what {
            What::Hidden => return self.hidden(&parent.path),
            What::Inside => return self.writing_inside(parent),
            What::Directory if self.in_scratch(parent) => return self.writing_inside(parent),
            What::Directory => return self.absent_or("EROFS", self.sealed()),
            What::File { .. } => {
                return Finding::denied(Rule::Files, "ENOTDIR", "what is above it is no directory");
            }
            What::Machine { entry, .. } if entry.kind != EntryKind::Directory => {
                return Finding::denied(Rule::Files, "ENOTDIR", "what is above it is no directory");
            }
            What::Machine { .. } => {}
        }
        if self.is_read_only(parent) {
            return self.read_only(parent);
        }
        if !self.view.may(parent, WRITE | ENTER) {
            return self.refused_by_mode(parent);
        }
        if !self.view.landlock_allows(parent, Right::MakeReg) {
            return self.refused_by_landlock(parent);
        }
        self.allowed(parent, "written")
    }

    fn starting(&self, path: &UnixPath, depth: usize) -> Finding {
        let spot = match self.view.walk(path, true) {
            Ok(spot) => spot,
            Err(stop) => return self.stopped(stop),
        };
        let what = match &spot.what {
            What::Hidden => return self.hidden(&spot.path),
            What::Inside if self.is_root_of_mount(&spot) => {
                return Finding::denied(Rule::Files, "EACCES", "a directory is no program");
            }
            What::Inside => match self.view.mount_of(&spot) {
                Some(mount)
                    if matches!(mount.shows, Shows::Scratch) && !mount.attributes.no_exec =>
                {
                    return self.absent_or(
                        "ENOENT",
                        Finding::allowed(
                            Rule::Files,
                            "it is the jar's own scratch, from which programs may be started",
                        ),
                    );
                }
                Some(mount) if matches!(mount.shows, Shows::Scratch) => {
                    return self.absent_or("ENOENT", self.no_exec());
                }
                _ => return self.no_exec(),
            },
            What::Directory => {
                return Finding::denied(Rule::Files, "EACCES", "a directory is no program");
            }
            What::File { mode } => {
                if mode & 0o100 == 0 {
                    return Finding::denied(
                        Rule::Files,
                        "EACCES",
                        "the plugin's file is not marked executable",
                    );
                }
                None
            }
            What::Machine { path, entry } => {
                if entry.kind != EntryKind::File {
                    return Finding::denied(Rule::Files, "EACCES", "it is no regular file");
                }
                Some(path)
            }
        };
        if self
            .view
            .mount_of(&spot)
            .is_some_and(|mount| mount.attributes.no_exec)
        {
            return self.no_exec();
        }
        if !self.view.may(&spot, ENTER) {
            return self.refused_by_mode(&spot);
        }
        if !self.view.landlock_allows(&spot, Right::Execute) {
            return self.refused_by_landlock(&spot);
        }
        // The loader or interpreter is opened as the program is, by its own path.
        match what.map_or(Start::Itself, |path| self.machine.start(path)) {
            Start::Itself => {}
            Start::Nothing => {
                return Finding::not_there("ENOEXEC", "it is executable and no program");
            }
            Start::By(_) if depth >= 5 => {
                return Finding::not_there(
                    "ELOOP",
                    "its interpreters name one another without end",
                );
            }
            Start::By(needed) => {
                let of_that = self.starting(&needed, depth + 1);
                if of_that.verdict != super::Verdict::Allowed {
                    return Finding {
                        reason: format!("it is started by {needed}: {}", of_that.reason),
                        ..of_that
                    };
                }
            }
        }
        self.allowed(&spot, "started")
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

    fn stopped(&self, stop: Stop) -> Finding {
        match stop {
            Stop::Missing { path, parent, .. } => self.missing(&path, &parent),
            Stop::Closed(spot) => self.refused_by_mode(&spot),
            Stop::NoDirectory(at) => Finding::not_there(
                "ENOTDIR",
                format!("{at} is no directory, so nothing lies below it"),
            ),
            Stop::Circle => Finding::not_there("ELOOP", "its symbolic links lead in a circle"),
            Stop::Unknown { path, errno } => Finding::new(
                super::Verdict::Depends,
                Rule::Files,
                format!(
                    "you may not look at {path} on this machine (errno {errno}), so nothing can be said of it; ask as a user who may"
                ),
            ),
        }
    }

    fn missing(&self, path: &UnixPath, parent: &Spot) -> Finding {
        let covered = match &parent.what {
            What::Hidden => Some(&parent.path),
            _ => None,
        };
        if let Some(covered) = covered {
            return self.hidden(covered);
        }
        // Where the machine is shown, what is not there is not there on the machine either.
        let shown = matches!(parent.what, What::Machine { .. });
        let not_there = match shown {
            true => format!("the machine has nothing at {path}"),
            false => format!(
                "neither the jar nor the machine has anything at {}",
                self.path
            ),
        };
        self.absent_or("ENOENT", Finding::not_there("ENOENT", not_there))
    }

    /// What the machine has and the jar does not show, answered so; else the other finding.
    fn absent_or(&self, errno: &'static str, otherwise: Finding) -> Finding {
        let Some(there) = self.where_on_machine() else {
            return otherwise;
        };
        let at = self.path;
        let rule = match self.machine.entry(&there).map(|entry| entry.kind) {
            Ok(EntryKind::Socket) => Rule::Sockets,
            _ if at.as_str().starts_with("/dev/") => Rule::Devices,
            _ if at.as_str().starts_with("/sys/") || at.as_str() == "/sys" => Rule::KernelInfo,
            _ => Rule::Files,
        };
        let same = there == *self.path;
        let elsewhere = self.view.places_of(&there);
        let reason = match (elsewhere.first(), same) {
            (Some(place), _) if self.reachable(place) => {
                format!(
                    "the jar shows the machine's {there} at {place}, not at {}",
                    self.path
                )
            }
            (_, true) if self.own_scratch() => {
                "the machine has it, and the jar has scratch of its own there".to_owned()
            }
            (_, true) => "the machine has it, and the jar does not show it".to_owned(),
            (_, false) => format!(
                "the machine has {there}, which would be {} in the jar, and the jar does not show it",
                self.path
            ),
        };
        let place = (!same).then_some(self.path);
        Finding::denied(rule, errno, reason).with(Grant::of_path(&there, place, self.write))
    }

    /// The directory above a place in scratch is there from the start.
    fn has_parent(&self, spot: &Spot) -> bool {
        let Some(parent) = spot.path.parent() else {
            return true;
        };
        match self.view.walk(&parent, true) {
            Ok(above) => self.is_root_of_mount(&above) || matches!(above.what, What::Directory),
            Err(_) => false,
        }
    }

    /// The place that was asked for is the guest's to fill.
    fn own_scratch(&self) -> bool {
        matches!(&self.view.walk(self.path, true), Ok(spot) if self.in_scratch(spot))
    }

    fn reachable(&self, place: &UnixPath) -> bool {
        self.view.walk(place, true).is_ok()
    }

    /// Where the machine has what was asked for: at that very path, or in the
    /// caller's home what the guest looks for in its own. For writing, the nearest
    /// directory above it that is there.
    fn where_on_machine(&self) -> Option<UnixPath> {
        let mut candidates = vec![self.path.clone()];
        if let (Some(home), Some(own)) = (&self.around.home, home_inside(self.plan))
            && let Some(there) = self.path.rebased(&own, home)
        {
            candidates.push(there);
        }
        candidates
            .into_iter()
            .find(|there| self.machine.entry(there).is_ok() && there.as_str() != "/")
    }

    fn hidden(&self, path: &UnixPath) -> Finding {
        let said = self.plan.hidden.iter().find(|hidden| {
            UnixPath::new(&String::from_utf8_lossy(&hidden.path.0))
                .is_ok_and(|hidden| path.is_within(&hidden))
        });
        match said {
            Some(said) => {
                let finding = Finding::denied(
                    Rule::Files,
                    "ENOENT",
                    format!(
                        "it is hidden: something empty is in its place ({})",
                        said.origin
                    ),
                )
                .by(said.origin.clone());
                match said.origin.starts_with("a known secret") {
                    true => finding.with(Grant::of_path(self.path, None, self.write)),
                    // A policy's denial beats every grant.
                    false => finding,
                }
            }
            None => Finding::denied(
                Rule::KernelInfo,
                "ENOENT",
                "it tells about the whole machine, so something empty is in its place",
            ),
        }
    }

    fn refused_by_mode(&self, spot: &Spot) -> Finding {
        let What::Machine { path, entry } = &spot.what else {
            return Finding::denied(Rule::Files, "EACCES", "its own permissions refuse it");
        };
        let (owner, mode) = (entry.uid, entry.mode & 0o7777);
        let who = match self.plan.identity.machine {
            belljar_plan::plan::MachineIdentity::Caller { uid, .. } => format!("uid {uid}"),
            belljar_plan::plan::MachineIdentity::Own { .. } => "a uid of the jar's own".to_owned(),
        };
        let finding = Finding::denied(
            Rule::Identity,
            "EACCES",
            format!(
                "the permissions of {path} (owner {owner}, mode {mode:o}) refuse it to the guest, which the machine sees as {who}"
            ),
        );
        // Granted by root, its owner on disk is the jar's user in the jar.
        let owned = entry.mode >> 6 & if self.write { 0o6 } else { 0o4 };
        let mapped = matches!(
            self.plan.identity.machine,
            belljar_plan::plan::MachineIdentity::Own { .. }
        ) && owned != 0
            && !self.is_granted(path);
        finding.with(match mapped {
            true => Grant::of_path(path, None, self.write),
            false => None,
        })
    }

    fn is_granted(&self, path: &UnixPath) -> bool {
        self.plan
            .grants
            .iter()
            .any(|grant| grant.write == self.write && grant.path.0 == path.as_str().as_bytes())
    }

    fn refused_by_landlock(&self, spot: &Spot) -> Finding {
        let reason = match spot.what {
            What::Directory => "a directory of the jar's own, which Landlock does not let it list",
            _ if self.view.lower => "Landlock allows nothing there: it is not granted",
            _ => "Landlock allows nothing there",
        };
        let finding = Finding::denied(Rule::Files, "EACCES", reason);
        match &spot.what {
            What::Machine { path, .. } => finding.with(Grant::of_path(path, None, self.write)),
            _ => finding,
        }
    }

    fn read_only(&self, spot: &Spot) -> Finding {
        let shown = self.allowed(spot, "read");
        let by = shown.decided_by;
        let reason = match &by {
            Some(origin) => format!("it is granted by {origin}, for reading only"),
            None => format!("preset {} shows it for reading only", self.plan.preset),
        };
        let mut finding = Finding::denied(Rule::Files, "EROFS", reason);
        if let Some(origin) = by {
            finding = finding.by(origin);
        }
        match &spot.what {
            What::Machine { path, .. } => {
                let place = (*path != spot.path).then_some(&spot.path);
                finding.with(Grant::of_path(path, place, true))
            }
            _ => finding,
        }
    }

    fn sealed(&self) -> Finding {
        Finding::denied(
            Rule::Files,
            "EROFS",
            "it lies in the jar's own root, which is read-only",
        )
    }

    fn no_exec(&self) -> Finding {
        let strict = self.plan.preset == Preset::Strict;
        let fixed = self
            .plan
            .filter
            .as_ref()
            .is_some_and(|filter| filter.code != Code::Any);
        Finding::denied(
            match strict && fixed {
                true => Rule::WritableCode,
                false => Rule::Files,
            },
            "EACCES",
            "nothing is started from there: what can be written can't be run",
        )
    }

    fn socket(&self, path: &UnixPath) -> Finding {
        Finding::denied(
            Rule::Sockets,
            "ENXIO",
            format!("{path} is a socket: it is connected to, not opened"),
        )
    }

    fn no_devices(&self, spot: &Spot) -> bool {
        self.view
            .mount_of(spot)
            .is_some_and(|mount| mount.attributes.no_dev)
    }

    fn no_device(&self, path: &UnixPath) -> Finding {
        Finding::denied(
            Rule::Devices,
            "EACCES",
            "device files are inert here; grant the device by its own path",
        )
        .with(Grant::of_path(path, None, self.write))
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
