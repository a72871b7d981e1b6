//! The list of attacks: docs/attacks.md is its table.

/// Every guest: what it tries, the test that runs it, the layer that stops it,
/// and whether the report tells of it.
///
/// A line is `room::guest => test: "layer", told;`, or `quiet`. `in strict`
/// stands behind what only that preset denies. The guests' table and the
/// integration test `attacks` are both made of this list, so that a guest
/// without its test does not compile.
#[macro_export]
macro_rules! guests {
    ($then:ident) => {
        $then! {
            /// Reads a file that was not granted.
            files::read_file => canary_outside_stays_unread: "mount namespace", quiet;
            /// Changes, renames, removes or shadows a file that was not granted.
            files::write_file => canary_outside_stays_unwritten: "mount namespace", quiet;
            /// Reaches a file outside by links and by `..`.
            files::walk_out => links_and_dot_dots_lead_nowhere: "mount namespace", quiet;
            /// Finds the machine's own text in `/etc/passwd`.
            files::read_marked => passwd_and_shadow_of_the_machine_stay_unread: "mount namespace", quiet;
            /// Changes the program that it runs as, and the one that pid 1 does.
            files::touch_program => programs_bytes_stay_as_they_are: "mount namespace", quiet;
            /// Opens settings of the kernel for writing.
            files::open_for_writing => kernel_settings_stay_closed: "mount namespace", quiet;
            /// Finds the file system of the machine's root among the mounts.
            files::see_machine_root => mounts_show_no_machine_root: "mount namespace", quiet;
            /// Opens a file by its handle, past every path.
            files::open_by_handle => handles_open_nothing: "seccomp", told;
            /// Finds a device that no jar has, or makes one.
            files::see_devices => devices_are_only_the_listed: "mount namespace", quiet;
            /// Mounts, unmounts, remounts, and changes the root.
            files::change_mounts => mounts_stay_as_they_are: "seccomp", told;
            /// Takes off what hides files, in namespaces of its own.
            files::undo_mounts_in_new_namespace => nested_namespace_uncovers_nothing: "seccomp", told;
            /// Finds a descriptor that a careless host left open.
            descriptors::find_descriptors => only_three_descriptors_are_inherited: "close", quiet;
            /// Changes the operator's file behind standard input.
            descriptors::reopen_stdin => operators_file_is_not_reopened: "pipes", quiet;
            /// Types into the operator's terminal.
            descriptors::inject_terminal => terminal_takes_no_injected_input: "pipes", quiet;
            /// Finds a task of the machine.
            tasks::see_task => task_outside_is_not_seen: "pid namespace", quiet;
            /// Kills a task of the machine.
            tasks::kill_task => task_outside_is_not_killed: "pid namespace", quiet;
            /// Attaches to a task of the machine.
            tasks::trace_task => task_outside_is_not_traced: "pid namespace", quiet;
            /// Reads the memory of a task of the machine.
            tasks::read_task_memory => memory_of_the_supervisor_is_not_reached: "pid namespace", quiet;
            /// Reads files through the root or a descriptor of a task of the machine.
            tasks::read_task_root => root_of_the_supervisor_is_not_reached: "pid namespace", quiet;
            /// Takes a descriptor of a task of the machine.
            tasks::take_descriptor => descriptors_of_the_supervisor_are_not_taken: "pid namespace", quiet;
            /// Reads, writes, attaches to and kills pid 1 of the jar.
            tasks::attack_first => first_process_is_out_of_reach: "not dumpable", quiet;
            /// Leaves grandchildren in sessions of their own.
            tasks::stay_behind => daemonised_grandchildren_are_gone: "pid namespace", quiet;
            /// Finds System V objects of the machine.
            ipc::find_sysv => sysv_objects_are_not_found: "ipc namespace", quiet;
            /// Opens a POSIX message queue of the machine.
            ipc::find_queue => message_queue_is_not_found: "ipc namespace", quiet;
            /// Opens POSIX shared memory of the machine.
            ipc::find_shared_memory => shared_memory_is_not_found: "mount namespace", quiet;
            /// Finds a key of the user's or of the host's session.
            ipc::find_key => keyring_is_not_searched: "seccomp", told;
            /// Connects to an abstract unix socket of the machine.
            ipc::connect_abstract => abstract_socket_is_not_reached: "network namespace", quiet;
            /// Connects to the machine's network.
            ipc::connect_tcp => machine_s_network_is_not_reached: "network namespace", quiet;
            /// Finds a capability, a privilege or an identity left over.
            privileges::see_privileges => every_privilege_is_gone: "capabilities", quiet;
            /// Runs a program that is set-user-id root.
            privileges::run_setuid => setuid_program_gains_nothing: "no_new_privs", quiet;
            /// Sets ids and groups that only a privileged task may.
            privileges::become_root => no_identity_is_regained: "capabilities", quiet;
            /// Leaves a set-user-id program in a granted directory.
            privileges::plant_setuid => setuid_file_is_not_planted_in_a_grant: "seccomp", told;
            /// Leaves a program with capabilities in a granted directory.
            privileges::plant_capability => file_capability_is_not_planted_in_a_grant: "seccomp", told;
            /// Takes memory without end.
            resources::take_memory => memory_bomb_is_bounded: "supervisor", quiet;
            /// Forks without end.
            resources::fork => fork_bomb_is_bounded: "rlimit", quiet;
            /// Writes output without end.
            resources::flood => output_flood_is_bounded: "supervisor", quiet;
            /// Burns processor time.
            resources::spin => busy_loop_ends_at_cpu_time: "supervisor", quiet;
            /// Sleeps, deaf to signals.
            resources::sleep => sleeper_ends_at_wall: "supervisor", quiet;
            /// Makes empty files, which cost the kernel memory.
            resources::make_files => empty_files_are_bounded: "sized tmpfs", quiet;
            /// Fills every place that can be written.
            resources::fill_disk => scratch_is_bounded: "sized tmpfs", quiet;
            /// Opens descriptors without end.
            resources::open_many => open_files_are_bounded: "rlimit", quiet;
            /// Fills the buffers of sockets, which are no task's memory.
            resources::fill_buffers => buffers_are_bounded: "rlimit", quiet in strict;
            /// Dumps core into a granted directory.
            resources::dump_core => no_core_is_dumped: "rlimit", quiet;
            /// Opens a socket of the kernel's cryptography.
            sockets::open_alg => cryptography_sockets_are_refused: "seccomp", told;
            /// Opens a socket to what runs the virtual machine.
            sockets::open_vsock => sockets_to_the_hypervisor_are_refused: "seccomp", told;
            /// Opens a socket of the keys of IPsec.
            sockets::open_key => key_sockets_are_refused: "seccomp", told;
            /// Opens a socket of packets as they are on the wire.
            sockets::open_packets => packet_sockets_are_refused: "seccomp", told;
            /// Opens raw sockets.
            sockets::open_raw_socket => raw_sockets_are_refused: "seccomp", told;
            /// Opens every netlink protocol but that of routes.
            sockets::open_netlink => netlink_beyond_routes_is_refused: "seccomp", told;
            /// Opens protocols of the internet that hardly anybody speaks.
            sockets::open_rare_protocol => rare_protocols_are_refused: "seccomp", told;
            /// Opens each family of sockets from 0 to 50, in each kind.
            sockets::sweep_families => every_other_family_is_refused: "seccomp", told;
            /// Sends and receives urgent bytes on unix sockets.
            sockets::send_out_of_band => urgent_bytes_are_refused: "seccomp", told;
            /// Connects to a unix socket of the machine in a granted directory.
            unix::connect_pathname => socket_in_a_granted_directory_is_not_reached: "Landlock or notify", quiet;
            /// Sends to a datagram socket of the machine in a granted directory.
            unix::send_to_pathname => datagram_socket_in_a_granted_directory_gets_nothing: "Landlock or notify", quiet;
            /// Changes a socket's address while it is decided on.
            unix::race_pathname => address_that_changes_reaches_nothing: "Landlock or notify", quiet;
            /// Connects to abstract sockets whose names have a NUL within.
            unix::connect_odd_abstract => abstract_names_with_a_nul_are_not_reached: "network namespace", quiet;
            /// Has a ring do what the filter denies.
            ring::set_up_io_uring => rings_are_refused: "seccomp", quiet;
            /// Loads a map, and so programs, into the kernel.
            calls::use_bpf => bpf_is_refused: "seccomp", told;
            /// Opens a performance counter.
            calls::open_perf_event => performance_counters_are_refused: "seccomp", told;
            /// Handles the kernel's own page faults.
            calls::use_userfaultfd => faults_are_not_the_guest_s_to_handle: "seccomp", told;
            /// Makes calls on keys.
            calls::use_keys => calls_on_keys_are_refused: "seccomp", told;
            /// Takes a personality that weakens memory's protection.
            calls::change_personality => personalities_are_refused: "seccomp", told;
            /// Reads the kernel's log.
            calls::read_kernel_log => log_of_the_kernel_is_not_read: "seccomp", told;
            /// Takes a real-time scheduling policy.
            calls::take_real_time => real_time_is_refused: "seccomp", told;
            /// Sets the machine's clock.
            calls::set_clock => clock_is_not_set: "seccomp", told;
            /// Loads another kernel.
            system::load_kernel => kernel_is_not_replaced: "seccomp", told;
            /// Loads and unloads kernel modules.
            system::load_module => modules_are_refused: "seccomp", told;
            /// Restarts the machine.
            system::restart => machine_is_not_restarted: "seccomp", told;
            /// Turns swap on and off.
            system::change_swap => swap_is_not_changed: "seccomp", told;
            /// Turns on process accounting.
            system::account_processes => accounting_is_refused: "seccomp", told;
            /// Sets disk quotas.
            system::set_quota => quotas_are_refused: "seccomp", told;
            /// Reaches devices by their ports.
            abi::use_ports => ports_are_refused: "seccomp", told;
            /// Makes calls of the 32-bit ABI, by `int 0x80`.
            abi::make_32_bit_calls => calls_of_32_bits_are_refused: "seccomp", quiet;
            /// Makes calls by the numbers of x32.
            abi::make_x32_calls => calls_of_x32_are_refused: "seccomp", quiet;
            /// Mounts and unmounts by the old calls.
            mounts::mount_by_old_calls => old_mount_calls_are_refused: "seccomp", told;
            /// Mounts by the calls that came with Linux 5.2 and later.
            mounts::mount_by_new_calls => new_mount_calls_are_refused: "seccomp", told;
            /// Changes its root, and walks out of it.
            mounts::change_root => root_is_not_changed: "seccomp", told;
            /// Makes device files.
            mounts::make_devices => devices_are_not_made: "seccomp", told;
            /// Moves itself to another cgroup, or has a program run at one's end.
            mounts::leave_cgroup => cgroup_is_not_left: "seccomp", told;
            /// Makes a namespace of each kind by `unshare`.
            namespaces::unshare_each => namespaces_are_not_unshared: "seccomp", told;
            /// Makes a child in a namespace of each kind by `clone`.
            namespaces::clone_into_each => children_get_no_namespaces: "seccomp", told;
            /// Makes a user namespace by `clone3`, whose flags no filter sees.
            namespaces::clone3_into_namespace => clone3_looks_like_an_older_kernel: "seccomp", quiet;
            /// Joins namespaces, of type 0 too.
            namespaces::join_namespaces => namespaces_are_not_joined: "seccomp", told;
            /// Traces its own child.
            tracing::trace_child => own_child_is_not_traced: "seccomp", told;
            /// Traces a sibling.
            tracing::trace_sibling => sibling_is_not_traced: "seccomp", told;
            /// Copies memory from and to its own child.
            tracing::copy_memory => memory_is_not_copied_between_tasks: "seccomp", told;
            /// Takes a descriptor of its own child.
            tracing::take_child_s_descriptor => descriptors_are_not_taken_from_tasks: "seccomp", told;
            /// Asks in what order the kernel keeps what two tasks have.
            tracing::compare_tasks => tasks_are_not_compared: "seccomp", told;
            /// Tells pid 1 in the kernel's name that its child has ended.
            first::forge_signals => forged_signals_tell_nothing: "kernel", quiet;
            /// Changes limits, priorities and processors of pid 1, and stops it.
            first::throttle_first => first_process_is_not_throttled: "seccomp", quiet;
            /// Takes back what was given up for good.
            first::loosen_itself => nothing_given_up_is_taken_back: "capabilities", quiet;
            /// Maps memory that can be written and run.
            memory::map_writable_code => no_memory_is_writable_code: "writable_code", quiet in strict;
            /// Makes memory executable after it was written.
            memory::make_code_of_data => data_does_not_become_code: "writable_code", quiet in strict;
            /// Makes code writable, writes it, and makes it code again.
            memory::rewrite_code => code_is_not_rewritten: "writable_code", quiet in strict;
            /// Attaches System V shared memory to write and to run.
            memory::attach_code => attached_memory_is_no_code: "writable_code", quiet in strict;
            /// Maps shared memory twice, as code and as data.
            memory::alias_code => code_has_no_writable_alias: "writable_code", quiet in strict;
            /// Runs code from files that it wrote.
            memory::map_written_file => written_files_are_no_code: "writable_code", quiet in strict;
            /// Writes over its own code, by `/proc/self/mem` too.
            memory::write_over_code => own_code_is_not_overwritten: "writable_code", quiet in strict;
            /// Makes all that can be read executable by a personality.
            memory::imply_code => reading_implies_no_running: "seccomp", told;
            /// Starts programs by their names.
            programs::start_by_path => no_program_is_started_by_name: "exec", told in strict;
            /// Starts programs by open descriptors.
            programs::start_by_descriptor => no_program_is_started_by_descriptor: "exec", told in strict;
            /// Starts a program from memory.
            programs::start_from_memory => no_program_is_started_from_memory: "exec", told in strict;
            /// Starts a program that it wrote.
            programs::start_written => no_written_program_is_started: "exec", told in strict;
            /// Starts a program by way of the dynamic loader.
            programs::start_by_loader => loader_starts_no_program: "exec", told in strict;
            /// Starts a script.
            programs::start_script => no_script_is_started: "exec", told in strict;
            /// Adds a filter of its own.
            filters::add_filter => filters_of_its_own_are_refused: "seccomp", told in strict;
            /// Adds a filter that is asked instead of Belljar.
            filters::add_listener => listener_of_its_own_is_refused: "seccomp", quiet;
            /// Hides denied calls behind a filter of its own.
            filters::hide_calls => calls_are_not_hidden: "seccomp", told in strict;
            /// Types into a terminal of its own, and changes its line discipline.
            terminal::steer_terminal => terminal_of_its_own_is_not_steered: "seccomp", told;
            /// Takes a directory that waits on the operator's input.
            descriptors::receive_descriptors => descriptors_do_not_come_by_streams: "pipes", quiet;
            /// Takes a directory from another jar that shares a directory with it.
            jars::conspire => two_jars_pass_no_directories: "Landlock or notify", quiet;
            /// Leaves directories 4,000 levels deep.
            names::dig_deep => deep_directories_are_cleaned_up: "sized tmpfs", quiet;
            /// Keeps data in attributes of files.
            names::hoard_attributes => attributes_are_bounded: "sized tmpfs", quiet;
            /// Says, and names files and itself, what would steer a terminal.
            names::speak_escapes => escapes_do_not_reach_people: "supervisor", quiet;
            /// Makes timers without end.
            time::make_timers => timers_are_bounded: "rlimit", quiet;
            /// Has timers go off without end.
            time::storm_of_signals => storm_of_signals_ends_at_wall: "supervisor", quiet;
            /// Forks on while it is being killed.
            races::fork_away => what_forks_on_is_gone: "pid namespace", quiet;
            /// Starts itself again and again while it is signalled.
            races::start_again => starting_again_ends_at_wall: "supervisor", quiet;
        }
    };
}
