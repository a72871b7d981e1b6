//! Questions about a plan made by hand, on a machine made by hand; the real ones
//! are asked of real jars in `tests/tests/why.rs`.

use std::collections::BTreeMap;

use belljar_plan::{
    Bytes, Filter, Plan, Preset, Rule, Source, Step, Strength,
    answer::Verdict,
    filter::{Code, Exec, Unix},
    plan::{Enforcement, Hidden, Identity, MachineIdentity, PlannedGrant, PlannedRule, SCHEMA},
    step::{Attributes, OwnedStep},
};

use super::{Entry, EntryKind, Machine, Question, Start, Surroundings, why};
use crate::path::UnixPath;

/// What the machine has, by path.
struct Files(BTreeMap<&'static str, Entry>);

impl Machine for Files {
    fn entry(&self, path: &UnixPath) -> Result<Entry, i32> {
        self.0.get(path.as_str()).cloned().ok_or(2)
    }

    fn start(&self, path: &UnixPath) -> Start {
        match path.as_str() {
            "/usr/bin/tool" => Start::By(UnixPath::new("/lib/loader").unwrap()),
            "/usr/bin/picture" => Start::Nothing,
            _ => Start::Itself,
        }
    }
}

fn entry(kind: EntryKind, uid: u32, mode: u16) -> Entry {
    Entry {
        kind,
        device: 1,
        uid,
        gid: uid,
        mode,
    }
}

fn machine() -> Files {
    let directory = |uid, mode| entry(EntryKind::Directory, uid, mode);
    let file = |uid, mode| entry(EntryKind::File, uid, mode);
    let link = |to: &str| entry(EntryKind::Link(Bytes::from(to)), 0, 0o777);
    Files(BTreeMap::from([
        ("/usr", directory(0, 0o755)),
        ("/usr/bin", directory(0, 0o755)),
        ("/usr/bin/tool", file(0, 0o755)),
        ("/usr/bin/data", file(0, 0o644)),
        ("/usr/bin/picture", file(0, 0o755)),
        ("/usr/lib", directory(0, 0o755)),
        ("/usr/lib/loader", file(0, 0o755)),
        ("/usr/away", link("/home/me/x")),
        ("/usr/round", link("round")),
        ("/usr/closed", directory(0, 0o700)),
        ("/usr/closed/x", file(0, 0o644)),
        ("/data", directory(1000, 0o755)),
        ("/data/mine", file(1000, 0o600)),
        ("/data/theirs", file(7, 0o600)),
        ("/data/secret", directory(1000, 0o755)),
        ("/home/me", directory(1000, 0o755)),
        ("/home/me/.conf", file(1000, 0o644)),
        ("/home/me/x", file(1000, 0o644)),
        ("/dev/kvm", entry(EntryKind::Device, 0, 0o666)),
        ("/sys/kernel", directory(0, 0o755)),
        ("/dev/null", entry(EntryKind::Device, 0, 0o666)),
        ("/dev/dri", directory(0, 0o755)),
        ("/dev/dri/card", entry(EntryKind::Device, 0, 0o666)),
        ("/dev/dri/root", entry(EntryKind::Device, 0, 0o600)),
        ("/proc/sys/x", file(0, 0o644)),
        ("/proc/cpuinfo", file(0, 0o444)),
    ]))
}

fn bind(from: &str, to: &str, attributes: Attributes) -> OwnedStep {
    Step::Bind {
        source: Source::Path {
            path: from.into(),
            device: 1,
            inode: 2,
        },
        target: to.into(),
        recursive: true,
        attributes,
        optional: false,
    }
}

const READ_ONLY: Attributes = Attributes {
    read_only: true,
    no_suid: true,
    no_dev: true,
    no_exec: false,
};

/// A jar that a user started: `/usr` shown, `/data` granted for reading at `/in`.
pub(crate) fn plan() -> Plan {
    let rules = Rule::ALL
        .iter()
        .map(|rule| PlannedRule {
            rule: *rule,
            requested: Strength::Kernel,
            best_effort: false,
            planned: Enforcement {
                mechanism: "by hand".into(),
                strength: Strength::Kernel,
            },
            steps: Vec::new(),
            origin: "default".into(),
        })
        .collect();
    Plan {
        schema: SCHEMA,
        preset: Preset::Standard,
        plugin: None,
        program: "/usr/bin/tool".into(),
        rules,
        together: Vec::new(),
        quota: None,
        limits: Vec::new(),
        filter: Some(Filter {
            machine: "x86_64".into(),
            preset: Preset::Standard,
            exec: Exec::Any,
            code: Code::Any,
            unix: Unix::Visible,
            internet: true,
            objects: true,
            allow: Vec::new(),
            deny: vec!["fsync".into()],
            events: true,
            observe: false,
        }),
        grants: vec![PlannedGrant {
            path: "/data".into(),
            at: "/in".into(),
            write: false,
            origin: "--read".into(),
        }],
        hidden: vec![Hidden {
            path: "/in/secret".into(),
            origin: "policy.toml line 3".into(),
        }],
        sockets: Vec::new(),
        landlock: None,
        end_on: Vec::new(),
        identity: Identity {
            uid: 1000,
            gid: 1000,
            machine: MachineIdentity::Caller {
                uid: 1000,
                gid: 1000,
            },
            groups_kept: Vec::new(),
        },
        slots: Vec::new(),
        image: None,
        terminal: false,
        said: BTreeMap::from([("seccomp.deny fsync".into(), "policy.toml line 9".into())]),
        dropped: Vec::new(),
        weakenings: Vec::new(),
        notes: Vec::new(),
        steps: vec![
            Step::Symlink {
                path: "lib".into(),
                target: "usr/lib".into(),
            },
            Step::File {
                path: "etc/passwd".into(),
                mode: 0o644,
                content: "x".into(),
            },
            Step::Bind {
                source: Source::Scratch { name: "tmp".into() },
                target: "tmp".into(),
                recursive: false,
                attributes: Attributes::default(),
                optional: false,
            },
            Step::Bind {
                source: Source::Scratch {
                    name: "home".into(),
                },
                target: "home/plugin".into(),
                recursive: false,
                attributes: Attributes {
                    no_exec: true,
                    ..Attributes::default()
                },
                optional: false,
            },
            bind("/usr", "usr", READ_ONLY),
            bind("/data", "in", READ_ONLY),
            bind(
                "/dev/dri",
                "dev/dri",
                Attributes {
                    no_dev: false,
                    ..READ_ONLY
                },
            ),
            Step::Symlink {
                path: "dev/ptmx".into(),
                target: "pts/ptmx".into(),
            },
            Step::Devpts {
                target: "dev/pts".into(),
            },
            Step::Device {
                name: "zero".into(),
                major: 1,
                minor: 5,
            },
            Step::Proc {
                target: "proc".into(),
                attributes: Attributes::default(),
            },
            Step::Mask {
                path: "proc/kcore".into(),
            },
            Step::ReadOnly {
                path: "proc/sys".into(),
            },
            Step::Mask {
                path: "in/secret".into(),
            },
            Step::Exec {
                path: "/usr/bin/tool".into(),
                arguments: Vec::new(),
                variables: vec!["HOME=/home/plugin".into()],
            },
        ],
    }
}

fn ask(text: &str) -> belljar_plan::Answer {
    let words: Vec<&str> = text.split(' ').collect();
    let around = Surroundings {
        home: Some(UnixPath::new("/home/me").unwrap()),
        ..Surroundings::default()
    };
    let question = Question::parse(&words).unwrap();
    why(&plan(), &question, &machine(), &around).0
}

#[test]
fn each_question_is_answered_by_what_decides_it() {
    use Rule::{Devices, Files, Identity, KernelInfo, Syscalls};
    use Verdict::{Allowed, Denied, Depends, NotThere};
    let cases = [
        ("read /usr/bin/data", Allowed, Some(Files)),
        ("read /usr", Allowed, Some(Files)),
        ("read /usr/bin/none", NotThere, None),
        ("read /usr/bin/data/x", NotThere, None),
        ("read /usr/round", NotThere, None),
        ("read /usr/away", Denied, Some(Files)),
        ("read /usr/closed/x", Denied, Some(Identity)),
        ("read /lib/loader", Allowed, Some(Files)),
        ("read /etc/passwd", Allowed, Some(Files)),
        ("write /etc/passwd", Denied, Some(Files)),
        ("write /new", Denied, Some(Files)),
        ("write /tmp/new", Allowed, Some(Files)),
        ("read /in/mine", Allowed, Some(Files)),
        ("read /in/theirs", Denied, Some(Identity)),
        ("read /in/secret", Denied, Some(Files)),
        ("read /in/secret/x", Denied, Some(Files)),
        ("write /in/mine", Denied, Some(Files)),
        ("write /in/new", Denied, Some(Files)),
        ("read /home/me/x", Denied, Some(Files)),
        ("read /home/plugin/.conf", Denied, Some(Files)),
        ("read /home/plugin/own", Allowed, Some(Files)),
        ("read /proc/kcore", Denied, Some(KernelInfo)),
        ("write /proc/sys/x", Denied, Some(KernelInfo)),
        ("read /proc/self/status", Depends, Some(Rule::Tasks)),
        ("read /proc/cpuinfo", Allowed, Some(KernelInfo)),
        ("read /proc/cpuinfo/x", NotThere, None),
        ("write /proc/cpuinfo/x", NotThere, None),
        ("read /dev/kvm", Denied, Some(Devices)),
        ("read /dev/dri/card", Depends, Some(Devices)),
        ("write /dev/dri/card", Depends, Some(Devices)),
        ("read /dev/dri/root", Denied, Some(Identity)),
        ("read /dev/zero", Allowed, Some(Devices)),
        ("write /dev/zero/x", NotThere, None),
        ("read /dev/pts", Allowed, Some(Devices)),
        ("read /dev/pts/0", Depends, Some(Devices)),
        ("read /dev/pts/x", NotThere, None),
        ("write /dev/pts/x", Denied, Some(Devices)),
        ("write /dev/ptmx", Allowed, Some(Devices)),
        ("write /dev/ptmx/x", NotThere, None),
        ("read /sys/kernel", Denied, Some(KernelInfo)),
        ("exec /usr/bin/tool", Allowed, Some(Files)),
        ("exec /usr/bin/picture", NotThere, None),
        ("exec /usr/bin/data", Denied, Some(Identity)),
        ("exec /tmp/x", Allowed, Some(Files)),
        ("exec /home/plugin/x", Denied, Some(Files)),
        ("exec /usr", Denied, Some(Files)),
        ("exec /proc/cpuinfo", Denied, Some(Files)),
        ("exec /proc/cpuinfo/x", NotThere, None),
        ("exec /dev/pts/x", NotThere, None),
        ("connect a.example:443", Denied, Some(Rule::Network)),
        ("call getpid", Allowed, Some(Syscalls)),
        ("call fsync", Denied, Some(Syscalls)),
        ("call unshare", Depends, Some(Rule::Nesting)),
        ("call unshare 0x10000000", Denied, Some(Rule::Nesting)),
        ("call unshare 0", Allowed, Some(Syscalls)),
    ];
    for (text, verdict, rule) in cases {
        let answer = ask(text);
        assert_eq!(
            (answer.verdict, answer.rule),
            (verdict, rule),
            "{text}: {answer:#?}"
        );
        assert!(!answer.reason.is_empty());
    }
}

#[test]
fn an_answer_names_the_very_line_that_decides() {
    for (text, origin) in [
        ("read /usr/bin/data", "preset standard, by default"),
        ("read /in/mine", "--read"),
        ("write /in/mine", "--read"),
        ("read /in/secret", "policy.toml line 3"),
        ("call fsync", "policy.toml line 9"),
    ] {
        assert_eq!(ask(text).decided_by.as_deref(), Some(origin), "{text}");
    }
}

#[test]
fn the_smallest_grant_is_told_and_what_a_policy_denies_has_none() {
    for (text, flag) in [
        ("read /home/me/x", Some("--read /home/me/x")),
        ("write /in/mine", Some("--write /data/mine:/in/mine")),
        (
            "read /home/plugin/.conf",
            Some("--read /home/me/.conf:/home/plugin/.conf"),
        ),
        ("read /dev/kvm", Some("--read /dev/kvm")),
        ("read /in/secret", None),
        ("read /in/theirs", None),
        ("call fsync", None),
        ("connect a.example:443", None),
    ] {
        let grant = ask(text).grant;
        assert_eq!(
            grant.and_then(|grant| grant.flag).as_deref(),
            flag,
            "{text}"
        );
    }
}

#[test]
fn a_call_s_risk_names_the_rules_that_it_gives_up() {
    let grant = ask("call ptrace").grant.unwrap();
    // What is demanded and not held any more takes a word of its own.
    let lines = [
        r#"seccomp.allow = ["ptrace"]"#,
        r#"require.tasks = "best-effort""#,
        r#"require.writable_code = "best-effort""#,
    ];
    assert_eq!(grant.policy, lines);
    assert!(grant.flag.is_none() && grant.manifest.is_empty());
    let unshare = ask("call unshare").grant.unwrap();
    assert!(unshare.risk[0].contains("nesting"), "{:?}", unshare.risk);
}
