//! A host whose launcher can be told to fail, for the tests of that.
//!
//!     faulty-host [park] [tty] [lower] [report=FILE] PRESET GUEST [ARGUMENT...]
//!
//! Tells the plan's steps, and then launches a jar for each line of its input and tells,
//! a line of JSON each, how that ended and what the guest wrote. `BELLJAR_FAULTS` names the file of faults.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead as _, Write as _},
    path::PathBuf,
};

use belljar::{Jar, LaunchError, Parking, Policy, Preset, Report, ReportTo, Rule};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

/// What is done without where there are no namespaces.
const LESS: [Rule; 6] = [
    Rule::Files,
    Rule::Tasks,
    Rule::Privileges,
    Rule::KernelInfo,
    Rule::Cleanup,
    Rule::Processes,
];

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    let mut policy = Policy::default();
    let (mut tty, mut lower, mut report) = (false, false, None);
    let preset = loop {
        let word = words.next().expect("a preset");
        match word.as_str() {
            "park" => belljar::set_parking(Parking::One),
            "tty" => tty = true,
            "lower" => lower = true,
            word => match word.strip_prefix("report=") {
                Some(path) => report = Some(PathBuf::from(path)),
                None => break Preset::from_word(word).expect("a preset"),
            },
        }
    };
    policy.flags.preset = Some(preset);
    policy.flags.terminal = tty.then_some((24, 80));
    if lower {
        let said = "--best-effort".to_owned();
        policy
            .best_effort
            .extend(LESS.map(|rule| (rule, said.clone())));
    }
    let program: Vec<String> = words.collect();
    let (program, arguments) = program.split_first().expect("a guest");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let jar = || Jar::program(program).args(arguments).policy(policy.clone());
    // Where namespaces are refused, only a launch finds that out, and has another plan.
    let planned = (!lower).then(|| jar().plan().expect("a plan"));
    let steps: Vec<_> = planned
        .iter()
        .flat_map(|plan| (0..plan.steps.len()).map(|index| plan.describe_step(index)))
        .collect();
    say(&json!({ "steps": steps }));
    for line in std::io::stdin().lock().lines() {
        drop(line.expect("a line"));
        let mut jar = jar();
        if let Some(path) = &report {
            jar = jar.report_to(ReportTo::File(path.clone()));
        }
        let told = match runtime.block_on(run(jar, tty)) {
            Ok((report, output)) => json!({ "report": report, "output": output }),
            Err(LaunchError::Ended { report }) => json!({ "report": report, "output": "" }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        say(&told);
    }
}

fn say(told: &serde_json::Value) {
    println!("{told}");
    std::io::stdout().flush().expect("its output");
}

/// Runs it to its end, and gives what it wrote to its stdout or terminal.
async fn run(jar: Jar, tty: bool) -> Result<(Report, String), LaunchError> {
    if !tty {
        let output = jar.output().await?;
        return Ok((
            output.report,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ));
    }
    let mut running = jar.launch().await?;
    let mut written = Vec::new();
    if let Some(mut terminal) = running.terminal() {
        // A terminal that nobody has open any more ends with an error.
        let _ = terminal.read_to_end(&mut written).await;
    }
    let report = running.wait().await;
    Ok((report, String::from_utf8_lossy(&written).into_owned()))
}
