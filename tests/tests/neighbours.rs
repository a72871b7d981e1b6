//! Two jars of one host, whose one thread watches both: what one floods it with keeps
//! nothing of the other's back.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use belljar::{Jar, Outcome, Policy, Running, Stdio};
use belljar_plan::event::What;
use belljar_tests::{Need, guest, need};
use tokio::io::AsyncReadExt;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), future)
                .await
                .expect("it ends")
        })
}

async fn end(mut running: Running) -> belljar::Report {
    running.kill();
    running.wait().await
}

/// A neighbour's output comes whole, though nobody reads the hog's, and though the hog's is
/// read without end.
#[test]
fn output_that_nobody_reads_or_that_never_ends_keeps_no_neighbour_s_back() {
    const BYTES: usize = 4 << 20;
    block_on(async {
        for is_read in [None, Some(false), Some(true)] {
            let flood = |bytes: usize| {
                Jar::program(guest())
                    .args(["flood", &bytes.to_string()])
                    .policy(Policy::standard())
                    .stdout(Stdio::piped())
            };
            let mut hog = match is_read {
                None => None,
                Some(_) => Some(flood(1 << 40).launch().await.expect("a jar")),
            };
            let mut stdout = hog.as_mut().map(|hog| hog.stdout().expect("it is piped"));
            if let Some(stdout) = &mut stdout {
                // It is under way.
                stdout.read_exact(&mut [0]).await.expect("output");
            }
            let reader = match (&mut stdout, is_read) {
                (Some(_), Some(true)) => {
                    let mut stdout = stdout.take().expect("it is there");
                    Some(tokio::spawn(async move {
                        let mut block = vec![0; 65536];
                        while stdout.read(&mut block).await.is_ok_and(|count| count > 0) {}
                    }))
                }
                _ => None,
            };
            let begun = Instant::now();
            let mut beside = flood(BYTES).launch().await.expect("a jar");
            let mut stdout = beside.stdout().expect("it is piped");
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).await.expect("output");
            let report = beside.wait().await;
            println!("beside {is_read:?}: {:?}", begun.elapsed());
            assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), BYTES);
            assert_eq!(report.usage.stdout, all.len() as u64);
            if let Some(hog) = hog {
                let report = end(hog).await;
                assert!(
                    matches!(report.outcome, Outcome::Stopped { .. }),
                    "{report:?}"
                );
            }
            if let Some(reader) = reader {
                reader.await.expect("it ends");
            }
        }
    });
}

/// Calls that are denied and told of, without end or once.
fn denied(times: &str) -> Jar {
    let script = format!(
        "import ctypes\nlibc = ctypes.CDLL(None)\nfor _ in {times}: libc.syscall(272, 0x10000000)"
    );
    Jar::program("/usr/bin/python3")
        .args(["-c", &script])
        .policy(Policy::standard())
}

/// A neighbour's events come, each of them, while a hog makes as many as it can.
#[test]
fn a_flood_of_denied_calls_takes_no_event_from_a_neighbour() {
    if !need(Need::Python) {
        return;
    }
    block_on(async {
        for beside in [false, true] {
            let hog = match beside {
                true => {
                    let mut hog = denied("iter(int, 1)").launch().await.expect("a jar");
                    // It is under way.
                    let mut events = hog.events().expect("not taken yet");
                    events.next().await.expect("an event");
                    Some(hog)
                }
                false => None,
            };
            let begun = Instant::now();
            let mut neighbour = denied("range(10)").launch().await.expect("a jar");
            let mut events = neighbour.events().expect("not taken yet");
            let report = neighbour.wait().await;
            let mut told = 0;
            while let Some(event) = events.next().await {
                told += usize::from(matches!(event.what, What::Violation(_)));
            }
            println!("beside a flood {beside}: {:?}", begun.elapsed());
            assert_eq!(told, 10, "{report:?}");
            assert_eq!(report.denials.told, 10);
            assert_eq!(report.outcome, Outcome::Exited { code: 0 });
            if let Some(hog) = hog {
                let report = end(hog).await;
                assert!(report.denials.told > 10, "{report:?}");
            }
        }
    });
}
