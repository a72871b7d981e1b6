//! The launcher's Landlock steps, with nothing else in the way: what the kernel
//! makes of its calls beside what it makes of those of the crate `landlock`, and
//! that a domain which does not hold ends the launch.
//!
//! Runs as root and as an ordinary user who may make user namespaces.
#![cfg(target_os = "linux")]

mod by_hand;

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use belljar_plan::step::OwnedStep;
use belljar_plan::{Attributes, Bytes, Step};
use by_hand::{Host, b, bind, jar_with, position, shell};
use landlock::{
    AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};

const ECANCELED: i32 = 125;
const ENOENT: u16 = 2;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
const LOOK: u64 = READ_FILE | READ_DIR;
/// Of the first versions, by their number.
const FILES: [u64; 8] = [0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff, 0xffff, 0xffff];

/// The version of this kernel's Landlock, 0 where there is none.
fn version() -> usize {
    belljar::facts().landlock_abi as usize
}

/// What a program needs to start at all, in a jar as on the machine.
const SURROUNDINGS: [(&str, u64); 5] = [
    ("", READ_DIR),
    ("usr", LOOK | EXECUTE),
    ("etc", LOOK),
    ("dev", LOOK | WRITE_FILE | IOCTL_DEV),
    ("proc", LOOK),
];

/// Some places below one directory, and what may be done at each.
const PLACES: [(&str, u64); 5] = [
    ("look", LOOK),
    ("run", LOOK | EXECUTE),
    ("all", u64::MAX),
    ("data", !EXECUTE),
    ("file", READ_FILE | WRITE_FILE | TRUNCATE),
];

/// Tries whatever there is to hold below `$D`, and prints what came of it.
const PROBE: &str = r#"
    try() { if "$@" > /dev/null 2>&1; then echo "$at: $what yes"; else echo "$at: $what no"; fi; }
    for at in look run all data none all/deep data/deep; do
        cd / || exit 1
        p=$D/$at
        what=list; try ls $p
        what=read; try cat $p/f
        what=append; try sh -c "echo x >> $p/f"
        what=truncate; try sh -c ": > $p/f"
        what=run; try $p/program
        what=make; try sh -c ": > $p/new"
        what=directory; try mkdir $p/made
        what=link; try ln -s f $p/link
        what=pipe; try mkfifo $p/pipe
        what=rename; try mv $p/old $p/older
        what=remove; try rm $p/gone
        what=rmdir; try rmdir $p/empty
        what=refer; try ln $p/f $p/sub/f
        what=refer-elsewhere; try ln $p/f $D/all/sub/from-elsewhere-$$
        rm -f $D/all/sub/from-elsewhere-$$
    done
    at=file
    what=read; try cat $D/file
    what=append; try sh -c "echo x >> $D/file"
    what=truncate; try sh -c ": > $D/file"
    what=run; try $D/file
"#;

/// A directory for [`PROBE`], open to everybody.
fn room() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    let open = |at: &Path, mode| fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    open(room.path(), 0o777);
    for place in [
        "look",
        "run",
        "all",
        "data",
        "none",
        "all/deep",
        "data/deep",
    ] {
        let at = room.path().join(place);
        for directory in [at.clone(), at.join("empty"), at.join("sub")] {
            fs::create_dir(&directory).unwrap();
            open(&directory, 0o777);
        }
        for (file, mode) in [
            ("f", 0o666),
            ("old", 0o666),
            ("gone", 0o666),
            ("program", 0o777),
        ] {
            fs::write(at.join(file), "#!/bin/sh\n").unwrap();
            open(&at.join(file), mode);
        }
    }
    fs::write(room.path().join("file"), "#!/bin/sh\n").unwrap();
    open(&room.path().join("file"), 0o777);
    room
}

/// What the kernel allows a shell that the crate `landlock` has put in a domain.
fn beside(abi: usize) -> String {
    let room = room();
    let at = room.path().to_owned();
    // A domain holds the thread that enters it, and what that starts.
    let held = std::thread::spawn(move || {
        let bits = |access: u64| BitFlags::<AccessFs>::from_bits_truncate(access & FILES[abi]);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(bits(u64::MAX))
            .unwrap()
            .create()
            .unwrap();
        let places = PLACES.map(|(place, access)| (at.join(place), access));
        let around = SURROUNDINGS.map(|(place, access)| (Path::new("/").join(place), access));
        for (place, access) in around.into_iter().chain(places) {
            let rule = PathBeneath::new(PathFd::new(place).unwrap(), bits(access));
            rules = rules.add_rule(rule).unwrap();
        }
        let status = rules.restrict_self().unwrap();
        assert_eq!(status.ruleset, RulesetStatus::FullyEnforced);
        let output = Command::new("/bin/sh")
            .args(["-c", PROBE])
            .env("D", &at)
            .env("PATH", "/usr/bin")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    held.join().unwrap()
}

/// What it allows one that the launcher has: nothing is mounted read-only or
/// without programs, and no call is filtered.
fn ours(abi: usize, network: u64, scopes: u64) -> String {
    let room = room();
    let mut rules = SURROUNDINGS
        .map(|(at, access)| (at.to_owned(), access))
        .to_vec();
    rules.extend(PLACES.map(|(at, access)| (format!("d/{at}"), access)));
    let script = format!("export D=/d PATH=/usr/bin; {PROBE}");
    let steps = held(
        in_a_jar(room.path(), &script),
        [FILES[abi], network, scopes],
        &rules,
    );
    let (told, _, output) = Host::start().run(&steps);
    assert_eq!(told.failed, None, "ABI {abi}");
    output
}

/// A jar that shows a directory at `/d`, with every right to it.
fn in_a_jar(shown: &Path, script: &str) -> Vec<OwnedStep> {
    let mut open = bind(shown.to_str().unwrap(), "d");
    if let Step::Bind { attributes, .. } = &mut open {
        *attributes = Attributes::default();
    }
    let place = Step::Directory {
        path: b("d"),
        mode: 0o755,
    };
    jar_with(vec![place, open], "/bin/sh", &["-c", script])
}

/// The same plan with a domain, in which these rules allow.
fn held(
    mut steps: Vec<OwnedStep>,
    [files, network, scopes]: [u64; 3],
    rules: &[(String, u64)],
) -> Vec<OwnedStep> {
    let insert = |steps: &mut Vec<OwnedStep>, behind: &str, what: Vec<OwnedStep>| {
        let at = position(steps, behind) as usize + 1;
        steps.splice(at..at, what);
    };
    insert(&mut steps, "root", vec![Step::Canary {}]);
    let mut domain = vec![Step::Ruleset {
        files,
        network,
        scopes,
    }];
    domain.extend(rules.iter().filter_map(|(at, access)| {
        let is_file = at == "d/file";
        let access = match is_file {
            true => access & files & (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV),
            false => access & files,
        };
        (access != 0).then(|| allow(at, access))
    }));
    domain.push(Step::Restrict { quiet: false });
    insert(&mut steps, "streams", domain);
    steps
}

fn allow(at: &str, access: u64) -> OwnedStep {
    Step::AllowPath {
        path: b(at),
        access,
        optional: false,
    }
}

/// A shell in a jar whose domain allows it to start.
fn shell_held(script: &str) -> Vec<OwnedStep> {
    let rules = SURROUNDINGS.map(|(at, access)| (at.to_owned(), access));
    held(
        shell(script),
        [FILES[version().min(7)], 0, scopes()],
        &rules,
    )
}

/// Both scopes, where this kernel has them.
fn scopes() -> u64 {
    if version() >= 6 { 3 } else { 0 }
}

/// One instruction of a filter; `struct sock_filter`.
fn instruction(code: u16, if_true: u8, if_false: u8, k: u32) -> [u8; 8] {
    let [c0, c1] = code.to_ne_bytes();
    let [k0, k1, k2, k3] = k.to_ne_bytes();
    [c0, c1, if_true, if_false, k0, k1, k2, k3]
}

/// A filter under which one call says that it is done and does nothing.
fn lying_about(call: i64) -> OwnedStep {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ANSWER: u32 = 0x0005_0000;
    const ENOSYS: u32 = 38;
    let number = |call: i64| u32::try_from(call).unwrap();
    let program = [
        instruction(LOAD, 0, 0, 0),
        instruction(EQUAL, 2, 0, number(call)),
        // By which the launcher sees that a filter is there.
        instruction(EQUAL, 2, 0, number(libc::SYS_clone3)),
        instruction(RETURN, 0, 0, ALLOW),
        instruction(RETURN, 0, 0, ANSWER),
        instruction(RETURN, 0, 0, ANSWER | ENOSYS),
    ];
    Step::Filter {
        program: Bytes(program.concat()),
        listener: false,
        arguments_low: 0,
        arguments_high: 0,
        variables_low: 0,
        variables_high: 0,
    }
}

/// The launch fails at a step, with an error of its own.
fn fails_at(steps: &[OwnedStep], word: &str, errno: i32) {
    let (told, _, output) = Host::start().run(steps);
    assert_eq!(
        told.failed,
        Some((position(steps, word), errno)),
        "{output}"
    );
    assert_eq!(output, "");
}

/// Landlock is there, as a jar uses it.
macro_rules! need_landlock {
    () => {
        if version() < 2 {
            eprintln!("skipped: this kernel has no Landlock of version 2");
            return;
        }
    };
}

// ---- claims ----

#[test]
fn the_kernel_makes_the_same_of_our_calls_as_of_the_crate_landlock_s() {
    need_landlock!();
    for abi in 1..=version().min(7) {
        let (ours, beside) = (ours(abi, 0, 0), beside(abi));
        assert!(ours.lines().count() > 90, "{ours}");
        for (ours, beside) in ours.lines().zip(beside.lines()) {
            assert_eq!(ours, beside, "ABI {abi}");
        }
        assert_eq!(ours, beside, "ABI {abi}");
    }
}

#[test]
fn landlock_alone_holds_what_no_mount_and_no_filter_does() {
    need_landlock!();
    let said = ours(version().min(7), 0, scopes());
    let of = |at: &str| -> Vec<&str> {
        let start = format!("{at}: ");
        let lines = said.lines().filter_map(|line| line.strip_prefix(&start));
        lines.filter_map(|line| line.strip_suffix(" yes")).collect()
    };
    let changes = [
        "append",
        "truncate",
        "make",
        "directory",
        "link",
        "pipe",
        "rename",
        "remove",
        "rmdir",
        "refer",
        "refer-elsewhere",
    ];
    // Listing is allowed at the root, and so everywhere.
    assert_eq!(of("none"), ["list"]);
    assert_eq!(of("look"), ["list", "read"]);
    assert_eq!(of("run"), ["list", "read", "run"]);
    for (at, runs) in [
        ("all", true),
        ("all/deep", true),
        ("data", false),
        ("data/deep", false),
    ] {
        let mut expected = vec!["list", "read"];
        expected.extend(changes);
        if runs {
            expected.insert(4, "run");
        } else {
            // A file that could not be run would be run from there.
            expected.pop();
        }
        assert_eq!(of(at), expected, "{at}");
    }
    assert_eq!(of("file"), ["read", "append", "truncate"]);
}

#[test]
fn every_part_of_a_set_of_rules_is_taken() {
    need_landlock!();
    let all = version();
    let network: &[u64] = if all >= 4 { &[0, 3] } else { &[0] };
    let scopes: &[u64] = if all >= 6 { &[0, 1, 2, 3] } else { &[0] };
    for network in network {
        for scopes in scopes {
            let rules = SURROUNDINGS.map(|(at, access)| (at.to_owned(), access));
            let parts = [FILES[all.min(7)], *network, *scopes];
            let steps = held(shell("echo held"), parts, &rules);
            let (told, _, output) = Host::start().run(&steps);
            assert_eq!(
                (told.failed, output.as_str()),
                (None, "held\n"),
                "{parts:?}"
            );
        }
    }
}

#[test]
fn a_domain_with_signals_keeps_them_in_and_pid_1_out() {
    need_landlock!();
    let script = "kill -0 1 2> /dev/null && echo pid 1; sleep 9 & kill $! && echo own child; \
                  wait; echo end";
    let (told, ended, output) = Host::start().run(&shell_held(script));
    assert_eq!(told.failed, None);
    let expected = match scopes() {
        0 => "pid 1\nown child\nend\n",
        _ => "own child\nend\n",
    };
    assert_eq!(output, expected);
    assert_eq!((ended.main_status, ended.init_status), (0, 0));
}

#[test]
fn a_domain_with_abstract_names_keeps_from_the_machine_s_in_its_own_network() {
    need_landlock!();
    if scopes() == 0 {
        return;
    }
    let name = format!("belljar-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let script = format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); \
         connect(S, pack_sockaddr_un(\"\\0{name}\")) or die $!' 2>&1 && echo reached"
    );
    for (scopes, expected) in [(0, "reached"), (1, "not permitted")] {
        let rules = SURROUNDINGS.map(|(at, access)| (at.to_owned(), access));
        let parts = [FILES[version().min(7)], 0, scopes];
        let mut steps = held(shell(&script), parts, &rules);
        steps.retain(|step| !matches!(step, Step::Loopback {}));
        if let Some(Step::Clone { namespaces }) = steps.first_mut() {
            namespaces.network = false;
        }
        let (told, _, output) = Host::start().run(&steps);
        assert_eq!(told.failed, None);
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn a_rule_that_allows_the_canary_ends_the_launch_at_restrict() {
    need_landlock!();
    let mut steps = shell_held("echo ran");
    let at = position(&steps, "restrict") as usize;
    steps.insert(at, allow("", READ_FILE));
    fails_at(&steps, "restrict", ECANCELED);
}

#[test]
fn a_set_that_does_not_hold_reading_ends_the_launch_at_restrict() {
    need_landlock!();
    let steps = held(shell("echo ran"), [WRITE_FILE, 0, 0], &[]);
    fails_at(&steps, "restrict", ECANCELED);
}

#[test]
fn landlock_that_is_silently_off_ends_the_launch_at_restrict() {
    need_landlock!();
    let mut steps = shell_held("echo ran");
    let at = position(&steps, "ruleset") as usize;
    steps.insert(at, lying_about(libc::SYS_landlock_restrict_self));
    fails_at(&steps, "restrict", ECANCELED);
}

#[test]
fn signals_that_go_out_ends_the_launch_at_restrict() {
    need_landlock!();
    if scopes() == 0 {
        return;
    }
    let mut steps = shell_held("echo ran");
    let at = position(&steps, "ruleset") as usize;
    steps.insert(at, lying_about(libc::SYS_kill));
    fails_at(&steps, "restrict", ECANCELED);
}

#[test]
fn without_the_means_to_try_it_nothing_is_launched() {
    need_landlock!();
    const EPROTO: i32 = 71;
    let without = |word: &str| {
        let mut steps = shell_held("echo ran");
        let at = position(&steps, word) as usize;
        steps.remove(at);
        steps
    };
    fails_at(&without("canary"), "restrict", EPROTO);
    fails_at(&without("ruleset"), "allow_path", EPROTO);
    let mut no_proc = shell_held("echo ran");
    no_proc.retain(|step| {
        let of_proc = |path: &Bytes| path.0.starts_with(b"proc");
        !match step {
            Step::Proc { .. } => true,
            Step::Mask { path } | Step::ReadOnly { path } => of_proc(path),
            _ => false,
        }
    });
    fails_at(&no_proc, "restrict", ECANCELED);
}

#[test]
fn a_rule_for_what_is_not_there_is_skipped_where_it_may_be_and_fails_else() {
    need_landlock!();
    let with = |optional| {
        let mut steps = shell_held("echo ran");
        let at = position(&steps, "allow_path") as usize;
        let rule = Step::AllowPath {
            path: b("usr/not/there"),
            access: READ_FILE,
            optional,
        };
        steps.insert(at, rule);
        steps
    };
    let steps = with(true);
    let (told, _, output) = Host::start().run(&steps);
    assert_eq!((told.failed, output.as_str()), (None, "ran\n"));
    let at = position(&steps, "allow_path");
    let skipped = told.done.iter().filter(|done| done.errno != 0);
    let skipped: Vec<_> = skipped
        .map(|done| (u32::from(done.step), done.errno))
        .collect();
    assert_eq!(skipped, [(at, ENOENT)]);
    fails_at(&with(false), "allow_path", ENOENT.into());
}

#[test]
fn a_canary_that_was_made_ahead_serves_the_launch() {
    need_landlock!();
    let host = Host::start();
    let steps = shell_held("echo held; ls /");
    let parked = host.park_with(&steps, b"");
    let mut launch = host.launch(1, &steps);
    let (started, _pidfd) = host.started();
    assert_eq!(started.pid, parked);
    assert_eq!(launch.told().failed, None);
    drop(launch.stdin.take());
    let output = launch.output();
    assert!(
        output.starts_with("held\n") && !output.contains("canary"),
        "{output}"
    );
    host.ended();
}

#[test]
fn queues_are_the_jar_s_own_and_allowed_by_their_rule_alone() {
    need_landlock!();
    // Perl has no mq_open of its own: by number, O_CREAT | O_RDWR.
    let script = format!(
        "perl -e '$n = \"q\"; exit(syscall({}, $n, 66, 0600, 0) < 0)' && echo opened || echo refused",
        libc::SYS_mq_open
    );
    for (with, expected) in [(true, "opened\n"), (false, "refused\n")] {
        let mut steps = shell_held(&script);
        if with {
            let at = position(&steps, "keyring") as usize;
            steps.insert(at, Step::Queues {});
            let at = position(&steps, "restrict") as usize;
            let access = READ_FILE | WRITE_FILE;
            steps.insert(at, Step::AllowQueues { access });
        }
        let (told, _, output) = Host::start().run(&steps);
        assert_eq!((told.failed, output.as_str()), (None, expected));
    }
}
