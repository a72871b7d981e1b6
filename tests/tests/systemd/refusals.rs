//! Whoever refuses a scope, has none to give or is not to be believed: what demands the
//! kernel is refused with that as the cause, anything else runs with what is weaker and is
//! told so, and nothing is left.

use belljar_tests::{VmCommand, VmResult, vm};

use super::{
    GROWS, LEFT, USUAL, ended_for_memory_by_the_kernel, on_each, report, root, rule, run,
    shell_word, tells_of_the_scope, user,
};

/// One run that anything may hold, with its report and how long it took, and one that
/// demands the kernel. Each is a host of its own, which asks anew.
const BOTH: &str = "begun=$(cut -d' ' -f1 /proc/uptime); \
    belljar run --no-record --report /tmp/report-$$ --memory 32MiB -- true; \
    echo \"$(cut -d' ' -f1 /proc/uptime) $begun\" | awk '{ print \"took\", $1 - $2 }' >&2; \
    belljar run --no-record --require memory=kernel --memory 32MiB -- echo ran; echo \"status $?\" >&2; \
    cat /tmp/report-$$; rm -f /tmp/report-$$";

/// Seconds: the ten that a manager may take, and a run on an emulated processor beside
/// other tests.
const BOUND: f64 = 25.0;

/// That both runs of [`BOTH`] were as they have to be without a scope; gives how many seconds
/// the first took.
fn refused(result: &VmResult, cause: &str) -> f64 {
    let report = report(result);
    let said = String::from_utf8_lossy(&result.stderr);
    assert_eq!(report["outcome"]["kind"], "exited", "{said}");
    let memory = rule(&report, "memory");
    assert_eq!(memory["applied"], "supervisor", "{said}");
    let mechanism = memory["planned"]["mechanism"].as_str().expect("text");
    assert!(mechanism.starts_with("sampling of"), "{mechanism}");
    assert!(!tells_of_the_scope(&report), "{said}");
    assert!(said.contains("refused: rule memory"), "{said}");
    assert!(said.contains("status 125"), "{said}");
    assert!(said.contains(cause), "{cause}: {said}");
    let mut lines = said.lines();
    let took = lines.find_map(|line| line.strip_prefix("took "));
    let took = took.expect("a time").parse().expect("a number");
    assert!(took < BOUND, "{said}");
    took
}

/// A policy of the bus as an administrator writes it: here it lasts for these runs.
fn by_policy(user: bool, policy: &str) -> String {
    let of = if user { "--user" } else { "--system" };
    let file = if user { "user" } else { "root" };
    let tried = format!("systemd-run {of} --quiet --collect --wait true");
    format!(
        "bus=$(systemctl {of} show -P MainPID dbus.service); \
         echo '<busconfig><policy context=\"mandatory\">{policy}</policy></busconfig>' > /etc/dbus-1/system.d/{file}.conf; \
         kill -HUP $bus; while {tried} 2> /tmp/why-$$; do sleep 0.2; done; cat /tmp/why-$$ >&2; \
         {BOTH}; \
         rm /etc/dbus-1/system.d/{file}.conf /tmp/why-$$; kill -HUP $bus; until {tried} 2> /dev/null; do sleep 0.2; done; \
         {LEFT}; systemctl {of} list-units --all 'belljar-*' --no-legend"
    )
}

#[test]
fn a_policy_of_the_bus_that_refuses_it_is_told_as_the_cause() {
    const STARTS: &str = "<deny send_destination=\"org.freedesktop.systemd1\" \
        send_interface=\"org.freedesktop.systemd1.Manager\" send_member=\"StartTransientUnit\"/>";
    on_each(&USUAL, |kernel| {
        let results = vm()
            .on(kernel)
            .with_systemd()
            .directory("/etc/dbus-1/system.d")
            .run(&[
                root(&by_policy(false, STARTS)),
                user(&by_policy(true, STARTS)),
                // Nobody is let in at all.
                root(&by_policy(false, "<deny user=\"root\"/>")),
            ]);
        let refuses = "systemd was asked for a scope: systemd does not give one: \
            org.freedesktop.DBus.Error.AccessDenied: ";
        let shut = "systemd was asked for a scope: the bus does not let this process in: ";
        for (result, cause) in results.iter().zip([refuses, refuses, shut]) {
            refused(result, cause);
        }
    });
}

/// A user as a service of the machine's runs one: nobody's manager is theirs.
fn alone(script: &str) -> VmCommand {
    root(&format!(
        "/usr/bin/setpriv --reuid 1001 --regid 1001 --clear-groups sh -c {}",
        shell_word(script)
    ))
}

#[test]
fn a_user_without_a_bus_has_what_is_weaker_and_is_told_why() {
    on_each(&USUAL, |kernel| {
        let doctor = "belljar doctor >&2";
        let results = vm().on(kernel).with_systemd().run(&[
            alone(&format!("{BOTH}; {doctor}; {LEFT}")),
            // Somebody else's is none of theirs.
            alone(&format!(
                "export XDG_RUNTIME_DIR=/run/user/1000; {BOTH}; {LEFT}"
            )),
            user(&format!(
                "cd /run/user/1000; mv bus away; {BOTH}; {doctor}; mv away bus; {LEFT}"
            )),
        ]);
        let of_another = "belongs to somebody else";
        let managed = "is systemd's, which has not delegated it";
        for (result, cause) in results.iter().zip([of_another, of_another, managed]) {
            refused(result, cause);
        }
        for (result, cause) in [(&results[0], of_another), (&results[2], managed)] {
            let said = String::from_utf8_lossy(&result.stderr);
            let (_, doctor) = said.split_once("status 125").expect("the doctor's words");
            assert!(doctor.contains(cause), "{said}");
        }
    });
}

/// A bus that a stranger runs, at this path. One that says nothing is stopped: the kernel lets
/// in whoever connects, and nobody answers. One that is nobody in passwd(5) lets nobody in.
fn stranger(says: bool, bus: &str, script: &str) -> VmCommand {
    let stops = if says { "true" } else { "kill -STOP $stranger" };
    root(&format!(
        "echo strange:x:1001:1001:strange:/:/bin/sh >> /etc/passwd; \
         mkdir -p /run/strange; chown 1001:1001 /run/strange; \
         /usr/bin/setpriv --reuid 1001 --regid 1001 --clear-groups dbus-daemon --nofork --nopidfile \
             --address=unix:path=/run/strange/bus --config-file=/etc/systemd/bus.conf & stranger=$!; \
         until [ -S /run/strange/bus ]; do sleep 0.1; done; {stops}; \
         [ ! -e {bus} ] || mv {bus} {bus}.own; mv /run/strange/bus {bus}; \
         {script}; \
         rm {bus}; [ ! -e {bus}.own ] || mv {bus}.own {bus}; kill -9 $stranger"
    ))
}

/// The user, in a service of the machine's.
fn outside(script: &str) -> String {
    format!(
        "/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups sh -c {}",
        shell_word(script)
    )
}

const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const BUS_OF_USER: &str = "/run/user/1000/bus";

#[test]
fn a_stranger_in_the_place_of_the_bus_is_not_believed() {
    on_each(&USUAL, |kernel| {
        let of_root = format!("{BOTH}; {LEFT}");
        let of_user = outside(&of_root);
        let results = vm().on(kernel).with_systemd().run(&[
            stranger(true, SYSTEM_BUS, &of_root),
            stranger(false, SYSTEM_BUS, &of_root),
            stranger(true, BUS_OF_USER, &of_user),
            stranger(false, BUS_OF_USER, &of_user),
            // A systemd is behind this one, and not root's.
            root(&format!(
                "mv {SYSTEM_BUS} /run/own; ln -s {BUS_OF_USER} {SYSTEM_BUS}; {of_root}; \
                 rm {SYSTEM_BUS}; mv /run/own {SYSTEM_BUS}"
            )),
        ]);
        let strangers = [
            (SYSTEM_BUS, 1001),
            (SYSTEM_BUS, 1001),
            (BUS_OF_USER, 1001),
            (BUS_OF_USER, 1001),
            (SYSTEM_BUS, 1000),
        ];
        for (result, (bus, uid)) in results.iter().zip(strangers) {
            let cause = format!("{bus} is served by uid {uid}, who is neither root nor this user");
            refused(result, &cause);
        }
    });
}

#[test]
fn nobody_is_asked_by_an_address_of_the_environment() {
    on_each(&USUAL, |kernel| {
        let at = "/run/strange/instead";
        let run = format!(
            "export XDG_RUNTIME_DIR=/run/strange DBUS_SESSION_BUS_ADDRESS=unix:path={at} \
             DBUS_SYSTEM_BUS_ADDRESS=unix:path={at} DBUS_STARTER_ADDRESS=unix:path={at}; {}",
            run(&format!("--memory 32MiB -- {GROWS}"))
        );
        let results = vm().on(kernel).with_systemd().run(&[
            stranger(true, at, &run),
            stranger(false, at, &outside(&run)),
        ]);
        for result in &results {
            let report = ended_for_memory_by_the_kernel(result);
            assert!(tells_of_the_scope(&report), "{result:?}");
        }
    });
}

/// Until a manager that stood still has done what came meanwhile.
const AWAKE: &str =
    "until systemctl --user show-environment > /dev/null 2>&1; do sleep 1; done; sleep 1";

/// Of a manager that is late what it was asked for is there when nobody is any more: it keeps
/// no unit of that.
#[test]
fn a_bus_that_says_nothing_is_waited_for_five_seconds_and_a_manager_for_ten() {
    let demands = BOTH.find("belljar run --no-record --require");
    let (first, second) = BOTH.split_at(demands.expect("the second run"));
    on_each(&USUAL, |kernel| {
        let results = vm().on(kernel).with_systemd().run(&[
            root(&format!(
                "bus=$(systemctl show -P MainPID dbus.service); kill -STOP $bus; {BOTH}; kill -CONT $bus; \
                 {LEFT}; systemctl list-units --all 'belljar-*' --no-legend"
            )),
            // Whoever started this asks the manager how it is, and gives up after 25 s.
            user(&format!(
                "kill -STOP $PPID; {first} kill -CONT $PPID; {AWAKE}; \
                 kill -STOP $PPID; {second}; kill -CONT $PPID; \
                 {AWAKE}; {LEFT}; systemctl --user list-units --all 'belljar-*' --no-legend"
            )),
            // Whether a launcher that still is there then is moved is the manager's affair.
            user(&format!(
                "kill -STOP $PPID; belljar run --no-record --memory 32MiB -- sleep 12 & \
                 sleep 13; kill -CONT $PPID; wait $!; echo \"status $?\"; \
                 {AWAKE}; {LEFT}; systemctl --user list-units --all 'belljar-*' --no-legend"
            )),
        ]);
        assert_eq!(results[2].text(), "status 0\nleft: \n", "{:?}", results[2]);
        let silent = "systemd was asked for a scope: nobody has answered at /run/dbus/system_bus_socket within 5 s";
        let late = "systemd was asked for a scope: systemd has not given one within 10 s";
        for (result, (cause, least)) in results.iter().zip([(silent, 5.0), (late, 10.0)]) {
            let took = refused(result, cause);
            assert!((least..least + 10.0).contains(&took), "{took}");
        }
    });
}
