//! The running kernel is asked what it makes of a filter, and answers as the
//! evaluator does. Every test forks: a filter stays for the life of a process.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use belljar::policy::{
    data::{
        Filter as Asked, Preset,
        filter::{Code, Exec, Unix},
    },
    seccomp::{Attempt, CALLS, Filter, Program, Secrets, Verdict},
};

/// In the sixth argument, it lets any call of the test's own through.
const OPEN: u32 = 0x5e5a_3e00;
/// Errors that stand for the program's returns, none of which the kernel gives.
const FIRST_CODE: u32 = 3000;

const SECRETS: Secrets = Secrets {
    arguments: 0x1234_5678_9abc,
    variables: 0x2345_6789_abc0,
};

/// `struct sock_filter`
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

const RETURN: u16 = 0x06;

/// The program with each of its returns told by an error of its own, so that no
/// call is ever made; and a way through for the test itself.
fn told(program: &Program) -> (Vec<Instruction>, Vec<u32>) {
    let mut returns: Vec<u32> = Vec::new();
    let mut told: Vec<Instruction> = [
        (0x20, 0, 0, 16 + 8 * 5),
        (0x15, 0, 1, OPEN),
        (RETURN, 0, 0, 0x7fff_0000),
    ]
    .map(|(code, if_true, if_false, k)| Instruction {
        code,
        if_true,
        if_false,
        k,
    })
    .to_vec();
    let halves = [
        SECRETS.arguments as u32,
        (SECRETS.arguments >> 32) as u32,
        SECRETS.variables as u32,
        (SECRETS.variables >> 32) as u32,
    ];
    for (at, instruction) in program.instructions.iter().enumerate() {
        let mut k = instruction.k;
        if instruction.code == RETURN {
            let code = returns
                .iter()
                .position(|known| *known == k)
                .unwrap_or_else(|| {
                    returns.push(k);
                    returns.len() - 1
                });
            k = 0x0005_0000 | (FIRST_CODE + code as u32);
        }
        for (place, half) in program.secrets.into_iter().flatten().zip(halves) {
            if usize::from(place) == at {
                k = half;
            }
        }
        told.push(Instruction {
            code: instruction.code,
            if_true: instruction.if_true,
            if_false: instruction.if_false,
            k,
        });
    }
    (told, returns)
}

/// Makes every call in a child under the filter, and gives what each returned.
fn ask(instructions: &[Instruction], calls: &[(u32, [u64; 6])]) -> Vec<i64> {
    let length = size_of_val(calls).max(8);
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let shared = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(shared, libc::MAP_FAILED);
    let answers = shared.cast::<i64>();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).unwrap(),
        filter: instructions.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the child only makes system calls and writes to the mapping.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: an option of numbers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the program outlives the call.
        let installed = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) };
        let mut status = i32::from(installed != 0);
        for (at, (number, [a, b, c, d, e, f])) in calls.iter().enumerate() {
            if status != 0 {
                break;
            }
            // SAFETY: the filter answers every one with an error: none is made.
            let result = unsafe { libc::syscall((*number).into(), *a, *b, *c, *d, *e, *f) };
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            if result != -1 {
                status = 2;
            }
            // SAFETY: within the mapping, which has room for each call's answer.
            unsafe { answers.wrapping_add(at).write(errno.into()) };
        }
        loop {
            // SAFETY: it ends the child; the filter knows it by its last argument.
            unsafe { libc::syscall(libc::SYS_exit_group, status, 0, 0, 0, 0, u64::from(OPEN)) };
        }
    }
    let mut status = 0;
    // SAFETY: the child is this function's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child could not ask");
    let answers: Vec<i64> = (0..calls.len())
        // SAFETY: the child has written each and is gone.
        .map(|at| unsafe { answers.wrapping_add(at).read() })
        .collect();
    // SAFETY: nothing refers to it any more.
    unsafe { libc::munmap(shared, length) };
    answers
}

/// Numbers that anybody can draw again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[(self.next() % list.len() as u64) as usize]
    }
}

/// What checks look for, often.
const LIKELY: &[u64] = &[
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    10,
    16,
    17,
    22,
    33,
    38,
    40,
    0x21,
    0x22,
    0x80,
    0x5401,
    0x5412,
    0x5423,
    0o644,
    0o4755,
    0o102,
    0o020_644,
    0o060_600,
    0x1000_0000,
    0x0002_0000,
    1031,
    0xffff_ffff,
    SECRETS.arguments,
    SECRETS.variables,
];

fn filters() -> Vec<Asked> {
    let mut all = Vec::new();
    for preset in Preset::ALL {
        for unix in [Unix::Visible, Unix::Pairs, Unix::Performed] {
            for (exec, code, internet, observe) in [
                (Exec::Any, Code::Any, true, false),
                (Exec::Any, Code::Any, true, true),
                (Exec::Once, Code::Fixed, true, false),
                (Exec::Once, Code::Fixed, true, true),
                (Exec::Once, Code::FixedByMdwe, false, false),
            ] {
                all.push(Asked {
                    machine: "x86_64".into(),
                    preset: *preset,
                    exec,
                    code,
                    unix,
                    internet,
                    objects: internet,
                    allow: vec!["ptrace".into()],
                    deny: vec!["uname".into()],
                    events: true,
                    observe,
                });
            }
        }
    }
    all
}

fn action(verdict: Verdict, observe: bool) -> u32 {
    use belljar::policy::seccomp::Seen;
    match verdict {
        Verdict::Allow => 0x7fff_0000,
        Verdict::Perform | Verdict::Observe => 0x7fc0_0000,
        Verdict::Deny(denial) if denial.seen == Seen::Told => 0x7fc0_0000,
        Verdict::Deny(denial) if denial.seen == Seen::Quiet && observe => 0x7fc0_0000,
        Verdict::Deny(denial) => 0x0005_0000 | u32::from(denial.errno.number()),
    }
}

#[test]
fn the_kernel_answers_as_the_evaluator() {
    const EACH: usize = 3;
    let mut random = Random(9);
    for asked in filters() {
        let filter = Filter::new(&asked).unwrap();
        let (program, returns) = told(&filter.compile());
        // The kernel itself makes these two around any filter, since 6.14.
        let numbers = (0..=520).filter(|number| !matches!(number, 335 | 336));
        let x32 = [0x4000_0000, 0x4000_0027, 0x4000_0208];
        let calls: Vec<(u32, [u64; 6])> = numbers
            .chain(x32)
            .flat_map(|number| (0..EACH).map(move |_| number))
            .map(|number| {
                let mut arguments = [(); 6].map(|()| random.of(LIKELY));
                if random.next().is_multiple_of(3) {
                    let at = (random.next() % 6) as usize;
                    arguments[at] |= random.next() << 32;
                }
                (number, arguments)
            })
            .collect();
        for ((number, arguments), answer) in calls.iter().zip(ask(&program, &calls)) {
            let attempt = Attempt {
                audit: 0xc000_003e,
                number: *number,
                arguments: *arguments,
            };
            let verdict = filter.evaluate(&attempt, Some(SECRETS));
            let code = answer - i64::from(FIRST_CODE);
            let kernel_s = returns.get(usize::try_from(code).unwrap()).copied();
            assert_eq!(
                kernel_s,
                Some(action(verdict, asked.observe)),
                "{number} {arguments:x?} under {asked:?}: {verdict:?}"
            );
        }
    }
}

/// The numbers of the tables are those of the C library.
#[test]
fn the_tables_have_the_numbers_of_this_machine_s_headers() {
    let text = std::fs::read_to_string("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        .expect("the headers of libc6-dev are there");
    let mut count = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("#define"), Some(name), Some(number)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Some(name), Ok(number)) = (name.strip_prefix("__NR_"), number.parse::<u32>()) else {
            continue;
        };
        let call = CALLS.iter().find(|call| call.name == name);
        let known =
            call.and_then(|call| call.number(belljar::policy::seccomp::Architecture::X86_64));
        assert_eq!(known, Some(number), "{name}");
        count += 1;
    }
    assert!(count > 300, "{count}");
}
