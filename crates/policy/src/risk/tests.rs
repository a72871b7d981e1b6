use proptest::prelude::*;

use super::*;

fn path(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn around() -> Surroundings {
    Surroundings::of(&Caller {
        environment: vec![("PATH".into(), "/home/me/tools:relative:/usr/bin".into())],
        workdir: None,
        homes: vec![path("/home/me"), path("/root")],
    })
}

fn read(text: &str) -> Option<(Level, String)> {
    of_read(&path(text), &around()).map(|risk| (risk.level, risk.words))
}

fn write(text: &str) -> Option<(Level, String)> {
    of_write(&path(text), &around()).map(|risk| (risk.level, risk.words))
}

fn level(found: Option<(Level, String)>) -> Option<Level> {
    found.map(|(level, _)| level)
}

#[test]
fn the_callers_path_and_the_systems_are_where_programs_are_found() {
    let around = around();
    assert_eq!(around.path_directories[0], path("/home/me/tools"));
    assert!(around.path_directories.contains(&path("/sbin")));
    let twice = around.path_directories.iter();
    assert_eq!(twice.filter(|path| path.as_str() == "/usr/bin").count(), 1);
}

#[test]
fn what_is_written_where_programs_are_found_runs_outside() {
    for text in [
        "/home/me/tools",
        "/home/me/tools/x",
        "/usr/local/bin",
        "/usr/local",
        "/usr/bin/env",
    ] {
        assert_eq!(level(write(text)), Some(Level::Critical), "{text}");
    }
    assert!(
        write("/home/me/tools/x")
            .unwrap()
            .1
            .contains("`/home/me/tools`")
    );
    // Two levels below it, nothing is found by name.
    assert_eq!(write("/home/me/tools/data/x"), None);
    assert_eq!(read("/home/me/tools"), None);
}

#[test]
fn what_a_home_runs_when_it_starts_is_not_to_be_written() {
    for text in [
        "/home/me/.bashrc",
        "/home/me/.profile",
        "/root/.ssh",
        "/root/.ssh/authorized_keys",
        "/home/me/.config/autostart",
        "/home/me/.config/autostart/x.desktop",
        "/home/me/.config",
        "/home/me/.gitconfig",
        "/home/me/work/project/.git/hooks",
        "/home/me/work/project/.git/hooks/pre-commit",
        "/etc/cron.d",
        "/etc",
        "/etc/systemd/system",
        "/home/me/.config/systemd/user",
        "/home/me",
        "/home",
        "/",
    ] {
        assert_eq!(level(write(text)), Some(Level::Critical), "{text}");
    }
    assert_eq!(
        level(write("/home/me/work/project/.git")),
        Some(Level::High)
    );
    assert_eq!(level(write("/home/me/.somerc")), Some(Level::High));
    assert_eq!(level(write("/home/me/.cache/x")), Some(Level::Low));
    for text in [
        "/srv/data",
        "/home/me/work",
        "/home/me/work/x.git",
        "/tmp/out",
        "/home/meadow/.bashrc",
    ] {
        assert_eq!(write(text), None, "{text}");
    }
}

#[test]
fn credentials_are_known_by_name_from_above_and_from_within() {
    for text in [
        "/home/me/.ssh",
        "/home/me/.ssh/id_ed25519",
        "/root/.aws/credentials",
        "/home/me/.netrc",
        "/home/me/.git-credentials",
        "/home/me/.docker/config.json",
        "/home/me/.config/gcloud",
        "/home/me/.kube/config",
        "/home/me/.gnupg",
        "/home/me/.mozilla/firefox",
        "/home/me/.config/google-chrome-beta",
        "/home/me/.local/share/keyrings",
        "/home/me/.cargo/credentials.toml",
        "/home/me/.config",
        "/home/me/.local/share",
        "/etc/shadow",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc",
        "/var",
        "/var/lib",
        "/home/me/work/deploy/id_rsa",
        "/home",
        "/home/me",
        "/root",
        "/",
    ] {
        assert_eq!(level(read(text)), Some(Level::Critical), "{text}");
    }
    assert_eq!(level(read("/home/me/work/.env")), Some(Level::High));
    assert_eq!(level(read("/home/me/.somerc")), Some(Level::Low));
    for text in [
        "/usr",
        "/etc/ssl/certs",
        "/etc/ssh/ssh_config",
        "/etc/hosts",
        "/srv",
        "/home/me/work",
        "/home/other",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn sockets_of_those_with_more_rights_are_doors() {
    for text in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/user/1000/podman/podman.sock",
        "/tmp/ssh-AbC/agent.12",
        "/run/user/1000/bus",
        "/tmp/.X11-unix/X0",
        "/run/user/1000/keyring/ssh",
    ] {
        assert_eq!(level(read(text)), Some(Level::Critical), "{text}");
        assert_eq!(level(write(text)), Some(Level::Critical), "{text}");
    }
    let (_, words) = read("/var/run/docker.sock").unwrap();
    assert!(words.contains("root on this machine"), "{words}");
}

#[test]
fn devices_that_see_past_every_wall_are_named() {
    for text in [
        "/dev",
        "/dev/sda",
        "/dev/nvme0n1",
        "/dev/mem",
        "/dev/mapper/root",
        "/dev/input/event3",
        "/dev/pts/3",
    ] {
        assert_eq!(level(read(text)), Some(Level::Critical), "{text}");
    }
    assert_eq!(level(read("/dev/kvm")), Some(Level::High));
    assert_eq!(level(write("/dev/dri/renderD128")), Some(Level::Low));
    assert_eq!(write("/dev/null"), None);
}

#[test]
fn the_worst_is_said_and_the_rest_is_counted() {
    let (_, words) = read("/etc").unwrap();
    assert!(
        words.starts_with("`/etc/shadow` lies in it, and it holds password hashes, and "),
        "{words}"
    );
    let (_, words) = read("/etc/ssl").unwrap();
    assert_eq!(
        words,
        "`/etc/ssl/private` lies in it, and it holds private keys of TLS servers"
    );
}

#[test]
fn weaker_rules_rights_and_calls_are_judged() {
    assert_eq!(of_right(Right::Jit).level, Level::Low);
    assert_eq!(of_call("read"), None);
    assert_eq!(of_call("nonsense"), None);
    for name in [
        "mount",
        "bpf",
        "unshare",
        "io_uring_setup",
        "add_key",
        "open_by_handle_at",
        "init_module",
    ] {
        assert_eq!(of_call(name).unwrap().level, Level::Critical, "{name}");
    }
    assert_eq!(of_call("ptrace").unwrap().level, Level::High);
    assert_eq!(of_capabilities(0), None);
    assert!(
        of_capabilities(1 << 21)
            .unwrap()
            .words
            .starts_with("CAP_SYS_ADMIN")
    );
    assert_eq!(of_namespaces(&Namespaces::ALL), None);
    let no_network = Namespaces {
        network: false,
        ..Namespaces::ALL
    };
    assert_eq!(of_namespaces(&no_network).unwrap().level, Level::High);
    assert_eq!(of_demand(Rule::Files, Some(Strength::Kernel)), None);
    assert_eq!(of_demand(Rule::Files, None).unwrap().level, Level::Critical);
    assert_eq!(
        of_demand(Rule::Files, Some(Strength::None)).unwrap().level,
        Level::Critical
    );
    assert_eq!(of_demand(Rule::Output, None).unwrap().level, Level::Low);
    assert_eq!(of_passed("LANG"), None);
    for name in ["*", "AWS_*", "GITHUB_TOKEN", "SSH_AUTH_SOCK"] {
        assert_eq!(of_passed(name).unwrap().level, Level::High, "{name}");
    }
}

#[test]
fn a_star_stands_for_any_letters_of_one_name() {
    for (pattern, name) in [
        ("a*", "a"),
        ("a*", "abc"),
        ("*", "x"),
        ("a*c", "abc"),
        ("a*b*c", "a1b2c"),
        ("S.*", "S.gpg"),
    ] {
        assert!(fits(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("a", "ab"),
        ("a*c", "ab"),
        ("a*ba", "aba1"),
        ("aa*a", "aa"),
        ("a*b*c", "acb"),
    ] {
        assert!(!fits(pattern, name), "{pattern} {name}");
    }
}

proptest! {
    /// More is never less dangerous: a directory is judged at least as badly as
    /// each place below it that the lists know, and writing as reading.
    #[test]
    fn what_holds_a_known_place_is_as_dangerous_as_the_place(index in 0..SECRETS.len(), up in 1..4usize) {
        let known = SECRETS[index];
        prop_assume!(!known.path.starts_with("**"));
        let text = known.path.replace('*', "x").replace("~/", "/home/me/");
        let place = path(&text);
        let mut above = place.clone();
        for _ in 0..up {
            above = above.parent().unwrap_or(UnixPath::root());
        }
        let around = around();
        let low = of_read(&place, &around).unwrap();
        prop_assert!(low.level >= known.level);
        let high = of_read(&above, &around).unwrap();
        prop_assert!(high.level >= known.level, "{} {:?}", above, high);
        prop_assert!(of_write(&place, &around).unwrap().level >= low.level);
    }
}
