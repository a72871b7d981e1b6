//! What cannot be had: nothing is changed, but for where the kernel itself refuses when
//! it is too late, and then that is said.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::net::UnixDatagram,
    },
    sync::mpsc,
};

use belljar::{
    Limit, Policy, Rule, Strength,
    confine::{Confine, ConfineError, Status, confine},
};

use crate::{
    Test,
    acts::{filter, for_threads, is_root, keeping, limited, state},
};

pub(crate) const TESTS: &[Test] = &[
    (
        "a_process_with_a_second_thread_stays_as_it_is",
        second_thread,
    ),
    (
        "a_thread_with_a_filter_of_its_own_stays_as_it_is",
        filtered_apart,
    ),
    ("a_policy_that_takes_a_jar_changes_nothing", takes_a_jar),
    ("a_descriptor_that_is_a_way_out_changes_nothing", ways_out),
    (
        "a_descriptor_beyond_the_limit_of_open_files_changes_nothing",
        beyond_limit,
    ),
    ("a_plan_changes_nothing", plan_alone),
    ("a_refusal_of_the_kernel_in_the_middle_is_told", half),
    ("a_refusal_of_the_kernel_before_it_changes_nothing", prepare),
];

/// Holds it to have changed nothing.
fn unchanged(
    what: &str,
    act: impl FnOnce() -> Result<Status, ConfineError>,
) -> Result<Status, ConfineError> {
    let before = state();
    let came = act();
    assert_eq!(state(), before, "{what}: {came:?}");
    std::fs::read("/etc/passwd").expect(what);
    UnixDatagram::unbound().expect(what);
    came
}

fn second_thread() {
    let (stay, until) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || until.recv().is_err());
    let came = unchanged("a thread", || confine(&Policy::strict())).unwrap();
    let Status::Unsupported(why) = came else {
        panic!("{came:?}");
    };
    assert!(why.what.contains("2 threads"), "{why:?}");
    assert!(why.remedy.contains("before any thread"), "{why:?}");
    // As root the sets of capabilities are a reason of their own.
    if is_root() {
        let half = Policy::strict().best_effort(Rule::Files);
        let came = unchanged("a capable thread", || confine(&half)).unwrap();
        assert!(matches!(came, Status::Unsupported(_)), "{came:?}");
    }
    drop(stay);
    assert!(thread.join().unwrap());
}

fn filtered_apart() {
    let (stay, until) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        filter(libc::SYS_acct);
        ready.send(()).unwrap();
        until.recv().is_err()
    });
    is_ready.recv().unwrap();
    let came = unchanged("a filtered thread", || confine(&for_threads())).unwrap();
    let Status::Unsupported(why) = came else {
        panic!("{came:?}");
    };
    assert!(why.what.contains("a filter of their own"), "{why:?}");
    drop(stay);
}

fn takes_a_jar() {
    let network = Policy::strict().require_as(Rule::Network, Strength::Kernel, "the test");
    for (policy, word) in [
        (Policy::standard(), "`minimal` or `strict`"),
        (network, "not in confine"),
        (limited(Limit::Memory, 1 << 30), "`memory`"),
        (limited(Limit::Processes, 8), "`processes`"),
        (Policy::strict().set_env("A", "b").unwrap(), "--env"),
        (Policy::strict().end_on(Rule::Nesting), "ends nothing"),
    ] {
        let came = unchanged(word, || confine(&policy));
        let Err(ConfineError::Refused(refusal)) = came else {
            panic!("{word}: {came:?}");
        };
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
}

fn ways_out() {
    let room = tempfile::tempdir().unwrap();
    let written = File::create(room.path().join("f")).unwrap();
    let directory = File::open(room.path()).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let policy = Policy::strict();
    let all: [Confine<'_>; 3] = [
        keeping(&policy, &written),
        keeping(&policy, &directory),
        keeping(&policy, &socket),
    ];
    for confine in all {
        let came = unchanged("kept", || confine.apply());
        let Err(ConfineError::Refused(refusal)) = came else {
            panic!("{came:?}");
        };
        assert!(refusal.to_string().contains("a way out"), "{refusal}");
    }
}

fn beyond_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let file = File::open("/dev/zero").unwrap();
    // SAFETY: no number so high is open, and whatever owns it ends with this process.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 1000) }, 1000);
    let limit = Rlimit {
        current: Some(990),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let came = unchanged("a high descriptor", || confine(&Policy::strict())).unwrap();
    let Status::Unsupported(why) = came else {
        panic!("{came:?}");
    };
    assert!(why.what.contains("descriptor 1000 "), "{why:?}");
    // One that is kept may be there: nothing is put in its place.
    // SAFETY: it was opened above, and is closed by nobody.
    let kept = unsafe { BorrowedFd::borrow_raw(1000) };
    let came = Confine::by(&Policy::strict()).keep(kept).apply();
    assert!(matches!(came, Ok(Status::Applied(_))), "{came:?}");
}

fn plan_alone() {
    let before = state();
    let decided = Confine::by(&Policy::strict()).plan().unwrap();
    assert_eq!(state(), before, "{decided:?}");
}

/// The filter that was there first refuses the domain, after privileges were given up.
fn half() {
    filter(libc::SYS_landlock_restrict_self);
    let came = confine(&Policy::strict());
    let Err(error @ ConfineError::HalfApplied { .. }) = came else {
        panic!("{came:?}");
    };
    let said = error.to_string();
    assert!(
        said.starts_with(
            "this process is half confined, and must end: `restrict` failed after no_new_privs, "
        ),
        "{said}"
    );
    let ConfineError::HalfApplied {
        applied, source, ..
    } = error
    else {
        unreachable!();
    };
    assert_eq!(applied[..2], ["no_new_privs", "close_descriptors"]);
    assert_eq!(source.raw_os_error(), Some(libc::EPERM));
}

fn prepare() {
    filter(libc::SYS_landlock_add_rule);
    let came = unchanged("a rule", || {
        confine(&Policy::strict().allow_read("/usr").unwrap())
    });
    let Err(ConfineError::Prepare { step, .. }) = came else {
        panic!("{came:?}");
    };
    assert_eq!(step, "allow_path /usr");
}
