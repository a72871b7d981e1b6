//! What is found about bare programs: their libraries as the loader finds
//! them, their interpreters as the kernel does, and nothing executed.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
    process::Command,
};

use belljar::{
    Policy, Preset,
    policy::verified::{Executable, ExecutableKind, Program, Subject},
    verify::{Ask, VerifyError, verify},
};

fn program_with(name: &Path, policy: &Policy) -> Result<Program, VerifyError> {
    let ask = Ask::Program {
        program: name.into(),
        arguments: Vec::new(),
    };
    let (verified, image) = verify(&ask, policy)?;
    assert!(image.is_none());
    match verified.subject {
        Subject::Program(program) => Ok(program),
        Subject::Plugin(_) => unreachable!("a program was asked for"),
    }
}

fn program(name: impl AsRef<Path>) -> Result<Program, VerifyError> {
    program_with(name.as_ref(), &Policy::default())
}

fn only(program: Program) -> Executable {
    assert_eq!(program.candidates.len(), 1);
    program
        .candidates
        .into_iter()
        .next()
        .unwrap()
        .found
        .unwrap()
}

fn write_script(directory: &Path, name: &str, text: &[u8]) -> std::path::PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The files that ldd(1) names, links followed.
fn ldd(path: &Path) -> BTreeSet<String> {
    let output = Command::new("ldd").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let file = line.split("=> ").nth(1).unwrap_or(line).split(' ').next()?;
            Some(fs::canonicalize(file).ok()?.to_str()?.to_owned())
        })
        .collect()
}

#[test]
fn libraries_are_those_that_the_loader_finds() {
    let system = [
        "/bin/sh",
        "/usr/bin/python3",
        "/usr/bin/node",
        "/usr/bin/perl",
    ];
    let more = [
        "/usr/bin/git",
        "/usr/local/bin/git",
        "/usr/bin/java",
        "/usr/bin/gcc",
    ];
    let mut compared = 0;
    for path in system
        .iter()
        .chain(&more)
        .map(Path::new)
        .filter(|path| path.exists())
    {
        let found = only(program(path).unwrap());
        let ExecutableKind::Elf {
            loader,
            libraries,
            missing,
            ..
        } = found.kind
        else {
            continue;
        };
        assert_eq!(missing, Vec::<String>::new(), "{}", path.display());
        let ours: BTreeSet<String> = libraries
            .iter()
            .chain(&loader)
            .map(|library| library.file.path.to_string())
            .collect();
        // ldd takes $ORIGIN from a link's own place; the kernel does not.
        let real = path.canonicalize().unwrap();
        assert_eq!(ours, ldd(&real), "{}", path.display());
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn a_name_is_searched_on_the_callers_path_and_then_the_systems() {
    let found = program("sh").unwrap();
    assert!(
        found
            .candidates
            .iter()
            .any(|candidate| candidate.path.as_str() == "/bin/sh")
    );
    assert!(
        found
            .candidates
            .iter()
            .all(|candidate| candidate.path.name() == Some("sh"))
    );
    assert!(
        program("no-such-program-anywhere")
            .unwrap()
            .candidates
            .is_empty()
    );
}

#[test]
fn a_missing_path_is_kept_as_a_candidate_with_its_errno() {
    let found = program("/no/such/program").unwrap();
    assert_eq!(found.candidates.len(), 1);
    assert_eq!(found.candidates[0].found, Err(2));
}

#[test]
fn a_script_is_resolved_to_one_exec_of_its_interpreter() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let inner = write_script(at, "inner", b"#!/bin/sh -e\n");
    let inner = inner.to_str().unwrap().to_owned();
    let table: &[(&str, Vec<&str>)] = &[
        ("#!/bin/sh\n", vec!["/bin/sh"]),
        ("#! /bin/sh  -e -u \n", vec!["/bin/sh", "-e -u"]),
        ("#!/usr/bin/env sh\n", vec!["sh"]),
        ("#!/usr/bin/env -S sh -e -u\n", vec!["sh", "-e", "-u"]),
        (
            &format!("#!{inner} one\n"),
            vec!["/bin/sh", "-e", &inner, "one"],
        ),
        (
            &format!("#!/usr/bin/env -S {inner} a b\n"),
            vec!["/bin/sh", "-e", &inner, "a", "b"],
        ),
    ];
    for (text, expected) in table {
        let path = write_script(at, "script", text.as_bytes());
        let ExecutableKind::Script {
            arguments,
            interpreter,
            ..
        } = only(program(&path).unwrap()).kind
        else {
            panic!("{text:?} is a script");
        };
        let arguments: Vec<String> = arguments.iter().map(|word| word.escaped()).collect();
        assert_eq!(&arguments, expected, "{text:?}");
        assert!(
            matches!(interpreter.kind, ExecutableKind::Elf { .. }),
            "{text:?}"
        );
    }
}

#[test]
fn what_the_kernel_itself_would_pass_is_what_is_planned() {
    // The same script run by the kernel tells its own argv.
    let directory = tempfile::tempdir().unwrap();
    let echo = ["/usr/bin/echo", "/bin/echo"]
        .iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    let inner = write_script(
        directory.path(),
        "inner",
        format!("#!{echo} first  second \n").as_bytes(),
    );
    let outer = write_script(
        directory.path(),
        "outer",
        format!("#!{} third\t\n", inner.display()).as_bytes(),
    );
    let said = Command::new(&outer).output().unwrap().stdout;
    let ExecutableKind::Script { arguments, .. } = only(program(&outer).unwrap()).kind else {
        panic!("it is a script");
    };
    let mut ours: Vec<&[u8]> = arguments[1..].iter().map(AsRef::as_ref).collect();
    ours.push(outer.as_os_str().as_bytes());
    assert_eq!(said.trim_ascii_end(), ours.join(&b' '));
}

#[test]
fn an_odd_script_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (text, words) in [
        (&b"#!/no/such/interpreter\n"[..], "does not exist"),
        (b"#!/bin/sh\r\n", "carriage return"),
        (b"#!sh\n", "relative path"),
        (b"#!/usr/bin/env no-such-interpreter-at-all\n", "install it"),
        (b"#!/usr/bin/env A=1 sh\n", "sets variables"),
        (b"#!/usr/bin/env -i\n", "option other than"),
        (b"#!\n", "names no interpreter"),
        (b"#!/etc/passwd\n", "chmod +x"),
    ] {
        let path = write_script(at, "script", text);
        let error = program(&path).unwrap_err();
        assert!(matches!(error, VerifyError::NotRunnable { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.outcome().is_some());
    }
    let own = at.join("loop");
    write_script(at, "loop", format!("#!{}\n", own.display()).as_bytes());
    let error = program(&own).unwrap_err();
    assert!(
        matches!(error, VerifyError::NotRunnable { errno: 40, .. }),
        "{error}"
    );
}

#[test]
fn what_is_no_program_is_left_to_the_kernel_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = write_script(directory.path(), "text", b"just words\n");
    assert_eq!(only(program(&text).unwrap()).kind, ExecutableKind::Unknown);
    let empty = write_script(directory.path(), "empty", b"");
    assert_eq!(only(program(&empty).unwrap()).kind, ExecutableKind::Unknown);
    fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();
    for path in [text.as_path(), directory.path()] {
        let error = program(path).unwrap_err();
        assert!(
            matches!(error, VerifyError::NotRunnable { errno: 13, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_path_through_links_is_told_with_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().canonicalize().unwrap();
    let real = write_script(&at, "real", b"#!/bin/sh\n");
    symlink(&real, at.join("link")).unwrap();
    symlink("circle", at.join("circle")).unwrap();
    let found = program(at.join("link")).unwrap();
    assert_eq!(
        found.candidates[0].path.as_str(),
        at.join("link").to_str().unwrap()
    );
    let file = &found.candidates[0].found.as_ref().unwrap().file;
    assert_eq!(file.path.as_str(), real.to_str().unwrap());
    let circle = program(at.join("circle")).unwrap();
    assert_eq!(circle.candidates[0].found, Err(40));
}

#[test]
fn bad_words_give_one_clear_error() {
    let ask = |program: &std::ffi::OsStr, argument: &[u8]| {
        let arguments = vec![std::ffi::OsStr::from_bytes(argument).to_owned()];
        let ask = Ask::Program {
            program: program.to_owned(),
            arguments,
        };
        verify(&ask, &Policy::default()).unwrap_err()
    };
    let sh = std::ffi::OsStr::new("/bin/sh");
    assert!(matches!(
        ask(sh, b"a\0b"),
        VerifyError::ArgumentNul { index: 1 }
    ));
    assert!(matches!(
        ask(sh, &vec![b'a'; 1 << 20]),
        VerifyError::ArgumentTooLong { index: 1, .. }
    ));
    assert!(matches!(ask("".as_ref(), b""), VerifyError::NoProgram));
    let odd = std::ffi::OsStr::from_bytes(b"/tmp/\xff\x1b[2J");
    let error = ask(odd, b"").to_string();
    assert!(
        error.contains("not UTF-8") && !error.contains('\x1b'),
        "{error}"
    );
}

#[test]
fn strict_knows_what_python_reads() {
    let Some(python) = ["/usr/bin/python3"]
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        return;
    };
    let mut policy = Policy::default();
    policy.flags.preset = Some(Preset::Strict);
    let ExecutableKind::Elf {
        runtime, libraries, ..
    } = only(program_with(python.as_ref(), &policy).unwrap()).kind
    else {
        return;
    };
    assert!(runtime.iter().any(|place| {
        fs::read_dir(place.path.as_str()).is_ok_and(|mut names| {
            names.any(|name| name.is_ok_and(|name| name.file_name() == "os.py"))
        })
    }));
    let names: BTreeSet<&str> = libraries
        .iter()
        .filter_map(|library| library.path.name())
        .collect();
    assert_eq!(names.len(), libraries.len(), "no library twice");
}

#[test]
fn a_hostile_elf_file_costs_little_and_is_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let mut header = vec![0_u8; 64 + 56 * 3];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16..20].copy_from_slice(&[3, 0, 62, 0]);
    header[20] = 1;
    header[32] = 64; // e_phoff
    header[54] = 56; // e_phentsize
    header[56] = 3; // e_phnum
    // PT_DYNAMIC and PT_INTERP as long as the file says, which is 2 GiB of holes.
    for (index, kind) in [2_u8, 1, 3].into_iter().enumerate() {
        let at = 64 + 56 * index;
        header[at] = kind;
        header[at + 32..at + 40].copy_from_slice(&(2_u64 << 30).to_le_bytes());
    }
    for count in [[3_u8, 0], [255, 255], [0, 0]] {
        header[56..58].copy_from_slice(&count);
        let path = write_script(directory.path(), "sparse", &header);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(2 << 30)
            .unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(only(program(&path).unwrap()).kind, ExecutableKind::Unknown);
        assert!(begun.elapsed().as_millis() < 2000);
    }
}
