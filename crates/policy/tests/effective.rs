//! `docs/contract.md` section 1, line by line.

mod world;

use belljar_plan::{Limit, Preset};
use belljar_policy::{
    Policy,
    effective::Grant,
    manifest::{Bound, Place},
};
use world::{decide, invalid, path, place, plugin, policy, program, unmet};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

fn hard(value: u64) -> Bound {
    Bound {
        hard: Some(value),
        ..Bound::default()
    }
}

fn grant(at: &str, write: bool, origin: &str) -> Grant {
    Grant {
        path: path(at),
        at: None,
        write,
        optional: false,
        origin: origin.to_owned(),
    }
}

fn with_flags(mut policy: Policy, read: &[&str], write: &[&str]) -> Policy {
    policy.flags.read = read.iter().map(|path| place(path)).collect();
    policy.flags.write = write.iter().map(|path| place(path)).collect();
    policy
}

fn flags(read: &[&str], write: &[&str]) -> Policy {
    with_flags(Policy::default(), read, write)
}

#[test]
fn a_bare_program_gets_exactly_the_flags() {
    let got = decide(&program(), &flags(&["/etc"], &["/data/b"]));
    assert_eq!(got.preset.value, Preset::Standard);
    assert_eq!(
        got.grants,
        [
            grant("/etc", false, "--read"),
            grant("/data/b", true, "--write")
        ]
    );
    assert_eq!((got.user, got.hostname.as_str()), ((1000, 1000), "belljar"));
    assert_eq!(got.uid_range, (2_000_000_000, 65536));
    assert!(got.subprocesses && got.jit && got.weakenings.is_empty());
}

#[test]
fn a_policy_s_ceiling_grants_a_bare_program_nothing() {
    let file = policy("filesystem.read = ['/data']\nenv.pass = ['LANG']");
    let got = decide(&program(), &file);
    assert!(got.grants.is_empty() && got.pass.is_empty());
}

#[test]
fn a_plugin_runs_strict_and_a_program_standard_unless_said_otherwise() {
    assert_eq!(
        decide(&plugin(""), &Policy::default()).preset.value,
        Preset::Strict
    );
    let file = policy("preset = 'minimal'");
    let got = decide(&plugin(""), &file);
    assert_eq!(
        (got.preset.value, got.preset.origin.as_str()),
        (Preset::Minimal, "p line 1")
    );
    let mut file = file;
    file.flags.preset = Some(Preset::Standard);
    let got = decide(&plugin(""), &file);
    assert_eq!(
        (got.preset.value, got.preset.origin.as_str()),
        (Preset::Standard, "--preset")
    );
}

#[test]
fn a_plugin_gets_what_manifest_and_policy_share_and_the_flags() {
    let asks = plugin("[filesystem]\nread = ['/data/a']\n");
    let mut file = policy("filesystem.read = ['/data', '/srv']");
    file.flags.read = vec![place("/srv")];
    assert_eq!(
        decide(&asks, &file).grants,
        [
            grant("/srv", false, "--read"),
            grant("/data/a", false, "m line 6")
        ]
    );
}

#[test]
fn a_request_not_granted_refuses_with_the_flag_and_the_policy_line_that_would_grant_it() {
    let asks =
        plugin("[filesystem]\nread = ['/data/a']\nwrite = ['/link']\n[env]\npass = ['TZ']\n");
    assert_eq!(
        unmet(&asks, &Policy::default()),
        [
            (
                "`filesystem.read /data/a` (m line 6) is not granted by preset strict".to_owned(),
                "grant it for this run by `--read /data/a`, or for every run by `read = [\"/data/a\"]` under `[filesystem]` in a policy file".to_owned()
            ),
            (
                "`filesystem.write /link` (m line 7) leads to /data/a and is not granted by preset strict".to_owned(),
                "grant it for this run by `--write /link`, or for every run by `write = [\"/data/a\"]` under `[filesystem]` in a policy file".to_owned()
            ),
            (
                "`env.pass TZ` (m line 9) is not granted by preset strict".to_owned(),
                "grant it for this run by `--pass-env TZ`, or for every run by `pass = [\"TZ\"]` under `[env]` in a policy file".to_owned()
            ),
        ]
    );
    // The remedies work.
    let mut flags = flags(&[], &["/link"]);
    flags.flags.read = vec![place("/data")];
    flags.flags.pass = vec!["TZ".into()];
    decide(&asks, &flags);
    let file =
        policy("filesystem = { read = ['/data/a'], write = ['/data/a'] }\nenv.pass = ['TZ']");
    decide(&asks, &file);
}

#[test]
fn an_optional_request_is_dropped_and_reported() {
    let asks = plugin(
        "[filesystem]\nread = [{ path = '/data/a', optional = true }]\nwrite = [{ path = '/gone', optional = true }]\n\
         [network]\nconnect = [{ to = 'x:1', optional = true }]\n\
         [process]\njit = { optional = true }\n[env]\nset.LD_PRELOAD = { value = 'x', optional = true }\n",
    );
    let got = decide(&asks, &Policy::default());
    assert!(got.grants.is_empty() && !got.jit && got.set.is_empty());
    let dropped: Vec<_> = got
        .dropped
        .iter()
        .map(|dropped| (dropped.request.as_str(), dropped.reason.as_str()))
        .collect();
    assert_eq!(
        dropped,
        [
            ("filesystem.read /data/a", "is not granted by preset strict"),
            ("filesystem.write /gone", "does not exist on this machine"),
            (
                "env.set LD_PRELOAD",
                "is not granted: a loader obeys it before the plugin starts"
            ),
            ("process.jit", "is not granted by preset strict"),
            ("network.connect x:1", "is unsupported in this version"),
        ]
    );
}

#[test]
fn requests_for_network_are_refused_as_unsupported() {
    let asks = plugin("[network]\nconnect = ['x:1']\n");
    let reasons = unmet(&asks, &policy("network.connect = ['x:1']"));
    assert_eq!(reasons.len(), 1);
    for (reason, _) in reasons {
        assert!(reason.contains("unsupported"), "{reason}");
    }
}

#[test]
fn a_flag_above_a_policy_s_ceiling_is_refused_with_both_lines_named() {
    let file = |text| policy(text);
    for (file, flag, expected) in [
        (
            with_flags(file("filesystem.read = ['/data']"), &["/etc"], &[]),
            "",
            "--read /etc: it leads to /etc, which is more than `filesystem.read` allows (p line 1); add it there, or leave the flag out",
        ),
        (
            with_flags(file("filesystem.read = []"), &["/etc"], &[]),
            "",
            "--read /etc: it leads to /etc, which is more than `filesystem.read` allows (p line 1); add it there, or leave the flag out",
        ),
        (
            with_flags(file("filesystem.read = ['/data']"), &[], &["/data"]),
            "",
            "--write /data: it leads to /data, which is more than `filesystem.read` allows (p line 1); add it there, or leave the flag out",
        ),
        (
            with_flags(file("filesystem.deny = ['/data/a']"), &["/link"], &[]),
            "",
            "--read /link: `/data/a` is denied (p line 1), and deny beats every flag",
        ),
        (
            file("limits.memory = '1GiB'"),
            "memory",
            "--memory 4 GiB is above the policy's 1 GiB (p line 1); lower the flag, or raise the policy's `memory` under `[limits]`",
        ),
        (
            file("limits.memory = '1GiB'"),
            "none",
            "--memory none is above the policy's 1 GiB (p line 1); lower the flag, or raise the policy's `memory` under `[limits]`",
        ),
        (
            file("env.deny = ['LD_*']"),
            "env",
            "--env LD_PRELOAD: `LD_*` is denied (p line 1), and deny beats every flag",
        ),
        (
            file("env.set = ['MODE']"),
            "env",
            "--env LD_PRELOAD: it is not among what `env.set` allows (p line 1); add it there, or leave the flag out",
        ),
        (
            file("env.pass = []"),
            "pass",
            "--pass-env TZ: it is not among what `env.pass` allows (p line 1); add it there, or leave the flag out",
        ),
    ] {
        let mut policy = file;
        match flag {
            "memory" => drop(policy.flags.limits.insert(Limit::Memory, hard(4096 * MIB))),
            "none" => drop(policy.flags.limits.insert(Limit::Memory, Bound::default())),
            "env" => policy.flags.set.push(("LD_PRELOAD".into(), "x".into())),
            "pass" => policy.flags.pass.push("TZ".into()),
            _ => {}
        }
        assert_eq!(invalid(&program(), &policy), expected);
        assert_eq!(invalid(&plugin(""), &policy), expected);
    }
}

#[test]
fn a_list_that_a_policy_does_not_mention_bounds_no_flag() {
    let file = with_flags(policy("limits.wall = 5"), &["/etc"], &["/srv"]);
    assert_eq!(decide(&plugin(""), &file).grants.len(), 2);
}

#[test]
fn deny_beats_allow() {
    let file = policy("filesystem = { read = ['/data'], deny = ['/data/a'] }");
    let (reason, remedy) = unmet(&plugin("[filesystem]\nread = ['/data/a']"), &file).remove(0);
    assert_eq!(
        reason,
        "`filesystem.read /data/a` (m line 6) is denied by `/data/a` (p line 1), and deny beats every grant"
    );
    assert_eq!(remedy, "take `/data/a` out of `deny`");
    let got = decide(&plugin("[filesystem]\nread = ['/data']"), &file);
    assert_eq!(got.hidden[0].value, path("/data/a"));
}

#[test]
fn a_deny_holds_for_what_a_link_leads_to_and_for_the_link() {
    let by_target = with_flags(policy("filesystem.deny = ['/data/a']"), &["/link"], &[]);
    assert!(invalid(&program(), &by_target).contains("denied"));
    let by_link = with_flags(policy("filesystem.deny = ['/link']"), &["/data/a"], &[]);
    assert!(invalid(&program(), &by_link).contains("denied"));
    let below = with_flags(
        policy("filesystem.deny = ['/link']"),
        &["/data/a/secret"],
        &[],
    );
    assert!(invalid(&program(), &below).contains("denied"));
    // Hidden is what the link leads to.
    let inside = with_flags(policy("filesystem.deny = ['/link']"), &["/data"], &[]);
    assert_eq!(decide(&program(), &inside).hidden[0].value, path("/data/a"));
}

#[test]
fn a_link_inside_an_allowed_directory_does_not_allow_what_it_leads_to() {
    let file = policy("filesystem.read = ['/data']");
    let (reason, _) = unmet(&plugin("[filesystem]\nread = ['/data/out']"), &file).remove(0);
    assert_eq!(
        reason,
        "`filesystem.read /data/out` (m line 6) leads to /etc and is not granted by `filesystem.read` (p line 1)"
    );
    let flag = with_flags(file, &["/data/out"], &[]);
    assert!(invalid(&program(), &flag).contains("leads to /etc"));
}

#[test]
fn a_ceiling_that_is_a_link_allows_what_it_leads_to() {
    let file = policy("filesystem.read = ['/link']");
    decide(&plugin("[filesystem]\nread = ['/data/a/secret']"), &file);
    assert_eq!(
        unmet(&plugin("[filesystem]\nread = ['/data/b']"), &file).len(),
        1
    );
}

#[test]
fn writing_needs_the_write_ceiling_and_brings_reading() {
    let file = policy("filesystem = { read = ['/srv'], write = ['/data'] }");
    assert_eq!(
        unmet(&plugin("[filesystem]\nwrite = ['/srv']"), &file).len(),
        1
    );
    decide(
        &plugin("[filesystem]\nread = ['/data']\nwrite = ['/data/a']"),
        &file,
    );
}

#[test]
fn a_deny_that_is_not_there_inside_what_may_be_written_is_refused() {
    let file = with_flags(
        policy("filesystem.deny = ['/data/a/later']"),
        &[],
        &["/data"],
    );
    assert_eq!(
        invalid(&program(), &file),
        "p line 1: `/data/a/later` is denied inside `/data`, which may be written (--write), and is not there: the guest could make it; create it first, or grant a narrower path"
    );
    // Through a link above it too.
    let file = with_flags(policy("filesystem.deny = ['/link/later']"), &[], &["/data"]);
    assert!(invalid(&program(), &file).contains("/link/later"));
    let reading = with_flags(
        policy("filesystem.deny = ['/data/a/later']"),
        &["/data"],
        &[],
    );
    assert!(decide(&program(), &reading).hidden.is_empty());
}

#[test]
fn a_grant_that_can_never_apply_is_refused() {
    for (given, reason) in [
        ("/gone", "does not exist on this machine"),
        ("/proc/self", "a jar has a /proc of its own"),
        ("/", "a jar has a root of its own"),
    ] {
        assert!(invalid(&program(), &flags(&[given], &[])).contains(reason));
    }
    let mut policy = Policy::default();
    policy.flags.read = vec![
        Place {
            path: path("/data"),
            at: Some(path("/in")),
        },
        Place {
            path: path("/srv"),
            at: Some(path("/in")),
        },
    ];
    assert!(invalid(&program(), &policy).contains("cannot both be at one place"));
}

#[test]
fn two_grants_of_one_thing_are_the_wider_one() {
    let got = decide(&program(), &flags(&["/data"], &["/data"]));
    assert_eq!(got.grants, [grant("/data", true, "--write")]);
    // By two names: both are there, and both may be written.
    let got = decide(&program(), &flags(&["/link"], &["/data/a"]));
    assert!(got.grants.len() == 2 && got.grants.iter().all(|grant| grant.write));
}

#[test]
fn what_the_preset_shows_needs_no_grant_but_is_remembered() {
    let asks = plugin("[filesystem]\nread = ['/usr/share/dict']");
    let shown = |policy| {
        let got = decide(&asks, &policy);
        (got.grants.len(), got.shown.len())
    };
    assert_eq!(shown(Policy::standard()), (0, 1));
    assert_eq!(shown(Policy::minimal()), (0, 1));
    assert_eq!(unmet(&asks, &Policy::strict()).len(), 1);
}

#[test]
fn a_limit_asked_for_above_the_policy_is_lowered_and_says_which_side_decided() {
    let said = |verified: &belljar_policy::Verified, policy: &Policy, limit| {
        let said = decide(verified, policy).limits[&limit].clone();
        (said.value.soft, said.value.hard, said.origin)
    };
    let strict = Policy::default();
    let memory = |text: &str| plugin(&format!("[limits]\nmemory = {text}"));
    for (asked, policy, expected) in [
        ("'1GiB'", &strict, (64, 128, "preset strict")),
        ("'100MiB'", &strict, (64, 100, "m line 6")),
        ("'32MiB'", &strict, (32, 32, "m line 6")),
        (
            "{ soft = '16MiB', hard = '1GiB' }",
            &strict,
            (16, 128, "preset strict"),
        ),
        ("{ soft = '16MiB' }", &strict, (16, 128, "m line 6")),
        (
            "'512MiB'",
            &policy("limits.memory = '256MiB'"),
            (64, 256, "p line 1"),
        ),
        (
            "'200MiB'",
            &policy("limits.memory = '256MiB'"),
            (64, 200, "m line 6"),
        ),
    ] {
        let (soft, hard, origin) = expected;
        assert_eq!(
            said(&memory(asked), policy, Limit::Memory),
            (Some(soft * MIB), Some(hard * MIB), origin.to_owned()),
            "{asked}"
        );
    }
    // Nothing asked: the preset's, or the policy's where that is less.
    let file = policy("limits = { memory = '1GiB', wall = 60 }");
    assert_eq!(
        said(&plugin(""), &file, Limit::Memory),
        (Some(64 * MIB), Some(128 * MIB), "preset strict".into())
    );
    assert_eq!(
        said(&plugin(""), &file, Limit::Wall),
        (None, Some(60 * SECOND), "p line 1".into())
    );
    assert_eq!(
        said(&program(), &file, Limit::Wall),
        (None, Some(60 * SECOND), "p line 1".into())
    );
}

#[test]
fn a_flag_replaces_the_preset_s_limit_up_or_down() {
    let said = |preset: Preset, limit, bound| {
        let mut policy = Policy::of(preset);
        policy.flags.limits.insert(limit, bound);
        let got = decide(&program(), &policy);
        assert_eq!(
            got.limits[&limit].origin,
            belljar_policy::units::flag(limit)
        );
        (got.limits[&limit].value, got.weakenings)
    };
    let bound = |soft: Option<u64>, hard: Option<u64>| Bound {
        soft,
        hard,
        stop: false,
    };
    for (limit, flag, expected) in [
        (Limit::Memory, hard(MIB), bound(Some(MIB), Some(MIB))),
        (
            Limit::Memory,
            hard(1024 * MIB),
            bound(Some(64 * MIB), Some(1024 * MIB)),
        ),
        (Limit::OpenFiles, hard(1000), bound(Some(1000), Some(1000))),
        (Limit::OpenFiles, hard(10), bound(Some(10), Some(10))),
        (Limit::Wall, hard(SECOND), bound(None, Some(SECOND))),
    ] {
        assert_eq!(said(Preset::Strict, limit, flag), (expected, Vec::new()));
    }
    assert_eq!(
        said(Preset::Strict, Limit::Wall, Bound::default()),
        (
            Bound::default(),
            vec!["no limit of wall (--wall none)".into()]
        )
    );
    let mut zero = Policy::default();
    zero.flags.limits.insert(Limit::Wall, hard(0));
    assert!(invalid(&program(), &zero).contains("--wall"));
}

#[test]
fn presets_have_the_contract_s_limits() {
    let hards = |preset| -> Vec<_> {
        let limits = decide(&program(), &Policy::of(preset)).limits;
        limits
            .into_iter()
            .map(|(limit, said)| (limit, said.value.soft, said.value.hard.unwrap()))
            .collect()
    };
    let usual = |memory: u64, processes: u64| {
        vec![
            (Limit::Memory, None, memory * MIB),
            (Limit::Processes, None, processes),
            (Limit::OpenFiles, Some(1024), 4096),
            (Limit::Disk, None, 1024 * MIB),
        ]
    };
    assert_eq!(hards(Preset::Minimal), usual(4096, 1024));
    assert_eq!(hards(Preset::Standard), usual(2048, 512));
    assert_eq!(
        hards(Preset::Strict),
        [
            (Limit::Memory, Some(64 * MIB), 128 * MIB),
            (Limit::CpuTime, None, 60 * SECOND),
            (Limit::Wall, None, 300 * SECOND),
            (Limit::Output, None, 8 * MIB),
            (Limit::Processes, Some(10), 50),
            (Limit::OpenFiles, Some(64), 128),
            (Limit::FileSize, None, 64 * MIB),
            (Limit::Disk, None, 64 * MIB),
        ]
    );
}

#[test]
fn strict_gives_subprocesses_and_jit_only_by_a_policy() {
    let asks = plugin("[process]\nsubprocesses = true");
    let (reason, remedy) = unmet(&asks, &Policy::default()).remove(0);
    assert_eq!(
        reason,
        "`process.subprocesses` (m line 6) is not granted by preset strict"
    );
    assert!(remedy.contains("`subprocesses = true` under `[process]`"));
    let file = policy("process.subprocesses = true");
    assert!(decide(&asks, &file).subprocesses);
    assert!(!decide(&plugin(""), &file).subprocesses);
    assert!(!decide(&program(), &Policy::strict()).subprocesses);
    let mut bare = file;
    bare.flags.preset = Some(Preset::Strict);
    assert!(decide(&program(), &bare).subprocesses);
    let never = policy("preset = 'standard'\nprocess.subprocesses = false");
    assert!(!decide(&program(), &never).subprocesses);
    assert_eq!(unmet(&asks, &never).len(), 1);
}

#[test]
fn a_plugin_cannot_set_what_speaks_for_its_jar_or_what_a_loader_obeys() {
    for name in [
        "SANDBOX_POLICY",
        "NO_NETWORK",
        "NO_SUBPROCESS",
        "NO_FILESYSTEM_WRITE",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "GLIBC_TUNABLES",
    ] {
        let asks = plugin(&format!("[env]\nset.{name} = 'x'"));
        assert_eq!(unmet(&asks, &Policy::minimal()).len(), 1, "{name}");
        assert_eq!(unmet(&asks, &policy("env.set = ['*']")).len(), 1, "{name}");
    }
    let mut flags = Policy::default();
    flags.flags.set.push(("LD_PRELOAD".into(), "x".into()));
    assert_eq!(decide(&plugin(""), &flags).set["LD_PRELOAD"], "x".into());
}

#[test]
fn variables_pass_only_where_a_policy_or_flag_names_them() {
    let asks = plugin("[env]\npass = ['LC_ALL']\nset.MODE = 'x'");
    let got = decide(&asks, &policy("env.pass = ['LC_*']"));
    assert_eq!(got.pass, ["LC_ALL"]);
    assert_eq!(got.set["MODE"], "x".into());
    assert_eq!(unmet(&asks, &policy("env.pass = ['LANG']")).len(), 1);
    assert_eq!(
        unmet(&asks, &policy("env = { pass = ['LC_*'], set = [] }")).len(),
        1
    );
    let loader = plugin("[env]\npass = ['LD_PRELOAD']");
    assert_eq!(unmet(&loader, &policy("env.pass = ['*']")).len(), 1);
    assert_eq!(
        decide(&loader, &policy("env.pass = ['LD_PRELOAD']"))
            .pass
            .len(),
        1
    );
    let denies = policy("preset = 'minimal'\nenv.deny = ['AWS_*']");
    assert_eq!(decide(&program(), &denies).deny_env[0].value, "AWS_*");
}

#[test]
fn a_secret_passes_only_where_it_is_named() {
    let asks = plugin("[env]\npass = ['GITHUB_TOKEN', 'EDITOR']");
    let (reason, _) = unmet(&asks, &Policy::minimal()).remove(0);
    assert_eq!(
        reason,
        "`env.pass GITHUB_TOKEN` (m line 6) is not granted by preset minimal"
    );
    let named = policy("preset = 'minimal'\nenv.pass = ['GITHUB_TOKEN']");
    assert_eq!(decide(&asks, &named).pass, ["GITHUB_TOKEN"]);
}

#[test]
fn a_flag_s_value_goes_before_the_manifest_s() {
    let mut flags = Policy::default();
    flags.flags.set.push(("MODE".into(), "flag".into()));
    let got = decide(&plugin("[env]\nset.MODE = 'manifest'"), &flags);
    assert_eq!(got.set["MODE"], "flag".into());
}

#[test]
fn each_weakening_of_linux_is_named() {
    let file = policy(
        "[linux]\nnamespaces = ['user', 'pid', 'mount', 'uts', 'ipc', 'cgroup']\ncaps = { keep = ['net_raw'] }",
    );
    let got = decide(&program(), &file);
    assert_eq!(
        got.weakenings,
        [
            "no network namespace of its own (p line 2)",
            "Linux capabilities kept: CAP_NET_RAW (p line 3)"
        ]
    );
    assert_eq!(got.capabilities, (1 << 13, 0));
    assert!(!got.namespaces.network && got.namespaces.user);
}

#[test]
fn nobody_s_user_and_a_hostname_that_is_none_are_refused() {
    let mut policy = Policy::default();
    policy.flags.user = Some((65534, 1000));
    assert!(invalid(&program(), &policy).starts_with("--user: uid 65534"));
    for name in ["", "a b", "a\n", &"a".repeat(65)] {
        let mut policy = Policy::default();
        policy.flags.hostname = Some(name.to_owned());
        assert!(
            invalid(&program(), &policy).starts_with("--hostname"),
            "{name}"
        );
    }
}

#[test]
fn every_contradiction_is_listed_not_just_the_first() {
    let mut policy = flags(&["/gone", "/proc/self"], &[]);
    policy.flags.hostname = Some("a b".into());
    assert_eq!(invalid(&program(), &policy).matches("; --").count(), 2);
}

#[test]
fn overrides_are_for_their_plugin_only() {
    let file = policy("[plugins.p]\nfilesystem.read = ['/data']\n[plugins.q]\npreset = 'minimal'");
    let asks = plugin("[filesystem]\nread = ['/data/a']");
    let got = decide(&asks, &file);
    assert_eq!((got.grants.len(), got.preset.value), (1, Preset::Strict));
}
