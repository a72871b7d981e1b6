//! The one filter of this stage: keyrings, which no namespace hides.
//!
//! A key belongs to a machine user, not to a user namespace alone, so that a
//! guest started by a user could use that user's keys by number; keyrings(7).
//! The filter compiler takes this file's place.

use belljar_plan::Bytes;

/// An instruction of classic BPF: `struct sock_filter` in `<linux/filter.h>`.
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// `offsetof(struct seccomp_data, …)`; seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Calls of x86_64 with this bit are its x32 form, which programs of today don't use.
const X32: u32 = 0x4000_0000;

/// An architecture that the kernel may tell of: `AUDIT_ARCH_*`, and the
/// numbers of add_key, request_key and keyctl, which follow each other.
struct Architecture {
    audit: u32,
    first: u32,
    x32: bool,
}

/// The architectures that a kernel for `machine` runs, its own first.
const fn architectures(machine: &str) -> Option<[Architecture; 2]> {
    const X86_64: Architecture = Architecture {
        audit: 0xc000_003e,
        first: 248,
        x32: true,
    };
    const I386: Architecture = Architecture {
        audit: 0x4000_0003,
        first: 286,
        x32: false,
    };
    const AARCH64: Architecture = Architecture {
        audit: 0xc000_00b7,
        first: 217,
        x32: false,
    };
    const ARM: Architecture = Architecture {
        audit: 0x4000_0028,
        first: 309,
        x32: false,
    };
    match machine.as_bytes() {
        b"x86_64" => Some([X86_64, I386]),
        b"aarch64" => Some([AARCH64, ARM]),
        _ => None,
    }
}

/// The program that refuses keyring calls with `EPERM` and lets all else
/// through; none where the machine's numbers are not known here.
pub(super) fn keyrings(machine: &str) -> Option<Bytes> {
    let mut program = vec![Instruction {
        code: LOAD,
        if_true: 0,
        if_false: 0,
        k: ARCHITECTURE,
    }];
    for architecture in architectures(machine)? {
        let mut block = vec![Instruction {
            code: LOAD,
            if_true: 0,
            if_false: 0,
            k: NUMBER,
        }];
        if architecture.x32 {
            block.push(Instruction {
                code: JUMP_IF_AT_LEAST,
                if_true: 2,
                if_false: 0,
                k: X32,
            });
        }
        block.push(Instruction {
            code: JUMP_IF_AT_LEAST,
            if_true: 0,
            if_false: 2,
            k: architecture.first,
        });
        block.push(Instruction {
            code: JUMP_IF_AT_LEAST,
            if_true: 1,
            if_false: 0,
            k: architecture.first + 3,
        });
        block.push(Instruction {
            code: RETURN,
            if_true: 0,
            if_false: 0,
            k: EPERM,
        });
        block.push(Instruction {
            code: RETURN,
            if_true: 0,
            if_false: 0,
            k: ALLOW,
        });
        let over = u8::try_from(block.len()).ok()?;
        program.push(Instruction {
            code: JUMP_IF_EQUAL,
            if_true: 0,
            if_false: over,
            k: architecture.audit,
        });
        program.append(&mut block);
    }
    program.push(Instruction {
        code: RETURN,
        if_true: 0,
        if_false: 0,
        k: KILL_PROCESS,
    });
    Some(Bytes(
        program.iter().flat_map(Instruction::to_bytes).collect(),
    ))
}

impl Instruction {
    /// In the byte order of both machines above.
    fn to_bytes(&self) -> [u8; 8] {
        let [c0, c1] = self.code.to_le_bytes();
        let [k0, k1, k2, k3] = self.k.to_le_bytes();
        [c0, c1, self.if_true, self.if_false, k0, k1, k2, k3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program over `(arch, nr)` as the kernel would.
    fn run(program: &Bytes, architecture: u32, number: u32) -> u32 {
        let code: Vec<_> = program.0.chunks(8).collect();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let [c0, c1, if_true, if_false, k @ ..] = code[at] else {
                panic!("length")
            };
            let k = u32::from_le_bytes(k.try_into().unwrap());
            let jump = |taken: bool| usize::from(if taken { *if_true } else { *if_false });
            at += 1;
            match u16::from_le_bytes([*c0, *c1]) {
                LOAD => accumulator = if k == NUMBER { number } else { architecture },
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                JUMP_IF_AT_LEAST => at += jump(accumulator >= k),
                RETURN => return k,
                other => panic!("code {other:#x}"),
            }
        }
    }

    #[test]
    fn only_keyring_calls_are_refused_on_every_architecture_of_the_machine() {
        for machine in ["x86_64", "aarch64"] {
            let program = keyrings(machine).unwrap();
            for architecture in architectures(machine).unwrap() {
                for number in 0..600 {
                    let refused = (architecture.first..architecture.first + 3).contains(&number);
                    let expected = if refused { EPERM } else { ALLOW };
                    assert_eq!(
                        run(&program, architecture.audit, number),
                        expected,
                        "{machine} {number}"
                    );
                }
            }
        }
    }

    #[test]
    fn x32_calls_and_foreign_architectures_are_refused() {
        let program = keyrings("x86_64").unwrap();
        assert_eq!(run(&program, 0xc000_003e, X32 | 1), EPERM);
        assert_eq!(run(&program, 0xc000_00b7, 1), KILL_PROCESS);
        assert_eq!(keyrings("riscv64"), None);
    }
}
