//! `cargo run --example demo`: launches a program, limits one, stops one, and
//! prints the report of each.

use std::time::Duration;

use belljar::{Jar, Limit, Policy, Report, Stdio, StoppedBy, policy::manifest::Bound};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("== a program that answers");
    let output = Jar::program("sh")
        .args([
            "-c",
            "echo I am $(id -un), and I see $(ls / | wc -l) entries in /",
        ])
        .output()
        .await?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    show(&output.report);

    println!("== a program that never ends, with half a second to live");
    let mut policy = Policy::default();
    policy.flags.limits.insert(
        Limit::Wall,
        Bound {
            hard: Some(500_000_000),
            ..Bound::default()
        },
    );
    let mut running = Jar::program("sh")
        .args(["-c", "while :; do :; done"])
        .policy(policy)
        .launch()
        .await?;
    show(&running.wait().await);

    println!("== a program that is asked to stop, and won't");
    let mut running = Jar::program("sh")
        .args(["-c", "trap '' TERM; echo ready; sleep 1000"])
        .stdout(Stdio::inherit())
        .launch()
        .await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.stop(StoppedBy::Host, 15, Duration::from_millis(300));
    show(&running.wait().await);
    Ok(())
}

fn show(report: &Report) {
    println!("{:?} after {:?} ns", report.outcome, report.usage.wall_ns);
    for rule in &report.enforcement {
        println!(
            "  {:<14} {:<11} {}",
            rule.rule, rule.applied, rule.planned.mechanism
        );
    }
    println!();
}
