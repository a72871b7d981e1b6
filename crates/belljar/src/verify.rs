//! The look before anything is decided: what a program or plugin is, what it
//! needs to start, and what the paths lead to that a launch mentions.
//!
//! Nothing is run and nothing is written; a plugin's files are read once, into
//! the sealed [`Image`] from which they will run.

pub(crate) mod elf;
mod error;
mod image;
pub(crate) mod itself;
mod libraries;
pub(crate) mod places;
mod plugin;
pub(crate) mod program;
pub(crate) mod runtime;
pub(crate) mod script;
pub(crate) mod survey;

use std::{
    cell::LazyCell,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use belljar_plan::{Bytes, Preset};
use belljar_policy::{
    Flags, Policy, UnixPath, Verified,
    group::Group,
    verified::{Caller, Candidate, Plugin, Program, ProgramBytes, Subject, Survey},
};

pub use self::{
    error::{EntryProblem, VerifyError},
    image::Image,
};
use self::{
    places::Places,
    plugin::Reached,
    program::{Problem, Runtime, Search},
};
use crate::sys::look::{self, LookError};

/// The system's own search path, after the caller's.
const SYSTEM_PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The most bytes of one argument: `MAX_ARG_STRLEN` without its NUL, execve(2).
const ARGUMENT: usize = 128 * 1024 - 1;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A program of the machine.
    Program {
        /// A path, or a name to be searched.
        program: OsString,
        /// What follows its name.
        arguments: Vec<OsString>,
    },
    /// A plugin.
    Plugin {
        /// Its directory, or its manifest.
        path: PathBuf,
        /// What follows the manifest's arguments.
        arguments: Vec<OsString>,
    },
    /// The program that this process runs.
    Itself {
        /// What follows its name.
        arguments: Vec<OsString>,
    },
}

/// Fewer than a launch takes, and enough to look at everything that is looked at.
const DESCRIPTORS: usize = 10;

/// Looks at what is to be run and at every path that its launch mentions; for
/// a plugin with the image of its files.
///
/// # Errors
/// Where it cannot be what it should: see [`VerifyError`]. A program that is
/// not there is no error here, since where it may lie is the plan's to decide.
pub fn verify(ask: &Ask, policy: &Policy) -> Result<(Verified, Option<Image>), VerifyError> {
    crate::sys::has_room_for(DESCRIPTORS).map_err(VerifyError::Descriptors)?;
    let caller = survey::caller();
    let said = policy
        .flags
        .preset
        .or(policy.preset.as_ref().map(|said| said.value));
    match ask {
        Ask::Program { program, arguments } => {
            let search = Search {
                programs: LazyCell::new(Box::new(|| {
                    program_search(&caller, policy, said.unwrap_or(Preset::Standard))
                })),
                runtime: runtime_wanted(said.unwrap_or(Preset::Standard)),
            };
            let arguments = checked(
                std::iter::once(program.as_os_str())
                    .chain(arguments.iter().map(OsString::as_os_str)),
            )?;
            let program = look_for(program, arguments, &caller, policy, &search)?;
            drop(search);
            Ok((of_program(program, caller, policy)?, None))
        }
        Ask::Itself { arguments } => {
            let search = Search {
                programs: LazyCell::new(Box::new(Vec::new)),
                runtime: runtime_wanted(said.unwrap_or(Preset::Strict)),
            };
            let none = OsStr::new("");
            let arguments =
                checked(std::iter::once(none).chain(arguments.iter().map(OsString::as_os_str)))?;
            let (program, image) = itself::read(arguments, &search)?;
            drop(search);
            Ok((of_program(program, caller, policy)?, image))
        }
        Ask::Plugin { path, arguments } => {
            let search = Search {
                programs: LazyCell::new(Box::new(|| plugin_search(&caller))),
                runtime: runtime_wanted(said.unwrap_or(Preset::Strict)),
            };
            let none = OsStr::new("");
            let arguments =
                checked(std::iter::once(none).chain(arguments.iter().map(OsString::as_os_str)))?;
            let (plugin, image) = read_plugin(path, arguments, &search)?;
            drop(search);
            let survey =
                survey::survey(policy, Some(&plugin.manifest), &caller, std::iter::empty())?;
            let subject = Subject::Plugin(Box::new(plugin));
            Ok((
                Verified {
                    subject,
                    caller,
                    writable_code: survey::writable_code(&survey),
                    project: None,
                    survey,
                },
                Some(image),
            ))
        }
    }
}

/// Looks at the paths of a policy alone, for a process that starts nothing.
pub(crate) fn paths(policy: &Policy) -> Result<Verified, VerifyError> {
    crate::sys::has_room_for(DESCRIPTORS).map_err(VerifyError::Descriptors)?;
    let nothing = Program {
        asked: Bytes::default(),
        arguments: Vec::new(),
        candidates: Vec::new(),
        bytes: ProgramBytes::AtPath,
    };
    of_program(nothing, survey::caller(), policy)
}

/// A program without a manifest, with what there is of the paths that it may come to see.
fn of_program(program: Program, caller: Caller, policy: &Policy) -> Result<Verified, VerifyError> {
    let candidates = program.candidates.iter().map(|candidate| &candidate.path);
    let survey = survey::survey(policy, None, &caller, candidates)?;
    Ok(Verified {
        subject: Subject::Program(program),
        caller,
        writable_code: survey::writable_code(&survey),
        project: None,
        survey,
    })
}

/// Whoever asks: the calling process and its machine's users.
#[must_use]
pub fn caller() -> Caller {
    survey::caller()
}

/// Looks at every place of a named group on this machine, for whoever asks.
///
/// # Errors
/// Where a path that is not UTF-8 lies there.
pub fn look_at_group(group: Group) -> Result<(Caller, Survey), VerifyError> {
    let caller = survey::caller();
    let policy = Policy {
        flags: Flags {
            groups: vec![group],
            ..Flags::default()
        },
        ..Policy::default()
    };
    let survey = survey::survey(&policy, None, &caller, std::iter::empty())?;
    Ok((caller, survey))
}

fn runtime_wanted(preset: Preset) -> Runtime {
    match preset {
        Preset::Strict => Runtime::Always,
        _ => Runtime::Elsewhere,
    }
}

/// The arguments but for the first, checked with it.
fn checked<'a>(words: impl Iterator<Item = &'a OsStr>) -> Result<Vec<Bytes>, VerifyError> {
    let mut checked = Vec::new();
    for (index, word) in words.enumerate() {
        let word = word.as_bytes();
        if word.contains(&0) {
            return Err(VerifyError::ArgumentNul { index });
        }
        if word.len() > ARGUMENT {
            return Err(VerifyError::ArgumentTooLong {
                index,
                length: word.len(),
                limit: ARGUMENT,
            });
        }
        if index > 0 {
            checked.push(Bytes(word.to_vec()));
        }
    }
    Ok(checked)
}

fn look_for(
    asked: &OsStr,
    arguments: Vec<Bytes>,
    caller: &Caller,
    policy: &Policy,
    search: &Search<'_>,
) -> Result<Program, VerifyError> {
    if asked.is_empty() {
        return Err(VerifyError::NoProgram);
    }
    let name = asked.to_str().ok_or_else(|| not_utf8(Path::new(asked)))?;
    let whole = name.contains('/');
    let paths: Vec<UnixPath> = if whole {
        vec![absolute(name)?]
    } else {
        let directories = caller_path(caller)
            .chain(system_path())
            .chain(group_programs(caller, policy));
        let mut paths: Vec<UnixPath> = Vec::new();
        for path in directories.filter_map(|directory| directory.join(name).ok()) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    };

    let places = Places::machine();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut problem: Option<(UnixPath, Problem)> = None;
    // /bin is /usr/bin mostly: what was examined there is not examined again.
    let mut examined: Vec<(UnixPath, UnixPath, usize)> = Vec::new();
    for path in paths {
        let found = match places.look(&path) {
            Err(LookError::NotUtf8(leads)) if whole => return Err(not_utf8(&leads)),
            Err(error) if !whole && error.errno() != EACCES => continue,
            Err(error) => Err(error.errno()),
            Ok(file) => {
                let parent = path.parent().unwrap_or(UnixPath::root());
                let directory = places.look(&parent).map_or(parent, |found| found.path);
                let before = examined
                    .iter()
                    .find(|(known, above, _)| *known == file.path && *above == directory);
                if let Some((.., index)) = before {
                    candidates[*index].found.clone()
                } else {
                    examined.push((file.path, directory, candidates.len()));
                    program::examine(&places, search, &path).map_err(|found| {
                        let errno = found.errno;
                        problem.get_or_insert((path.clone(), found));
                        errno
                    })
                }
            }
        };
        candidates.push(Candidate { path, found });
    }
    if let Some((path, Problem { errno, reason })) = problem
        && candidates.iter().all(|candidate| candidate.found.is_err())
    {
        return Err(VerifyError::NotRunnable {
            path: path.as_str().into(),
            errno,
            reason,
        });
    }
    Ok(Program {
        asked: Bytes(asked.as_bytes().to_vec()),
        arguments,
        candidates,
        bytes: ProgramBytes::AtPath,
    })
}

const EACCES: i32 = 13;

fn read_plugin(
    path: &Path,
    arguments: Vec<Bytes>,
    search: &Search<'_>,
) -> Result<(Plugin, Image), VerifyError> {
    let plugin::Read {
        directory,
        manifest,
        tree,
        image,
        digest,
    } = plugin::read(path)?;
    let entry = manifest.plugin.entry.clone();
    let problem = match tree.reach(&entry) {
        Reached::Entry(at) if tree.extent(at).is_some() => None,
        Reached::Entry(_) => Some(EntryProblem::NotFile),
        Reached::Nothing => Some(EntryProblem::Missing),
        Reached::Leaves => Some(EntryProblem::Leaves),
        Reached::Circle => Some(EntryProblem::Circle),
    };
    if let Some(problem) = problem {
        let entry = Bytes::from(entry).escaped();
        return Err(VerifyError::Entry {
            manifest: manifest.file,
            entry,
            problem,
        });
    }
    let at = directory.join(&entry).map_err(VerifyError::Path)?;
    let places = Places::with_plugin(&directory, &tree, &image);
    let entry = program::examine(&places, search, &at).map_err(|Problem { errno, reason }| {
        VerifyError::NotRunnable {
            path: at.as_str().into(),
            errno,
            reason,
        }
    })?;
    drop(places);
    let plugin = Plugin {
        manifest,
        directory,
        arguments,
        writable_code: tree.writable_code(&image),
        files: tree.entries,
        image: digest,
        entry: Ok(entry),
    };
    Ok((plugin, image))
}

/// A path made absolute from the current directory; links stay, `..` is what
/// the kernel takes it for.
fn absolute(text: &str) -> Result<UnixPath, VerifyError> {
    let whole = if text.starts_with('/') {
        text.to_owned()
    } else {
        let workdir = std::env::current_dir().map_err(VerifyError::NoWorkdir)?;
        let workdir = workdir.to_str().ok_or_else(|| not_utf8(&workdir))?;
        format!("{workdir}/{text}")
    };
    match UnixPath::new(&whole) {
        Ok(path) => Ok(path),
        Err(error) => Places::machine()
            .normal(&whole)
            .ok_or(VerifyError::Path(error)),
    }
}

/// The absolute directories of the caller's PATH.
fn caller_path(caller: &Caller) -> impl Iterator<Item = UnixPath> + '_ {
    caller
        .environment
        .iter()
        .filter(|(name, _)| name.0 == b"PATH")
        .flat_map(|(_, value)| value.0.split(|byte| *byte == b':'))
        .filter_map(|text| UnixPath::new(std::str::from_utf8(text).ok()?).ok())
}

fn system_path() -> impl Iterator<Item = UnixPath> {
    SYSTEM_PATH
        .iter()
        .filter_map(|text| UnixPath::new(text).ok())
}

/// Where `env` in a script finds programs: what a jar of this preset shows
/// first, so that a wrapper in somebody's home does not stand before it.
fn program_search(caller: &Caller, policy: &Policy, preset: Preset) -> Vec<UnixPath> {
    let granted = policy
        .flags
        .read
        .iter()
        .chain(&policy.flags.write)
        .map(|place| place.path.clone());
    let system = program::SYSTEM
        .iter()
        .filter_map(|text| UnixPath::new(text).ok());
    let shown: Vec<UnixPath> = if preset == Preset::Minimal {
        vec![UnixPath::root()]
    } else {
        granted.chain(system).collect()
    };
    let (mut first, last): (Vec<_>, Vec<_>) = caller_path(caller).partition(|directory| {
        let leads = look::look(directory).map_or_else(|_| directory.clone(), |seen| seen.path);
        shown.iter().any(|place| leads.is_within(place))
            && !caller.homes.iter().any(|home| {
                leads.is_within(home) && leads.as_str()[home.as_str().len()..].starts_with("/.")
            })
    });
    first.extend(system_path());
    first.extend(last);
    first.extend(group_programs(caller, policy));
    first
}

/// Where granted toolchains have their programs, of several versions the last
/// first: the end of the jar's PATH.
fn group_programs(caller: &Caller, policy: &Policy) -> Vec<UnixPath> {
    let groups = policy.flags.groups.iter();
    groups
        .flat_map(|group| group.program_patterns(caller))
        .flat_map(|pattern| {
            let mut found = runtime::matching(&pattern);
            found.sort_unstable();
            found.into_iter().rev()
        })
        .collect()
}

/// A plugin's interpreter is the system's where there is one: what a plugin
/// runs on should not change with who starts it.
fn plugin_search(caller: &Caller) -> Vec<UnixPath> {
    system_path().chain(caller_path(caller)).collect()
}

/// A path as the policy knows paths.
fn unix_path(path: &Path) -> Result<UnixPath, VerifyError> {
    UnixPath::new(path.to_str().ok_or_else(|| not_utf8(path))?).map_err(VerifyError::Path)
}

fn not_utf8(path: &Path) -> VerifyError {
    VerifyError::NotUtf8 {
        path: Bytes(path.as_os_str().as_bytes().to_vec()),
    }
}
