//! What allowed system calls take in a jar: getpid, openat with close, and read,
//! each in a loop, beside the same program bare and in other sandboxes.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use belljar::Preset;

use crate::{
    filter, floor, layers,
    library::{self, What},
    output::{Row, Section},
    sample::{Samples, Summary, round_robin},
    workshop::{Workshop, find},
};

/// Who runs the guest; the reason where it is not to be had.
struct Contender {
    name: String,
    command: Result<Vec<OsString>, String>,
}

const BARE: &str = "bare";
/// What the guest measures, in the order in which it says it.
const KINDS: [(&str, &str, &str); 3] = [
    ("getpid", "calls_getpid", "getpid"),
    ("openat", "calls_openat", "openat of /dev/null, and close"),
    ("read", "calls_read", "read of a byte of /dev/zero"),
];

/// Measures everybody.
pub(crate) fn run(
    rounds: usize,
    workshop: &Workshop,
    belljar: &Result<PathBuf, String>,
) -> Vec<Section> {
    let mut contenders = contenders(workshop, belljar);
    let results = round_robin(rounds, &mut contenders, |contender| {
        let command = contender.command.as_ref().map_err(Clone::clone)?;
        times(command)
    });
    KINDS
        .iter()
        .enumerate()
        .map(|(at, (_, name, title))| section(name, title, at, &contenders, &results))
        .collect()
}

fn section(
    name: &'static str,
    title: &str,
    at: usize,
    contenders: &[Contender],
    results: &[Result<Vec<Samples>, String>],
) -> Section {
    let nanoseconds = |summary: Summary| Summary {
        min: summary.min * 1e3,
        p50: summary.p50 * 1e3,
        p95: summary.p95 * 1e3,
        ..summary
    };
    let mut rows: Vec<Row> = contenders
        .iter()
        .zip(results)
        .map(|(contender, result)| {
            let result = result.as_ref().map_err(Clone::clone);
            let summary = result.map(|samples| samples[at].summary().map(nanoseconds));
            Row::new(contender.name.clone(), summary)
        })
        .collect();
    let bare = rows[0].summary;
    for row in &mut rows {
        row.compare(bare.map(|bare| bare.p50));
    }
    Section {
        name,
        title: title.to_owned(),
        unit: "ns",
        compared_to: Some(BARE.into()),
        rows,
        verdicts: Vec::new(),
        notes: Vec::new(),
    }
}

fn contenders(workshop: &Workshop, belljar: &Result<PathBuf, String>) -> Vec<Contender> {
    let guest = &workshop.calls;
    let jar = |preset: Preset| {
        let belljar = belljar.clone()?;
        Ok(words(
            &belljar,
            &["run", "--preset", preset.word(), "--"],
            guest,
        ))
    };
    let by_floor = |name: &str, change: fn(&belljar_plan::Plan) -> belljar_plan::Plan| {
        let plan = library::plan_of(&What::strict(guest))?;
        let list = workshop.write(name, floor::list(&change(&plan))?)?;
        Ok(words(&workshop.floor, &["once"], &list))
    };
    let mut contenders = vec![
        Contender {
            name: BARE.into(),
            command: Ok(words(guest, &[], Path::new(""))),
        },
        Contender {
            name: "belljar, standard".into(),
            command: jar(Preset::Standard),
        },
        Contender {
            name: "belljar, strict".into(),
            command: jar(Preset::Strict),
        },
        Contender {
            name: "strict's steps by the C floor".into(),
            command: by_floor("calls.all", Clone::clone),
        },
        Contender {
            name: "- without Landlock".into(),
            command: by_floor("calls.filter", layers::without_landlock),
        },
        Contender {
            name: "- without Landlock and filter".into(),
            command: by_floor("calls.neither", layers::without_both),
        },
        bwrap(workshop),
        gvisor(guest),
    ];
    for contender in &mut contenders {
        if let Ok(command) = &contender.command
            && let Err(reason) = times(command)
        {
            contender.command = Err(reason);
        }
    }
    contenders
}

fn words(program: &Path, arguments: &[&str], last: &Path) -> Vec<OsString> {
    let mut words = vec![program.as_os_str().to_owned()];
    words.extend(arguments.iter().map(OsString::from));
    if !last.as_os_str().is_empty() {
        words.push(last.as_os_str().to_owned());
    }
    words
}

/// With libseccomp's filter of standard's policy: strict's lets bwrap start nothing.
fn bwrap(workshop: &Workshop) -> Contender {
    let made = filter::linear(workshop, Preset::Standard);
    let name = match &made {
        Ok((_, length)) => format!("bwrap, libseccomp's {length} instructions"),
        Err(_) => "bwrap, a filter by libseccomp".to_owned(),
    };
    let command = made.and_then(|(file, _)| {
        let bwrap = find("bwrap").ok_or("bwrap is not installed")?;
        let guest = workshop.calls.display();
        // Only a shell hands a descriptor on.
        let script = format!(
            "exec {} --unshare-all --new-session --cap-drop ALL --clearenv --ro-bind /usr /usr \
             --proc /proc --dev /dev --tmpfs /tmp --ro-bind {guest} /calls --seccomp 9 /calls 9<{}",
            bwrap.display(),
            file.display()
        );
        Ok(["/bin/sh", "-c", &script].map(OsString::from).to_vec())
    });
    Contender { name, command }
}

fn gvisor(guest: &Path) -> Contender {
    let arguments = ["--rootless", "--network=none", "--ignore-cgroups", "do"];
    Contender {
        name: "gVisor: runsc do".into(),
        command: find("runsc")
            .ok_or_else(|| "runsc is not installed".to_owned())
            .map(|runsc| words(&runsc, &arguments, guest)),
    }
}

/// What the guest says each kind of call took.
fn times(command: &[OsString]) -> Result<Vec<Duration>, String> {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("and said nothing");
        return Err(format!("{}: {first}", output.status));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    KINDS
        .iter()
        .map(|(name, ..)| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
                .map(|nanoseconds| Duration::from_secs_f64(nanoseconds / 1e9))
                .ok_or_else(|| "the guest did not say what it measured".to_owned())
        })
        .collect()
}
