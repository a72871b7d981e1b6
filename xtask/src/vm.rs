//! The kernel for the tests' virtual machine: a Debian package, fetched by apt
//! and unpacked into the cache. Nothing of it is installed on this machine. The
//! tests' side is `tests/src/vm.rs`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{cache, packages, stage::output};

/// Tells the tests which folder it is in.
pub(crate) const FOLDER: &str = "BELLJAR_VM";

/// Depends on the newest kernel that the archive has. The `cloud` one is
/// smaller, but has no x32 calls to attack.
const NEWEST: &str = "linux-image-amd64";

/// What of the package is unpacked: not the drivers of hardware, three quarters of it.
const PARTS: &[&str] = &[
    "./boot/vmlinuz-*",
    "./lib/modules/*/modules.*",
    "./lib/modules/*/kernel/arch/*",
    "./lib/modules/*/kernel/crypto/*",
    "./lib/modules/*/kernel/drivers/block/*",
    "./lib/modules/*/kernel/drivers/tty/*",
    "./lib/modules/*/kernel/drivers/virtio/*",
    "./lib/modules/*/kernel/fs/*",
    "./lib/modules/*/kernel/lib/*",
    "./lib/modules/*/kernel/net/*",
];

/// How long the package may take to come, as timeout(1) reads it.
const FETCH: &str = "180s";

/// Has the packages and the kernel there, and gives the kernel's folder; or why
/// there is none.
pub(crate) fn prepare() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Ok(folder.into());
    }
    if !cfg!(target_arch = "x86_64") {
        return Err("its kernel is for x86_64".to_owned());
    }
    packages::install(packages::for_machine()).map_err(|why| why.replace("\n\n", " "))?;
    let all = cache::dir().join("vm");
    let current = all.join("current");
    let get = || newest().and_then(|package| have(&all, &package));
    let folder = get().or_else(|_| {
        // Without a network the one that was used before does. Where there is
        // none, what apt knows may be older than the archive.
        fs::canonicalize(&current).or_else(|_| {
            packages::update();
            get()
        })
    })?;
    point(&current, &folder).map(|()| folder)
}

/// The newest kernel's package, as far as apt knows.
fn newest() -> Result<String, String> {
    let said = Command::new("apt-cache")
        .args(["depends", NEWEST])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("apt-cache: {error}"))?;
    String::from_utf8_lossy(&said.stdout)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .ok_or_else(|| format!("apt knows of no package {NEWEST}"))
}

/// The folder of a package, which it is fetched into where it is missing.
fn have(all: &Path, package: &str) -> Result<PathBuf, String> {
    let folder = all.join(package);
    // Written last, and told apart from what an older xtask unpacked.
    let mark = Path::new("parts");
    let parts = PARTS.join("\n");
    if fs::read_to_string(folder.join(mark)).is_ok_and(|had| had == parts) {
        return Ok(folder);
    }
    let room = all.join(format!("new-{}", std::process::id()));
    let done = fetch(&room, package).and_then(|()| {
        let placed = (|| {
            fs::write(room.join(mark), &parts)?;
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::rename(&room, &folder)
        })();
        placed.map_err(|error| format!("{}: {error}", folder.display()))
    });
    if done.is_err() {
        let _ = fs::remove_dir_all(&room);
    }
    done.map(|()| folder)
}

fn fetch(room: &Path, package: &str) -> Result<(), String> {
    fs::create_dir_all(room).map_err(|error| format!("{}: {error}", room.display()))?;
    download(room, package)?;
    let archive = fs::read_dir(room)
        .ok()
        .and_then(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|end| end == "deb"))
        })
        .ok_or_else(|| format!("{package}: apt-get brought no file"))?;
    unpack(room, &archive)?;
    let _ = fs::remove_file(&archive);
    list_modules(room)
}

fn download(room: &Path, package: &str) -> Result<(), String> {
    let mut apt = Command::new("timeout");
    apt.args(["-k", "5s", FETCH, "apt-get", "-q", "download", package])
        .current_dir(room);
    let (done, said) = output(&mut apt);
    let error = said.lines().rfind(|line| line.starts_with("E:"));
    done.then_some(())
        .ok_or_else(|| format!("{package}: {}", error.unwrap_or("no answer in time")))
}

fn unpack(room: &Path, archive: &Path) -> Result<(), String> {
    let says = |error: std::io::Error| format!("{}: {error}", archive.display());
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(says)?;
    let stdout = files.stdout.take().expect("stdout is piped");
    let taken = Command::new("tar")
        .args(["-x", "--no-same-owner", "--wildcards", "-C"])
        .arg(room)
        .args(PARTS)
        .stdin(stdout)
        .status()
        .map_err(says)?;
    let given = files.wait().map_err(says)?;
    if taken.success() && given.success() {
        Ok(())
    } else {
        Err(format!("{}: it could not be unpacked", archive.display()))
    }
}

/// Makes modules.dep(5), which a package makes when it is installed.
fn list_modules(room: &Path) -> Result<(), String> {
    let release = fs::read_dir(room.join("lib/modules"))
        .ok()
        .and_then(|mut entries| Some(entries.next()?.ok()?.file_name()))
        .ok_or("the package of the kernel has no modules")?;
    let (done, said) = output(
        Command::new("busybox")
            .args(["depmod", "-b"])
            .arg(room)
            .arg(release),
    );
    done.then_some(())
        .ok_or_else(|| format!("busybox depmod: {said}"))
}

/// Makes a link name `folder`, in one step.
fn point(link: &Path, folder: &Path) -> Result<(), String> {
    if fs::read_link(link).is_ok_and(|now| now == folder) {
        return Ok(());
    }
    let new = link.with_extension(std::process::id().to_string());
    symlink(folder, &new)
        .and_then(|()| fs::rename(&new, link))
        .map_err(|error| format!("{}: {error}", link.display()))
}
