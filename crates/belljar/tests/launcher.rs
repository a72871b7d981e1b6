//! The launcher's program as it is carried, driven by its protocol alone with
//! plans written by hand: no other part of Belljar takes part.
//!
//! Runs as root and as an ordinary user who may make user namespaces.
#![cfg(target_os = "linux")]

mod by_hand;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use belljar_plan::message::{Request, event, progress, request};
use belljar_plan::step::OwnedStep;
use belljar_plan::{Namespaces, Source, Step};
use rustix::process::{Pid, PidfdFlags, Signal};

use by_hand::{
    EXITED, Host, KILLED, PATIENCE, READ_ONLY, SCRATCH, b, bind, directory, ends, is_root, jar,
    jar_with, position, sealed, send, shell, symlink,
};

// ---- claims ----

#[test]
fn a_program_runs_in_a_full_jar_and_every_step_leaves_a_receipt() {
    let steps = shell("echo hello; exit 7");
    let (told, ended, output) = Host::start().run(&steps);
    assert_eq!(told.failed, None);
    let done: Vec<_> = told
        .done
        .iter()
        .map(|done| usize::from(done.step))
        .collect();
    assert_eq!(done, (0..steps.len() - 1).collect::<Vec<_>>());
    assert!(told.done.iter().all(|done| done.errno == 0));
    assert_eq!(output, "hello\n");
    assert_eq!(
        (ended.has_main, ended.main_code, ended.main_status),
        (1, EXITED, 7)
    );
    assert_eq!(ended.init_status, 0);
    assert!(ended.main_peak > 0 && ended.init_peak > 0);
    assert!(ended.started > 0);
    let kinds: Vec<_> = told.fds.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [progress::SCRATCH]);
    let (_, scratch) = &told.fds[0];
    let space = rustix::fs::fstatfs(scratch).unwrap();
    assert_eq!(space.f_blocks * space.f_bsize as u64, 64 << 20);
}

#[test]
fn the_guest_sees_its_jar_and_nothing_else() {
    let script = "id -u; id -g; id -G; hostname; pwd; umask; echo $$ $PPID; \
        ls -a /; ls /dev; cat /etc/passwd; ls /proc/self/fd | wc -l; \
        (echo x > /etc/new) 2>&1 | grep -o 'Read-only'; touch /tmp/a /workspace/a && echo wrote; \
        cat /proc/version | wc -c; ls -A /proc/acpi | wc -l; \
        (echo 1 > /proc/sys/kernel/panic) 2>&1 | grep -o 'Read-only'; \
        grep -E '^(Cap|NoNewPrivs|Seccomp:|SigBlk|SigIgn)' /proc/self/status; \
        cat /proc/self/oom_score_adj; ulimit -n; tr '\\0' '\\n' < /proc/self/environ; \
        cat /proc/1/comm; ls /proc/1/fd 2>&1 | grep -o denied; \
        ls /sys/class/net 2>&1 | wc -l; echo end";
    let (told, ended, output) = Host::start().run(&shell(script));
    assert_eq!(told.failed, None);
    let groups = if is_root() { "1000" } else { "" };
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(ended.main_status, 0, "{output}");
    assert_eq!(lines[0..2], ["1000", "1000"], "{output}");
    if is_root() {
        assert_eq!(lines[2], groups, "{output}");
    }
    let rest = lines[3..].join("\n");
    let expected = "jar\n/workspace\n0022\n2 1\n.\n..\nbin\ndev\netc\nhome\nlib\nlib64\nproc\ntmp\nusr\nworkspace\n\
        fd\nfull\nnull\nptmx\npts\nrandom\nurandom\nzero\nplugin:x:1000:1000::/home/plugin:/bin/sh\n4\n\
        Read-only\nwrote\n0\n0\nRead-only\n\
        SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n\
        1000\n64\nPATH=/bin\nHOME=/home/plugin\njar\ndenied\n1\nend";
    assert_eq!(rest, expected);
}

#[test]
fn a_program_that_is_not_there_fails_at_exec() {
    let steps = jar("/bin/no-such-program", &[]);
    let (told, ended, _) = Host::start().run(&steps);
    let last = u32::try_from(steps.len() - 1).unwrap();
    assert_eq!(told.failed, Some((last, 2)));
    assert_eq!((ended.has_main, ended.main_code), (1, EXITED));
}

#[test]
fn a_step_that_fails_ends_the_launch_and_names_itself() {
    let mut steps = shell("echo never");
    let at = position(&steps, "bind");
    let Step::Bind {
        source: Source::Path { inode, .. },
        ..
    } = &mut steps[at as usize]
    else {
        panic!("the first bind is of a path");
    };
    *inode += 1;
    let (told, ended, output) = Host::start().run(&steps);
    assert_eq!(
        told.failed,
        Some((at, rustix::io::Errno::STALE.raw_os_error()))
    );
    assert_eq!((ended.has_main, output.as_str()), (0, ""));
}

#[test]
fn an_optional_bind_that_fails_is_skipped_and_told() {
    let missing = Step::Bind {
        source: Source::Path {
            path: b("/no/such/path"),
            device: 1,
            inode: 1,
        },
        target: b("tmp"),
        recursive: true,
        attributes: READ_ONLY,
        optional: true,
    };
    let steps = jar_with(vec![missing], "/bin/true", &[]);
    let (told, ended, _) = Host::start().run(&steps);
    assert_eq!((told.failed, ended.main_status), (None, 0));
    let skipped: Vec<_> = told.done.iter().filter(|done| done.errno != 0).collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].errno, 2);
    assert_eq!(steps[usize::from(skipped[0].step)].word(), "bind");
}

#[test]
fn a_source_reached_through_a_symbolic_link_is_refused() {
    // /bin is a link to usr/bin on every merged system, and a folder elsewhere.
    if !fs::symlink_metadata("/bin").unwrap().is_symlink() {
        return;
    }
    let steps = jar_with(
        vec![directory("mnt"), bind("/bin/env", "mnt")],
        "/bin/true",
        &[],
    );
    let (told, _, _) = Host::start().run(&steps);
    let errno = rustix::io::Errno::LOOP.raw_os_error();
    assert_eq!(told.failed.map(|(_, errno)| errno), Some(errno));
}

#[test]
fn nothing_is_created_in_a_mount_of_the_machine() {
    let steps = jar_with(vec![directory("usr/belljar-was-here")], "/bin/true", &[]);
    let (told, _, _) = Host::start().run(&steps);
    let errno = rustix::io::Errno::ROFS.raw_os_error();
    assert_eq!(told.failed.map(|(_, errno)| errno), Some(errno));
    let existing = jar_with(
        vec![
            directory("usr/bin"),
            directory("tmp/made"),
            symlink("tmp/link", "made"),
        ],
        "/bin/ls",
        &["/tmp"],
    );
    let (told, _, output) = Host::start().run(&existing);
    assert_eq!((told.failed, output.as_str()), (None, "link\nmade\n"));
}

#[test]
fn bytes_that_are_no_plan_are_refused_by_the_launcher() {
    let host = Host::start();
    let steps = [Step::Fork {}];
    let _launch = host.launch(9, &steps);
    let (event, _) = host.event();
    assert_eq!((event.kind, event.jar), (event::FAILED, 9));
    // And it goes on.
    assert_eq!(host.run(&jar("/bin/true", &[])).1.main_status, 0);
}

#[test]
fn a_signal_reaches_the_main_process() {
    let host = Host::start();
    let launch = host.launch(
        5,
        &shell("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done"),
    );
    let _started = host.started();
    launch.told();
    let mut stdout = &launch.stdout;
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    host.signal(5, Signal::TERM);
    let ended = host.ended();
    assert_eq!((ended.main_code, ended.main_status), (EXITED, 3));
    assert_eq!(launch.output(), "got\n");

    let launch = host.launch(6, &jar("/bin/sleep", &["60"]));
    let _started = host.started();
    launch.told();
    host.signal(6, Signal::USR1);
    let ended = host.ended();
    assert_eq!(
        (ended.main_code, ended.main_status),
        (KILLED, Signal::USR1.as_raw())
    );
}

#[test]
fn a_jar_that_nobody_has_hold_of_is_ended_when_that_is_asked_for() {
    let host = Host::start();
    let _stays = host.launch(7, &shell("exec sleep 60"));
    let (stays, _) = host.started();
    let _launch = host.launch(8, &shell("setsid sleep 61 & exec sleep 60"));
    drop(host.started());
    // Nor is there a jar 9.
    host.end(9);
    host.end(8);
    let ended = host.ended();
    assert_eq!((ended.jar, ended.init_status), (8, 9), "{ended:?}");
    assert!(host.children().contains(&stays.pid));
}

#[test]
fn killing_pid_1_ends_the_jar_without_a_record() {
    let host = Host::start();
    let launch = host.launch(1, &shell("setsid sleep 61 & exec sleep 60"));
    let (_, pidfd) = host.started();
    launch.told();
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    let ended = host.ended();
    assert_eq!((ended.has_main, ended.init_status), (0, 9));
}

#[test]
fn a_grandchild_does_not_outlive_the_main_process() {
    let host = Host::start();
    let launch = host.launch(1, &shell("setsid sleep 62 & exit 0"));
    let (_, pidfd) = host.started();
    launch.told();
    let ended = host.ended();
    assert_eq!((ended.main_code, ended.main_status), (EXITED, 0));
    assert!(ends(&pidfd));
    // Its copy of the pipe is closed, so it is gone.
    assert_eq!(launch.output(), "");
}

#[test]
fn the_launcher_s_death_ends_every_jar() {
    let mut host = Host::start();
    let first = host.launch(1, &jar("/bin/sleep", &["60"]));
    let (_, one) = host.started();
    let second = host.launch(2, &shell("setsid sleep 60 & exec sleep 60"));
    let (_, two) = host.started();
    first.told();
    second.told();
    host.launcher.kill().unwrap();
    assert!(ends(&one) && ends(&two));
    assert_eq!(second.output(), "");
}

#[test]
fn the_host_s_death_ends_the_launcher_and_every_jar() {
    // A stand-in for the host: only its pidfd matters to the launcher.
    let mut stand_in = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid::from_child(&stand_in);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut host = Host::start_for(&pidfd);
    let launch = host.launch(1, &jar("/bin/sleep", &["60"]));
    let (_, jar) = host.started();
    launch.told();
    stand_in.kill().unwrap();
    stand_in.wait().unwrap();
    assert!(ends(&jar));
    assert!(host.launcher.wait().unwrap().success());
}

#[test]
fn two_jars_run_at_once_and_see_nothing_of_each_other() {
    let host = Host::start();
    let script = "ls /proc > /tmp/file; grep -c '^[0-9]' /tmp/file; read line; ls /tmp";
    let mut first = host.launch(1, &shell(script));
    let mut second = host.launch(2, &shell(script));
    assert_eq!(host.started().0.jar, 1);
    assert_eq!(host.started().0.jar, 2);
    first.told();
    second.told();
    drop(second.stdin.take());
    assert_eq!(host.ended().jar, 2);
    drop(first.stdin.take());
    assert_eq!(host.ended().jar, 1);
    // pid 1, the shell and ls.
    assert_eq!(first.output(), "3\nfile\n");
    assert_eq!(second.output(), "3\nfile\n");
}

#[test]
fn a_parked_child_takes_the_launch_that_fits_and_no_other() {
    let host = Host::start();
    host.park(Namespaces::ALL);
    let steps = shell("id -u; cat /proc/1/comm");
    let (told, ended, output) = host.run(&steps);
    assert_eq!((told.failed, ended.main_status), (None, 0));
    assert_eq!(output, "1000\njar\n");
    assert_eq!(told.done.len(), steps.len() - 1);

    // One with other namespaces is let go, and the launch makes its own.
    let fewer = Namespaces {
        cgroup: false,
        ..Namespaces::ALL
    };
    host.park(fewer);
    let (told, ended, output) = host.run(&steps);
    assert_eq!((told.failed, ended.main_status), (None, 0));
    assert_eq!(output, "1000\njar\n");
    // And nothing of it is left among the launcher's children.
    host.park(Namespaces::ALL);
    let deadline = Instant::now() + PATIENCE;
    let list = format!("/proc/{0}/task/{0}/children", host.launcher.id());
    while Instant::now() < deadline {
        let children = fs::read_to_string(&list).unwrap();
        if children.split_whitespace().count() == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("one parked child is all there should be");
}

/// A new cgroup in this test's own, where root may make one.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn make(name: &str) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let at = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let at = fields.next()?;
            (fields.next()? == "cgroup2").then_some(at)
        });
        let place = std::path::Path::new(at.expect("cgroups of version 2")).join(own.unwrap());
        let made = place.join(format!("launcher-test-{}-{name}", std::process::id()));
        fs::create_dir(&made).unwrap();
        Self(made)
    }

    fn open(&self) -> OwnedFd {
        File::open(&self.0).unwrap().into()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Only root makes cgroups here.
#[test]
fn a_parked_child_in_a_cgroup_takes_the_launch_that_carries_it_and_no_other() {
    if !is_root() {
        return;
    }
    let (one, other) = (Cgroup::make("one"), Cgroup::make("other"));
    let host = Host::start();
    let mut steps = shell("cat /proc/self/cgroup");
    let settings = Vec::new();
    let at = usize::try_from(position(&steps, "clone")).unwrap();
    steps.insert(at, Step::Cgroup { settings });
    let parked = || {
        host.park_in(Namespaces::ALL, Some(one.open().as_fd()));
        host.settled();
        let inside = fs::read_to_string(one.0.join("cgroup.procs")).unwrap();
        inside.trim().parse::<i32>().expect("one is in it")
    };
    let run = |number, cgroup: Option<&Cgroup>, steps: &[OwnedStep]| {
        let cgroup = cgroup.map(Cgroup::open);
        let cgroup = cgroup.as_ref().map(OwnedFd::as_fd);
        let launch = host.launch_in(number, steps, &[], b"", cgroup);
        let (started, _pidfd) = host.started();
        assert_eq!(launch.told().failed, None);
        launch.output();
        assert_eq!(host.ended().main_status, 0);
        started.pid
    };
    let child = parked();
    // Another open description of the same directory is the same cgroup.
    assert_eq!(run(1, Some(&one), &steps), child);
    // Whoever carries another, or none, gets a child of its own, and that one is let go.
    let child = parked();
    assert_ne!(run(2, Some(&other), &steps), child);
    assert!(host.children().is_empty());
    let child = parked();
    assert_ne!(run(3, None, &shell("true")), child);
    assert!(host.children().is_empty());
    // A child that is in none does not take the launch of one that has a cgroup.
    host.park(Namespaces::ALL);
    let child = host.settled()[0];
    assert_ne!(run(4, Some(&one), &steps), child);
}

#[test]
fn a_child_that_did_a_plan_s_beginning_takes_the_launch_of_that_very_plan() {
    let host = Host::start();
    let program = b"#!/bin/sh\nid -u; hostname; cat /plugin/file; ls /proc/self/fd | wc -l\n";
    let mut image = b"content\n".to_vec();
    image.extend(program);
    let file = |name: &str, mode, offset, length: usize| Step::PluginFile {
        path: b(&format!("plugin/{name}")),
        mode,
        offset,
        length: length as u64,
    };
    let files = vec![
        directory("plugin"),
        file("file", 0o444, 0, 8),
        file("run", 0o555, 8, program.len()),
    ];
    let steps = jar_with(files, "/plugin/run", &[]);
    let run = |number, steps: &[OwnedStep], image: &[u8]| {
        let launch = host.launch_with(number, steps, &[], image);
        let (started, _pidfd) = host.started();
        let told = launch.told();
        assert_eq!(told.failed, None);
        let mut done: Vec<_> = told
            .done
            .iter()
            .map(|done| usize::from(done.step))
            .collect();
        done.sort_unstable();
        assert_eq!(done, (0..steps.len() - 1).collect::<Vec<_>>());
        let kinds: Vec<_> = told.fds.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [progress::SCRATCH]);
        let output = launch.output();
        assert_eq!(host.ended().main_status, 0);
        (started.pid, output)
    };
    let said = "1000\njar\ncontent\n4\n".to_owned();
    let parked = host.park_with(&steps, &image);
    // The same again changes nothing, nor does a guess without a plan.
    assert_eq!(host.park_with(&steps, &image), parked);
    host.park(Namespaces::ALL);
    assert_eq!(run(1, &steps, &image), (parked, said.clone()));
    assert!(host.children().is_empty());

    // Another byte in the image.
    let mut other = image.clone();
    other[0] = b'C';
    let parked = host.park_with(&steps, &image);
    let (pid, output) = run(2, &steps, &other);
    assert_ne!(pid, parked);
    assert_eq!(output, said.replace("content", "Content"));

    // Another plan of the same length.
    let mut other = steps.clone();
    for step in &mut other {
        if let Step::Hostname { name } = step {
            *name = b("jug");
        }
    }
    let parked = host.park_with(&steps, &image);
    let (pid, output) = run(3, &other, &image);
    assert_ne!(pid, parked);
    assert_eq!(output, said.replace("jar", "jug"));
    // The same plan, but other descriptors.
    let parked = host.park_with(&steps, &image);
    let launch = host.launch_with(4, &steps, &[sealed(b"x")], &image);
    assert_ne!(host.started().0.pid, parked);
    assert_eq!(launch.output(), said);
    host.ended();
}

#[test]
fn a_beginning_that_fails_ahead_costs_a_child_and_nothing_else() {
    let host = Host::start();
    let mut steps = shell("true");
    for step in &mut steps {
        if let Step::Bind {
            source: Source::Path { inode, .. },
            ..
        } = step
        {
            *inode += 1;
        }
    }
    assert_eq!(host.park_with(&steps, b""), 0);
    let (told, ended, _) = host.run(&steps);
    let errno = rustix::io::Errno::STALE.raw_os_error();
    assert_eq!(told.failed, Some((position(&steps, "bind"), errno)));
    assert_eq!(ended.has_main, 0);
    // Bytes that are no plan park nothing: the failure names no jar.
    let bad = Request {
        kind: request::PARK,
        plan_length: 5,
        descriptors: 1,
        ..Request::default()
    };
    send(&host.socket, &bad.to_bytes(), &[sealed(b"hello").as_fd()]);
    assert_eq!(host.event().0.jar, 0);
    assert_eq!(host.run(&shell("exit 3")).1.main_status, 3);
}

/// Only root can mount without a jar; the mount is in a namespace of the test's own.
#[test]
fn a_child_that_shows_what_was_mounted_before_is_let_go() {
    if !is_root() {
        return;
    }
    // SAFETY: only this thread's view of mounts becomes its own, and what the
    // thread starts from here on has that.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    let private =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    let host = Host::start();
    let steps = shell("true");
    let parked = host.park_with(&steps, b"");
    assert_eq!(host.park_with(&steps, b""), parked);
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    rustix::mount::mount(
        "none",
        folder.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !host.children().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(host.children().is_empty());
    assert_eq!(host.run(&steps).1.main_status, 0);

    // Nor does a launch take it that comes right behind the change.
    let parked = host.park_with(&steps, b"");
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    let launch = host.launch(2, &steps);
    assert_ne!(host.started().0.pid, parked);
    assert_eq!(launch.told().failed, None);
    host.ended();
}

/// What a path in a granted folder leads to is decided when the launch comes.
#[test]
fn what_changes_in_a_grant_while_a_child_is_parked_stays_hidden() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    let open = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(folder.path(), open(0o755)).unwrap();
    fs::write(at("replaced"), "old").unwrap();
    let mut grant = bind(folder.path().to_str().unwrap(), "mnt");
    if let Step::Bind { recursive, .. } = &mut grant {
        *recursive = false;
    }
    let mut steps = jar_with(
        vec![directory("mnt"), grant],
        "/bin/sh",
        &["-c", "cat /mnt/replaced /mnt/made; echo end"],
    );
    let leave = position(&steps, "leave_machine") as usize;
    for path in ["mnt/made", "mnt/replaced"] {
        steps.insert(leave, Step::Mask { path: b(path) });
    }
    let host = Host::start();
    let parked = host.park_with(&steps, b"");
    fs::write(at("made"), "secret").unwrap();
    fs::write(at("new"), "secret").unwrap();
    fs::rename(at("new"), at("replaced")).unwrap();
    let launch = host.launch(1, &steps);
    let (started, _pidfd) = host.started();
    assert_eq!(started.pid, parked);
    assert_eq!(launch.told().failed, None);
    assert_eq!(launch.output(), "end\n");
    host.ended();
}

#[test]
fn more_descriptors_than_a_packet_holds_come_in_order() {
    let host = Host::start();
    let slots: Vec<OwnedFd> = (0..600).map(|_| sealed(b"x")).collect();
    let launch = host.launch_with(1, &shell("ls /proc/self/fd | wc -l"), &slots, b"");
    host.started();
    assert_eq!(launch.told().failed, None);
    assert_eq!(launch.output(), "4\n");
    host.ended();
    let too_many: Vec<OwnedFd> = (0..1020).map(|_| slots[0].try_clone().unwrap()).collect();
    let _launch = host.launch_with(2, &shell("true"), &too_many, b"");
    let (event, _) = host.event();
    assert_eq!((event.kind, event.jar), (event::FAILED, 2));
    assert_eq!(host.run(&jar("/bin/true", &[])).1.main_status, 0);
}

#[test]
fn the_plugin_s_files_are_those_of_the_image_and_cannot_be_changed() {
    let host = Host::start();
    let program =
        b"#!/bin/sh\necho from the image\n(echo x >> /plugin/run) 2>&1 | grep -o Read-only\n";
    let mut image = vec![0xff; 100];
    image.extend(program);
    let files = vec![
        directory("plugin"),
        Step::PluginFile {
            path: b("plugin/run"),
            mode: 0o755,
            offset: 100,
            length: program.len() as u64,
        },
        Step::PluginFile {
            path: b("plugin/empty"),
            mode: 0o444,
            offset: 0,
            length: 0,
        },
    ];
    let launch = host.launch_with(1, &jar_with(files.clone(), "/plugin/run", &[]), &[], &image);
    host.started();
    assert_eq!(launch.told().failed, None);
    assert_eq!(launch.output(), "from the image\nRead-only\n");
    host.ended();

    // Past its end there is nothing.
    let steps = jar_with(files, "/plugin/run", &[]);
    let launch = host.launch_with(2, &steps, &[], &image[..110]);
    host.started();
    let errno = rustix::io::Errno::BADMSG.raw_os_error();
    assert_eq!(launch.told().failed.map(|(_, errno)| errno), Some(errno));
}

#[test]
fn a_terminal_of_its_own_is_the_guest_s_and_its_master_the_parent_s() {
    let mut steps = shell("tty; stty size; echo error >&2");
    let fork = position(&steps, "keyring") as usize;
    steps.insert(
        fork,
        Step::Terminal {
            rows: 30,
            columns: 100,
        },
    );
    for step in &mut steps {
        if let Step::Session { terminal } = step {
            *terminal = true;
        }
    }
    let host = Host::start();
    let launch = host.launch(1, &steps);
    host.started();
    let mut told = launch.told();
    assert_eq!(told.failed, None);
    let (_, master) = told.fds.remove(
        told.fds
            .iter()
            .position(|(kind, _)| *kind == progress::TERMINAL)
            .unwrap(),
    );
    let mut output = Vec::new();
    // The end of a terminal is an error: EIO, once nobody has the other side.
    let _ = File::from(master).read_to_end(&mut output);
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output, "/dev/pts/0\r\n30 100\r\nerror\r\n");
}

/// Only root can make idmapped mounts.
#[test]
fn a_granted_folder_belongs_to_the_guest_inside_and_to_its_owner_outside() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(folder.path().join("old"), "old").unwrap();
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let slot = rustix::fs::open(folder.path(), flags, rustix::fs::Mode::empty()).unwrap();
    let mut steps = vec![Step::Detach {
        slot: 0,
        idmap: true,
        owner_uid: 0,
        owner_gid: 0,
        recursive: false,
        attributes: SCRATCH,
    }];
    steps.extend(jar_with(
        vec![
            directory("mnt"),
            Step::Bind {
                source: Source::Slot { slot: 0 },
                target: b("mnt"),
                recursive: false,
                attributes: SCRATCH,
                optional: false,
            },
        ],
        "/bin/sh",
        &["-c", "echo new > /mnt/new; stat -c %u /mnt/old /mnt/new"],
    ));
    let host = Host::start();
    let launch = host.launch_with(1, &steps, &[slot], b"");
    host.started();
    assert_eq!(launch.told().failed, None);
    assert_eq!(launch.output(), "1000\n1000\n");
    host.ended();
    let made = fs::metadata(folder.path().join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
}

/// The cost of a launch, by step; run by hand: `-- --ignored --nocapture measure`.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let host = Host::start();
    let plain = shell("exit 0");
    let at = plain.len() - 1;
    let mut steps = plain;
    if let Step::Exec {
        path, arguments, ..
    } = &mut steps[at]
    {
        *path = b("/bin/true");
        *arguments = vec![b("true")];
    }
    for parked in [false, true] {
        let mut to_exec = Vec::new();
        let mut to_end = Vec::new();
        let mut costs = vec![Vec::new(); steps.len()];
        for _ in 0..300 {
            if parked {
                host.park(Namespaces::ALL);
                std::thread::sleep(Duration::from_millis(3));
            }
            let launch = host.launch(1, &steps);
            let told = launch.told();
            to_exec.push(launch.asked.elapsed());
            assert_eq!(told.failed, None);
            host.started();
            host.ended();
            to_end.push(launch.asked.elapsed());
            for done in told.done {
                costs[usize::from(done.step)].push(done.nanoseconds);
            }
        }
        to_exec.sort();
        to_end.sort();
        eprintln!(
            "parked {parked}: to exec min {:?} p50 {:?}; to ended min {:?} p50 {:?}",
            to_exec[0], to_exec[150], to_end[0], to_end[150]
        );
        for (step, cost) in steps.iter().zip(&mut costs) {
            cost.sort_unstable();
            if let Some(median) = cost.get(cost.len() / 2) {
                eprintln!("  min {:>7} p50 {median:>7} ns  {}", cost[0], step.word());
            }
        }
    }
}
