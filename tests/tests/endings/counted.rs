//! Guests whose limits a cgroup of the jar's own holds: what the kernel counted there is
//! what is told, and nothing that looks like it. They run where a cgroup can be made, as in
//! the machines of the kernel lane.

use belljar_plan::Limit;
use belljar_tests::Need;
use rustix::process::Signal;

use super::row::{Done, MIB, MS, Row, S, hold, row};

#[test]
fn rows_of_cgroups_rest_on_what_the_kernel_counted() {
    hold(counted());
}

const ALL_MEMORY: &str = "[host]\nmemory = '48MiB'\n";

/// Starts belljar in a cgroup of which somebody else says how much memory it has.
const TIGHT: &str = "at=/sys/fs/cgroup/tight-$$; mkdir -p $at/shell && echo 96M > $at/memory.max && \
    echo '+memory +pids +cpu' > $at/cgroup.subtree_control && echo $$ > $at/shell/cgroup.procs && exec \"$@\"";

fn counted() -> Vec<Row> {
    let rows = vec![
        row("takes too much memory by itself", &["hold_memory", "200", "60000"])
            .flags(&["--memory", "32MiB"])
            .ends("limit memory", 124)
            .hits(&["memory hard"])
            .used(Limit::Memory, 30 * MIB..=40 * MIB),
        row("a child is killed for memory while main lives", &["hold_memory_in_child", "200", "60000"])
            .flags(&["--memory", "32MiB"])
            .ends("limit memory", 124)
            .hits(&["memory hard"])
            .used(Limit::Memory, 30 * MIB..=40 * MIB),
        row("fills scratch, which no task's memory tells of", &["fill_file", "/tmp/file", "200", "60000"])
            .flags(&["--memory", "32MiB", "--disk", "1GiB"])
            .ends("limit memory", 124)
            .hits(&["memory hard"])
            .used(Limit::Memory, 30 * MIB..=40 * MIB),
        row("has its part of what all jars have", &["hold_memory", "200", "60000"])
            .policy(ALL_MEMORY)
            .flags(&["--memory", "400MiB"])
            .ends("limit memory", 124)
            .symptoms(&["tasks of it were killed at the limit of memory of all jars of this host ([host] memory)"])
            .used(Limit::Memory, 20 * MIB..=60 * MIB),
        row("is killed for somebody else's limit of memory", &["hold_memory", "300", "60000"])
            .under(&["sh", "-c", TIGHT, "sh"])
            .flags(&["--memory", "400MiB"])
            .ends("lost", 125)
            .symptoms(&["tasks of it were killed for want of memory of the machine, or at the limit of a cgroup above"]),
        row("kills itself in a cgroup", &["raise", "9"])
            .flags(&["--memory", "64MiB"])
            .ends("signaled 9 KILL", 137)
            .symptoms(&["oom_kill?"]),
        row("exits 137 in a cgroup", &["exit", "137"])
            .flags(&["--memory", "64MiB"])
            .ends("exited 137", 137),
        row("orphans burn, whom nobody waits for", &["burn_orphans", "40", "200"])
            .flags(&["--cpu-time", "1500ms"])
            .ends("limit cpu_time", 124)
            .hits(&["cpu_time hard"])
            .used(Limit::CpuTime, 1500 * MS..=10 * S),
        row("asks for one task too many", &["hold_children", "50", "0"])
            .flags(&["--processes", "10"])
            .ends("exited 0", 0)
            .hits(&["processes hard"]),
        row("asks for just as many tasks", &["hold_children", "9", "0"])
            .flags(&["--processes", "10"])
            .ends("exited 0", 0),
        // What it does then is no cause any more.
        row("takes too much memory in the grace", &["take_on_signal", "15"])
            .flags(&["--memory", "32MiB", "--grace", "60s"])
            .done(Done::Signals(&[Signal::TERM]))
            .ends("stopped by signal 15", 143)
            .hits(&["memory hard"])
            .symptoms(&["tasks of it were killed at its limit of memory"])
            .used(Limit::Memory, 30 * MIB..=40 * MIB),
    ];
    rows.into_iter()
        .map(|row| row.needs(Need::Controllers))
        .collect()
}
