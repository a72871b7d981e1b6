//! Time: `wall` rests on a clock that nobody sets, and a program that ends in the limit's
//! own instant has one outcome, of which report and exit status tell the same.
#![cfg(target_os = "linux")]

use belljar_plan::{Limit, Outcome};
use belljar_tests::{Need, VmCommand, VmEnd, both_presets, jar, need, vm};

/// Each trial pauses a little longer than one that ended by itself, and a little shorter
/// than one that came to its limit: so most end in the same instant, on any machine.
#[test]
fn a_program_that_ends_with_the_limit_has_one_outcome() {
    both_presets(|preset| {
        let (mut exited, mut limited) = (0, 0);
        let (mut pause, mut step, mut last) = (100, 32, None);
        for _ in 0..40 {
            let ended = jar()
                .preset(preset)
                .flags(["--wall", "200ms"])
                .guest("pause", [pause.to_string()])
                .end();
            // `end` has seen that report and exit status agree.
            let report = ended.report.as_ref().expect("a report");
            let hit = report.limits_hit.iter().any(|hit| hit.limit == Limit::Wall);
            let by_itself = match ended.outcome() {
                Outcome::Exited { code: 0 } => true,
                Outcome::Limit { limit: Limit::Wall } => false,
                other => panic!("{other:?}: {ended:#?}"),
            };
            match by_itself {
                // Its last word is a witness.
                true => assert_eq!(ended.stdout, "over\n", "{ended:#?}"),
                false => assert!(hit, "{report:#?}"),
            }
            if last.is_some_and(|last| last != by_itself) {
                step = (step / 2).max(1);
            }
            last = Some(by_itself);
            match by_itself {
                true => (exited, pause) = (exited + 1, pause + step),
                false => (limited, pause) = (limited + 1, (pause - step).max(0)),
            }
        }
        eprintln!("{exited} exited, {limited} came to the limit, {pause} ms at last");
        assert!(exited > 0 && limited > 0, "{exited} and {limited}");
    });
}

/// Sets the machine's clock while a jar with a limit of time runs, and tells by the time
/// since boot how long it had.
fn set_to(when: &str) -> VmCommand {
    let script = format!(
        "up() {{ cut -d' ' -f1 /proc/uptime | tr -d .; }}; \
         belljar run --wall 6s -- busybox sleep 60 & \
         begun=$(up); was=$(date +%s); sleep 2; \
         date -s \"$(date -d @$(( was {when} )) '+%Y-%m-%d %H:%M:%S')\" > /dev/null; \
         wait $!; echo $? $(( $(up) - begun )) $(( $(date +%s) - was ))"
    );
    VmCommand::root(["sh", "-c", script.leak()])
}

#[test]
fn a_clock_that_is_set_forward_or_back_changes_no_limit_of_time() {
    if !need(Need::Vm) {
        return;
    }
    let results = vm().run(&[set_to("+ 864000"), set_to("- 864000")]);
    for result in &results {
        assert_eq!(result.end, VmEnd::Exited(0), "{results:#?}");
        let text = result.text();
        let last = text.lines().last().expect("a line");
        let numbers: Vec<i32> = last
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        let [status, hundredths, set_by] = numbers[..] else {
            panic!("{results:#?}");
        };
        assert!(
            set_by.abs() > 800_000,
            "the clock was not set: {results:#?}"
        );
        assert_eq!(status, 124, "{results:#?}");
        // It begins with the launch, which such a machine takes some time for.
        assert!((550..2500).contains(&hundredths), "{results:#?}");
    }
}
