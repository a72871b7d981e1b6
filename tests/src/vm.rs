//! A virtual machine for attacks that need another kernel than this one's, or
//! that may do harm: reboot it, bring it down, take it over.
//!
//! One boot of a Debian kernel in an emulated computer without network runs a
//! list of commands, as its root or as an ordinary user. It shares
//! nothing with the machine of the tests but the list and two serial ports,
//! needs no root, and takes some 3 seconds of a processor before the first command.
//!
//! Of cgroups the machine has version 2 alone, with every controller, and the
//! commands are in one of their own below the root, `/sys/fs/cgroup/commands`.
//!
//! Commands of one boot see what those before them did to the machine. A command
//! that is root there could read the memory of the first process and forge what
//! is told of commands after it: give one that might a run of its own.

mod archive;
mod frames;
mod image;
mod kernel;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use frames::{Frame, Frames};
use image::Added;
use kernel::Kernel;
pub use kernel::KernelName;

use crate::{Need, need, spawn};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

const MKFS: &str = "/sbin/mkfs.ext4";

/// How long a kernel may take to its first command.
const BOOT: Duration = Duration::from_secs(180);

/// How long the machine may take beyond a command's own bound.
const GRACE: Duration = Duration::from_secs(15);

/// A command for the machine.
#[derive(Clone, Debug)]
pub struct VmCommand {
    words: Vec<OsString>,
    root: bool,
    bound: Duration,
}

impl VmCommand {
    /// A command as the machine's root. Found are `belljar`, `belljar-guest` and
    /// `busybox`, with all that it is, and what the test added.
    #[must_use]
    pub fn root<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            words: words
                .into_iter()
                .map(|word| word.as_ref().to_owned())
                .collect(),
            root: true,
            bound: Duration::from_secs(60),
        }
    }

    /// The same as its user, uid 1000.
    #[must_use]
    pub fn user<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            root: false,
            ..Self::root(words)
        }
    }

    /// How long it may take, in whole seconds, instead of a minute.
    #[must_use]
    pub fn within(self, bound: Duration) -> Self {
        Self { bound, ..self }
    }
}

/// What a script in the machine waits with until so many jars have begun, however slow it is:
/// in the cgroup of each are its first process and the guest's.
#[must_use]
pub fn begun(jars: u32) -> String {
    format!(
        "until [ $(find /sys/fs/cgroup -path '*/belljar-jar-*/cgroup.procs' -exec grep -c . {{}} ';' 2> /dev/null \
         | grep -vc '^[01]$') -ge {jars} ]; do sleep 0.2; done"
    )
}

/// How a command in the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmEnd {
    /// By itself; as a shell numbers it, 128 and the signal's number for a signal.
    Exited(u8),
    /// It was killed with all that it started: its time was over.
    OutOfTime,
    /// The machine started anew.
    Rebooted,
    /// The machine was switched off.
    PoweredOff,
    /// The kernel panicked, or would have gone on after an oops.
    Panicked,
    /// Nothing was heard of it, and the machine was ended from outside.
    Hung,
}

/// What became of a command in the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct VmResult {
    /// How it ended.
    pub end: VmEnd,
    /// What it wrote; nothing where the machine did not outlive it. Of both
    /// together no more than 1 MiB can be written: then there is no space left.
    pub stdout: Vec<u8>,
    /// The same for its errors.
    pub stderr: Vec<u8>,
}

impl fmt::Debug for VmResult {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [stdout, stderr] = [&self.stdout, &self.stderr];
        let (stdout, stderr) = (stdout.escape_ascii(), stderr.escape_ascii());
        write!(
            to,
            "{:?}, stdout \"{stdout}\", stderr \"{stderr}\"",
            self.end
        )
    }
}

impl VmResult {
    /// What it wrote, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn of_machine(end: VmEnd) -> Self {
        Self {
            end,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }
}

/// A virtual machine to be.
#[derive(Debug)]
pub struct Vm {
    kernel: Option<KernelName>,
    parameters: Vec<String>,
    /// In MiB.
    memory: u32,
    /// Its size in bytes.
    disk: Option<u64>,
    processors: u32,
    added: Added,
    without_modules: bool,
}

/// Begins a virtual machine; a test that does needs [`Need::Vm`](crate::Need::Vm).
#[must_use]
pub fn vm() -> Vm {
    Vm {
        kernel: None,
        parameters: Vec::new(),
        memory: 512,
        disk: None,
        processors: 1,
        added: Added::default(),
        without_modules: false,
    }
}

/// Tests on each of these kernels that is there.
pub fn on_each(kernels: &[KernelName], test: impl Fn(KernelName)) {
    for &kernel in kernels {
        if need(Need::Kernel(kernel)) {
            eprintln!("{}", kernel.word());
            test(kernel);
        }
    }
}

/// What a machine takes of Debian's packages systemd and dbus-daemon.
const OF_SYSTEMD: [&str; 5] = [
    "/lib/systemd/systemd",
    "/usr/bin/systemd-run",
    "/usr/bin/systemctl",
    "/usr/bin/busctl",
    "/usr/bin/dbus-daemon",
];

/// Whether they are there.
pub(crate) fn has_systemd() -> bool {
    OF_SYSTEMD.iter().all(|path| Path::new(path).exists())
}

/// Whether this is a machine that [`Vm::sleeps`].
pub(crate) fn is_one_that_sleeps() -> bool {
    Path::new(image::SLEEPS).exists()
}

/// Whether everything is there for one, with this kernel or any.
pub(crate) fn is_possible(kernel: Option<KernelName>) -> bool {
    cfg!(target_arch = "x86_64")
        && [QEMU, image::BUSYBOX, image::SETPRIV, image::ENV]
            .iter()
            .all(|program| Path::new(program).exists())
        && Kernel::find(kernel).is_some()
}

impl Vm {
    /// Boots this kernel; a test that does needs [`Need::Kernel`](crate::Need::Kernel).
    #[must_use]
    pub fn on(self, kernel: KernelName) -> Self {
        Self {
            kernel: Some(kernel),
            ..self
        }
    }

    /// Tells the kernel more, as a boot loader would: `lsm=…`, or `sysctl.` before
    /// the name of a setting; the kernel's admin-guide/kernel-parameters.rst.
    #[must_use]
    pub fn boot_with(mut self, parameter: &str) -> Self {
        self.parameters.push(parameter.to_owned());
        self
    }

    /// How much memory the machine has instead of 512 MiB. The first file system,
    /// with all that was added, is in it.
    #[must_use]
    pub fn memory(self, mebibytes: u32) -> Self {
        Self {
            memory: mebibytes,
            ..self
        }
    }

    /// Adds a disk, mounted at `/disk` where anyone can make files: ext4, which
    /// counts and bounds what a project holds. `/tmp` and `/var/tmp` are on it too,
    /// and not file systems in memory. A machine that takes the place of
    /// one that ended gets an empty one.
    #[must_use]
    pub fn disk(self, bytes: u64) -> Self {
        Self {
            disk: Some(bytes),
            ..self
        }
    }

    /// So many processors instead of one.
    #[must_use]
    pub fn processors(self, processors: u32) -> Self {
        Self { processors, ..self }
    }

    /// Adds a program of this machine, with the libraries that it loads, at a
    /// whole path of the other.
    #[must_use]
    pub fn program(mut self, at: &str, from: &Path) -> Self {
        self.added.programs.push((at.to_owned(), from.to_owned()));
        self
    }

    /// Makes systemd the first process; commands are in services of it, those of
    /// the user in services of the user's own manager.
    #[must_use]
    pub fn with_systemd(mut self) -> Self {
        self.added.systemd = true;
        OF_SYSTEMD.iter().fold(self, |vm, from| {
            let at = match from.starts_with("/lib") {
                true => format!("/usr{from}"),
                false => (*from).to_owned(),
            };
            vm.program(&at, Path::new(from))
        })
    }

    /// Adds a file of this machine, for all to read.
    #[must_use]
    pub fn file(mut self, at: &str, from: &Path) -> Self {
        self.added.files.push((at.to_owned(), from.to_owned()));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, at: &str, target: &str) -> Self {
        self.added.links.push((at.to_owned(), target.to_owned()));
        self
    }

    /// Adds a directory where anyone can make files.
    #[must_use]
    pub fn directory(mut self, at: &str) -> Self {
        self.added.directories.push(at.to_owned());
        self
    }

    /// Lets tests inside suspend the machine, which an alarm of its clock wakes
    /// ([`Need::Sleep`]). The emulator loads a kernel that is not packed anew at each
    /// reset, of which waking is one: so it is the packed one, which boots later.
    #[must_use]
    pub fn sleeps(mut self) -> Self {
        self.added.sleeps = true;
        self
    }

    /// Loads none of the kernel's modules: for a kernel that has others.
    #[must_use]
    pub fn without_modules(self) -> Self {
        Self {
            without_modules: true,
            ..self
        }
    }

    /// Runs commands one after another, and gives what became of each. Where a
    /// command ends the machine, those after it get a new one.
    ///
    /// # Panics
    /// Where the machine does not come as far as the first command.
    #[must_use]
    pub fn run(&self, commands: &[VmCommand]) -> Vec<VmResult> {
        let mut results = Vec::new();
        self.run_each(commands, |result| results.push(result.clone()));
        results
    }

    /// The same, and gives what became of each as soon as that is known.
    ///
    /// # Panics
    /// The same.
    pub fn run_each(&self, commands: &[VmCommand], mut told: impl FnMut(&VmResult)) {
        let kernel = Kernel::find(self.kernel).expect("a kernel: cargo xtask test gets it");
        let modules = match self.without_modules {
            true => Vec::new(),
            false => kernel.modules(self.disk.is_some()),
        };
        let base = image::base(&modules, &self.added);
        let mut done = 0;
        while done < commands.len() {
            done += self.boot(&kernel, &base, &commands[done..], &mut told);
        }
    }

    /// One boot: runs commands until one ends the machine, at least the first, and
    /// gives how many.
    fn boot(
        &self,
        kernel: &Kernel,
        base: &[u8],
        commands: &[VmCommand],
        told: &mut dyn FnMut(&VmResult),
    ) -> usize {
        let mut machine = Machine::start(self, kernel, base, commands);
        let mut done = 0;
        let mut running = false;
        let mut deadline = Instant::now() + BOOT;
        while done < commands.len() {
            let end = match machine.hear(deadline) {
                Heard::Frame(Frame::Begin(number)) if number == done => {
                    running = true;
                    deadline = Instant::now() + commands[number].bound + GRACE;
                    continue;
                }
                Heard::Frame(Frame::End(number, result)) if running && number == done => {
                    told(&result);
                    done += 1;
                    running = false;
                    deadline = Instant::now() + GRACE;
                    continue;
                }
                Heard::Frame(frame) => panic!("the machine told out of order: {frame:?}"),
                Heard::Nothing => VmEnd::Hung,
                Heard::End => machine.how_it_ended(),
            };
            if running {
                told(&VmResult::of_machine(end));
                done += 1;
            }
            assert!(
                done > 0,
                "{end:?} before the first command: {}",
                machine.console()
            );
            break;
        }
        done
    }
}

/// What came next.
enum Heard {
    Frame(Frame),
    /// Nothing until the deadline.
    Nothing,
    /// The machine has ended.
    End,
}

/// A running emulator; ended with this value, and with the thread that made it.
struct Machine {
    room: tempfile::TempDir,
    emulator: Child,
    port: Receiver<Vec<u8>>,
    frames: Frames,
}

impl Machine {
    fn start(vm: &Vm, kernel: &Kernel, base: &[u8], commands: &[VmCommand]) -> Self {
        let room = tempfile::Builder::new()
            .prefix("vm-test-")
            .tempdir()
            .expect("a temporary directory");
        let nonce = nonce();
        let archive = room.path().join("archive");
        File::create(&archive)
            .and_then(|mut file| {
                file.write_all(base)?;
                file.write_all(&image::commands(&nonce, commands))
            })
            .expect("the machine's files");
        let parameters = ["console=ttyS0 quiet panic=-1 oops=panic syscall.x32=y"]
            .into_iter()
            .chain(vm.parameters.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        let mut disk = Vec::new();
        if let Some(bytes) = vm.disk {
            let file = room.path().join("disk");
            make_disk(&file, bytes);
            let drive = format!("file={},format=raw,if=virtio", file.display());
            disk.extend(["-drive".to_owned(), drive]);
        }
        let image = match vm.added.sleeps {
            true => kernel
                .packed
                .as_ref()
                .expect("vmlinuz: cargo xtask vm gets it"),
            false => &kernel.image,
        };
        let console = format!("file:{}", room.path().join("console").display());
        let mut emulator = spawn(
            Command::new(image::SETPRIV)
                .args(["--pdeathsig", "KILL", "--", QEMU])
                .args(["-nodefaults", "-no-user-config", "-display", "none"])
                .args(["-sandbox", "on,elevateprivileges=deny,spawn=deny"])
                .args(["-accel", "tcg", "-cpu", "max", "-nic", "none"])
                .args(["-m", &vm.memory.to_string()])
                .args(["-smp", &vm.processors.to_string()])
                .args(disk)
                .args(["-no-reboot", "-serial", &console, "-serial", "stdio"])
                .args(["-append", &parameters])
                .arg("-kernel")
                .arg(image)
                .arg("-initrd")
                .arg(&archive)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(File::create(room.path().join("errors")).expect("a file")),
        );
        let mut stdout = emulator.stdout.take().expect("a pipe");
        let (sender, port) = mpsc::sync_channel(16);
        std::thread::spawn(move || {
            let mut part = [0; 65536];
            while let Ok(count @ 1..) = stdout.read(&mut part) {
                if sender.send(part[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            room,
            emulator,
            port,
            frames: Frames::new(nonce),
        }
    }

    fn hear(&mut self, deadline: Instant) -> Heard {
        loop {
            if let Some(frame) = self.frames.next() {
                return Heard::Frame(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Nothing;
            }
            match self.port.recv_timeout(left) {
                Ok(part) => self.frames.add(&part),
                Err(RecvTimeoutError::Timeout) => return Heard::Nothing,
                Err(RecvTimeoutError::Disconnected) => return Heard::End,
            }
        }
    }

    /// For an emulator that ended by itself. The kernel tells of its end as what it is.
    fn how_it_ended(&mut self) -> VmEnd {
        let status = self.emulator.wait().expect("a child");
        assert!(status.success(), "{QEMU}: {status}: {}", self.console());
        let console = self.console();
        if console.contains("Kernel panic - not syncing") {
            VmEnd::Panicked
        } else if console.contains("reboot: Power down") {
            VmEnd::PoweredOff
        } else {
            VmEnd::Rebooted
        }
    }

    /// What the kernel said, and the emulator.
    fn console(&self) -> String {
        ["console", "errors"]
            .iter()
            .map(|name| fs::read(self.room.path().join(name)).unwrap_or_default())
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// Makes a file that is an ext4 with quotas of projects; mkfs.ext4(8). It takes
/// room as it is filled.
fn make_disk(file: &Path, bytes: u64) {
    File::create(file)
        .and_then(|made| made.set_len(bytes))
        .expect("the disk's file");
    let done = crate::output(
        Command::new(MKFS)
            .args([
                "-q",
                "-O",
                "project,quota",
                "-E",
                "quotatype=prjquota",
                "-m",
                "0",
            ])
            .arg(file),
    );
    assert!(done.status.success(), "{MKFS}: {done:?}");
}

/// A word that nobody guesses.
fn nonce() -> String {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
