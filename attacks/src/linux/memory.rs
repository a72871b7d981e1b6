//! Attacks by code that was written at run time: with it a guest runs what
//! nobody verified. A try came through when the code ran.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    Verdict, arch,
    kernel::{Arg, CAME_THROUGH, Side, Try, UPPER, answer_of, call, call_with, fork, leave},
};

const PAGE: i64 = 4096;
const R: i64 = libc::PROT_READ as i64;
const RW: i64 = R | libc::PROT_WRITE as i64;
const RX: i64 = R | libc::PROT_EXEC as i64;
const RWX: i64 = RW | RX;
const PRIVATE: i64 = libc::MAP_PRIVATE as i64;
const SHARED: i64 = libc::MAP_SHARED as i64;
const ANONYMOUS: i64 = libc::MAP_ANONYMOUS as i64;

/// A page that nobody else knows of, at this address.
#[derive(Clone, Copy)]
struct Page(i64);

impl Page {
    fn map(access: i64, flags: i64) -> io::Result<Self> {
        call_with(libc::SYS_mmap, &[0, PAGE, access, flags, -1, 0]).map(Self)
    }

    fn of_file(access: i64, flags: i64, file: &impl AsRawFd) -> io::Result<Self> {
        let file = file.as_raw_fd().into();
        call_with(libc::SYS_mmap, &[0, PAGE, access, flags, file, 0]).map(Self)
    }

    fn protect(self, access: i64) -> io::Result<()> {
        call_with(libc::SYS_mprotect, &[self.0, PAGE, access]).map(drop)
    }

    /// Puts the code there. The page must be one that can be written.
    fn write(self) {
        // SAFETY: the page is this one's, can be written, and is longer than the code.
        unsafe {
            std::ptr::copy_nonoverlapping(arch::CODE.as_ptr(), self.0 as *mut u8, arch::CODE.len());
        }
    }

    /// Runs what is there in a child, which dies where it is no code.
    fn run(self) -> io::Result<String> {
        match fork()? {
            Side::Child => {
                // SAFETY: this is a child of its own, and nothing but its death depends on it.
                let function: extern "C" fn() -> i32 =
                    unsafe { std::mem::transmute(self.0 as *const ()) };
                leave(if function() == 42 {
                    CAME_THROUGH
                } else {
                    libc::EIO
                })
            }
            Side::Parent(pid) => answer_of(pid).map(|()| "it ran".into()),
        }
    }

    fn write_and_run(self) -> io::Result<String> {
        self.write();
        self.run()
    }
}

fn named(what: &str, result: io::Result<String>) -> Try {
    (what.to_owned(), result)
}

/// `map_writable_code`: memory that is both at once.
pub(crate) fn map_writable_code(_: &[String]) -> Verdict {
    let map = |access, flags| Page::map(access, flags).and_then(Page::write_and_run);
    Verdict::of_tries([
        named("private", map(RWX, PRIVATE | ANONYMOUS)),
        named("shared", map(RWX, SHARED | ANONYMOUS)),
        named("an upper bit", map(RWX | UPPER, PRIVATE | ANONYMOUS)),
    ])
}

/// `make_code_of_data`: memory that was written first, by each call that
/// changes access.
pub(crate) fn make_code_of_data(_: &[String]) -> Verdict {
    let change = |protect: &dyn Fn(Page) -> io::Result<()>| {
        let page = Page::map(RW, PRIVATE | ANONYMOUS)?;
        page.write();
        protect(page)?;
        page.run()
    };
    let key = |access| {
        move |page: Page| call_with(libc::SYS_pkey_mprotect, &[page.0, PAGE, access, -1]).map(drop)
    };
    Verdict::of_tries([
        named("mprotect", change(&|page| page.protect(RX))),
        named("mprotect to all", change(&|page| page.protect(RWX))),
        named("an upper bit", change(&|page| page.protect(RX | UPPER))),
        named("pkey_mprotect", change(&key(RX))),
    ])
}

/// `rewrite_code`: code that is made data for as long as it is written.
pub(crate) fn rewrite_code(_: &[String]) -> Verdict {
    let there_and_back = |page: Page| {
        page.protect(RW)?;
        page.write();
        page.protect(RX)?;
        page.run()
    };
    let own = File::open("/proc/self/exe");
    Verdict::of_tries([
        named(
            "nobody's",
            Page::map(RX, PRIVATE | ANONYMOUS).and_then(there_and_back),
        ),
        named(
            "its own",
            own.and_then(|own| Page::of_file(RX, PRIVATE, &own))
                .and_then(there_and_back),
        ),
    ])
}

/// `attach_code`: System V shared memory, once to write and once to run.
pub(crate) fn attach_code(_: &[String]) -> Verdict {
    let attach = |id: i64, flags: i32| call_with(libc::SYS_shmat, &[id, 0, flags.into()]).map(Page);
    let create = i64::from(libc::IPC_CREAT | 0o700);
    let attached = |both: bool| {
        let id = call_with(libc::SYS_shmget, &[libc::IPC_PRIVATE.into(), PAGE, create])?;
        let ran = (|| {
            let to_run = if both {
                attach(id, libc::SHM_EXEC)?
            } else {
                attach(id, libc::SHM_EXEC | libc::SHM_RDONLY)?
            };
            let to_write = if both { to_run } else { attach(id, 0)? };
            to_write.write();
            to_run.run()
        })();
        drop(call_with(libc::SYS_shmctl, &[id, libc::IPC_RMID.into(), 0]));
        ran
    };
    Verdict::of_tries([
        named("both at once", attached(true)),
        named("one of each", attached(false)),
    ])
}

/// `alias_code`: shared memory that is code at one address, and data at another
/// or in another task.
pub(crate) fn alias_code(_: &[String]) -> Verdict {
    let again = |page: Page| {
        // Of length 0 it is a second mapping of shared memory; mremap(2).
        call_with(
            libc::SYS_mremap,
            &[page.0, 0, PAGE, libc::MREMAP_MAYMOVE.into(), 0],
        )
        .map(Page)
    };
    let by_alias = Page::map(RX, SHARED | ANONYMOUS).and_then(|code| {
        let data = again(code)?;
        data.protect(RW)?;
        data.write();
        code.run()
    });
    let from_data = Page::map(RW, SHARED | ANONYMOUS).and_then(|data| {
        let code = again(data)?;
        code.protect(RX)?;
        data.write();
        code.run()
    });
    let by_child = Page::map(RX, SHARED | ANONYMOUS).and_then(|code| {
        crate::kernel::in_child(|| {
            code.protect(RW)?;
            code.write();
            Ok(())
        })?;
        code.run()
    });
    let zero = OpenOptions::new().read(true).write(true).open("/dev/zero");
    let by_device = zero.and_then(|zero| {
        let code = Page::of_file(RX, SHARED, &zero)?;
        let data = again(code)?;
        data.protect(RW)?;
        data.write();
        code.run()
    });
    Verdict::of_tries([
        named("data made of an alias of code", by_alias),
        named("the same of /dev/zero", by_device),
        named("code made of an alias of data", from_data),
        named("data in a child", by_child),
    ])
}

/// `map_written_file DIRECTORY…`: files that it wrote, in each directory given
/// and in those that jars have; and files without a name.
pub(crate) fn map_written_file(args: &[String]) -> Verdict {
    let scratch = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    let usual = ["/dev/shm", "/home/plugin", "/workspace", "/var/tmp", "/run"];
    let places = [scratch]
        .into_iter()
        .chain(usual.into_iter().map(PathBuf::from))
        .chain(args.iter().map(PathBuf::from));
    let mut tries = Vec::new();
    for place in places {
        let what = place.display().to_string();
        tries.push((format!("a file in {what}"), file_in(&place)));
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .open(&place);
        tries.push((
            format!("O_TMPFILE in {what}"),
            nameless.and_then(|file| map_and_run(&file)),
        ));
    }
    let memory = call(
        libc::SYS_memfd_create,
        &mut [Arg::Text(c"code"), Arg::Number(0)],
    );
    tries.push(named(
        "memfd_create",
        memory.and_then(|descriptor| {
            let path = format!("/proc/self/fd/{descriptor}");
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            map_and_run(&file)
        }),
    ));
    let zero = OpenOptions::new().read(true).write(true).open("/dev/zero");
    tries.push(named(
        "/dev/zero",
        zero.and_then(|file| Page::of_file(RWX, PRIVATE, &file))
            .and_then(Page::write_and_run),
    ));
    Verdict::of_tries(tries)
}

fn file_in(place: &Path) -> io::Result<String> {
    let path = place.join("belljar-guest-code");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let ran = map_and_run(&file);
    drop(fs::remove_file(path));
    ran
}

/// A file mapped after it was written, and one that is written while mapped.
fn map_and_run(file: &File) -> io::Result<String> {
    (&mut &*file).write_all(arch::CODE)?;
    let after = Page::of_file(RX, PRIVATE, file).and_then(Page::run);
    after.or_else(|_| {
        file.set_len(0)?;
        file.set_len(PAGE as u64)?;
        let code = Page::of_file(RX, SHARED, file)?;
        file.write_all_at(arch::CODE, 0)?;
        code.run()
    })
}

/// `write_over_code`: code of its own, by /proc/self/mem, which asks for no
/// access, and by a mapping put over it.
pub(crate) fn write_over_code(_: &[String]) -> Verdict {
    let text = || File::open("/proc/self/exe").and_then(|own| Page::of_file(RX, PRIVATE, &own));
    let by_file = text().and_then(|code| {
        let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
        memory.write_all_at(arch::CODE, code.0 as u64)?;
        code.run()
    });
    let by_mapping = text().and_then(|code| {
        let flags = PRIVATE | ANONYMOUS | i64::from(libc::MAP_FIXED);
        call_with(libc::SYS_mmap, &[code.0, PAGE, RWX, flags, -1, 0])?;
        code.write_and_run()
    });
    let by_moving = text().and_then(|code| {
        let data = Page::map(RW, PRIVATE | ANONYMOUS)?;
        data.write();
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        call_with(
            libc::SYS_mremap,
            &[data.0, PAGE, PAGE, flags.into(), code.0],
        )?;
        code.protect(RX)?;
        code.run()
    });
    Verdict::of_tries([
        named("/proc/self/mem", by_file),
        named("MAP_FIXED", by_mapping),
        named("mremap over it", by_moving),
    ])
}

/// `imply_code`: a personality in which what can be read can be run.
pub(crate) fn imply_code(_: &[String]) -> Verdict {
    let implied = crate::kernel::in_child(|| {
        call_with(libc::SYS_personality, &[libc::READ_IMPLIES_EXEC.into()])?;
        Page::map(RW, PRIVATE | ANONYMOUS)?
            .write_and_run()
            .map(drop)
    });
    Verdict::of_tries([named(
        "READ_IMPLIES_EXEC",
        implied.map(|()| "it ran".into()),
    )])
}
