//! The kernels for the tests' virtual machine: Debian packages, fetched by apt
//! and unpacked into the cache. Nothing of them is installed on this machine. The
//! tests' side is `tests/src/vm.rs`.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{apt::Apt, cache, packages, stage::output};

/// Tells the tests which folder a kernel is in, beside those of the others.
pub(crate) const FOLDER: &str = "BELLJAR_VM";

/// A kernel that tests know by name.
pub(crate) struct Series {
    /// The name, on the command line and in `tests/src/vm/kernel.rs`.
    pub(crate) word: &'static str,
    /// Where its packages are, and nothing else is looked for.
    suites: &'static [&'static str],
    /// What every run takes as long as the archive has it, so that runs can be
    /// repeated: of suites that do not change any more, where there are such.
    pinned: &'static [Pin],
}

/// One package, and nothing else by its name.
struct Pin {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
}

/// Every kernel. None is a `cloud` one: those are smaller, but have no x32 calls to attack.
pub(crate) const ALL: &[Series] = &[
    Series {
        word: "5.10",
        suites: &["bullseye", "bullseye-security"],
        pinned: &[Pin {
            name: "linux-image-5.10.0-32-amd64",
            version: "5.10.223-1",
            sha256: "86a6792f3a03ab15a643f385830cdaa921f15e3e9c8bf63aa55a9243c62fc797",
        }],
    },
    Series {
        word: "6.1",
        suites: &["bookworm", "bookworm-security"],
        pinned: &[Pin {
            name: "linux-image-6.1.0-50-amd64",
            version: "6.1.176-1",
            sha256: "7b5597492a0a65aee61985a492e6bcc3f2cde830072a0e3b3d8c7e1b90279bd3",
        }],
    },
    Series {
        word: "6.12",
        suites: &["bookworm-backports"],
        pinned: &[Pin {
            name: "linux-image-6.12.95+deb12-amd64",
            version: "6.12.95-1~bpo12+1",
            sha256: "5e524b782be67cb0d6a2e7b51816a2ac519e573ef7324b9a63a4124365653ecc",
        }],
    },
    Series {
        word: "sid",
        suites: &["sid"],
        pinned: &[
            Pin {
                name: "linux-binary-7.2.13+deb14-amd64",
                version: "7.2.13-1",
                sha256: "fb8cd0ade4ef82d9dde1dcf183d4bf4033db1b549b0acc9973855ad9cc48c4f5",
            },
            Pin {
                name: "linux-modules-7.2.13+deb14-amd64",
                version: "7.2.13-1",
                sha256: "a37a3d200915c4cf524e90c81bbb2a8b683d292cd00873e89c23b2ef32b1bf11",
            },
        ],
    },
];

/// Those of every run of the tests; the others are for `cargo xtask long`.
pub(crate) const USUAL: [&str; 2] = ["6.1", "6.12"];

/// All of them.
pub(crate) const EVERY: [&str; 4] = ["5.10", "6.1", "6.12", "sid"];

/// The one that a test gets which asks for none.
const CURRENT: &str = "6.1";

/// Depends on the newest kernel of a suite.
const NEWEST: &str = "linux-image-amd64";

/// What a kernel's packages begin with: one until 6.12, then several.
const KINDS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// Which modules are kept, by what their paths begin with: not the drivers of
/// hardware, three quarters of them.
const PARTS: &[&str] = &[
    "arch/",
    "crypto/",
    "drivers/block/loop.",
    "drivers/block/virtio_blk.",
    "drivers/tty/",
    "drivers/virtio/",
    "fs/ext4/",
    "fs/fuse/",
    "fs/jbd2/",
    "fs/mbcache.",
    "fs/overlayfs/",
    "fs/quota/",
    "lib/",
    "net/",
];

/// Counted up when what is made of the packages changes.
const FORM: u32 = 3;

/// The kernels that are there, and what is to be said of it.
pub(crate) struct Prepared {
    /// The folder of the one that a test gets which asks for none.
    pub(crate) folder: PathBuf,
    /// Why one is not there, or not the pinned one.
    pub(crate) notes: Vec<String>,
}

/// Has the packages and these kernels there; or says why there is not even the current one.
pub(crate) fn prepare(words: &[&str]) -> Result<Prepared, String> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Ok(Prepared {
            folder: folder.into(),
            notes: Vec::new(),
        });
    }
    if !cfg!(target_arch = "x86_64") {
        return Err("its kernels are for x86_64".to_owned());
    }
    packages::install(packages::for_machine()).map_err(|why| why.replace("\n\n", " "))?;
    let all = cache::dir().join("vm");
    let mut notes = Vec::new();
    let mut current = Err(format!("{CURRENT} was not asked for"));
    for series in ALL.iter().filter(|series| words.contains(&series.word)) {
        let had = have(&all, series, &mut notes);
        if series.word == CURRENT {
            current = had;
        } else if let Err(why) = had {
            notes.push(format!("no kernel {}: {why}", series.word));
        }
    }
    let folder = current?;
    point(&all.join("current"), &folder)?;
    Ok(Prepared { folder, notes })
}

/// The folder of a kernel, which is fetched where it is missing.
fn have(all: &Path, series: &Series, notes: &mut Vec<String>) -> Result<PathBuf, String> {
    let link = all.join(format!("linux-{}", series.word));
    let found = pinned(all, series).or_else(|why| {
        // Without a network the one that was used before does.
        newest(all, series)
            .or_else(|_| fs::canonicalize(&link).map_err(|_| why.clone()))
            .inspect(|folder| {
                notes.push(format!(
                    "kernel {}: {} instead of the pinned one: {why}",
                    series.word,
                    folder.file_name().unwrap_or_default().display()
                ));
            })
    });
    found.and_then(|folder| point(&link, &folder).map(|()| folder))
}

fn pinned(all: &Path, series: &Series) -> Result<PathBuf, String> {
    place(all, series.pinned[0].name, |room| {
        let apt = Apt::with(room.join("apt"), series.suites)?;
        series.pinned.iter().try_for_each(|pin| {
            let archive = apt.download(
                &format!("{}={}", pin.name, pin.version),
                &room.join(pin.name),
            )?;
            let (_, said) = output(Command::new("sha256sum").arg("--").arg(&archive));
            if !said.starts_with(pin.sha256) {
                return Err(format!(
                    "{}: it is not the one that is pinned: {said}",
                    pin.name
                ));
            }
            unpack(room, &archive)
        })
    })
}

/// The newest of the same suites, as the archive has it now.
fn newest(all: &Path, series: &Series) -> Result<PathBuf, String> {
    let room = Room::new(all)?;
    let apt = Apt::with(room.0.join("apt"), series.suites)?;
    let kinds = |of: &str| {
        let mut names = apt.depends(of);
        names.retain(|name| KINDS.iter().any(|kind| name.starts_with(kind)));
        names
    };
    let image = kinds(NEWEST)
        .pop()
        .ok_or_else(|| format!("{}: there is no {NEWEST}", series.suites.join(", ")))?;
    let mut names = kinds(&image);
    if names.is_empty() {
        names.push(image);
    }
    place(all, &names[0], |room| {
        names
            .iter()
            .try_for_each(|name| unpack(room, &apt.download(name, &room.join(name))?))
    })
}

/// A directory in the making; gone where it was not finished.
struct Room(PathBuf);

impl Room {
    fn new(all: &Path) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = all.join(format!("new-{}-{count}", std::process::id()));
        fs::create_dir_all(&path)
            .map(|()| Self(path.clone()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder `name`, which `fetch` fills with unpacked packages where it is missing.
fn place(
    all: &Path,
    name: &str,
    fetch: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = all.join(name);
    // Written last, and told apart from what another xtask made.
    let mark = Path::new("made");
    let parts = format!("{FORM}\n{}", PARTS.join("\n"));
    if fs::read_to_string(folder.join(mark)).is_ok_and(|had| had == parts) {
        return Ok(folder);
    }
    let room = Room::new(all)?;
    fetch(&room.0)?;
    let made = room.0.join("made-of-it");
    let placed = || {
        keep(&room.0.join("all"), &made)?;
        list_modules(&made)?;
        uncompress(&made)?;
        fs::write(made.join(mark), &parts)?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&made, &folder)
    };
    placed().map_err(|error: io::Error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Unpacks a package over those before it, and is done with its file.
fn unpack(room: &Path, archive: &Path) -> Result<(), String> {
    let (done, said) = output(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(archive)
            .arg(room.join("all")),
    );
    let _ = fs::remove_file(archive);
    done.then_some(())
        .ok_or_else(|| format!("{}: {said}", archive.display()))
}

/// Takes the kernel and the modules that are kept to their places in `made`, whether they
/// were in /boot and /lib, or in /usr/lib.
fn keep(all: &Path, made: &Path) -> io::Result<()> {
    let modules = [all.join("lib/modules"), all.join("usr/lib/modules")]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| io::Error::other("the packages have no modules"))?;
    let release = only(&modules, "")?;
    let to = made
        .join("lib/modules")
        .join(release.file_name().unwrap_or_default());
    let (boot, kernel) = (all.join("boot"), made.join("boot"));
    fs::create_dir_all(&kernel)?;
    let image = only(&boot, "vmlinuz").or_else(|_| only(&release, "vmlinuz"))?;
    fs::rename(image, kernel.join("vmlinuz"))?;

    let mut left = vec![release.clone()];
    let mut packed = Vec::new();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(&release).map_err(io::Error::other)?;
            let text = name.to_string_lossy();
            let kept = match text.strip_prefix("kernel/") {
                Some(module) => PARTS.iter().any(|part| module.starts_with(part)),
                None => text.starts_with("modules."),
            };
            if !kept {
                continue;
            }
            let place = to.join(name);
            fs::create_dir_all(place.parent().unwrap_or(&to))?;
            fs::rename(&path, &place)?;
            if place.extension().is_some_and(|end| end == "xz") {
                packed.push(place);
            }
        }
    }
    if packed.is_empty() {
        return Ok(());
    }
    // insmod(8) of busybox hands files to the kernel as they are.
    succeed(Command::new("xz").arg("-d").arg("--").args(packed))
}

/// What begins so in a directory.
fn only(directory: &Path, start: &str) -> io::Result<PathBuf> {
    fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(start)
        })
        .ok_or_else(|| io::Error::other(format!("{}: no {start}", directory.display())))
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let (done, said) = output(command);
    done.then_some(())
        .ok_or_else(|| io::Error::other(format!("{:?}: {said}", command.get_program())))
}

/// Makes modules.dep(5), which a package makes when it is installed.
fn list_modules(made: &Path) -> io::Result<()> {
    let modules = only(&made.join("lib/modules"), "")?;
    succeed(
        Command::new("busybox")
            .args(["depmod", "-b"])
            .arg(made)
            .arg(modules.file_name().unwrap_or_default()),
    )
}

/// Puts the kernel itself beside the program that unpacks it: an emulator boots
/// either, and this one in half the time.
fn uncompress(made: &Path) -> io::Result<()> {
    let packed = made.join("boot/vmlinuz");
    let bytes = fs::read(&packed)?;
    let payload = payload(&bytes).unwrap_or_default();
    let program = if payload.starts_with(b"\xfd7zXZ\0") {
        "xz"
    } else if payload.starts_with(b"\x28\xb5\x2f\xfd") {
        "zstd"
    } else {
        return Ok(());
    };
    let (input, output) = (made.join("payload"), packed.with_file_name("vmlinux"));
    fs::write(&input, payload)?;
    let status = Command::new(program)
        .arg("-dc")
        .stdin(fs::File::open(&input)?)
        .stdout(fs::File::create(&output)?)
        .stderr(Stdio::inherit())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{program}: {status}")));
    }
    fs::remove_file(&input)
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
    fn every_kernel_is_named() {
        let words: Vec<&str> = ALL.iter().map(|series| series.word).collect();
        assert_eq!(words, EVERY);
        assert!(USUAL.iter().all(|word| EVERY.contains(word)) && USUAL.contains(&CURRENT));
    }

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
