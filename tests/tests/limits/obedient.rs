//! A jar whose guest is told what to try.

use std::time::Duration;

use belljar::{
    GuestStdin, GuestStdout, Jar, Limit, Policy, Report, Running, Stdio, UpdateError,
    policy::manifest::Bound,
};
use belljar_tests::guest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), future)
                .await
                .expect("it ends")
        })
}

pub(super) fn hard(value: u64) -> Bound {
    Bound {
        hard: Some(value),
        ..Bound::default()
    }
}

/// A jar whose guest is told what to try.
pub(super) struct Obedient {
    pub(super) running: Running,
    stdin: GuestStdin,
    stdout: BufReader<GuestStdout>,
}

impl Obedient {
    pub(super) async fn with(limits: &[(Limit, u64)]) -> Self {
        let policy = limits
            .iter()
            .fold(Policy::standard(), |policy, (limit, value)| {
                policy.limit(*limit, hard(*value)).expect("a limit")
            });
        Self::under(policy).await
    }

    pub(super) async fn under(policy: Policy) -> Self {
        let mut running = Jar::program(guest())
            .arg("obey")
            .policy(policy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .launch()
            .await
            .expect("a jar");
        let stdin = running.stdin().expect("it is piped");
        let stdout = BufReader::new(running.stdout().expect("it is piped"));
        let mut obedient = Self {
            running,
            stdin,
            stdout,
        };
        assert_eq!(obedient.line().await, "ready");
        obedient
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await.expect("a line");
        line.trim().to_owned()
    }

    /// What the guest got; none where it is gone.
    pub(super) async fn tries(&mut self, word: &str) -> Option<u64> {
        let line = format!("{word}\n");
        // A guest that has ended reads nothing more.
        let _ = self.stdin.write_all(line.as_bytes()).await;
        self.line().await.parse().ok()
    }

    pub(super) async fn set(&self, limit: Limit, bound: Bound) -> Result<(), UpdateError> {
        self.running.update_limits(&[(limit, bound)]).await
    }

    pub(super) async fn end(mut self) -> Report {
        drop(self.stdin);
        self.running.wait().await
    }

    /// The report of a jar that ends by itself.
    pub(super) async fn ended(mut self) -> Report {
        self.running.wait().await
    }
}
