//! Attacks by names and what hangs on names: on whoever has to clean up, to
//! measure or to print them.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use crate::{
    Verdict,
    kernel::{Arg, call, call_with},
};

fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from)
}

/// `dig_deep LEVELS DIRECTORY`: directories in each other, far below any path
/// that the kernel takes. That they were made is what it says; who cleans up is
/// the one attacked.
pub(crate) fn dig_deep(args: &[String]) -> Verdict {
    let levels: u32 = args[0].parse().expect("a number");
    let place = args.get(1).map_or_else(scratch, PathBuf::from);
    let dug = std::env::set_current_dir(&place).and_then(|()| {
        for level in 0..levels {
            let name = format!("level-{}", level % 10);
            fs::create_dir(&name)
                .and_then(|()| std::env::set_current_dir(&name))
                .map_err(|error| io::Error::other(format!("after {level}: {error}")))?;
        }
        // Something at the end that nobody reaches by a path.
        File::create("the end").map(drop)
    });
    match dug {
        Ok(()) => Verdict::Escaped(format!("dug {levels} levels")),
        Err(error) => Verdict::Stopped(error.to_string()),
    }
}

/// `hoard_attributes MIB`: attributes of files, which are no bytes of any file.
pub(crate) fn hoard_attributes(args: &[String]) -> Verdict {
    let bytes = args[0].parse::<usize>().expect("a number") << 20;
    let place = scratch().join("hoard");
    let hoarded = fs::create_dir_all(&place).and_then(|()| hoard(&place, bytes));
    drop(fs::remove_dir_all(&place));
    match hoarded {
        Ok(()) => Verdict::Escaped(format!("hoarded {bytes} bytes")),
        Err(error) => Verdict::Stopped(error.to_string()),
    }
}

fn hoard(place: &Path, bytes: usize) -> io::Result<()> {
    // As large as a file system allows: 64 KiB, or a part of a block.
    let value = vec![7_u8; 65536];
    let mut hoarded = 0;
    for count in 0.. {
        let stopped = |error: io::Error| {
            io::Error::other(format!("after {hoarded} bytes in {count} files: {error}"))
        };
        let file = File::create(place.join(count.to_string())).map_err(stopped)?;
        let mut in_this = 0;
        let mut size = value.len();
        while size >= 256 {
            let name = CString::new(format!("user.{in_this}")).expect("no NUL");
            let set = call(
                libc::SYS_fsetxattr,
                &mut [
                    Arg::Number(file.as_raw_fd().into()),
                    Arg::Text(&name),
                    Arg::In(&value[..size]),
                    Arg::Number(size as i64),
                    Arg::Number(0),
                ],
            );
            match set {
                Ok(_) => in_this += size,
                Err(error) if in_this == 0 && size == 256 => return Err(stopped(error)),
                Err(_) => size /= 2,
            }
            if hoarded + in_this >= bytes {
                return Ok(());
            }
        }
        hoarded += in_this;
    }
    Ok(())
}

/// Text that would rename, clear or answer a terminal, begin a line of its own,
/// and that is no UTF-8.
const EVIL: &[u8] = b"\x1b]0;evil\x07\x1b[2J\r\nbelljar: all is well\n\x1b[6n\x9b31m\xff\xfe\x7f";

/// `speak_escapes`: that text on both streams, as the name of a file and as its own.
pub(crate) fn speak_escapes(_: &[String]) -> Verdict {
    let said = io::stdout()
        .write_all(EVIL)
        .and_then(|()| io::stderr().write_all(EVIL));
    let name = std::ffi::OsStr::from_bytes(EVIL);
    let file = scratch().join(name);
    let made = File::create(&file);
    let own = CString::new(EVIL).expect("no NUL");
    let named = call_with(
        libc::SYS_prctl,
        &[libc::PR_SET_NAME.into(), own.as_ptr() as i64, 0, 0, 0],
    );
    Verdict::Escaped(format!(
        "said {}, made {}, named {}",
        said.is_ok(),
        made.is_ok(),
        named.is_ok()
    ))
}
