//! From the options as they were said to what the library is asked for: the
//! operator's explicit words, added to the policy file's if there is one.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use belljar_policy::{
    Flags, Policy,
    data::{Bytes, Limit, Preset, Rule, Strength},
    policy::{Right, Said},
    processors::Processors,
    units::{Whose, flag, parse_bound},
};

use super::{
    Options,
    options::Demands,
    place::{Granted, Standpoint, utf8},
    policy_file,
    usage::Usage,
};
use crate::words;

/// The operator's whole policy for this launch.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn policy(options: &Options, terminal: Option<(u16, u16)>) -> Result<Policy, Usage> {
    let mut policy = match &options.policy {
        Some(said) => policy_file::read("--policy", said)?,
        None => Policy::default(),
    };
    policy.flags = flags(options, terminal)?;
    demand(&mut policy, &options.demands)?;
    Ok(policy)
}

/// Adds what is said of rules to a policy.
///
/// # Errors
/// The first thing that is wrong, or weaker than the policy.
pub(crate) fn demand(policy: &mut Policy, demands: &Demands) -> Result<(), Usage> {
    let file = policy.require.clone();
    for said in &demands.require {
        let (rule, strength) = requirement(said)?;
        let flag = format!("--require {said}");
        not_weaker(&file, rule, strength, &flag)?;
        let demand = Said {
            value: strength,
            origin: flag,
        };
        // Two flags contradict each other.
        if let Some(former) = policy.require.insert(rule, demand.clone())
            && former.origin.starts_with("--require")
        {
            return Err(Usage::Twice {
                flag: "--require",
                name: rule.to_string(),
            });
        }
        policy.best_effort.remove(&rule);
        // A plugin's own table replaces what is said for all, but no flag that demands more.
        for plugin in policy.plugins.values_mut() {
            plugin.best_effort.remove(&rule);
            plugin
                .require
                .retain(|other, said| *other != rule || said.value > strength);
        }
    }
    for said in &demands.best_effort {
        let rule = rule("--best-effort", said)?;
        let flag = format!("--best-effort {said}");
        not_weaker(&file, rule, Strength::None, &flag)?;
        policy.best_effort.insert(rule, flag);
    }
    for said in &demands.end_on {
        let rule = rule("--end-on", said)?;
        policy.end_on.insert(rule, format!("--end-on {said}"));
    }
    Ok(())
}

/// A policy file's word wins over a flag; equal or more may be asked for.
fn not_weaker(
    file: &BTreeMap<Rule, Said<Strength>>,
    rule: Rule,
    strength: Strength,
    flag: &str,
) -> Result<(), Usage> {
    match file.get(&rule) {
        Some(required) if required.value > strength => Err(Usage::AgainstPolicy {
            flag: flag.to_owned(),
            rule,
            required: required.value,
            origin: required.origin.clone(),
        }),
        _ => Ok(()),
    }
}

fn flags(options: &Options, terminal: Option<(u16, u16)>) -> Result<Flags, Usage> {
    let here = Standpoint::here();
    let mut flags = Flags {
        preset: options.preset.as_deref().map(preset),
        terminal,
        ..Flags::default()
    };
    grants(
        &mut flags,
        &here,
        &options.allow,
        &options.read,
        &options.write,
    )?;
    for said in &options.env {
        let (name, value) = variable(said)?;
        if flags.set.iter().any(|(former, _)| *former == name) {
            return Err(Usage::Twice {
                flag: "--env",
                name,
            });
        }
        flags.set.push((name, value));
    }
    for said in &options.pass_env {
        flags.pass.push(passed(said)?);
    }
    flags.workdir = options
        .workdir
        .as_deref()
        .map(|said| here.path("--workdir", utf8("--workdir", said)?))
        .transpose()?;
    flags.user = options.user.as_deref().map(user).transpose()?;
    flags.hostname = options.hostname.as_deref().map(hostname).transpose()?;
    flags.cpuset = options.cpuset.as_deref().map(cpuset).transpose()?;
    for limit in Limit::ALL {
        if let Some(said) = limit_of(options, *limit) {
            let bound = parse_bound(*limit, said, Whose::Flag(flag(*limit)))?;
            flags.limits.insert(*limit, bound);
        }
    }
    Ok(flags)
}

/// Adds rights, and paths that may be used.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn grants(
    flags: &mut Flags,
    here: &Standpoint,
    allow: &[String],
    read: &[OsString],
    write: &[OsString],
) -> Result<(), Usage> {
    for said in allow {
        let right = Right::from_word(said).ok_or_else(|| Usage::Form {
            flag: "--allow",
            said: said.clone(),
            form: "a right",
            example: "--allow subprocesses`, or `--allow jit",
        })?;
        flags.allow.insert(right);
    }
    for said in read {
        match here.granted("--read", said)? {
            Granted::Path(place) => flags.read.push(place),
            Granted::Group(group) => flags.groups.push(group),
        }
    }
    for said in write {
        flags.write.push(here.place("--write", said)?);
    }
    Ok(())
}

fn limit_of(options: &Options, limit: Limit) -> Option<&str> {
    match limit {
        Limit::Memory => &options.memory,
        Limit::CpuTime => &options.cpu_time,
        Limit::Wall => &options.wall,
        Limit::Output => &options.output,
        Limit::Processes => &options.processes,
        Limit::OpenFiles => &options.open_files,
        Limit::FileSize => &options.file_size,
        Limit::Disk => &options.disk,
        Limit::Cpu => &options.cpu,
        Limit::IoRead => &options.io_read,
        Limit::IoWrite => &options.io_write,
        Limit::IoReadOps => &options.io_read_ops,
        Limit::IoWriteOps => &options.io_write_ops,
        Limit::CpuWeight => &options.cpu_weight,
        Limit::IoWeight => &options.io_weight,
        Limit::MemoryHigh => &options.memory_high,
    }
    .as_deref()
}

/// `locked-down` is another word for strict; clap lets no others through.
pub(super) fn preset(said: &str) -> Preset {
    Preset::from_word(said).unwrap_or(Preset::Strict)
}

fn requirement(said: &str) -> Result<(Rule, Strength), Usage> {
    let Some((name, strength)) = said.split_once('=') else {
        return Err(Usage::Form {
            flag: "--require",
            said: said.to_owned(),
            form: "RULE=STRENGTH",
            example: "--require memory=kernel",
        });
    };
    let rule = rule("--require", name)?;
    let strength = Strength::from_word(strength).ok_or_else(|| Usage::NoSuchStrength {
        flag: "--require",
        said: strength.to_owned(),
    })?;
    Ok((rule, strength))
}

fn rule(flag: &'static str, said: &str) -> Result<Rule, Usage> {
    Rule::from_word(said).ok_or_else(|| {
        // `cpu-time` is how the flag of the limit is spelled.
        let nearest = words::nearest(said, Rule::ALL.iter().map(|rule| rule.word()));
        let all = Rule::ALL
            .iter()
            .map(|rule| rule.word())
            .collect::<Vec<_>>()
            .join(", ");
        Usage::NoSuchRule {
            flag,
            said: said.to_owned(),
            remedy: match nearest {
                Some(rule) => format!("did you mean `{rule}`?"),
                None => format!("the rules are {all}"),
            },
        }
    })
}

fn variable(said: &OsStr) -> Result<(String, Bytes), Usage> {
    let bytes = said.as_encoded_bytes();
    let form = || Usage::Form {
        flag: "--env",
        said: said.to_string_lossy().into_owned(),
        form: "NAME=VALUE",
        example: "--env LANG=C.UTF-8",
    };
    let at = bytes
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|at| *at > 0)
        .ok_or_else(form)?;
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| Usage::NotUtf8 {
        flag: "--env",
        said: said.to_owned(),
    })?;
    Ok((name.to_owned(), Bytes(bytes[at + 1..].to_vec())))
}

fn passed(said: &OsStr) -> Result<String, Usage> {
    let name = utf8("--pass-env", said)?;
    if name.is_empty() || name.contains('=') {
        return Err(Usage::Form {
            flag: "--pass-env",
            said: name.to_owned(),
            form: "the name of a variable",
            example: "--pass-env LANG`, or `--env LANG=C.UTF-8",
        });
    }
    Ok(name.to_owned())
}

fn user(said: &str) -> Result<(u32, u32), Usage> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        // The last number means "no change" to the kernel; chown(2).
        text.parse::<u32>()
            .ok()
            .filter(|id| digits && *id != u32::MAX)
    };
    let (uid, gid) = said.split_once(':').unwrap_or((said, said));
    number(uid).zip(number(gid)).ok_or_else(|| Usage::Form {
        flag: "--user",
        said: said.to_owned(),
        form: "a numeric UID or UID:GID",
        example: "--user 1000:1000",
    })
}

fn cpuset(said: &str) -> Result<Processors, Usage> {
    said.parse().map_err(|_| Usage::Form {
        flag: "--cpuset",
        said: said.to_owned(),
        form: "LIST",
        example: "--cpuset 0-3,6",
    })
}

fn hostname(said: &str) -> Result<String, Usage> {
    let letters = said
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    // hostname(7); the kernel takes 64 bytes.
    if said.is_empty() || said.len() > 64 || !letters || said.starts_with(['-', '.']) {
        return Err(Usage::Form {
            flag: "--hostname",
            said: said.to_owned(),
            form: "a host name: 1 to 64 letters, digits, `-` and `.`",
            example: "--hostname builder",
        });
    }
    Ok(said.to_owned())
}

#[cfg(test)]
mod tests {
    use belljar_policy::{
        UnixPath,
        group::Group,
        manifest::{Bound, Place},
    };
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &[&str]) -> Options {
        let line = ["run"].iter().chain(words).chain(&["true"]);
        Call::try_parse_from(line).unwrap().options
    }

    fn read(words: &[&str]) -> Result<Policy, String> {
        policy(&options(words), None).map_err(|error| {
            let error: &dyn std::error::Error = &error;
            error.to_string()
        })
    }

    fn path(text: &str) -> UnixPath {
        UnixPath::new(text).unwrap()
    }

    #[test]
    fn nothing_said_is_an_empty_policy() {
        assert_eq!(read(&[]).unwrap(), Policy::default());
    }

    #[test]
    fn every_option_reaches_its_place_in_the_policy() {
        let policy = read(&[
            "--preset=minimal",
            "--read=/data:/in",
            "--read=group:git",
            "--write=/out",
            "--env=A=b=c",
            "--env=D=",
            "--pass-env=HOME",
            "--workdir=/out",
            "--user=5:6",
            "--hostname=jar",
            "--cpuset=1,0",
            "--require=memory=kernel",
            "--best-effort=files",
            "--end-on=nesting",
            "--allow=jit",
        ])
        .unwrap();
        assert_eq!(
            policy.end_on,
            BTreeMap::from([(Rule::Nesting, "--end-on nesting".into())])
        );
        assert_eq!(
            policy.flags,
            Flags {
                preset: Some(Preset::Minimal),
                read: vec![Place {
                    path: path("/data"),
                    at: Some(path("/in"))
                }],
                write: vec![Place {
                    path: path("/out"),
                    at: None
                }],
                groups: vec![Group::Git],
                set: vec![("A".into(), "b=c".into()), ("D".into(), "".into())],
                pass: vec!["HOME".into()],
                workdir: Some(path("/out")),
                user: Some((5, 6)),
                hostname: Some("jar".into()),
                cpuset: Some("0-1".parse().unwrap()),
                limits: BTreeMap::new(),
                terminal: None,
                allow: [Right::Jit].into(),
                observe: false,
            }
        );
        assert_eq!(
            policy.require,
            BTreeMap::from([(
                Rule::Memory,
                Said {
                    value: Strength::Kernel,
                    origin: "--require memory=kernel".into()
                }
            )])
        );
        assert_eq!(
            policy.best_effort,
            BTreeMap::from([(Rule::Files, "--best-effort files".into())])
        );
    }

    #[test]
    fn every_limit_has_a_flag_and_each_reads_its_own_unit() {
        let second = 1_000_000_000;
        let cases = [
            (&["--memory", "128MiB"], Limit::Memory, 128 << 20),
            (&["--cpu-time", "5"], Limit::CpuTime, 5 * second),
            (&["--cpu-limit", "5s"], Limit::CpuTime, 5 * second),
            (&["--wall", "500ms"], Limit::Wall, second / 2),
            (&["--timeout", "5m"], Limit::Wall, 300 * second),
            (&["--output", "64KiB"], Limit::Output, 64 << 10),
            (&["--processes", "10"], Limit::Processes, 10),
            (&["--open-files", "64"], Limit::OpenFiles, 64),
            (&["--file-size", "1GiB"], Limit::FileSize, 1 << 30),
            (&["--disk", "64MiB"], Limit::Disk, 64 << 20),
            (&["--cpu", "50%"], Limit::Cpu, 500),
            (&["--io-read", "1MiB/s"], Limit::IoRead, 1 << 20),
            (&["--io-write", "1MiB/s"], Limit::IoWrite, 1 << 20),
            (&["--io-read-ops", "7/s"], Limit::IoReadOps, 7),
            (&["--io-write-ops", "7/s"], Limit::IoWriteOps, 7),
            (&["--cpu-weight", "20"], Limit::CpuWeight, 20),
            (&["--io-weight", "10000"], Limit::IoWeight, 10_000),
            (&["--memory-high", "1MiB"], Limit::MemoryHigh, 1 << 20),
        ];
        for (words, limit, hard) in cases {
            let bound = Bound {
                hard: Some(hard),
                ..Bound::default()
            };
            assert_eq!(
                read(words).unwrap().flags.limits,
                BTreeMap::from([(limit, bound)]),
                "{words:?}"
            );
        }
        let none = read(&["--memory", "none"]).unwrap().flags.limits;
        assert_eq!(none, BTreeMap::from([(Limit::Memory, Bound::default())]));
    }

    #[test]
    fn a_unit_that_makes_no_sense_names_the_flag_and_shows_a_right_example() {
        for (words, flag) in [
            (["--memory", "128"], "--memory"),
            (["--memory", "5s"], "--memory"),
            (["--memory", "0MiB"], "--memory"),
            (["--memory", "99999999999999999999MiB"], "--memory"),
            (["--cpu-time", "5MiB"], "--cpu-time"),
            (["--cpu-limit", "x"], "--cpu-time"),
            (["--timeout", "5 parsecs"], "--wall"),
            (["--processes", "many"], "--processes"),
            (["--open-files", "64KiB"], "--open-files"),
            (["--cpu-weight", "0"], "--cpu-weight"),
            (["--io-weight", "10001"], "--io-weight"),
        ] {
            let error = read(&words).unwrap_err();
            let example = format!("`{flag} ");
            assert!(error.starts_with(&format!("`{flag}`")), "{error}");
            assert!(error.contains(&example), "{error}");
        }
    }

    #[test]
    fn what_has_the_wrong_form_names_the_flag() {
        for (words, expected) in [
            (vec!["--env", "A"], "--env: `A` is not NAME=VALUE"),
            (vec!["--env", "=b"], "--env: `=b` is not NAME=VALUE"),
            (
                vec!["--env", "A=1", "--env", "A=2"],
                "--env: `A` is said twice",
            ),
            (
                vec!["--pass-env", "A=1"],
                "--pass-env: `A=1` is not the name of a variable",
            ),
            (
                vec!["--user", "root"],
                "--user: `root` is not a numeric UID",
            ),
            (vec!["--user", "4294967295"], "--user: `4294967295`"),
            (vec!["--user", "1:"], "--user: `1:` is not"),
            (vec!["--user", "+1"], "--user: `+1` is not"),
            (vec!["--hostname", "a_b"], "--hostname: `a_b` is not"),
            (vec!["--require", "files"], "--require: `files` is not"),
            (vec!["--allow", "all"], "--allow: `all` is not a right"),
            (
                vec!["--end-on", "file"],
                "--end-on: there is no rule `file`",
            ),
            (
                vec!["--require", "files=hard"],
                "--require: there is no strength `hard`",
            ),
            (
                vec!["--require", "files=kernel", "--require", "files=none"],
                "--require: `files` is said twice",
            ),
            (
                vec!["--best-effort", "fils"],
                "--best-effort: there is no rule `fils`",
            ),
        ] {
            let error = read(&words).unwrap_err();
            assert!(error.starts_with(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_flag_never_asks_for_less_than_the_policy_file_requires() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("p.toml");
        std::fs::write(&file, "[require]\nmemory = \"supervisor\"\n").unwrap();
        let file = file.to_str().unwrap();
        let with = |words: &[&str]| read(&[&["--policy", file], words].concat());

        let required = |policy: Policy| policy.require[&Rule::Memory].value;
        assert_eq!(required(with(&[]).unwrap()), Strength::Supervisor);
        let more = with(&["--require", "memory=kernel"]).unwrap();
        assert_eq!(required(more), Strength::Kernel);
        for weaker in [["--require", "memory=none"], ["--best-effort", "memory"]] {
            let error = with(&weaker).unwrap_err();
            assert!(error.contains("p.toml line 2"), "{error}");
            assert!(error.contains(&weaker.join(" ")), "{error}");
        }
    }

    #[test]
    fn a_misspelled_rule_is_answered_with_the_nearest_or_with_all() {
        for (said, remedy) in [
            ("fils", "did you mean `files`?"),
            ("cpu-time", "did you mean `cpu_time`?"),
            ("everything", "the rules are files, network, sockets,"),
            ("foo", "the rules are files, network, sockets,"),
        ] {
            match rule("--require", said) {
                Err(Usage::NoSuchRule { remedy: shown, .. }) => {
                    assert!(shown.starts_with(remedy), "{shown}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_reaches_the_program_as_it_is() {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt as _;
            assert_eq!(
                variable(OsStr::from_bytes(b"A=\xff")).unwrap(),
                ("A".to_owned(), Bytes(vec![0xff]))
            );
        }
    }
}
