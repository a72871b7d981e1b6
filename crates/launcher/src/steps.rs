//! The steps of a jar's processes, one function each.

use core::ops::Range;

use belljar_plan::step::StepView;
use belljar_plan::wire::Steps;
use belljar_plan::{Attributes, Step};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, Result};

use crate::raw;

pub(crate) mod exec;
mod files;
mod filter;
mod guest;
mod identity;
mod landlock;
pub(crate) mod mounts;
mod sysctls;
mod terminal;

/// What the steps build on.
pub(crate) struct Jar<'a> {
    /// The sealed image of the plugin's files.
    image: Option<&'a [u8]>,
    /// Which of the task's descriptors are the plan's slots.
    slots: Range<usize>,
    /// The jar's own root, from the step `root` on.
    root: Option<OwnedFd>,
    /// The machine's root, until the step `leave_machine`.
    machine: Option<OwnedFd>,
    /// The folder of the machine on which the jar's root was attached at first.
    stage: &'a [u8],
    /// The sized scratch, and where it is attached for the moment.
    scratch: Option<(OwnedFd, &'a [u8])>,
    /// The folder that was used last, by its path.
    folder: Option<(&'a [u8], OwnedFd)>,
    /// Read-only mounts of an empty file and folder, where a mask needed them.
    empty_file: Option<OwnedFd>,
    empty_folder: Option<OwnedFd>,
    /// The guest's end of the jar's own pseudo-terminal.
    terminal: Option<OwnedFd>,
    /// The scratch, for the parent to count with.
    counted: Option<OwnedFd>,
    /// The file with which the guest's process tries whether it is held.
    canary: Option<OwnedFd>,
    ruleset: Option<landlock::Ruleset>,
    /// The jar's own message queues.
    queues: Option<OwnedFd>,
    /// Where the program's argument lists go, where its filter asks for that.
    start: Option<filter::Start>,
    /// Whether the jar's tasks are those that come of it, and no pid namespace
    /// ends them.
    adopts: bool,
    /// Whether the jar's own `/proc` is there.
    has_proc: bool,
    /// Its mount, where it was needed before its place was there.
    proc: Option<OwnedFd>,
    when: When,
}

/// When the steps are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The launch was asked for.
    Launched,
    /// It was not yet.
    Ahead,
    /// It was not yet, and the last step must not be done before: it has
    /// done nothing.
    TooEarly,
}

impl<'a> Jar<'a> {
    pub(crate) fn new(image: Option<&'a [u8]>, slots: Range<usize>, when: When) -> Self {
        Self {
            image,
            slots,
            root: None,
            machine: None,
            stage: &[],
            scratch: None,
            folder: None,
            empty_file: None,
            empty_folder: None,
            terminal: None,
            counted: None,
            canary: None,
            ruleset: None,
            queues: None,
            start: None,
            adopts: false,
            has_proc: false,
            proc: None,
            when,
        }
    }

    pub(crate) const fn when(&self) -> When {
        self.when
    }

    /// Whether the jar's first process has to end all others.
    pub(crate) const fn adopts(&self) -> bool {
        self.adopts
    }

    fn adopt(&mut self) -> Result<()> {
        raw::adopt_orphans()?;
        self.adopts = true;
        Ok(())
    }

    /// The launch was asked for.
    pub(crate) fn launched(&mut self) {
        self.when = When::Launched;
    }

    /// Refuses to do before its launch what depends on something that may be
    /// another thing then.
    fn not_ahead(&mut self) -> Result<()> {
        match self.when {
            When::Launched => Ok(()),
            When::Ahead | When::TooEarly => {
                self.when = When::TooEarly;
                Err(Errno::AGAIN)
            }
        }
    }

    /// Does one step; gives 0, or why it was skipped where it may be.
    ///
    /// Never inlined: room for paths would stay on pid 1's stack for good.
    ///
    /// # Errors
    /// Why it failed: then the launch has failed.
    #[inline(never)]
    pub(crate) fn apply(&mut self, step: &StepView<'a>, rest: &Steps<'a>) -> Result<u16> {
        match *step {
            Step::Bind {
                source,
                target,
                recursive,
                attributes,
                optional,
            } => {
                let result = self.bind(source, target, recursive, attributes);
                if optional {
                    if result.is_err() {
                        // It may be there when the launch comes.
                        self.not_ahead()?;
                    }
                    return Ok(skipped(result));
                }
                result
            }
            Step::AllowPath {
                path,
                access,
                optional,
            } => {
                let result = self.allow_path(path, access);
                if optional {
                    return Ok(skipped(result));
                }
                result
            }
            Step::OomScore { value } => self.oom_score(value),
            Step::DropGroups {} => identity::drop_groups(),
            Step::TakeIds { uid, gid } => identity::take_ids(uid, gid),
            Step::Undumpable {} => identity::undumpable(),
            Step::DieWithLauncher {} => identity::die_with_launcher(),
            Step::PrivateMounts {} => mounts::private_mounts(),
            Step::Root {
                size,
                inodes,
                stage,
            } => self.enter_root(size, inodes, stage),
            Step::Directory { path, mode } => self.directory(path, mode),
            Step::Symlink { path, target } => self.symlink(path, target),
            Step::File {
                path,
                mode,
                content,
            } => self.file(path, mode, content),
            Step::PluginFile {
                path,
                mode,
                offset,
                length,
            } => self.plugin_file(path, mode, offset, length),
            Step::Scratch {
                size,
                inodes,
                stage,
            } => self.make_scratch(size, inodes, stage),
            Step::Sysctls { settings } => self.sysctls(&settings),
            Step::Proc { target, attributes } => self.proc(target, attributes),
            Step::Devpts { target } => self.devpts(target),
            Step::Device { name, major, minor } => self.device(name, major, minor),
            Step::Mask { path } => self.mask(path),
            Step::ReadOnly { path } => self.read_only(path),
            Step::LeaveMachine {} => self.leave_machine(),
            Step::SealRoot {} => self.seal_root(),
            Step::Hostname { name } => raw::sethostname(name),
            Step::Loopback {} => guest::loopback(),
            Step::Terminal { rows, columns } => self.make_terminal(rows, columns),
            Step::Keyring {} => identity::keyring(),
            Step::NoNewPrivs {} => identity::no_new_privs(),
            Step::Securebits {} => identity::securebits(rest),
            Step::Capabilities { keep, ambient } => identity::capabilities(keep, ambient),
            Step::Session { terminal } => self.session(terminal),
            Step::Streams {} => self.streams(),
            Step::CloseDescriptors {} => guest::close_descriptors(),
            Step::Workdir { path } => guest::workdir(path),
            Step::Umask { mask } => guest::umask(mask),
            Step::Rlimit {
                resource,
                soft,
                hard,
            } => guest::rlimit(resource, soft, hard),
            Step::Signals {} => guest::signals(),
            Step::Adopt {} => self.adopt(),
            Step::DieWithFirst {} => identity::die_with_first(),
            Step::FixedCode {} => guest::fixed_code(),
            Step::Filter {
                program,
                listener,
                arguments_low,
                arguments_high,
                variables_low,
                variables_high,
            } => {
                let secrets = filter::Secrets {
                    arguments: [arguments_low, arguments_high],
                    variables: [variables_low, variables_high],
                };
                self.filter(program, listener, secrets, rest)
            }
            Step::Canary {} => self.make_canary(),
            Step::MachineRoot {} => self.machine_root(),
            Step::Ruleset {
                files,
                network,
                scopes,
            } => self.ruleset(files, network, scopes),
            Step::Queues {} => self.hold_queues(),
            Step::AllowQueues { access } => self.allow_queues(access),
            Step::Restrict { quiet } => self.restrict(quiet),
            // Not for this actor: the launcher's, and those that are handled
            // where the steps are read.
            Step::Detach { .. }
            | Step::Cgroup { .. }
            | Step::Clone { .. }
            | Step::MapIds { .. }
            | Step::Fork {}
            | Step::Exec { .. } => Err(Errno::PROTO),
        }
        .map(|()| 0)
    }

    /// The jar's root, once there is one.
    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(OwnedFd::as_fd).ok_or(Errno::PROTO)
    }

    /// The machine's root, while there is one.
    fn machine(&self) -> Result<BorrowedFd<'_>> {
        self.machine
            .as_ref()
            .map(OwnedFd::as_fd)
            .ok_or(Errno::PROTO)
    }
}

fn skipped(result: Result<()>) -> u16 {
    match result {
        Ok(()) => 0,
        Err(errno) => u16::try_from(errno.raw_os_error()).unwrap_or(u16::MAX),
    }
}

/// A mount's attributes as mount_setattr(2) has them.
pub(crate) fn attribute_bits(attributes: Attributes) -> u64 {
    let pairs = [
        (attributes.read_only, raw::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, raw::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, raw::MOUNT_ATTR_NODEV),
        (attributes.no_exec, raw::MOUNT_ATTR_NOEXEC),
    ];
    pairs
        .iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |all, (_, bit)| all | u64::from(*bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_the_kernel_s_bits() {
        assert_eq!(attribute_bits(Attributes::default()), 0);
        assert_eq!(attribute_bits(Attributes::ALL), 1 | 2 | 4 | 8);
    }
}
