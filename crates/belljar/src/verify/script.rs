//! The `#!` line of a script, read as the kernel and `env` read it, so that a
//! script becomes one exec of its interpreter; execve(2), env(1).

/// How many bytes of a file the kernel looks at.
pub(crate) const HEAD: usize = 256;

/// What a `#!` line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shebang {
    /// The interpreter's path, as written.
    pub(crate) interpreter: Vec<u8>,
    /// Everything after it, as one argument.
    pub(crate) argument: Option<Vec<u8>>,
}

/// Why a `#!` line cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShebangError {
    #[error(
        "its `#!` line names no interpreter, or is longer than the 255 bytes that the kernel reads"
    )]
    Unusable,
    #[error("its `#!` line ends with a carriage return; save the file with Unix line ends")]
    CarriageReturn,
    #[error(
        "its `#!` line names an interpreter by a relative path, which depends on the working directory; write it from `/`"
    )]
    Relative,
    #[error("its `#!` line gives `env` no program to run")]
    EnvNothing,
    #[error(
        "its `#!` line sets variables by `env`; set them by the manifest's `[env]` or by `--env`"
    )]
    EnvVariable,
    #[error("its `#!` line gives `env` an option other than `-S`; name the interpreter alone")]
    EnvOption,
    #[error("its `#!` line has `$` or `\\` or an open quote in `env -S`; write the words plainly")]
    EnvEscape,
    #[error("its `#!` line gives `env` several words without `-S`; write `#!/usr/bin/env -S …`")]
    EnvWords,
}

/// Reads the first bytes of a file as the kernel does; `None` where it is no script.
pub(crate) fn parse(head: &[u8]) -> Result<Option<Shebang>, ShebangError> {
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    // The kernel's buffer holds 256 bytes, the last of which has to be the end
    // of a line to count; a shorter file ends with NUL.
    let room = HEAD - 2;
    let line = match line.iter().take(room).position(|byte| *byte == b'\n') {
        Some(end) => &line[..end],
        None if line.len() < room => line,
        None => {
            let whole = &line[..room - 1];
            let start = whole
                .iter()
                .position(|byte| !blank(byte))
                .ok_or(ShebangError::Unusable)?;
            // Without a blank after it, the name itself may be cut.
            if !whole[start..].iter().any(|byte| blank(byte) || *byte == 0) {
                return Err(ShebangError::Unusable);
            }
            whole
        }
    };
    let until_nul = |text: &[u8]| text.split(|byte| *byte == 0).next().unwrap_or(&[]).to_vec();
    let end = line
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(0, |last| last + 1);
    let start = line
        .iter()
        .position(|byte| !blank(byte))
        .ok_or(ShebangError::Unusable)?;
    let line = &line[start..end];
    let name_end = line
        .iter()
        .position(|byte| blank(byte) || *byte == 0)
        .unwrap_or(line.len());
    let interpreter = line[..name_end].to_vec();
    let argument = match line.get(name_end) {
        None | Some(0) => None,
        Some(_) => Some(until_nul(line[name_end..].trim_ascii_start())),
    };
    if interpreter.is_empty() {
        return Err(ShebangError::Unusable);
    }
    if argument.as_deref().unwrap_or(&interpreter).ends_with(b"\r") {
        return Err(ShebangError::CarriageReturn);
    }
    if !interpreter.starts_with(b"/") {
        return Err(ShebangError::Relative);
    }
    Ok(Some(Shebang {
        interpreter,
        argument,
    }))
}

/// The words that `env` runs: a program's name and its arguments; `None` where
/// the interpreter is not `env`.
pub(crate) fn env_words(line: &Shebang) -> Result<Option<Vec<Vec<u8>>>, ShebangError> {
    if !matches!(line.interpreter.as_slice(), b"/usr/bin/env" | b"/bin/env") {
        return Ok(None);
    }
    let argument = line.argument.as_deref().ok_or(ShebangError::EnvNothing)?;
    let split = argument
        .strip_prefix(b"-S")
        .or_else(|| argument.strip_prefix(b"--split-string="));
    let words = match split {
        Some(text) => split_words(text)?,
        None if argument.starts_with(b"-") => return Err(ShebangError::EnvOption),
        None if argument.contains(&b'=') => return Err(ShebangError::EnvVariable),
        None if argument.iter().any(u8::is_ascii_whitespace) => return Err(ShebangError::EnvWords),
        None => vec![argument.to_vec()],
    };
    match words.first() {
        None => Err(ShebangError::EnvNothing),
        Some(first) if first.is_empty() => Err(ShebangError::EnvNothing),
        Some(first) if first.starts_with(b"-") => Err(ShebangError::EnvOption),
        Some(first) if first.contains(&b'=') => Err(ShebangError::EnvVariable),
        Some(_) => Ok(Some(words)),
    }
}

fn split_words(text: &[u8]) -> Result<Vec<Vec<u8>>, ShebangError> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for byte in text {
        match (*byte, quote) {
            (b'\\', _) | (b'$', None | Some(b'"')) => return Err(ShebangError::EnvEscape),
            (byte, Some(open)) if byte == open => quote = None,
            (byte, Some(_)) => word.get_or_insert_default().push(byte),
            (byte @ (b'"' | b'\''), None) => {
                word.get_or_insert_default();
                quote = Some(byte);
            }
            (byte, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            // env takes the rest as a comment.
            (b'#', None) if word.is_none() => break,
            (byte, None) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err(ShebangError::EnvEscape);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(interpreter: &str, argument: Option<&str>) -> Shebang {
        Shebang {
            interpreter: interpreter.into(),
            argument: argument.map(|text| text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_shebang_is_read_as_the_kernel_reads_it() {
        for (head, expected) in [
            ("#!/bin/sh\necho", line("/bin/sh", None)),
            ("#!/bin/sh", line("/bin/sh", None)),
            ("#! \t/bin/sh \t\n", line("/bin/sh", None)),
            ("#!/bin/sh -e\n", line("/bin/sh", Some("-e"))),
            ("#!/bin/sh  -e  -u \n", line("/bin/sh", Some("-e  -u"))),
            ("#!/usr/bin/awk -f", line("/usr/bin/awk", Some("-f"))),
            ("#!/bin/sh -e\0junk\n", line("/bin/sh", Some("-e"))),
            ("#!/bin/sh\0-e\n", line("/bin/sh", None)),
        ] {
            assert_eq!(parse(head.as_bytes()), Ok(Some(expected)), "{head:?}");
        }
        for (head, expected) in [
            ("#!\n", ShebangError::Unusable),
            ("#!   ", ShebangError::Unusable),
            ("#!bin/sh\n", ShebangError::Relative),
            ("#!/bin/sh\r\n", ShebangError::CarriageReturn),
            ("#!/bin/sh -e\r\n", ShebangError::CarriageReturn),
        ] {
            assert_eq!(parse(head.as_bytes()), Err(expected), "{head:?}");
        }
        assert_eq!(parse(b"\x7fELF"), Ok(None));
        assert_eq!(parse(b"# !/bin/sh"), Ok(None));
        assert_eq!(parse(b""), Ok(None));
    }

    #[test]
    fn a_name_that_the_kernel_would_cut_is_refused_and_a_cut_argument_is_kept() {
        let long = format!("#!/{}\n", "x".repeat(300));
        assert_eq!(parse(&long.as_bytes()[..HEAD]), Err(ShebangError::Unusable));
        let cut = format!("#!/bin/sh {}\n", "x".repeat(300));
        let argument = parse(&cut.as_bytes()[..HEAD])
            .unwrap()
            .unwrap()
            .argument
            .unwrap();
        assert_eq!(argument.len(), HEAD - 1 - "#!/bin/sh ".len());
    }

    #[test]
    fn env_is_resolved_or_refused_and_never_guessed() {
        let words = |argument: &str| env_words(&line("/usr/bin/env", Some(argument)));
        let list = |words: &[&str]| {
            Ok(Some(
                words
                    .iter()
                    .map(|word| word.as_bytes().to_vec())
                    .collect::<Vec<_>>(),
            ))
        };
        assert_eq!(words("python3"), list(&["python3"]));
        assert_eq!(words("-S python3 -u"), list(&["python3", "-u"]));
        assert_eq!(
            words("-Spython3 '-c a' \"b\""),
            list(&["python3", "-c a", "b"])
        );
        assert_eq!(words("-S awk -f # rest"), list(&["awk", "-f"]));
        assert_eq!(words("python3 -u"), Err(ShebangError::EnvWords));
        assert_eq!(words("A=1"), Err(ShebangError::EnvVariable));
        assert_eq!(words("-S A=1 python3"), Err(ShebangError::EnvVariable));
        assert_eq!(words("-i"), Err(ShebangError::EnvOption));
        assert_eq!(words("-S -i sh"), Err(ShebangError::EnvOption));
        assert_eq!(words("-S ${X}"), Err(ShebangError::EnvEscape));
        assert_eq!(words("-S 'open"), Err(ShebangError::EnvEscape));
        assert_eq!(words("-S "), Err(ShebangError::EnvNothing));
        assert_eq!(
            env_words(&line("/usr/bin/env", None)),
            Err(ShebangError::EnvNothing)
        );
        assert_eq!(env_words(&line("/bin/sh", Some("x"))), Ok(None));
    }
}
