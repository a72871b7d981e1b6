//! Exactly the variables that the guest gets.

use std::collections::BTreeMap;

use belljar_plan::{Bytes, Preset};

use super::tree::Tree;
use crate::{effective::Effective, path::UnixPath, policy::name_within, verified::Caller};

/// Where the system keeps programs, in the order in which it looks for them.
pub(crate) const SYSTEM_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Parts of names that say that a variable holds a secret.
const SECRET_PARTS: [&str; 12] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE",
    "COOKIE",
    "AUTH",
];

/// Names, or beginnings of names, of variables that hold secrets or lead to who keeps them.
const SECRET_NAMES: [&str; 12] = [
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCP_",
    "GITHUB_",
    "GITLAB_",
    "SSH_",
    "GPG_AGENT",
    "DBUS_",
    "DATABASE_URL",
    "KUBECONFIG",
    "DOCKER_",
];

/// The guest's home, where the preset gives it one of its own.
pub(crate) const HOME: &str = "/home/plugin";

/// What the kernel denies altogether, of what a guest is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denied {
    pub(super) network: bool,
    /// No other program can be started.
    pub(super) programs: bool,
}

/// Exactly the variables that the guest gets, `NAME=value`, sorted by name.
///
/// `private_tmp` is where scratch for temporary files is mounted; `told` is what the
/// program's runtime is told, where nobody said it otherwise.
pub(super) fn environment(
    effective: &Effective,
    caller: &Caller,
    tree: &Tree,
    private_tmp: &str,
    denied: Denied,
    told: Option<(&str, String)>,
) -> Vec<Bytes> {
    let mut variables: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
    let mut set = |name: &str, value: Bytes| {
        variables.insert(name.as_bytes().to_vec(), value);
    };
    let of_caller = |name: &str| {
        caller
            .environment
            .iter()
            .find(|(key, _)| key.0 == name.as_bytes())
            .map(|(_, value)| value.clone())
    };
    match effective.preset.value {
        Preset::Minimal => {
            for (name, value) in &caller.environment {
                if !is_secret(&name.0, &value.0) {
                    variables.insert(name.0.clone(), value.clone());
                }
            }
            variables.insert(b"TMPDIR".to_vec(), private_tmp.into());
        }
        Preset::Standard => {
            set(
                "PATH",
                with_programs(visible_path(of_caller("PATH").as_ref(), tree), effective),
            );
            set("HOME", HOME.into());
            set("TMPDIR", private_tmp.into());
            set(
                "LANG",
                of_caller("LANG").unwrap_or_else(|| "C.UTF-8".into()),
            );
            set("TERM", of_caller("TERM").unwrap_or_else(|| "dumb".into()));
        }
        Preset::Strict => {
            set("PATH", with_programs("/bin".into(), effective));
            set("HOME", HOME.into());
            set("TMPDIR", private_tmp.into());
        }
    }
    for name in &effective.pass {
        if let Some(value) = of_caller(name) {
            variables.insert(name.as_bytes().to_vec(), value);
        }
    }
    for (name, value) in &effective.set {
        variables.insert(name.as_bytes().to_vec(), value.clone());
    }
    if let Some((name, value)) = told {
        let key = name.as_bytes().to_vec();
        variables.entry(key).or_insert_with(|| value.into());
    }
    variables.retain(|name, _| {
        let name = String::from_utf8_lossy(name);
        !effective
            .deny_env
            .iter()
            .any(|deny| name_within(&name, &deny.value))
    });
    // Said last: nobody else may speak for the sandbox. A class is only said
    // to be denied where the kernel denies all of it; writing to scratch is not.
    for name in ["NO_NETWORK", "NO_SUBPROCESS", "NO_FILESYSTEM_WRITE"] {
        variables.remove(name.as_bytes());
    }
    variables.insert(
        b"SANDBOX_POLICY".to_vec(),
        effective.preset.value.word().into(),
    );
    for (name, is_denied) in [
        ("NO_NETWORK", denied.network),
        ("NO_SUBPROCESS", denied.programs),
    ] {
        if is_denied {
            variables.insert(name.as_bytes().to_vec(), "1".into());
        }
    }
    variables
        .into_iter()
        .map(|(mut name, value)| {
            name.push(b'=');
            name.extend(value.0);
            Bytes(name)
        })
        .collect()
}

/// A PATH, and after it where granted toolchains have their programs.
fn with_programs(path: Bytes, effective: &Effective) -> Bytes {
    let mut path = path.0;
    for directory in &effective.programs {
        let directory = directory.as_str().as_bytes();
        if !path
            .split(|byte| *byte == b':')
            .any(|entry| entry == directory)
        {
            path.push(b':');
            path.extend(directory);
        }
    }
    Bytes(path)
}

/// The caller's PATH as far as it can be seen inside, then the system's.
fn visible_path(of_caller: Option<&Bytes>, tree: &Tree) -> Bytes {
    let text = of_caller
        .map(|path| String::from_utf8_lossy(&path.0).into_owned())
        .unwrap_or_default();
    let mut entries: Vec<&str> = Vec::new();
    // What would lie in the entry is shown: so links of the tree count as well.
    let visible = text.split(':').filter(|entry| {
        UnixPath::new(entry)
            .and_then(|path| path.join("x"))
            .is_ok_and(|inside| tree.source_of(&inside).is_some())
    });
    for entry in visible.chain(SYSTEM_PATH) {
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries.join(":").into()
}

/// A variable that `minimal` does not pass: it holds a secret, as its name or value tells.
pub(crate) fn is_secret(name: &[u8], value: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || SECRET_NAMES.iter().any(|start| name.starts_with(start))
        || name.ends_with("_KEY")
        || name.ends_with("_PASS")
        || name.ends_with("_DSN")
        || has_password(value)
}

/// `scheme://user:password@host`
fn has_password(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    value.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_and_urls_by_their_password() {
        for name in [
            "GITHUB_TOKEN",
            "MyPassword",
            "AWS_PROFILE",
            "SSH_AUTH_SOCK",
            "STRIPE_KEY",
            "npm_config__auth",
        ] {
            assert!(is_secret(name.as_bytes(), b"x"), "{name}");
        }
        assert!(is_secret(b"URL", b"postgres://me:pw@db/x"));
        for (name, value) in [
            ("PATH", "/bin"),
            ("EDITOR", "vi"),
            ("URL", "https://host/a@b:c"),
            ("KEYBOARD", "us"),
        ] {
            assert!(!is_secret(name.as_bytes(), value.as_bytes()), "{name}");
        }
    }
}
