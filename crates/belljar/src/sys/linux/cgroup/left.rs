//! Scopes that a belljar was given and nobody is in: where a launcher ends while systemd puts
//! it into one, that one may be begun empty, and an end that systemd waits for never comes.

use std::{fs, path::Path, time::Duration};

use zbus::{Connection, OwnedObjectPath, OwnedVariant, Type};

use super::{
    made::field,
    scope::{MANAGER, PREFIX, SUFFIX, SYSTEMD},
};

/// A scope is empty for moments while it begins.
const SETTLED: Duration = Duration::from_secs(10);

/// A unit as `ListUnitsByPatterns` tells of it; org.freedesktop.systemd1(5).
#[derive(Debug, serde::Deserialize, Type)]
struct Listed {
    name: String,
    _description: String,
    _load: String,
    active: String,
    _sub: String,
    _followed: String,
    path: OwnedObjectPath,
    _job: u32,
    _job_type: String,
    _job_path: OwnedObjectPath,
}

/// Has the manager stop those of its scopes.
pub(super) async fn stop(connection: &Connection, mount: &Path) -> zbus::Result<()> {
    let states: Vec<&str> = Vec::new();
    let patterns = vec![format!("{PREFIX}*{SUFFIX}")];
    let list = connection
        .call_method(
            Some(SYSTEMD),
            "/org/freedesktop/systemd1",
            Some(MANAGER),
            "ListUnitsByPatterns",
            &(states, patterns),
        )
        .await?;
    let list: Vec<Listed> = list.body().deserialize()?;
    for unit in list {
        if unit.active != "active" || !is_left(connection, mount, &unit).await? {
            continue;
        }
        connection
            .call_method(
                Some(SYSTEMD),
                "/org/freedesktop/systemd1",
                Some(MANAGER),
                "StopUnit",
                &(unit.name.as_str(), "fail"),
            )
            .await?;
        tracing::debug!(target: "belljar", scope = unit.name, "stopped a scope that nobody is in");
    }
    Ok(())
}

async fn is_left(connection: &Connection, mount: &Path, unit: &Listed) -> zbus::Result<bool> {
    let get = async |interface: &str, name: &str| -> zbus::Result<OwnedVariant> {
        let answer = connection
            .call_method(
                Some(SYSTEMD),
                &unit.path,
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(interface, name),
            )
            .await?;
        answer.body().deserialize()
    };
    let since = get(
        "org.freedesktop.systemd1.Unit",
        "ActiveEnterTimestampMonotonic",
    )
    .await?;
    let since = Duration::from_micros(u64::try_from(since)?);
    let cgroup = get("org.freedesktop.systemd1.Scope", "ControlGroup").await?;
    let cgroup = String::try_from(cgroup)?;
    let events = mount
        .join(cgroup.trim_start_matches('/'))
        .join("cgroup.events");
    // One that is gone is stopped by systemd itself.
    let empty = fs::read_to_string(events).is_ok_and(|text| field(&text, "populated") == Some(0));
    Ok(empty && now().saturating_sub(since) > SETTLED)
}

/// As systemd counts; clock_gettime(2).
fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}
