//! The first file system of the machine: a busybox, belljar and the guests with
//! the libraries that they load, the kernel's modules, and what a test adds.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{VmCommand, archive::Archive};
use crate::{belljar, guest, output};

/// Where busybox-static has it.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// That of coreutils: undoes what a shell did to signals, as busybox's cannot.
pub(super) const ENV: &str = "/usr/bin/env";

/// util-linux's: takes on ids, as busybox's cannot.
pub(super) const SETPRIV: &str = "/usr/bin/setpriv";

/// Is there where root may suspend the machine.
pub(super) const SLEEPS: &str = "/machine/sleeps";

/// What a test adds, each at a whole path of the machine.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// Programs and libraries of this machine, with what they load.
    pub(super) programs: Vec<(String, PathBuf)>,
    /// Files of this machine.
    pub(super) files: Vec<(String, PathBuf)>,
    /// Symbolic links, and what they say.
    pub(super) links: Vec<(String, String)>,
    /// Directories where anyone can make files.
    pub(super) directories: Vec<String>,
    /// Whether the first process becomes systemd.
    pub(super) systemd: bool,
    /// Whether it can be suspended.
    pub(super) sleeps: bool,
}

/// All of the machine but the commands of one boot.
pub(super) fn base(modules_of: &[PathBuf], added: &Added) -> Vec<u8> {
    let mut archive = Archive::default();
    // /usr holds all, as on every system that belljar knows.
    for name in ["bin", "sbin", "lib", "lib64"] {
        archive.directory(&format!("/usr/{name}"), 0o755);
        archive.link(&format!("/{name}"), &format!("usr/{name}"));
    }
    for name in [
        "dev",
        "etc",
        "home/user",
        "mnt",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "var/tmp",
    ] {
        archive.directory(&format!("/{name}"), 0o755);
    }
    for name in &added.directories {
        archive.directory(name, 0o1777);
    }
    archive.directory("/machine", 0o700);
    archive.directory("/machine/results", 0o700);
    archive.file(
        "/etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    );
    archive.file("/etc/group", 0o644, b"root:x:0:\nuser:x:1000:\n");

    let init = include_bytes!("init.sh");
    archive.file("/init", 0o700, init);
    archive.file("/machine/run.sh", 0o600, include_bytes!("run.sh"));
    archive.link("/usr/bin/sh", "busybox");

    let mut modules = String::new();
    for path in modules_of {
        let name = path.file_name().expect("a module's file").to_string_lossy();
        let _ = writeln!(modules, "{name}");
        archive.file(&format!("/machine/{name}"), 0o600, &read(path));
    }
    archive.file("/machine/modules", 0o600, modules.as_bytes());

    let own = [
        ("/usr/bin/busybox", Path::new(BUSYBOX)),
        ("/usr/bin/belljar", belljar()),
        ("/usr/bin/belljar-guest", guest()),
        (SETPRIV, Path::new(SETPRIV)),
        ("/machine/env", Path::new(ENV)),
    ];
    for (at, target) in &added.links {
        archive.link(at, target);
    }
    for (at, path) in &added.files {
        archive.file(at, 0o644, &read(path));
    }
    let programs = added
        .programs
        .iter()
        .map(|(at, path)| (at.as_str(), path.as_path()));
    let mut libraries = BTreeSet::new();
    for (at, path) in own.into_iter().chain(programs) {
        archive.file(at, 0o755, &program(path));
        libraries.extend(libraries_of(path));
    }
    for library in libraries {
        let at = if library.starts_with("/usr") {
            library.clone()
        } else {
            format!("/usr{library}")
        };
        archive.file(&at, 0o755, &read(Path::new(&library)));
    }
    if added.sleeps {
        archive.file(SLEEPS, 0o600, b"");
    }
    if added.systemd {
        systemd(&mut archive);
    }
    archive.finish()
}

/// What systemd is to start: the commands and a manager of the user's units.
fn systemd(archive: &mut Archive) {
    for name in ["/etc/systemd/system", "/etc/systemd/user"] {
        archive.directory(name, 0o755);
    }
    archive.file("/machine/systemd", 0o600, b"");
    archive.file(
        "/etc/machine-id",
        0o644,
        b"0123456789abcdef0123456789abcdef\n",
    );
    let empty: &[u8] = b"[Unit]\nDefaultDependencies=no\n";
    let bus = include_bytes!("dbus.service");
    let units: [(&str, &[u8]); 13] = [
        ("bus.conf", include_bytes!("bus.conf")),
        (
            "system/dbus.socket",
            b"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
        ),
        (
            "user/dbus.socket",
            b"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n",
        ),
        ("system/dbus.service", bus),
        ("user/dbus.service", bus),
        ("system/sysinit.target", empty),
        ("system/basic.target", empty),
        ("system/shutdown.target", empty),
        (
            "system/default.target",
            b"[Unit]\nDefaultDependencies=no\nRequires=commands.service\n",
        ),
        (
            "system/commands.service",
            include_bytes!("commands.service"),
        ),
        (
            "system/user@1000.service",
            include_bytes!("user@1000.service"),
        ),
        (
            "user/default.target",
            b"[Unit]\nDefaultDependencies=no\nRequires=dbus.service\nAfter=dbus.service\n",
        ),
        ("user/basic.target", empty),
    ];
    for (name, unit) in units {
        archive.file(&format!("/etc/systemd/{name}"), 0o644, unit);
    }
}

/// The commands of one boot, behind the word by which its frames are known.
pub(super) fn commands(nonce: &str, commands: &[VmCommand]) -> Vec<u8> {
    let mut script = Vec::new();
    for command in commands {
        let who = if command.root {
            "0 /root"
        } else {
            "1000 /home/user"
        };
        let bound = command.bound.as_secs().max(1);
        script.extend_from_slice(format!("run {who} {bound}").as_bytes());
        for word in &command.words {
            script.push(b' ');
            script.extend_from_slice(&quoted(word));
        }
        script.push(b'\n');
    }
    let mut archive = Archive::default();
    archive.directory("/machine", 0o700);
    archive.file("/machine/nonce", 0o600, format!("{nonce}\n").as_bytes());
    archive.file("/machine/commands.sh", 0o600, &script);
    archive.finish()
}

/// A word as a shell reads it back.
fn quoted(word: &OsStr) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.as_bytes().split(|byte| *byte == b'\'').collect();
    [b"'", parts.join(&b"'\\''"[..]).as_slice(), b"'"].concat()
}

/// What the loader of a program of ours would load, and itself; ldd(1). Nothing
/// for a static program.
fn libraries_of(program: &Path) -> Vec<String> {
    let told = output(Command::new("ldd").arg(program));
    String::from_utf8_lossy(&told.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

/// A program without what only a debugger reads, which is most of one that was built for
/// tests: all of the machine's files are in its memory, and are unpacked at an emulator's pace.
fn program(path: &Path) -> Vec<u8> {
    const SMALL: u64 = 4 << 20;
    if fs::metadata(path).is_ok_and(|about| about.len() <= SMALL) {
        return read(path);
    }
    let room = tempfile::tempdir().expect("a directory");
    let stripped = room.path().join("program");
    let strip = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .args([&stripped, path])
        .output();
    match strip {
        Ok(done) if done.status.success() => read(&stripped),
        _ => read(path),
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_a_shell_as_they_are() {
        for word in ["", "a b", "it's", "'", "''\\''", "$HOME `id` \"x\"\n*"] {
            let script = [b"printf %s ", quoted(OsStr::new(word)).as_slice()].concat();
            let told = output(Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)));
            assert_eq!(String::from_utf8_lossy(&told.stdout), word);
        }
    }
}
