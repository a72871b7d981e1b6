//! Hostile guests, one misbehaviour each, in one program that starts fast.
//!
//! Run with the words of [`guests!`]. A guest prints `stopped: …` and exits 0
//! when its attack failed, and prints `ESCAPED: …` and exits 42 when it came
//! through. It never tries what would hurt a machine where nothing stops it:
//! bombs are bounded by an argument, and targets are named by the test.

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod ipc;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod plain;
#[cfg(target_os = "linux")]
mod privileges;
#[cfg(target_os = "linux")]
mod resources;
#[cfg(target_os = "linux")]
mod tasks;

/// Every guest, with the test that runs it: `room::guest => test`.
///
/// The guests' table and the integration test `attacks` are both made of this
/// list, so that a guest without its test does not compile.
#[macro_export]
macro_rules! guests {
    ($then:ident) => {
        $then! {
            files::read_file => canary_outside_stays_unread,
            files::write_file => canary_outside_stays_unwritten,
            files::walk_out => links_and_dot_dots_lead_nowhere,
            files::read_marked => passwd_and_shadow_of_the_machine_stay_unread,
            files::touch_program => programs_bytes_stay_as_they_are,
            files::open_for_writing => kernel_settings_stay_closed,
            files::see_machine_root => mounts_show_no_machine_root,
            files::open_by_handle => handles_open_nothing,
            files::see_devices => devices_are_only_the_listed,
            files::change_mounts => mounts_stay_as_they_are,
            files::undo_mounts_in_new_namespace => nested_namespace_uncovers_nothing,
            descriptors::find_descriptors => only_three_descriptors_are_inherited,
            descriptors::reopen_stdin => operators_file_is_not_reopened,
            descriptors::inject_terminal => terminal_takes_no_injected_input,
            tasks::see_task => task_outside_is_not_seen,
            tasks::kill_task => task_outside_is_not_killed,
            tasks::trace_task => task_outside_is_not_traced,
            tasks::read_task_memory => memory_of_the_supervisor_is_not_reached,
            tasks::read_task_root => root_of_the_supervisor_is_not_reached,
            tasks::take_descriptor => descriptors_of_the_supervisor_are_not_taken,
            tasks::attack_first => first_process_is_out_of_reach,
            tasks::stay_behind => daemonised_grandchildren_are_gone,
            ipc::find_sysv => sysv_objects_are_not_found,
            ipc::find_queue => message_queue_is_not_found,
            ipc::find_shared_memory => shared_memory_is_not_found,
            ipc::find_key => keyring_is_not_searched,
            ipc::connect_abstract => abstract_socket_is_not_reached,
            ipc::connect_tcp => machine_s_network_is_not_reached,
            ipc::open_raw_socket => raw_sockets_are_refused,
            privileges::see_privileges => every_privilege_is_gone,
            privileges::run_setuid => setuid_program_gains_nothing,
            privileges::become_root => no_identity_is_regained,
            privileges::plant_setuid => setuid_file_is_not_planted_in_a_grant,
            privileges::plant_capability => file_capability_is_not_planted_in_a_grant,
            resources::take_memory => memory_bomb_is_bounded,
            resources::fork => fork_bomb_is_bounded,
            resources::flood => output_flood_is_bounded,
            resources::spin => busy_loop_ends_at_cpu_time,
            resources::sleep => sleeper_ends_at_wall,
            resources::make_files => empty_files_are_bounded,
            resources::fill_disk => scratch_is_bounded,
            resources::open_many => open_files_are_bounded,
            resources::dump_core => no_core_is_dumped,
        }
    };
}

/// What became of an attack.
#[cfg(target_os = "linux")]
#[must_use]
pub enum Verdict {
    /// It failed; what was seen.
    Stopped(String),
    /// It came through; what was reached.
    Escaped(String),
}

#[cfg(target_os = "linux")]
impl Verdict {
    /// An attack that needs one success of many tries; `tries` are named results.
    fn of_tries(tries: impl IntoIterator<Item = (String, std::io::Result<String>)>) -> Self {
        let mut refused = Vec::new();
        for (what, result) in tries {
            match result {
                Ok(reached) => return Self::Escaped(format!("{what}: {reached}")),
                Err(error) => refused.push(format!("{what}: {error}")),
            }
        }
        Self::Stopped(refused.join("; "))
    }
}

/// A guest's program.
#[cfg(target_os = "linux")]
pub type Guest = fn(&[String]) -> Verdict;

#[cfg(target_os = "linux")]
macro_rules! table {
    ($($room:ident :: $guest:ident => $test:ident),+ $(,)?) => {
        /// Every guest by name.
        pub const GUESTS: &[(&str, Guest)] = &[$((stringify!($guest), $room::$guest)),+];
    };
}
#[cfg(target_os = "linux")]
guests!(table);

/// The version of the kernel's Landlock; 0 where there is none, or it is off.
#[cfg(target_os = "linux")]
#[must_use]
pub fn landlock_version() -> i64 {
    use kernel::{Arg, call};
    const VERSION: i64 = 1;
    let mut asked = [Arg::Number(0), Arg::Number(0), Arg::Number(VERSION)];
    call(libc::SYS_landlock_create_ruleset, &mut asked).unwrap_or(0)
}

/// Runs the guest or plain program of this name, and says how to exit.
#[cfg(target_os = "linux")]
#[must_use]
pub fn run(name: &str, args: &[String]) -> std::process::ExitCode {
    use std::process::ExitCode;

    if let Some((_, guest)) = GUESTS.iter().find(|(known, _)| *known == name) {
        return match guest(args) {
            Verdict::Stopped(how) => {
                println!("stopped: {how}");
                ExitCode::SUCCESS
            }
            Verdict::Escaped(where_to) => {
                println!("ESCAPED: {where_to}");
                ExitCode::from(42)
            }
        };
    }
    plain::run(name, args).unwrap_or_else(|| {
        eprintln!("no guest `{name}`");
        ExitCode::from(2)
    })
}
