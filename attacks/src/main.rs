//! `belljar-guest NAME [ARGS…]`: one hostile guest, or one of the plain
//! programs and careless hosts that the tests need.

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    {
        let mut words = std::env::args().skip(1);
        let name = words.next().unwrap_or_default();
        belljar_attacks::run(&name, &words.collect::<Vec<_>>())
    }
    #[cfg(not(target_os = "linux"))]
    {
        eprintln!("guests are written for Linux so far");
        std::process::ExitCode::FAILURE
    }
}
