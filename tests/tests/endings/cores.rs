//! Guests that end by a signal on a machine that hands cores to a program of its own, which
//! runs there as root, core(5): of a jar it is given none, and the report says so.

use std::time::Duration;

use belljar_plan::Report;
use belljar_tests::{Need, VmCommand, VmEnd, need, vm};

use super::told::outcome;

fn run(pattern: &str, words: &str) -> VmCommand {
    let script = format!(
        "echo '{pattern}' > /proc/sys/kernel/core_pattern; rm -f /taken /tmp/report; cd /tmp; ulimit -c unlimited; \
         {words}; echo $?; sleep 1; ls -d /taken; cat /tmp/report"
    );
    VmCommand::root(["sh", "-c", &script]).within(Duration::from_secs(60))
}

/// Leaves a file where it was given a core.
const HANDLER: &str = "|/bin/busybox touch /taken";

#[test]
fn no_core_of_a_guest_is_given_to_the_machine_s_handler_and_none_is_told() {
    if !need(Need::Vm) {
        return;
    }
    let jar = "belljar run --no-record --report /tmp/report -- belljar-guest";
    let guests = ["raise 11", "dump_core", "fault_without_core", "raise 15"];
    let mut commands = vec![run(HANDLER, "belljar-guest raise 11")];
    commands.extend(guests.map(|guest| run(HANDLER, &format!("{jar} {guest}"))));
    let results = vm().run(&commands);
    // The control: it is taken of whoever is in no jar.
    assert!(results[0].text().contains("/taken"), "{:?}", results[0]);
    let ends = [
        ("signaled 11 SEGV", "139"),
        ("signaled 6 ABRT", "134"),
        ("signaled 11 SEGV", "139"),
        ("signaled 15 TERM", "143"),
    ];
    for ((guest, (told, status)), result) in guests.iter().zip(ends).zip(&results[1..]) {
        assert_eq!(result.end, VmEnd::Exited(0), "{result:?}");
        let text = result.text();
        let (code, rest) = text.split_once('\n').expect("a status, and a report");
        assert!(!rest.starts_with("/taken"), "{guest}: {result:?}");
        let report: Report = serde_json::from_str(rest).expect("a report");
        assert_eq!(
            (code, outcome(&report.outcome).as_str()),
            (status, told),
            "{guest}"
        );
        assert_eq!(report.symptoms, [""; 0], "{guest}");
        assert_eq!(report.limits_hit, [], "{guest}");
    }
}
