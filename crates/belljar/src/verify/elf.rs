//! What an ELF file says about how it wants to be loaded; elf(5). It is read
//! in small bounded pieces and never run, so that a hostile one costs a few
//! reads and no more.

use object::{
    Endianness, elf, pod,
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _},
};

use super::places::Bytes;

/// The most that one string of a file may take, as PATH_MAX.
const STRING: usize = 4096;
/// The most that a file's dynamic section may take: 8,192 entries.
const DYNAMIC: u64 = 128 * 1024;
/// The most libraries that one file may name.
const NEEDED: usize = 1024;
/// The most bytes of notes that are looked at of one segment.
const NOTES: usize = 4096;
/// The most bytes of program headers, as the kernel.
const HEADERS: usize = 65536;

/// What an ELF file asks of its loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elf {
    /// Which machine's.
    pub(crate) machine: Machine,
    /// `PT_INTERP`
    pub(crate) loader: Option<Vec<u8>>,
    /// `DT_SONAME`
    pub(crate) name: Option<Vec<u8>>,
    /// `DT_NEEDED`, in order.
    pub(crate) needed: Vec<Vec<u8>>,
    /// `DT_RPATH`
    pub(crate) rpath: Option<Vec<u8>>,
    /// `DT_RUNPATH`
    pub(crate) runpath: Option<Vec<u8>>,
    /// `DF_1_NODEFLIB`: only its own paths are searched.
    pub(crate) own_paths_only: bool,
    /// It asks for memory that is writable and executable when it is started:
    /// `PT_GNU_STACK` or a `PT_LOAD` with both.
    pub(crate) writable_code: bool,
    /// Go's linker left its note in it.
    pub(crate) go: bool,
}

/// What has to be equal for two files to be loaded together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `EI_CLASS` is 64.
    pub(crate) wide: bool,
    /// `EI_DATA` is most significant first.
    pub(crate) big_endian: bool,
    /// `e_machine`
    pub(crate) number: u16,
}

impl Machine {
    /// This system's kernel runs it.
    pub(crate) fn runs_here(self) -> bool {
        let numbers: &[(bool, u16)] = match std::env::consts::ARCH {
            "x86_64" => &[(true, 62), (false, 3)],
            "aarch64" => &[(true, 183), (false, 40)],
            "x86" => &[(false, 3)],
            "arm" => &[(false, 40)],
            "riscv64" => &[(true, 243)],
            "s390x" => &[(true, 22)],
            "powerpc64" => &[(true, 21)],
            "loongarch64" => &[(true, 258)],
            _ => &[],
        };
        self.big_endian == cfg!(target_endian = "big")
            && numbers.contains(&(self.wide, self.number))
    }
}

/// It begins as ELF does, and goes on as none can.
#[derive(Debug)]
pub(crate) struct Malformed;

/// Reads what a file says; `None` where it is no ELF file that can be run or linked.
pub(crate) fn read(file: &Bytes<'_>) -> Result<Option<Elf>, Malformed> {
    let start = file.read(0, 64).map_err(|_| Malformed)?;
    match start.get(..5) {
        Some([0x7f, b'E', b'L', b'F', 1]) => {
            read_class::<elf::FileHeader32<Endianness>>(file, &start)
        }
        Some([0x7f, b'E', b'L', b'F', 2]) => {
            read_class::<elf::FileHeader64<Endianness>>(file, &start)
        }
        Some([0x7f, b'E', b'L', b'F', _]) => Err(Malformed),
        _ => Ok(None),
    }
}

fn read_class<H: FileHeader<Endian = Endianness>>(
    file: &Bytes<'_>,
    start: &[u8],
) -> Result<Option<Elf>, Malformed> {
    let header = H::parse(start).map_err(|_| Malformed)?;
    let endian = header.endian().map_err(|_| Malformed)?;
    if ![elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(endian)) {
        return Ok(None);
    }
    let count = usize::from(header.e_phnum(endian));
    let size = count * size_of::<H::ProgramHeader>();
    if count == 0
        || size > HEADERS
        || usize::from(header.e_phentsize(endian)) != size_of::<H::ProgramHeader>()
    {
        return Err(Malformed);
    }
    let bytes = file
        .read(header.e_phoff(endian).into(), size)
        .map_err(|_| Malformed)?;
    let (headers, _) =
        pod::slice_from_bytes::<H::ProgramHeader>(&bytes, count).map_err(|()| Malformed)?;

    let mut about = Elf {
        machine: Machine {
            wide: header.is_type_64(),
            big_endian: header.is_big_endian(),
            number: header.e_machine(endian).0,
        },
        ..Elf::default()
    };
    let mut segments = Vec::new();
    let mut dynamic = None;
    for segment in headers {
        let (offset, length) = segment.file_range(endian);
        let flags = segment.p_flags(endian);
        let executable = flags.0 & elf::PF_X.0 != 0;
        about.writable_code |= match segment.p_type(endian) {
            elf::PT_GNU_STACK => executable,
            elf::PT_LOAD => executable && flags.0 & elf::PF_W.0 != 0,
            _ => false,
        };
        match segment.p_type(endian) {
            elf::PT_LOAD => segments.push((segment.p_vaddr(endian).into(), offset, length)),
            elf::PT_NOTE if !about.go => {
                let length = usize::try_from(length).map_or(NOTES, |length| length.min(NOTES));
                // The kernel starts it without them too.
                let bytes = file.read(offset, length).unwrap_or_default();
                about.go = is_of_go(&bytes, header.is_big_endian());
            }
            elf::PT_DYNAMIC => dynamic = dynamic.or(Some((offset, length))),
            elf::PT_INTERP if about.loader.is_none() => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                if !(2..=STRING).contains(&length) {
                    return Err(Malformed);
                }
                let mut name = file.read(offset, length).map_err(|_| Malformed)?;
                if name.len() != length || name.pop() != Some(0) {
                    return Err(Malformed);
                }
                name.truncate(
                    name.iter()
                        .position(|byte| *byte == 0)
                        .unwrap_or(name.len()),
                );
                about.loader = Some(name);
            }
            _ => {}
        }
    }
    if let Some((offset, length)) = dynamic {
        read_dynamic::<H>(file, endian, (offset, length), &segments, &mut about)?;
    }
    Ok(Some(about))
}

/// Whether there is Go's build id among notes: three words (lengths of name and content,
/// kind), the name, the content, each of the two filled up to whole words.
fn is_of_go(notes: &[u8], big_endian: bool) -> bool {
    /// `go tool link` writes this kind.
    const BUILD_ID: u32 = 4;
    let mut rest = notes;
    loop {
        let words: [Option<u32>; 3] = [0, 4, 8].map(|at| {
            let bytes: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
            Some(match big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            })
        });
        let [Some(name), Some(content), Some(kind)] = words else {
            return false;
        };
        let whole = |length: u32| (length as usize).next_multiple_of(4);
        if kind == BUILD_ID && rest.get(12..16) == Some(b"Go\0\0") && name == 4 {
            return true;
        }
        let length = 12 + whole(name) + whole(content);
        match rest.get(length..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

fn read_dynamic<H: FileHeader<Endian = Endianness>>(
    file: &Bytes<'_>,
    endian: Endianness,
    (offset, length): (u64, u64),
    segments: &[(u64, u64, u64)],
    about: &mut Elf,
) -> Result<(), Malformed> {
    if length > DYNAMIC {
        return Err(Malformed);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let bytes = file.read(offset, length).map_err(|_| Malformed)?;
    let count = bytes.len() / size_of::<H::Dyn>();
    let (entries, _) = pod::slice_from_bytes::<H::Dyn>(&bytes, count).map_err(|()| Malformed)?;

    let (mut strings, mut size, mut wanted) = (None, 0, Vec::new());
    for entry in entries {
        let value = entry.val(endian);
        match entry.tag(endian) {
            elf::DT_NULL => break,
            elf::DT_STRTAB => strings = Some(value),
            elf::DT_STRSZ => size = value,
            elf::DT_FLAGS_1 => about.own_paths_only = value & 0x800 != 0,
            tag @ (elf::DT_NEEDED | elf::DT_SONAME | elf::DT_RPATH | elf::DT_RUNPATH) => {
                if wanted.len() == NEEDED {
                    return Err(Malformed);
                }
                wanted.push((tag, value));
            }
            _ => {}
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let address = strings.ok_or(Malformed)?;
    let start = segments
        .iter()
        .find_map(|(at, offset, length)| {
            let inside = address.checked_sub(*at)?;
            (inside < *length)
                .then(|| offset.checked_add(inside))
                .flatten()
        })
        .ok_or(Malformed)?;
    let mut window = Window {
        file,
        start,
        size,
        at: 0,
        bytes: Vec::new(),
    };
    for (tag, at) in wanted {
        let text = window.string(at)?;
        match tag {
            elf::DT_NEEDED => about.needed.push(text),
            elf::DT_SONAME => about.name = Some(text),
            elf::DT_RPATH => about.rpath = Some(text),
            _ => about.runpath = Some(text),
        }
    }
    Ok(())
}

/// A string table, of which one piece is held at a time: the names that matter
/// mostly lie side by side.
struct Window<'a> {
    file: &'a Bytes<'a>,
    start: u64,
    size: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    fn string(&mut self, at: u64) -> Result<Vec<u8>, Malformed> {
        if at >= self.size {
            return Err(Malformed);
        }
        if let Some(text) = self.held(at) {
            return Ok(text);
        }
        let length = usize::try_from(self.size - at)
            .unwrap_or(STRING)
            .min(STRING);
        let from = self.start.checked_add(at).ok_or(Malformed)?;
        self.bytes = self.file.read(from, length).map_err(|_| Malformed)?;
        self.at = at;
        self.held(at).ok_or(Malformed)
    }

    fn held(&self, at: u64) -> Option<Vec<u8>> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        let rest = self.bytes.get(from..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(rest[..end].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shell() -> Vec<u8> {
        std::fs::read("/bin/sh").unwrap()
    }

    #[test]
    fn what_a_program_says_is_read() {
        let about = read(&Bytes::Held(shell())).unwrap().unwrap();
        assert!(about.machine.runs_here());
        assert!(about.needed.iter().any(|name| name.starts_with(b"libc.")));
        assert!(about.loader.is_some_and(|name| name.starts_with(b"/lib")));
    }

    #[test]
    fn memory_that_is_writable_and_executable_is_seen_in_the_headers() {
        let mut bytes = shell();
        assert!(
            !read(&Bytes::Held(bytes.clone()))
                .unwrap()
                .unwrap()
                .writable_code
        );
        // The program headers begin behind the header, 56 bytes each: type, flags.
        let count = usize::from(bytes[56]);
        for at in (0..count).map(|index| 64 + index * 56) {
            let kind = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            if kind == elf::PT_GNU_STACK.0 {
                bytes[at + 4] |= 1;
            }
        }
        assert!(read(&Bytes::Held(bytes)).unwrap().unwrap().writable_code);
    }

    #[test]
    fn no_cut_of_a_program_is_more_than_malformed() {
        let whole = shell();
        for length in (0..4096.min(whole.len())).step_by(7) {
            let _ = read(&Bytes::Held(whole[..length].to_vec()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
            elf.extend(&bytes);
            let _ = read(&Bytes::Held(elf));
            let _ = read(&Bytes::Held(bytes));
        }

        #[test]
        fn no_change_of_a_program_is_more_than_malformed(
            changes in proptest::collection::vec((0_usize..1024, any::<u8>()), 1..16),
        ) {
            let mut bytes = shell();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(Some(about)) = read(&Bytes::Held(bytes)) {
                prop_assert!(about.needed.len() <= NEEDED);
                prop_assert!(about.needed.iter().all(|name| name.len() < STRING));
            }
        }
    }
}
