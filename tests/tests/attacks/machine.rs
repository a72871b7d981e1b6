//! Controls that need another kernel than this one may be: one that has the
//! parts that are attacked, in a virtual machine that can be thrown away.

use belljar_tests::{Need, VmCommand, VmEnd, need, vm};

/// A guest with its words, and what it says where the kernel has all of it.
struct Control {
    words: &'static [&'static str],
    says: &'static str,
}

/// Every guest whose attack a kernel can be built without.
const CONTROLS: &[Control] = &[
    Control {
        words: &["open_alg"],
        says: "AF_ALG of kind 5: opened",
    },
    Control {
        words: &["open_key"],
        says: "AF_KEY of kind 3: opened",
    },
    Control {
        words: &["open_vsock"],
        says: "AF_VSOCK of kind 1: opened",
    },
    Control {
        words: &["open_rare_protocol"],
        says: "SCTP: opened",
    },
    Control {
        words: &["load_kernel"],
        says: "kexec_load: the kernel says Invalid argument",
    },
    Control {
        words: &["load_module"],
        says: "init_module: the kernel says",
    },
    Control {
        words: &["use_ports"],
        says: "iopl: had",
    },
    Control {
        // The kernel's command line has to say `syscall.x32=y`.
        words: &["make_x32_calls"],
        says: "getpid: done",
    },
    Control {
        words: &["use_bpf"],
        says: "a map: done",
    },
    Control {
        words: &["restart"],
        says: "reboot: the kernel says Invalid argument",
    },
    Control {
        words: &["account_processes"],
        says: "acct: the kernel says Bad address",
    },
    Control {
        words: &["change_swap"],
        says: "swapoff: the kernel says Bad address",
    },
    Control {
        words: &["read_kernel_log"],
        says: "messages: done",
    },
    Control {
        words: &["make_devices"],
        says: "a block device: the kernel says Bad address",
    },
];

#[test]
fn attacks_come_through_in_a_machine_whose_kernel_has_what_they_attack() {
    if !need(Need::Vm) {
        return;
    }
    let commands: Vec<VmCommand> = CONTROLS
        .iter()
        .map(|control| {
            let words = ["belljar-guest"].iter().chain(control.words).copied();
            VmCommand::root(words.collect::<Vec<_>>())
        })
        .collect();
    for (control, result) in CONTROLS.iter().zip(vm().run(&commands)) {
        assert_eq!(
            result.end,
            VmEnd::Exited(42),
            "{:?}: {result:?}",
            control.words
        );
        let said = result.text();
        assert!(said.contains(control.says), "{:?}: {said}", control.words);
    }
}
