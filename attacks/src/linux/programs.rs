//! Attacks by starting another program than the one that was verified. Each
//! starts this one again, which then says so by how it ends.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use crate::{
    Verdict,
    kernel::{Arg, Try, call, in_child},
};

/// The plain program that ends so that [`in_child`] takes it for a success.
const CAME: &str = "came_through";

fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from)
}

fn text(text: &OsStr) -> CString {
    CString::new(text.as_encoded_bytes()).expect("no NUL")
}

/// An array of pointers with a null at its end, as execve(2) takes it.
struct Words {
    _kept: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Words {
    fn new<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let kept: Vec<CString> = words.into_iter().map(text).collect();
        let mut pointers: Vec<_> = kept.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self {
            _kept: kept,
            pointers,
        }
    }

    fn arg(&self) -> Arg<'_> {
        Arg::Number(self.pointers.as_ptr() as i64)
    }
}

/// Starts a program in a child by execve(2) or execveat(2), this one's own if
/// `words` leads there.
fn start(at: Option<(i64, i32)>, path: &Path, words: &[&OsStr]) -> io::Result<String> {
    let path = text(path.as_os_str());
    let words = Words::new(words.iter().copied());
    let environment = Words::new([]);
    in_child(|| {
        match at {
            None => call(
                libc::SYS_execve,
                &mut [Arg::Text(&path), words.arg(), environment.arg()],
            ),
            Some((directory, flags)) => call(
                libc::SYS_execveat,
                &mut [
                    Arg::Number(directory),
                    Arg::Text(&path),
                    words.arg(),
                    environment.arg(),
                    Arg::Number(flags.into()),
                ],
            ),
        }
        .map(drop)
    })
    .map(|()| "it ran".into())
}

/// This program by its name; there it says that it came through.
fn start_path(path: &Path) -> io::Result<String> {
    start(None, path, &[path.as_os_str(), OsStr::new(CAME)])
}

/// This program by a descriptor.
fn start_descriptor(file: &impl AsRawFd) -> io::Result<String> {
    let at = (file.as_raw_fd().into(), libc::AT_EMPTY_PATH);
    start(
        Some(at),
        Path::new(""),
        &[OsStr::new("guest"), OsStr::new(CAME)],
    )
}

fn own() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into())
}

/// `start_by_path`: execve(2) and execveat(2), by each name of a program.
pub(crate) fn start_by_path(_: &[String]) -> Verdict {
    let own = own();
    let link = scratch().join("program");
    let linked = symlink(&own, &link).and_then(|()| start_path(&link));
    let here = i64::from(libc::AT_FDCWD);
    let words = [own.as_os_str(), OsStr::new(CAME)];
    Verdict::of_tries([
        ("execve".to_owned(), start_path(&own)),
        (
            "/proc/self/exe".into(),
            start_path(Path::new("/proc/self/exe")),
        ),
        ("a link".into(), linked),
        ("execveat".into(), start(Some((here, 0)), &own, &words)),
        (
            "a shell".into(),
            start(
                None,
                Path::new("/bin/sh"),
                &[OsStr::new("sh"), OsStr::new("-c"), OsStr::new("exit 200")],
            ),
        ),
    ])
}

/// `start_by_descriptor`: execveat(2) of an open file, and of its link in /proc.
pub(crate) fn start_by_descriptor(_: &[String]) -> Verdict {
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(own())
    };
    let linked = open(0)
        .and_then(|file| start_path(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))));
    Verdict::of_tries([
        (
            "execveat".to_owned(),
            open(0).and_then(|file| start_descriptor(&file)),
        ),
        (
            "execveat, O_PATH".into(),
            open(libc::O_PATH).and_then(|file| start_descriptor(&file)),
        ),
        ("fexecve".into(), linked),
    ])
}

/// `start_from_memory`: a copy in a file that no directory has.
pub(crate) fn start_from_memory(_: &[String]) -> Verdict {
    const MFD_EXEC: i64 = 0x10;
    let copy = |flags: i64| {
        let memory = call(
            libc::SYS_memfd_create,
            &mut [Arg::Text(c"program"), Arg::Number(flags)],
        )?;
        let path = PathBuf::from(format!("/proc/self/fd/{memory}"));
        io::copy(
            &mut File::open(own())?,
            &mut OpenOptions::new().write(true).open(&path)?,
        )?;
        Ok::<_, io::Error>((memory as i32, path))
    };
    let tries = [("", 0), (", MFD_EXEC", MFD_EXEC)]
        .into_iter()
        .flat_map(|(with, flags)| {
            [
                (
                    format!("execveat{with}"),
                    copy(flags).and_then(|(memory, _)| start_descriptor(&memory)),
                ),
                (
                    format!("execve{with}"),
                    copy(flags).and_then(|(_, path)| start_path(&path)),
                ),
            ]
        });
    Verdict::of_tries(tries)
}

/// `start_written DIRECTORY…`: a copy in every place that can be written.
pub(crate) fn start_written(args: &[String]) -> Verdict {
    let usual = ["/dev/shm", "/home/plugin", "/workspace", "/var/tmp", "/run"];
    let places = [scratch()]
        .into_iter()
        .chain(usual.into_iter().map(PathBuf::from))
        .chain(args.iter().map(PathBuf::from));
    Verdict::of_tries(places.map(|place| {
        let copy = place.join("belljar-guest-copy");
        let ran = fs::copy(own(), &copy).and_then(|_| start_path(&copy));
        drop(fs::remove_file(&copy));
        (place.display().to_string(), ran)
    }))
}

/// The loader that this program was started by, from the list of its mappings.
fn loader() -> io::Result<PathBuf> {
    fs::read_to_string("/proc/self/maps")?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.starts_with("ld-") || name.starts_with("ld.")
        })
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("a static program"))
}

/// `start_by_loader`: `ld.so PROGRAM`, for which PROGRAM need not be executable.
pub(crate) fn start_by_loader(_: &[String]) -> Verdict {
    let own = own();
    let started = |program: &Path| {
        let loader = loader()?;
        let words = [loader.as_os_str(), program.as_os_str(), OsStr::new(CAME)];
        start(None, &loader, &words)
    };
    let copy = scratch().join("belljar-guest-copy");
    let written = fs::read(&own).and_then(|bytes| {
        // Without a right to execute it.
        fs::write(&copy, bytes)?;
        started(&copy)
    });
    drop(fs::remove_file(&copy));
    let tries: [Try; 2] = [
        ("its own file".into(), started(&own)),
        ("a copy".into(), written),
    ];
    Verdict::of_tries(tries)
}

/// `start_script SCRIPT`: a file that begins with `#!` and this program.
pub(crate) fn start_script(args: &[String]) -> Verdict {
    let script = Path::new(&args[0]);
    let own = own();
    let written = scratch().join("script");
    let line = format!("#!{} {CAME}\n", own.display());
    let made = fs::write(&written, line).and_then(|()| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&written, fs::Permissions::from_mode(0o755))?;
        start_path(&written)
    });
    drop(fs::remove_file(&written));
    Verdict::of_tries([
        ("one that was granted".to_owned(), start_path(script)),
        ("one that it wrote".into(), made),
    ])
}
