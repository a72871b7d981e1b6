//! Functions of the host's own that run in jars: one call, one jar, one answer.
//!
//! ```no_run
//! use belljar::Jar;
//!
//! belljar::isolated! {
//!     /// How many lines a document has that nobody should have to trust.
//!     pub fn lines(text: String) -> usize {
//!         text.lines().count()
//!     }
//! }
//!
//! # async fn work() -> Result<(), Box<dyn std::error::Error>> {
//! let jar = Jar::isolated();
//! let called = jar.call(lines, "one\ntwo\n".to_owned()).await?;
//! assert_eq!(called.output, 2);
//! println!("it took {:?} ns", called.report.usage.wall_ns);
//! # Ok(())
//! # }
//!
//! fn main() {
//!     belljar::isolated::init(); // first of all
//!     // …
//! }
//! ```
//!
//! The jar runs the host's own program: not whatever lies at its path by now, but the very
//! file that the kernel executes here. In the jar that program's `main` begins, and
//! [`init`] serves the call in place of the rest. No host is ever forked, so threads, locks
//! and memory of the host are not in the jar, nor any descriptor; nor are its arguments and
//! variables. Whatever the function needs comes with its input or by a grant of the policy.
//!
//! What comes back is a guest's word: bounded by the limit `output`, and read as JSON of the
//! output's type, so `f64` that is no number does not come through, and keys of maps are
//! strings or what serde_json makes into such. What a function prints goes to stderr.
//!
//! # A function that captures
//!
//! A closure's captured values are in this process's memory, and the function runs in
//! another. So it does not compile:
//!
//! ```compile_fail,E0277
//! # async fn work() -> Result<(), belljar::isolated::CallError> {
//! let threshold = 3;
//! let jar = belljar::Jar::isolated();
//! jar.call(|count: usize| count > threshold, 5).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The compiler says why:
//!
//! ```text
//! error[E0277]: a jar cannot run `{closure@…}`: it is not declared by `belljar::isolated!`
//!   = note: the function runs in another process, where nothing is that a closure captures or a
//!           pointer leads to: all it needs comes with its input
//! ```
//!
//! Nor does a function in `isolated!` that names a variable around it: `attempt to use a
//! non-constant value in a constant`.

mod call;
mod error;
mod serve;
mod wire;

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use belljar_plan::{Answer, Outcome, Plan, Report};
use belljar_policy::{Policy, verified::ProgramBytes, verified::Subject};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    error::{AnswerError, CallError},
    serve::init,
};
use crate::{
    Prepared, error::LaunchError, jar::Jar, learn::Lesson, report::ReportTo, streams::Stdio,
    verify::itself, why::Question,
};

/// How long a jar may take until it serves, without more words.
const PATIENCE: Duration = Duration::from_secs(60);

/// A function that a jar can run. [`isolated!`](crate::isolated!) makes it.
#[diagnostic::on_unimplemented(
    message = "a jar cannot run `{Self}`: it is not declared by `belljar::isolated!`",
    label = "not a function of `belljar::isolated!`",
    note = "the function runs in another process, where nothing is that a closure captures or a pointer leads to: all it needs comes with its input",
    note = "write `belljar::isolated! {{ fn name(input: In) -> Out {{ … }} }}` and give `name`"
)]
pub trait Function: Copy + Send + Sync + 'static {
    /// What it takes.
    type Input: Serialize + DeserializeOwned;
    /// What it gives.
    type Output: Serialize + DeserializeOwned;

    /// Runs it here, in this process and without a jar, as a test of the function does.
    fn run(input: Self::Input) -> Self::Output;

    #[doc(hidden)]
    fn entry() -> &'static Entry;
}

/// One function in the list of a program.
#[doc(hidden)]
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    pub serve: fn(&[u8]) -> Served,
}

/// What came of a function in its jar.
#[doc(hidden)]
#[derive(Debug)]
pub enum Served {
    Output(Vec<u8>),
    Input(String),
    Unwritten(String),
}

/// Every function of this program, put together by the linker.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static FUNCTIONS: [Entry];

#[doc(hidden)]
pub use linkme;

/// Reads the input, runs the function, writes the output.
#[doc(hidden)]
#[must_use]
pub fn serve_one<F: Function>(input: &[u8]) -> Served {
    let input = match serde_json::from_slice(input) {
        Ok(input) => input,
        Err(error) => return Served::Input(error.to_string()),
    };
    match serde_json::to_vec(&F::run(input)) {
        Ok(output) => Served::Output(output),
        Err(error) => Served::Unwritten(error.to_string()),
    }
}

/// Declares functions that jars can run: each takes one value and gives one, which serde
/// reads and writes. What is declared is a type of the function's name, to be given to
/// [`IsolatedJar::call`](crate::isolated::IsolatedJar::call);
/// [`Function::run`](crate::isolated::Function::run) runs it without a jar.
///
/// ```
/// use belljar::isolated::Function as _;
///
/// belljar::isolated! {
///     /// The sum of a line of numbers.
///     pub fn sum(line: String) -> Result<i64, String> {
///         line.split_whitespace()
///             .map(|word| word.parse::<i64>().map_err(|error| error.to_string()))
///             .sum()
///     }
/// }
///
/// assert_eq!(sum::run("1 2 3".to_owned()), Ok(6));
/// ```
#[macro_export]
macro_rules! isolated {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($input:ident)+: $In:ty $(,)?) -> $Out:ty $body:block
    )+) => { $(
        $(#[$meta])*
        #[allow(non_camel_case_types, reason = "it stands for the function of this name")]
        #[derive(Clone, Copy, Debug)]
        $vis struct $name;

        const _: () = {
            fn $name($($input)+: $In) -> $Out $body

            #[$crate::isolated::linkme::distributed_slice($crate::isolated::FUNCTIONS)]
            #[linkme(crate = $crate::isolated::linkme)]
            static ENTRY: $crate::isolated::Entry = $crate::isolated::Entry {
                name: concat!(module_path!(), "::", stringify!($name)),
                serve: $crate::isolated::serve_one::<$name>,
            };

            impl $crate::isolated::Function for $name {
                type Input = $In;
                type Output = $Out;

                fn run(input: Self::Input) -> Self::Output {
                    $name(input)
                }

                fn entry() -> &'static $crate::isolated::Entry {
                    &ENTRY
                }
            }
        };
    )+ };
    ($($other:tt)*) => {
        compile_error!(
            "isolated! takes functions of the form `fn name(input: In) -> Out { … }`: one argument, a type that is returned, and neither generic, async nor const"
        );
    };
}

/// What a function gave, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Called<T> {
    /// What it returned, as the jar says: of its type, and no more is known of it.
    pub output: T,
    /// How the jar ended, what held it, what it used.
    pub report: Report,
}

/// Jars for functions of this program, one for each call.
///
/// Without more words the preset is `strict`. The program is looked at and planned at the
/// first call, and again only where something of it was replaced; calls may run side by side.
#[derive(Debug)]
#[must_use = "nothing runs until a function is called"]
pub struct IsolatedJar {
    jar: Jar,
    patience: Duration,
    prepared: Mutex<Option<Prepared>>,
}

impl Jar {
    /// Jars for functions of this program that [`isolated!`](crate::isolated!) declares;
    /// see [`isolated`](mod@crate::isolated).
    pub fn isolated() -> IsolatedJar {
        IsolatedJar::of(Self::itself(serve::ARGUMENT))
    }
}

impl IsolatedJar {
    fn of(jar: Jar) -> Self {
        Self {
            jar,
            patience: PATIENCE,
            prepared: Mutex::new(None),
        }
    }

    /// What the operator grants at most; its flags are the operator's explicit words.
    pub fn policy(self, policy: Policy) -> Self {
        Self {
            patience: self.patience,
            ..Self::of(self.jar.policy(policy))
        }
    }

    /// See [`Jar::observe`].
    pub fn observe(self) -> Self {
        Self {
            patience: self.patience,
            ..Self::of(self.jar.observe())
        }
    }

    /// How long a jar may take from its launch until [`init`] serves in it: a minute where
    /// nothing else is said. Limits hold from the launch on as well.
    pub fn served_within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// See [`Jar::plan`].
    ///
    /// # Errors
    /// As there.
    pub fn plan(&self) -> Result<Plan, LaunchError> {
        self.jar.plan()
    }

    /// See [`Jar::why`].
    ///
    /// # Errors
    /// As there.
    pub fn why(&self, question: &Question) -> Result<Answer, LaunchError> {
        self.jar.why(question)
    }

    /// See [`Jar::lesson`].
    ///
    /// # Errors
    /// As there.
    pub fn lesson(&self, report: &Report) -> Result<Lesson, LaunchError> {
        self.jar.lesson(report)
    }

    /// Calls a function in a jar of its own: `jar.call(parse, text).await`. Works on any
    /// executor; dropping the future destroys the jar.
    ///
    /// It gives [`Called`], the output with the report, or [`CallError`].
    pub fn call<F: Function>(&self, function: F, input: F::Input) -> Call<'_, F> {
        let _ = function;
        Call {
            jar: self,
            input: serde_json::to_vec(&input),
            task: None,
            stderr: None,
            report_to: None,
            function: PhantomData,
        }
    }

    /// What was decided, or what is decided now.
    fn prepared(&self) -> Result<Prepared, LaunchError> {
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = kept.as_ref().filter(|prepared| is_there(prepared)) {
            return Ok(prepared.clone());
        }
        Ok(kept.insert(self.jar.prepared()?).clone())
    }

    fn forget(&self) {
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = None;
    }
}

/// The host's program is still where jars are to show it from.
fn is_there(prepared: &Prepared) -> bool {
    match prepared.subject() {
        Subject::Program(program) if program.bytes == ProgramBytes::Caller => program
            .candidates
            .iter()
            .filter_map(|candidate| candidate.found.as_ref().ok())
            .all(|executable| itself::at_its_path(&executable.file)),
        _ => true,
    }
}

/// One call, which begins when it is awaited.
#[must_use = "nothing runs until it is awaited"]
pub struct Call<'a, F> {
    jar: &'a IsolatedJar,
    input: serde_json::Result<Vec<u8>>,
    task: Option<String>,
    stderr: Option<Stdio>,
    report_to: Option<ReportTo>,
    function: PhantomData<fn() -> F>,
}

impl<F> Call<'_, F> {
    /// The host's own name for this call, echoed in the report.
    pub fn task(mut self, task: impl Into<String>) -> Self {
        self.task = Some(task.into());
        self
    }

    /// Where what the function prints goes, to stdout as well as to stderr; nowhere without
    /// more words.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Where the report goes besides to the caller.
    pub fn report_to(mut self, to: ReportTo) -> Self {
        self.report_to = Some(to);
        self
    }
}

impl<F: Function> Call<'_, F> {
    async fn made(mut self) -> Result<Called<F::Output>, CallError> {
        let entry = F::entry();
        let function = entry.name;
        if !serve::serves() {
            return Err(CallError::NoInit);
        }
        let place = FUNCTIONS
            .iter()
            .position(|other| std::ptr::eq(other, entry))
            .and_then(|place| u32::try_from(place).ok())
            .ok_or(CallError::NotRegistered { function })?;
        let input = std::mem::replace(&mut self.input, Ok(Vec::new()))
            .map_err(|source| CallError::Input { function, source })?;
        let request = wire::Request {
            place,
            name: function,
            input: &input,
        }
        .to_bytes();
        drop(input);
        // What leads somewhere is gone with the first attempt.
        let again = self.stderr.is_none() && self.report_to.is_none();
        let (output, report) = match self.once(&request).await {
            // What was planned is no longer so: a library was upgraded, for example.
            Err(CallError::Launch(LaunchError::Ended { report }))
                if matches!(report.outcome, Outcome::SetupFailed { .. }) =>
            {
                self.jar.forget();
                match again {
                    true => self.once(&request).await?,
                    false => return Err(CallError::Launch(LaunchError::Ended { report })),
                }
            }
            other => other?,
        };
        match serde_json::from_slice(&output) {
            Ok(output) => Ok(Called { output, report }),
            Err(error) => Err(CallError::Answer {
                source: AnswerError::Output {
                    message: wire::words(error.to_string().as_bytes()),
                },
                report: Box::new(report),
            }),
        }
    }

    async fn once(&mut self, request: &[u8]) -> Result<(Vec<u8>, Report), CallError> {
        let mut start = self
            .jar
            .prepared()?
            .start()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(task) = &self.task {
            start = start.task(task.clone());
        }
        if let Some(stderr) = self.stderr.take() {
            start = start.stderr(stderr);
        }
        if let Some(to) = self.report_to.take() {
            start = start.report_to(to);
        }
        call::once(start, request, self.jar.patience).await
    }
}

impl<'a, F: Function> IntoFuture for Call<'a, F> {
    type Output = Result<Called<F::Output>, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.made())
    }
}
