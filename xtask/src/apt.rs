//! apt with a state of its own: it knows suites that this machine does not use,
//! from the archives that it does, and changes nothing of the machine's.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::stage::output;

/// How long lists or a package may take to come, as timeout(1) reads it.
const FETCH: &str = "180s";

/// What Debian's archive is signed with, where the package debian-archive-keyring
/// has it. It knows the keys of older releases and of sid; elsewhere those that
/// apt trusts have to do.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// apt, knowing some suites and no other.
pub(crate) struct Apt {
    /// Its state, cache and sources.
    room: PathBuf,
}

impl Apt {
    /// Asks the machine's archives for what `suites` have. A suite that one of them
    /// does not have is no error: what is in none is seen by who wants it.
    pub(crate) fn with(room: PathBuf, suites: &[&str]) -> Result<Self, String> {
        let sources = sources(&archives()?, suites, keyring());
        let made = ["state/lists/partial", "cache/archives/partial", "parts"]
            .iter()
            .try_for_each(|name| fs::create_dir_all(room.join(name)))
            .and_then(|()| fs::write(room.join("state/status"), ""))
            .and_then(|()| fs::write(room.join("suites.sources"), sources));
        made.map_err(|error| format!("{}: {error}", room.display()))?;
        let apt = Self { room };
        let (_, said) = output(apt.bounded("apt-get").args(["-q", "update"]));
        let lists = apt.room.join("state/lists");
        let came = fs::read_dir(lists).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
            })
        });
        if came {
            Ok(apt)
        } else {
            Err(format!("{}: {}", suites.join(", "), error_in(&said)))
        }
    }

    /// The packages that one depends on.
    pub(crate) fn depends(&self, package: &str) -> Vec<String> {
        let said = self
            .command("apt-cache")
            .args(["depends", package])
            .stderr(Stdio::null())
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        String::from_utf8_lossy(&said)
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .map(str::to_owned)
            .collect()
    }

    /// Brings a package, `NAME` or `NAME=VERSION`, into an empty directory.
    pub(crate) fn download(&self, package: &str, into: &Path) -> Result<PathBuf, String> {
        let says = |error: std::io::Error| format!("{}: {error}", into.display());
        fs::create_dir_all(into).map_err(says)?;
        let mut apt = self.bounded("apt-get");
        let (done, said) = output(apt.args(["-q", "download", package]).current_dir(into));
        if !done {
            return Err(format!("{package}: {}", error_in(&said)));
        }
        fs::read_dir(into)
            .map_err(says)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .ok_or_else(|| format!("{package}: apt-get brought no file"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.add_options(&mut command);
        command
    }

    fn bounded(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5s", FETCH, program]);
        self.add_options(&mut command);
        command
    }

    /// apt.conf(5)
    fn add_options(&self, command: &mut Command) {
        for (option, place) in [
            ("Dir::State", "state"),
            ("Dir::State::status", "state/status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "suites.sources"),
            ("Dir::Etc::sourceparts", "parts"),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", self.room.join(place).display()));
        }
        command.args(["-o", "Acquire::Languages=none"]);
    }
}

fn error_in(said: &str) -> &str {
    said.lines()
        .rfind(|line| line.starts_with("E:"))
        .unwrap_or("no answer in time")
}

/// An archive that this machine uses, and one of its suites.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Archive {
    uri: String,
    suite: String,
}

/// All of them, by apt itself, which reads both forms of sources.list(5).
fn archives() -> Result<BTreeSet<Archive>, String> {
    let said = Command::new("apt-get")
        .args(["indextargets", "--no-release-info"])
        .args(["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
        .args(["Created-By: Packages"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("apt-get: {error}"))?;
    Ok(String::from_utf8_lossy(&said.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (uri, suite) = (words.next()?, words.next()?);
            (words.next()? == "main").then(|| Archive {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
            })
        })
        .collect())
}

fn keyring() -> Option<&'static str> {
    KEYRINGS.into_iter().find(|path| Path::new(path).exists())
}

/// Sources as sources.list(5) has them: the machine's archives with other suites.
/// Updates for security are in archives of their own.
fn sources(archives: &BTreeSet<Archive>, suites: &[&str], keyring: Option<&str>) -> String {
    let is_security = |suite: &str| suite.ends_with("-security");
    let mut text = String::new();
    for kind in [false, true] {
        let wanted: Vec<&str> = suites
            .iter()
            .copied()
            .filter(|suite| is_security(suite) == kind)
            .collect();
        let uris: BTreeSet<&str> = archives
            .iter()
            .filter(|archive| is_security(&archive.suite) == kind)
            .map(|archive| archive.uri.as_str())
            .collect();
        if wanted.is_empty() || uris.is_empty() {
            continue;
        }
        let uris: Vec<&str> = uris.into_iter().collect();
        let _ = write!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n",
            uris.join(" "),
            wanted.join(" ")
        );
        if let Some(keyring) = keyring {
            let _ = writeln!(text, "Signed-By: {keyring}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_suites_come_from_the_archives_that_the_machine_has() {
        let archive = |uri: &str, suite: &str| Archive {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
        };
        let archives = BTreeSet::from([
            archive("file:/all", "new"),
            archive("file:/all", "new-updates"),
            archive("file:/safe", "new-security"),
        ]);
        assert_eq!(
            sources(&archives, &["old", "old-security"], Some("/keys")),
            "Types: deb\nURIs: file:/all\nSuites: old\nComponents: main\nSigned-By: /keys\n\n\
             Types: deb\nURIs: file:/safe\nSuites: old-security\nComponents: main\nSigned-By: /keys\n\n"
        );
        assert!(!sources(&archives, &["old"], None).contains("Signed-By"));
    }
}
