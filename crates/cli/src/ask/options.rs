//! What can be said of a run: the options as clap reads them. Their values are
//! looked at in [`super::request`], so that every complaint about one has the
//! same form and names the flag.

use std::ffi::OsString;

use clap::Args;

/// What is run, and what it is granted and held to.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Options {
    #[arg(long, value_name = "PRESET", value_parser = ["minimal", "standard", "strict", "locked-down"], hide_possible_values = true, help_heading = POLICY, help = "Where policy starts: minimal, standard (a program's), strict (a plugin's)")]
    pub(crate) preset: Option<String>,

    /// Grant at most what FILE (TOML or JSON) says; with #TABLE, what that table in it says
    #[arg(long, value_name = "FILE[#TABLE]", help_heading = POLICY)]
    pub(crate) policy: Option<OsString>,

    #[command(flatten)]
    pub(crate) demands: Demands,

    /// Let it start other programs (subprocesses), or make code while it runs (jit); for `strict`
    #[arg(long, value_name = "RIGHT", help_heading = GRANTS)]
    pub(crate) allow: Vec<String>,

    /// Let PATH be read, at the same place in the jar or at JAR; or what a group such as toolchain:node stands for
    #[arg(long, value_name = "PATH[:JAR]", help_heading = GRANTS)]
    pub(crate) read: Vec<OsString>,

    /// Let PATH be read and written
    #[arg(long, value_name = "PATH[:JAR]", help_heading = GRANTS)]
    pub(crate) write: Vec<OsString>,

    /// Set an environment variable
    #[arg(long, value_name = "NAME=VALUE", help_heading = GRANTS)]
    pub(crate) env: Vec<OsString>,

    /// Pass one of your own environment variables on
    #[arg(long, value_name = "NAME", help_heading = GRANTS)]
    pub(crate) pass_env: Vec<OsString>,

    /// Memory of all its tasks, such as 512MiB
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) memory: Option<String>,

    /// Processor time of all its tasks, such as 5s
    #[arg(long, visible_alias = "cpu-limit", value_name = "DURATION", help_heading = LIMITS)]
    pub(crate) cpu_time: Option<String>,

    /// Time since launch, such as 5m
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", help_heading = LIMITS)]
    pub(crate) wall: Option<String>,

    /// Tasks at a time; threads count
    #[arg(long, value_name = "COUNT", help_heading = LIMITS)]
    pub(crate) processes: Option<String>,

    /// Open descriptors of each process
    #[arg(long, value_name = "COUNT", help_heading = LIMITS)]
    pub(crate) open_files: Option<String>,

    /// Private scratch space (/tmp and its like), such as 64MiB
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) disk: Option<String>,

    /// Each file that it writes, such as 16MiB
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) file_size: Option<String>,

    /// Bytes on stdout and stderr together, such as 8MiB
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) output: Option<String>,

    /// Processor time, as a part of one processor: 50%, or 200% of two
    #[arg(long, value_name = "PERCENT", help_heading = LIMITS)]
    pub(crate) cpu: Option<String>,

    /// What it reads from disks, such as 10MiB/s
    #[arg(long, value_name = "SIZE/s", help_heading = LIMITS)]
    pub(crate) io_read: Option<String>,

    /// What it writes to disks, such as 10MiB/s
    #[arg(long, value_name = "SIZE/s", help_heading = LIMITS)]
    pub(crate) io_write: Option<String>,

    /// Reads from disks, such as 100/s
    #[arg(long, value_name = "COUNT/s", help_heading = LIMITS)]
    pub(crate) io_read_ops: Option<String>,

    /// Writes to disks, such as 100/s
    #[arg(long, value_name = "COUNT/s", help_heading = LIMITS)]
    pub(crate) io_write_ops: Option<String>,

    /// Part of the processors beside others that want them, of 1 to 10000; theirs is 100
    #[arg(long, value_name = "WEIGHT", help_heading = LIMITS)]
    pub(crate) cpu_weight: Option<String>,

    /// Part of the disks beside others that want them, of 1 to 10000; theirs is 100
    #[arg(long, value_name = "WEIGHT", help_heading = LIMITS)]
    pub(crate) io_weight: Option<String>,

    /// Memory beyond which all its tasks are slowed, below --memory
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) memory_high: Option<String>,

    /// Processors that it may run on, such as 0-3,6
    #[arg(long, value_name = "LIST", help_heading = LIMITS)]
    pub(crate) cpuset: Option<String>,

    /// Working directory in the jar
    #[arg(long, value_name = "DIR", help_heading = SURROUNDINGS)]
    pub(crate) workdir: Option<OsString>,

    /// Numeric user and group in the jar [default: 1000:1000]
    #[arg(long, value_name = "UID[:GID]", help_heading = SURROUNDINGS)]
    pub(crate) user: Option<String>,

    /// The name that the jar has for itself
    #[arg(long, value_name = "NAME", help_heading = SURROUNDINGS)]
    pub(crate) hostname: Option<String>,

    /// Give it a terminal of its own, and yours in raw mode
    #[arg(long, help_heading = SURROUNDINGS)]
    pub(crate) tty: bool,

    /// What to run
    #[arg(value_name = "PROGRAM|DIR|MANIFEST", trailing_var_arg = true, num_args = 0.., hide = true)]
    pub(crate) words: Vec<OsString>,
}

/// What is said of rules on the command line, over what a policy's file says.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Demands {
    /// Demand that RULE holds at least so: none, cooperative, supervisor, kernel
    #[arg(long, value_name = "RULE=STRENGTH", help_heading = POLICY)]
    pub(crate) require: Vec<String>,

    /// Launch even where this machine holds RULE less well, and report it
    #[arg(long, value_name = "RULE", help_heading = POLICY)]
    pub(crate) best_effort: Vec<String>,

    /// End the jar at the first violation of RULE that is seen
    #[arg(long, value_name = "RULE", help_heading = POLICY)]
    pub(crate) end_on: Vec<String>,
}

const POLICY: &str = "Policy";
const GRANTS: &str = "Grants";
const LIMITS: &str = "Limits";
const SURROUNDINGS: &str = "Surroundings";
