//! Many jars in one host: no thread for each, and one call that ends them all.
#![cfg(target_os = "linux")]

use std::{fs, time::Duration};

use belljar::{Jar, Outcome, Stdio, StoppedBy, kill_all, stop_all};
use belljar_tests::guest;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("threads").count()
}

#[test]
fn one_call_ends_all_jars_and_none_of_them_takes_a_thread() {
    const JARS: usize = 40;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Before the first there is nothing to end.
        assert_eq!(kill_all().await, 0);
        let waits = || {
            Jar::program(guest())
                .args(["spend", "stay=600000"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
        };
        // It has what all others have too.
        let first = waits().launch().await.expect("a jar");
        let before = threads();
        let mut jars = vec![first];
        for _ in 1..JARS {
            jars.push(waits().launch().await.expect("a jar"));
        }
        assert_eq!(threads(), before);
        // One that is let go of is ended by that, and is none of them for long.
        let pid = jars.pop().expect("the last").pid();
        while fs::exists(format!("/proc/{pid}")).expect("/proc") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut ended_before = jars.pop().expect("another");
        ended_before.kill_and_wait().await;

        let left = stop_all(StoppedBy::Operator, 15, Duration::from_secs(20)).await;
        assert_eq!(left, JARS - 2);
        for mut jar in jars {
            assert!(!fs::exists(format!("/proc/{}", jar.pid())).expect("/proc"));
            let stopped = Outcome::Stopped {
                by: StoppedBy::Operator,
                grace_used: false,
            };
            assert_eq!(jar.wait().await.outcome, stopped);
        }
        assert_eq!(kill_all().await, 0);
    });
}
