use belljar_plan::Outcome;

use super::*;
use crate::report::without_plan;

fn records() -> (tempfile::TempDir, Records) {
    let directory = tempfile::tempdir().unwrap();
    let records = Records::at(directory.path().join("state/belljar"));
    (directory, records)
}

fn report(jar: &str) -> Report {
    without_plan(jar, None, Outcome::Lost)
}

/// Where a record of a kind is.
fn at(records: &Records, kind: &str, name: &str) -> PathBuf {
    records.directory.join(kind).join(file_name(name))
}

fn plan(variables: &[&str]) -> Plan {
    let step = Step::Exec {
        path: "/x".into(),
        arguments: vec!["x".into(), "--token=hunter2".into()],
        variables: variables.iter().map(|text| Bytes::from(*text)).collect(),
    };
    crate::supervise::test_plan(vec![step])
}

#[test]
fn a_report_is_found_by_its_id_and_by_what_it_begins_with() {
    let (_directory, records) = records();
    assert!(matches!(records.last(), Err(RecordError::None { .. })));
    for jar in ["jar-aa1", "jar-ab2"] {
        records.keep_report(&report(jar)).unwrap();
    }
    assert_eq!(records.report("jar-ab").unwrap().jar, "jar-ab2");
    assert_eq!(records.report("jar-aa1").unwrap().jar, "jar-aa1");
    assert!(matches!(
        records.report("jar-a"),
        Err(RecordError::Ambiguous { .. })
    ));
    for unknown in ["jar-b", "", "../plans/x"] {
        assert!(matches!(
            records.report(unknown),
            Err(RecordError::Unknown { .. })
        ));
    }
    assert_eq!(records.kept().unwrap().len(), 2);
}

#[test]
fn a_plan_is_kept_without_the_values_that_somebody_passed() {
    let (_directory, records) = records();
    let whole = plan(&["HOME=/home/plugin", "TOKEN=hunter2"]);
    records.keep_plan(&whole, "ab12").unwrap();
    let file = at(&records, PLANS_IN, "ab12");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let kept = records.plan("ab12").unwrap();
    assert_eq!(kept, without_values(&plan(&["HOME=/home/plugin", "TOKEN"])));
    for unknown in ["ab13", "", "../x"] {
        assert!(matches!(
            records.plan(unknown),
            Err(RecordError::NoPlan { .. })
        ));
    }
}

#[test]
fn records_are_the_user_s_alone_and_a_place_of_others_takes_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, records) = records();
    records.keep_report(&report("jar-1")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(records.directory()), 0o700);
    assert_eq!(mode(&at(&records, REPORTS_IN, "jar-1")), 0o600);

    let others = directory.path().join("others");
    std::fs::create_dir(&others).unwrap();
    std::fs::set_permissions(&others, std::fs::Permissions::from_mode(0o777)).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("state/belljar"), &link).unwrap();
    for refused in [others, link] {
        let error = Records::at(&refused).keep_report(&report("jar-2"));
        assert!(matches!(error, Err(RecordError::Io { .. })), "{refused:?}");
    }
}

#[test]
fn in_somebody_else_s_home_nothing_is_made() {
    // As root: a user's directory; as a user: one of root's that none may write to.
    let directory = tempfile::tempdir().unwrap();
    let home = match rustix::process::geteuid().is_root() {
        true => {
            std::os::unix::fs::chown(directory.path(), Some(4242), Some(4242)).unwrap();
            directory.path().to_owned()
        }
        false => PathBuf::from("/usr"),
    };
    let records = Records::at(home.join(".local/state/belljar"));
    let refused = records.keep_report(&report("jar-1"));
    assert!(matches!(refused, Err(RecordError::Io { .. })));
    assert!(!home.join(".local").exists());
}

#[test]
fn what_is_old_or_too_much_is_swept() {
    let (_directory, records) = records();
    records.keep_plan(&plan(&[]), "aa").unwrap();
    records.keep_plan(&plan(&[]), "bb").unwrap();
    for number in 0..REPORTS + 20 {
        records
            .keep_report(&report(&format!("jar-{number}f")))
            .unwrap();
    }
    let age = |path: PathBuf, seconds: u64| {
        let when = SystemTime::now() - Duration::from_secs(seconds);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(when).unwrap();
    };
    age(at(&records, PLANS_IN, "aa"), 2 * 24 * 3600);
    let month = AGE.as_secs() + 60;
    age(at(&records, REPORTS_IN, "jar-0f"), month);
    records.sweep().unwrap();
    let left = records.kept().unwrap();
    assert_eq!(left.len(), REPORTS);
    assert!(left.iter().all(|kept| kept.jar != "jar-0f"));
    assert!(records.plan("aa").is_err());
    assert!(records.plan("bb").is_ok());
}

/// What a directory in the place of the records leads to is somebody else's.
#[test]
fn a_link_in_the_place_of_the_records_gives_away_and_takes_away_nothing() {
    for kind in [REPORTS_IN, PLANS_IN] {
        let (directory, records) = records();
        let others = directory.path().join("others");
        std::fs::create_dir_all(others.join(kind)).unwrap();
        let file = others.join(kind).join("ab12.json");
        std::fs::write(&file, "{}").unwrap();
        let old = SystemTime::now() - 2 * AGE;
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(old).unwrap();
        records.keep_report(&report("jar-1")).unwrap();
        records.keep_plan(&plan(&[]), "aa").unwrap();
        let own = records.directory().join(kind);
        for place in [own, records.directory().to_owned()] {
            let target = match place == records.directory() {
                true => others.clone(),
                false => others.join(kind),
            };
            std::fs::rename(
                &place,
                directory
                    .path()
                    .join(format!("moved-{}", place.ends_with(kind))),
            )
            .unwrap();
            std::os::unix::fs::symlink(target, &place).unwrap();
            let swept = records.sweep();
            assert!(matches!(swept, Err(RecordError::Io { .. })), "{swept:?}");
            assert!(file.exists(), "{place:?}");
            let read = (records.plan("ab12").err(), records.report("ab12").err());
            assert!(
                [read.0, read.1]
                    .iter()
                    .any(|error| matches!(error, Some(RecordError::Io { .. }))),
            );
        }
    }
}

#[test]
fn what_others_may_write_to_is_no_record_of_the_user_s() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, records) = records();
    records.keep_report(&report("jar-1")).unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(records.directory().join(REPORTS_IN), open).unwrap();
    assert!(matches!(records.last(), Err(RecordError::Io { .. })));
    assert!(matches!(records.sweep(), Err(RecordError::Io { .. })));
}

#[test]
fn a_record_that_is_none_is_said_to_be_so() {
    let (_directory, records) = records();
    records.keep_report(&report("jar-1")).unwrap();
    std::fs::write(at(&records, REPORTS_IN, "jar-1"), "{}").unwrap();
    assert!(matches!(records.last(), Err(RecordError::Malformed { .. })));
}
