//! The kernel for the tests' virtual machine: a Debian package, fetched by apt
//! and unpacked into the cache. Nothing of it is installed on this machine. The
//! tests' side is `tests/src/vm.rs`.

use std::{
    fs, io,
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

/// Counted up when what is made of the package changes.
const FORM: u32 = 1;

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
    // Written last, and told apart from what another xtask made.
    let mark = Path::new("made");
    let parts = format!("{FORM}\n{}", PARTS.join("\n"));
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
    list_modules(room)?;
    uncompress(room).map_err(|error| format!("{package}: its kernel: {error}"))
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
    let says = |error: io::Error| format!("{}: {error}", archive.display());
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

/// Puts the kernel itself in place of the program that unpacks it, where it is
/// packed with xz: an emulator boots either, and this one in half the time.
fn uncompress(room: &Path) -> io::Result<()> {
    for packed in fs::read_dir(room.join("boot"))? {
        let packed = packed?.path();
        let bytes = fs::read(&packed)?;
        let Some(payload) = payload(&bytes).filter(|payload| payload.starts_with(b"\xfd7zXZ\0"))
        else {
            continue;
        };
        let (input, output) = (room.join("payload"), packed.with_file_name("vmlinux"));
        fs::write(&input, payload)?;
        let status = Command::new("xz")
            .arg("-dc")
            .stdin(fs::File::open(&input)?)
            .stdout(fs::File::create(&output)?)
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("xz: {status}")));
        }
        fs::remove_file(&input)?;
        fs::remove_file(&packed)?;
    }
    Ok(())
}

/// What a kernel's image carries packed, without the length behind it; the
/// kernel's arch/x86/boot.rst.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = usize::from(*image.get(0x1f1)?);
    let start = (sectors + 1) * 512 + word(0x248)?;
    let length = word(0x24c)?.checked_sub(4)?;
    image.get(start..start.checked_add(length)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_of_a_kernel_is_found_behind_its_setup() {
        let mut image = vec![0; 1024 + 16 + 10];
        image[0x1f1] = 1;
        image[0x248] = 16;
        image[0x24c] = 10;
        image[1024 + 16..].copy_from_slice(b"packed\x01\x02\x03\x04");
        assert_eq!(payload(&image), Some(&b"packed"[..]));
        assert_eq!(payload(&image[..1040]), None);
        assert_eq!(payload(b"no kernel"), None);
    }
}
