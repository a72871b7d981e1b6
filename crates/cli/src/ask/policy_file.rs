//! `--policy FILE[#TABLE]`: reads an operator's policy file.

use std::{ffi::OsStr, path::Path};

use belljar::{PolicyFileError, policy_file};
use belljar_policy::Policy;

use super::{place::utf8, usage::Usage};

/// Reads a policy with all that it extends, or one table of a file that holds more.
///
/// # Errors
/// Where a file cannot be read, or says what no policy can.
pub(crate) fn read(flag: &'static str, said: &OsStr) -> Result<Policy, Usage> {
    let said = utf8(flag, said)?;
    // A `#` is part of the name where a file of the whole name is there.
    let (file, table) = match said.rsplit_once('#') {
        Some((file, table)) if !Path::new(said).exists() => (file, Some(table)),
        _ => (said, None),
    };
    policy_file(file, table).map_err(|error| match error {
        PolicyFileError::Read { file, source } => Usage::PolicyFile {
            file,
            cause: source,
        },
        PolicyFileError::TooLarge { file } => Usage::PolicyTooLarge { file },
        PolicyFileError::Policy(error) => Usage::Policy(error),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use belljar_policy::data::Preset;

    use super::*;

    fn preset(said: &Path) -> Option<Preset> {
        let policy = read("--policy", said.as_os_str()).unwrap();
        policy.preset.map(|said| said.value)
    }

    #[test]
    fn a_policy_is_a_file_or_one_table_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let toml = file("p.toml", "preset = \"strict\"\n");
        assert_eq!(preset(&toml), Some(Preset::Strict));
        let json = file("p.json", "{\"preset\": \"minimal\"}");
        assert_eq!(preset(&json), Some(Preset::Minimal));
        file(
            "app.toml",
            "port = 1\n[a.security]\npreset = \"standard\"\n",
        );
        let table = directory.path().join("app.toml#a.security");
        assert_eq!(preset(&table), Some(Preset::Standard));
        let hash = file("a#b.toml", "preset = \"strict\"\n");
        assert_eq!(preset(&hash), Some(Preset::Strict));
    }

    #[test]
    fn what_is_no_policy_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let there = |name: &str| directory.path().join(name);
        fs::write(there("wrong.toml"), "presets = 1\n").unwrap();
        fs::write(there("large.toml"), vec![b'#'; 10 << 20]).unwrap();
        fs::write(there("bytes.toml"), [0xff, 0xfe]).unwrap();
        for name in ["", "none.toml", "wrong.toml", "large.toml", "bytes.toml"] {
            let error = read("--policy", there(name).as_os_str()).unwrap_err();
            let text = crate::words::complaint(&error, None);
            let shown = there(name).display().to_string();
            assert!(text.contains(&shown), "{name}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
